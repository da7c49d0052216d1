"""Numbers over time: moments, keyframes, expressions. Imports only `pixweave.errors`."""
