"""Settings about pictures that a recipe brings along: what it starts from, masks, an overlay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema

from pixweave.component import Issue, Settings
from pixweave.errors import InvalidValue
from pixweave.media.fit_modes import FITS, Fit, Resample
from pixweave.media.palettes import Colour
from pixweave.recipe.paths import PictureFile
from pixweave.recipe.top_level import BARE
from pixweave.timeline.keyframes import place, read_time
from pixweave.timeline.values import Value, over_time

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo
    from pixweave.timeline.values import Moment

Box = tuple[float, float, float, float]
Time = Annotated[
    str,
    BeforeValidator(read_time),
    WithJsonSchema(
        {
            "x-type": "time",
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": r"^(\d+|\d+(\.\d+)?(s|ms|%)|start|end)$"},
            ],
        }
    ),
]
"""Type of a setting that names a step of the run: 12, 2s, 500ms, 50%, start or end."""


class ShorthandSettings(Settings):
    """Settings for which a bare text or list may stand: those of the field `short[type]`."""

    short: ClassVar[dict[type, str]] = {}
    called: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _from_bare(cls, raw: Any) -> Any:
        for kind, name in cls.short.items():
            if isinstance(raw, kind):
                return {name: raw}
        return raw

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler.resolve_ref_schema(handler(schema))
        made = {**made, "additionalProperties": False}
        bare = [made["properties"][name] for name in cls.short.values()]
        bare = [kind for one in bare for kind in one.get("anyOf", [one])]
        bare = [kind for kind in bare if kind.get("type") != "null"]
        return {"x-type": cls.called, "anyOf": [*bare, made]}


class Mask(ShorthandSettings):
    """A part of the picture: from the brightness or the alpha of a file, or a box."""

    short: ClassVar[dict[type, str]] = BARE["mask"]
    called: ClassVar[str] = "mask"

    image: PictureFile | None = Field(
        None, description="a picture file: white is inside, or what is opaque if it has alpha"
    )
    box: Box | None = Field(
        None, description="left, top, right and bottom, as shares of the picture from 0 to 1"
    )
    channel: Literal["grey", "alpha"] | None = Field(
        None, description="what of the file counts; by default alpha where it has any, else grey"
    )
    fit: Fit | None = Field(
        None, description="how the file is laid onto the picture; by default cover"
    )
    invert: bool = Field(False, description="inside becomes outside")
    soften: float = Field(
        0.0, ge=0, le=0.5, description="width of a fading edge, inwards, in short sides"
    )

    @model_validator(mode="after")
    def _one_shape(self) -> Mask:
        if (self.image is None) == (self.box is None):
            raise InvalidValue(
                "has either image or box", "write {box: [0.5, 0, 1, 1]} for the right half"
            )
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise InvalidValue(
                    f"must have a box [left, top, right, bottom] with 0 <= left < right <= 1 and "
                    f"0 <= top < bottom <= 1, not {_numbers(self.box)}"
                )
            for name in ("channel", "fit"):
                if getattr(self, name) is not None:
                    raise InvalidValue(f"has a {name}, which a box has not", f"remove '{name}'")
        return self

    def __str__(self) -> str:
        return f"mask '{self.image.name}'" if self.image else f"mask {_numbers(self.box or ())}"


class PlacedImage(ShorthandSettings):
    """A picture file and how it is laid onto the canvas."""

    short: ClassVar[dict[type, str]] = BARE["start_from"]
    called: ClassVar[str] = "picture"

    image: PictureFile | None = Field(None, description="a picture file")
    fit: Fit = Field("cover", description=FITS)
    resample: Resample = Field(
        "smooth", description="crisp: pixels stay squares when the picture grows, for pixel art"
    )


class StartFrom(PlacedImage):
    """What the picture begins as, instead of the generator's own noise."""

    background: Colour | None = Field(
        None,
        description="colour behind transparent parts and in bars; by default they stay transparent "
        "where the generator has alpha, and are white where it has none",
    )
    alpha: float = Field(
        1.0, ge=0, le=1, description="how opaque it lies over the generator's own start"
    )
    noise: float = Field(
        0.0, ge=0, le=1, description="deviation of noise added to it, from clouds down to grain"
    )

    @model_validator(mode="after")
    def _has_source(self) -> StartFrom:
        if self.image is None:
            raise InvalidValue("names no picture", "write 'start_from: photo.png'")
        return self


class Overlay(PlacedImage):
    """A picture that is blended over the generator's every so many steps.

    The generator takes the blend up as its own and goes on from there (Pixray's overlay).
    """

    every: int = Field(10, ge=1, description="steps from one overlay to the next")
    first: Time = Field("0", description="step of the first one: 12, 2s, 50%")
    until: Time = Field("end", description="step after which there are none")
    alpha: Value = over_time(0.5, ge=0, le=1, description="how opaque it lies over the picture")
    mask: Mask | None = Field(None, description="where it is laid; by default everywhere")

    @model_validator(mode="after")
    def _has_source(self) -> Overlay:
        if self.image is None:
            raise InvalidValue("names no picture", "write 'overlay: {image: logo.png, every: 10}'")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """It should come at least once."""
        if not any(self.due(recipe.moment(step)) for step in range(recipe.steps)):
            yield Issue(
                "first",
                f"never comes: it begins at {self.first} and ends at {self.until} of "
                f"{recipe.steps} steps",
                "set an earlier 'first' or a later 'until'",
            )

    def due(self, moment: Moment) -> bool:
        """Whether it comes at that step."""
        first, last = (
            round(place(time, moment.steps, moment.fps)) for time in (self.first, self.until)
        )
        step = round(moment.step)
        return first <= step <= last and (step - first) % self.every == 0


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
