"""Settings of input images: the start image, masks, and the overlay."""

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
from pixweave.recipe.schema_words import exactly_one
from pixweave.recipe.top_level import BARE
from pixweave.timeline.keyframes import KEY_UP_TO_100, place, read_time
from pixweave.timeline.values import Bounds, Value, over_time

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
                {
                    "type": "string",
                    "pattern": f"^{KEY_UP_TO_100}$",
                    "patternErrorMessage": "must be a step (12), seconds (2s, 500ms), "
                    "a percentage (50%), start or end",
                },
            ],
        }
    ),
]
"""Type of a setting that is a time: a step (12), 2s, 500ms, 50%, start or end."""


class ShorthandSettings(Settings):
    """Settings with a short form: a bare text or list is the value of the field `short[type]`."""

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
        full = handler.resolve_ref_schema(handler(schema))
        full = {**full, "additionalProperties": False}
        bare = [full["properties"][name] for name in cls.short.values()]
        bare = [kind for item in bare for kind in item.get("anyOf", [item])]
        bare = [kind for kind in bare if kind.get("type") != "null"]
        return {"x-type": cls.called, "anyOf": [*bare, full]}


class Mask(ShorthandSettings):
    """A part of the image: from the brightness or the alpha of an image file, or a box."""

    short: ClassVar[dict[type, str]] = BARE["mask"]
    called: ClassVar[str] = "mask"

    image: PictureFile | None = Field(
        None, description="an image file: white is inside; if it has alpha, opaque is inside"
    )
    box: Box | None = Field(
        None,
        description="left, top, right and bottom, as fractions of the image from 0 to 1",
        json_schema_extra=Bounds(ge=0, le=1),
    )
    channel: Literal["grey", "alpha"] | None = Field(
        None,
        description="which channel of the file to use; by default alpha if it has any, else grey",
    )
    fit: Fit | None = Field(
        None, description="how the file is fitted to the image; by default cover"
    )
    invert: bool = Field(False, description="swap inside and outside")
    soften: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="width of a soft edge, inwards, as a fraction of the short side",
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = super().__get_pydantic_json_schema__(schema, handler)
        *_, full = found["anyOf"]
        full |= exactly_one("image", "box")
        full["dependentSchemas"] = {
            "box": {"properties": {"channel": {"type": "null"}, "fit": {"type": "null"}}}
        }
        return found

    @model_validator(mode="after")
    def _one_shape(self) -> Mask:
        if (self.image is None) == (self.box is None):
            raise InvalidValue(
                "must have either image or box, not both or neither",
                "write {box: [0.5, 0, 1, 1]} for the right half",
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
                    raise InvalidValue(
                        f"has a {name}, which only applies to an image", f"remove '{name}'"
                    )
        return self

    def __str__(self) -> str:
        return f"mask '{self.image.name}'" if self.image else f"mask {_numbers(self.box or ())}"


class PlacedImage(ShorthandSettings):
    """An image file and how it is fitted to the canvas."""

    short: ClassVar[dict[type, str]] = BARE["start_from"]
    called: ClassVar[str] = "picture"

    image: PictureFile | None = Field(None, description="an image file")
    fit: Fit = Field("cover", description=FITS)
    resample: Resample = Field(
        "smooth", description="smooth: bicubic; crisp: nearest neighbour, for pixel art"
    )


class StartFrom(PlacedImage):
    """The start image, instead of the generator's own initial state."""

    background: Colour | None = Field(
        None,
        description="colour of transparent parts and bars; by default they stay transparent if the "
        "generator has alpha, else they are white",
    )
    alpha: float = Field(
        1.0, ge=0, le=1, description="opacity of the image over the generator's own initial state"
    )
    noise: float = Field(
        0.0,
        ge=0,
        le=1,
        description="standard deviation of noise added to the image, from coarse to fine",
    )

    @model_validator(mode="after")
    def _has_source(self) -> StartFrom:
        if self.image is None:
            raise InvalidValue("has no image", "write 'start_from: photo.png'")
        return self


class Overlay(PlacedImage):
    """An image that is blended over the generator's image every few steps.

    The generator is re-initialised from the blend and continues from there (Pixray's overlay).
    """

    every: int = Field(10, ge=1, description="number of steps between overlays")
    first: Time = Field("0", description="time of the first overlay: a step (12), 2s, 50%")
    until: Time = Field("end", description="time after which there are no more overlays")
    alpha: Value = over_time(0.5, ge=0, le=1, description="opacity of the overlay")
    mask: Mask | None = Field(None, description="where the overlay applies; by default everywhere")

    @model_validator(mode="after")
    def _has_source(self) -> Overlay:
        if self.image is None:
            raise InvalidValue("has no image", "write 'overlay: {image: logo.png, every: 10}'")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """An issue if the overlay is never applied."""
        if not any(self.due(recipe.moment(step)) for step in range(recipe.steps)):
            yield Issue(
                "first",
                f"is never reached: the overlay starts at {self.first} and ends at {self.until} of "
                f"{recipe.steps} steps",
                "set an earlier 'first' or a later 'until'",
            )

    def due(self, moment: Moment) -> bool:
        """Whether the overlay is applied at that step."""
        first, last = (
            round(place(time, moment.steps, moment.fps)) for time in (self.first, self.until)
        )
        step = round(moment.step)
        return first <= step <= last and (step - first) % self.every == 0


def _numbers(values: Iterable[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
