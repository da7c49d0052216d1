"""Image generation: the optimisation loop, its views, losses and optimizer. Start with loop.py."""
