"""Images and texts as vectors: the embedder, the cache of text vectors, similarity."""
