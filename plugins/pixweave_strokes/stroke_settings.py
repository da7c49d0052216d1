"""Generator `strokes`: a drawing of Bezier strokes or filled shapes, exportable as SVG."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue
from pixweave.recipe.sample_setting import SAMPLE, check_sample
from pixweave.timeline.values import Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo

COLOUR = "#[0-9a-fA-F]{6}"


@dataclass(frozen=True)
class ModeSettings:
    """The default settings of a mode."""

    count: int
    points: int
    width: tuple[float, float]
    ink: str
    paper: str


MODES = {
    "sketch": ModeSettings(48, 5, (0.6, 1.6), "#1b1b26", "#f7f3e8"),
    "painting": ModeSettings(160, 3, (3.0, 14.0), "auto", "auto"),
    "shapes": ModeSettings(40, 8, (0.0, 0.0), "auto", "auto"),
}


class Strokes(Component):
    """A drawing of smooth strokes or filled shapes, whose points, widths and colours are optimised.

    Opacities are optimised too. Edges are anti-aliased, so that gradients reach the shapes; these
    are cubic Bezier curves and can be exported as an SVG that looks the same. As in ClipDraw
    (Frans, Soros and Witkowski 2021) and diffvg (Li et al. 2020), in plain torch.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent", "alpha", "svg"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.08, "end": 0.01}

    mode: Literal["sketch", "painting", "shapes"] = Field(
        "painting",
        description="sketch: thin lines of one ink colour; painting: broad strokes, each with its "
        "own colour; shapes: filled closed shapes",
    )
    count: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="number of curves; by default 48 lines, 160 strokes or 40 shapes",
    )
    points: int | None = Field(
        None,
        ge=2,
        le=32,
        description="points per curve; by default 5 in a sketch, 3 in a painting, 8 in shapes",
    )
    width: tuple[float, float] | None = Field(
        None,
        description="minimum and maximum stroke width in % of the short side, at least a pixel; "
        "by default [0.6, 1.6] in a sketch and [3, 14] in a painting",
        json_schema_extra=Bounds(ge=0, le=100),
    )
    ink: str | None = Field(
        None,
        pattern=f"^(auto|{COLOUR})$",
        description="one colour for all curves, or auto: each has its own; by default dark in a "
        "sketch, else auto",
    )
    paper: str | None = Field(
        None,
        pattern=f"^(auto|none|{COLOUR})$",
        description="background colour; auto: optimised too; none: transparent; by default "
        "off-white in a sketch, else auto",
    )
    sample: bool = Field(False, description=SAMPLE)

    @property
    def alpha(self) -> bool:
        """Whether the image has transparency."""
        return self.paper == "none"

    def mode_settings(self) -> ModeSettings:
        """The settings, with the mode's defaults where they are not set."""
        defaults = MODES[self.mode]
        names = [field.name for field in fields(ModeSettings)]
        values = {name: getattr(self, name) for name in names}
        given = {name: value for name, value in values.items() if value is not None}
        return replace(defaults, **given)

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """Widths must be a range, a shape needs three points, and a sample needs a prompt."""
        if self.sample:
            yield from check_sample(recipe)
        least, most = self.mode_settings().width
        if not 0 <= least <= most <= 100:
            yield Issue(
                "width",
                f"[{least:g}, {most:g}] is not a valid range in %",
                "write [minimum, maximum]",
            )
        if self.mode == "shapes" and self.width is not None:
            yield Issue("width", "filled shapes have no width", "remove it")
        if self.mode == "shapes" and self.mode_settings().points < 3:
            yield Issue(
                "points", "a filled shape needs at least 3 points", "set points to 3 or more"
            )

    def build(self, run: BuildContext) -> Any:
        """The generator; see `pixweave_strokes.stroke_generator`."""
        from pixweave_strokes.stroke_generator import StrokeDrawing

        return StrokeDrawing(self, run)
