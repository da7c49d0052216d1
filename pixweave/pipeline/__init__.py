"""Runs recipes: the runners for images and stages, exporting, and the run folder."""
