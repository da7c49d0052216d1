"""Numbers over time: moments, keyframes, expressions. Imports nothing but errors."""
