"""Classifier `zero_shot`: labels in words, weighed against a picture by a perceptor."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_zeroshot.zero_shot_settings import ZeroShot


@hookimpl
def register_classifiers() -> dict[str, type[Component]]:
    """Offer `zero_shot`."""
    return {"zero_shot": ZeroShot}
