"""The settings that belong to the core itself: crops and the optimiser."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pixweave.component import Settings
from pixweave.timeline.values import Value, over_time

Pair = tuple[float, float]
Padding = Literal["reflect", "border", "grey", "tile", "mixed"]


class CropSettings(Settings):
    """The crops of the picture that perceptors look at (the cutouts of VQGAN+CLIP).

    Each crop is one composed warp (zoom, shift, turn, perspective, flip) sampled straight from the
    full-resolution picture. Zoomed crops see a part of it; wide ones see all of it.
    """

    count: Value = over_time(
        16, ge=1, le=1024, description="crops per step; more is steadier, slower"
    )
    zoomed: Value = over_time(0.4, ge=0, le=1, description="share of the crops that are zoomed in")
    area: Pair = Field((0.5, 0.95), description="part of the picture that a zoomed crop covers")
    ratio: Pair = Field((0.85, 1.2), description="width over height of what a zoomed crop covers")
    wide: Pair = Field((0.85, 1.15), description="side of the picture inside a wide crop")
    shift: float = Field(0.1, ge=0, le=1, description="shift of a wide crop, in sides, up to +-")
    turn: float = Field(8.0, ge=0, le=180, description="rotation in degrees, up to +-")
    perspective: Pair = Field(
        (0.1, 0.1), description="how far corners move in zoomed and in wide crops, in half sides"
    )
    chance: float = Field(0.7, ge=0, le=1, description="probability that a crop has perspective")
    flip: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    padding: Padding = Field(
        "border",
        description="what lies outside the picture; mixed: zoomed crops alternate reflect and "
        "border, wide ones get a random grey",
    )
    batch: int | None = Field(
        None,
        ge=1,
        description="crops encoded at a time; fewer takes less memory and about a third more time",
    )

    @model_validator(mode="after")
    def _ranges(self) -> CropSettings:
        for name, low, high in (("area", 1e-4, 1), ("ratio", 0.1, 10), ("wide", 0.05, 4)):
            a, b = getattr(self, name)
            if not low <= a <= b <= high:
                raise ValueError(
                    f"{name} must be [low, high] with {low:g} <= low <= high <= {high:g}"
                )
        if not all(0 <= v <= 1 for v in self.perspective):
            raise ValueError("perspective must be two numbers between 0 and 1")
        return self


class OptimizerSettings(Settings):
    """How the parameters move: one of torch's optimisers and its learning rate over time."""

    use: Literal["adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "sgd"] = Field(
        "adam", description="which of torch's optimisers"
    )
    rate: Value | None = over_time(
        None, ge=0, description="learning rate; by default the generator's own"
    )
    betas: Pair = Field((0.9, 0.99), description="decay of the moments (adam family)")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd, rmsprop)")
    decay: float = Field(0.0, ge=0, description="weight decay")
