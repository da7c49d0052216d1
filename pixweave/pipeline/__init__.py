"""What a recipe does: events, the runner, its stages, and the run folder that it leaves."""
