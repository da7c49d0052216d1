"""The sections `crops` and `optimizer`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pixweave.component import Settings
from pixweave.timeline.values import Bounds, Value, bounds_of, over_time

Pair = tuple[float, float]
Beta = Annotated[float, Field(ge=0, lt=1)]
Padding = Literal["reflect", "border", "grey", "tile", "mixed"]


class CropSettings(Settings):
    """The crops of the image that perceptors encode (the cutouts of VQGAN+CLIP).

    Each crop is one composed warp (zoom, shift, rotation, perspective, flip), sampled directly from
    the full-resolution image. Zoomed crops show a part of it; wide crops show all of it.
    """

    count: Value = over_time(
        16,
        ge=1,
        le=1024,
        description="number of crops per step; more crops are steadier but slower",
    )
    zoomed: Value = over_time(
        0.4, ge=0, le=1, description="fraction of the crops that are zoomed in"
    )
    area: Pair = Field(
        (0.5, 0.95),
        description="area of a zoomed crop, as a fraction of the image: [low, high]",
        json_schema_extra=Bounds(ge=1e-4, le=1),
    )
    ratio: Pair = Field(
        (0.85, 1.2),
        description="aspect ratio (width / height) of a zoomed crop: [low, high]",
        json_schema_extra=Bounds(ge=0.1, le=10),
    )
    wide: Pair = Field(
        (0.85, 1.15),
        description="side of the image relative to the side of a wide crop: [low, high]",
        json_schema_extra=Bounds(ge=0.05, le=4),
    )
    shift: float = Field(
        0.1, ge=0, le=1, description="largest shift of a wide crop, as a fraction of its side"
    )
    turn: float = Field(8.0, ge=0, le=180, description="largest rotation, in degrees")
    perspective: Pair = Field(
        (0.1, 0.1),
        description="largest corner shift of zoomed and of wide crops, in half sides",
        json_schema_extra=Bounds(ge=0, le=1),
    )
    chance: float = Field(0.7, ge=0, le=1, description="probability that a crop has perspective")
    flip: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    padding: Padding = Field(
        "border",
        description="how to fill crops outside the image; mixed: zoomed crops alternate reflect "
        "and border, wide crops get a random grey",
    )
    batch: int | None = Field(
        None,
        ge=1,
        description="number of crops encoded at a time; fewer use less memory, but take about a "
        "third more time",
    )

    @model_validator(mode="after")
    def _ranges(self) -> CropSettings:
        for name in ("area", "ratio", "wide"):
            (a, b), bounds = getattr(self, name), bounds_of(type(self).model_fields[name])
            if not (bounds.holds(a) and bounds.holds(b) and a <= b):
                raise ValueError(
                    f"{name} must be [low, high] with {bounds.ge:g} <= low <= high <= {bounds.le:g}"
                )
        if not all(0 <= v <= 1 for v in self.perspective):
            raise ValueError("perspective must be two numbers between 0 and 1")
        return self


class OptimizerSettings(Settings):
    """The optimiser of torch and its settings; the learning rate may change over time."""

    use: Literal["adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "sgd"] = Field(
        "adam", description="optimiser of torch"
    )
    rate: Value | None = over_time(
        None, ge=0, le=100_000, description="learning rate; by default that of the generator"
    )
    betas: tuple[Beta, Beta] = Field(
        (0.9, 0.99), description="decay rates of the moments (adam, adamw, nadam, radam)"
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd, rmsprop)")
    decay: float = Field(0.0, ge=0, le=100_000, description="weight decay")
