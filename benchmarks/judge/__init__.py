"""The independent judge of generated pictures: never part of a loss, trained on other drawings."""

from .model import Judge, load_judge

__all__ = ["Judge", "load_judge"]
