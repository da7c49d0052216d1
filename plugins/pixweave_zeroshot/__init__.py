"""Classifier `zero_shot`: labels in words, weighed against a picture by a perceptor."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_classifiers() -> dict[str, str]:
    """Offer `zero_shot`."""
    return {"zero_shot": "pixweave_zeroshot.zero_shot_settings:ZeroShot"}
