"""Tasks for worker processes."""
