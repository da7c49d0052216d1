"""Embeddings of images and texts: the embedder, the text embedding cache, similarity."""
