"""Independent evaluation models for generated images: never in a loss, trained on other data."""

from .model import Judge, Panel, load_judge, load_panel
from .prompts import prompts

__all__ = ["Judge", "Panel", "load_judge", "load_panel", "prompts"]
