"""Work in pieces that worker processes share out."""
