"""Classifier `zero_shot`: labels as texts, compared with an image by a perceptor."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_classifiers() -> dict[str, str]:
    """Register `zero_shot`."""
    return {"zero_shot": "pixweave_zeroshot.zero_shot_settings:ZeroShot"}
