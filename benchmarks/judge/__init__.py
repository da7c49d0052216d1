"""The independent judges of generated pictures: never in a loss, trained on other drawings."""

from .model import Judge, Panel, load_judge, load_panel
from .prompts import prompts

__all__ = ["Judge", "Panel", "load_judge", "load_panel", "prompts"]
