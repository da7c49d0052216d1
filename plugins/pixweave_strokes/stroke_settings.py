"""Generator `strokes`: a drawing of Bezier strokes or filled shapes, exact as SVG."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue
from pixweave.recipe.sample_setting import SAMPLE, check_sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo

COLOUR = "#[0-9a-fA-F]{6}"


@dataclass(frozen=True)
class Manner:
    """What a mode sets unless the recipe does."""

    count: int
    points: int
    width: tuple[float, float]
    ink: str
    paper: str


MANNERS = {
    "sketch": Manner(48, 5, (0.6, 1.6), "#1b1b26", "#f7f3e8"),
    "painting": Manner(160, 3, (3.0, 14.0), "auto", "auto"),
    "shapes": Manner(40, 8, (0.0, 0.0), "auto", "auto"),
}


class Strokes(Component):
    """A drawing of smooth strokes or filled shapes: points, widths, colours and opacities move.

    Edges are smoothed over a pixel, so that a gradient reaches whatever lies beneath them; the
    shapes are cubic Bezier curves and can be written as an SVG that looks the same. As in ClipDraw
    (Frans, Soros and Witkowski 2021) and diffvg (Li et al. 2020), in plain torch.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent", "alpha", "svg"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.08, "end": 0.01}

    mode: Literal["sketch", "painting", "shapes"] = Field(
        "painting",
        description="sketch: thin lines of ink on paper; painting: broad strokes with colours of "
        "their own; shapes: filled closed shapes",
    )
    count: int | None = Field(
        None, ge=1, le=4096, description="how many; by default 48 lines, 160 strokes or 40 shapes"
    )
    points: int | None = Field(
        None, ge=2, le=32, description="points that a stroke runs through; by default 5, 3 or 8"
    )
    width: tuple[float, float] | None = Field(
        None,
        description="least and greatest width of a stroke in % of the short side, a pixel or more; "
        "by default [0.6, 1.6] in a sketch and [3, 14] in a painting",
    )
    ink: str | None = Field(
        None,
        pattern=f"^(auto|{COLOUR})$",
        description="one colour for all, or auto: each has its own; by default dark in a sketch",
    )
    paper: str | None = Field(
        None,
        pattern=f"^(auto|none|{COLOUR})$",
        description="colour behind, or auto: one that moves too, or none: transparent; by default "
        "off-white in a sketch",
    )
    sample: bool = Field(False, description=SAMPLE)

    @property
    def alpha(self) -> bool:
        """Whether the picture has transparency."""
        return self.paper == "none"

    def manner(self) -> Manner:
        """The settings with those of the mode filled in."""
        own = MANNERS[self.mode]
        names = [field.name for field in fields(Manner)]
        given = {name: getattr(self, name) for name in names}
        return replace(own, **{name: value for name, value in given.items() if value is not None})

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """Widths must be a range, a shape needs three points, and a sample a prompt."""
        if self.sample:
            yield from check_sample(recipe)
        least, most = self.manner().width
        if not 0 <= least <= most <= 100:
            yield Issue(
                "width", f"[{least:g}, {most:g}] is no range in %", "write [least, greatest]"
            )
        if self.mode == "shapes" and self.width is not None:
            yield Issue("width", "filled shapes have no width", "leave it out")
        if self.mode == "shapes" and self.manner().points < 3:
            yield Issue("points", "a filled shape needs 3 points", "set points to 3 or more")

    def build(self, run: BuildContext) -> Any:
        """The live drawing; see `pixweave_strokes.stroke_generator`."""
        from pixweave_strokes.stroke_generator import StrokeDrawing

        return StrokeDrawing(self, run)
