"""The top-level keys of recipes, their general settings, and the defaults."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from pixweave.component import Field, Settings
from pixweave.errors import InvalidValue
from pixweave.timeline.expressions import CLOCK, CONSTANTS, FUNCTIONS
from pixweave.timeline.values import Value

FORMAT = 1
QUALITIES = ("draft", "normal", "better", "best")
DEFAULT_SIDE = 256
DEFAULT_PERCEPTORS = ("tiny",)
DEFAULT_GENERATOR = "pixel"
DEFAULT_AUGMENTATIONS = ("jitter", "noise")
DEFAULT_LOSS, DEFAULT_LOSS_WEIGHT = "smoothness", 0.05
"""Added to the prompts of a recipe without losses; enough to avoid specks."""
DEFAULT_SAMPLER = "dalle"
DEFAULT_EXPORT = ("picture.png",)
DEFAULT_DO = "generate"
"""The default of `do`: generate an image."""

KINDS = {
    "perceptors": "perceptor",
    "generator": "generator",
    "losses": "loss",
    "augmentations": "augmentation",
    "filters": "filter",
    "export": "exporter",
}
"""Recipe key -> the kind of its parts."""
WEIGHED = ("loss", "perceptor")
BARE: dict[str, dict[type, str]] = {
    "start_from": {str: "image"},
    "mask": {str: "image", list: "box"},
    "overlay": {str: "image"},
}
"""Optional section -> the setting that its short form, a text or a list, sets."""
SOURCES = ("image", "box")
"""Mutually exclusive settings of a section: an upper layer replaces those of a lower layer."""
LAYERS = ("extends", "quality", "presets")

_RATIO = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")
_TIMES = re.compile(r"(\d+)\s*[xX×]\s*(\d+)")
SMALLEST, LARGEST = 16, 8192


def is_ratio(raw: Any) -> bool:
    """Whether a size is an aspect ratio such as `16:9`."""
    return isinstance(raw, str) and _RATIO.fullmatch(raw) is not None


def read_size(raw: Any, area: float = DEFAULT_SIDE**2) -> tuple[int, int]:
    """Width and height of `[640, 360]`, `640x360`, `16:9` (of about `area` pixels) or `256`.

    Raises InvalidValue if it is not a size, or not within 16 to 8192 pixels.
    """
    if isinstance(raw, str):
        raw = _read_text(raw, area)
    raw = [whole(side) for side in raw] if isinstance(raw, (list, tuple)) else whole(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = (raw, raw)
    if not isinstance(raw, (list, tuple)) or len(raw) != 2:
        raise InvalidValue(f"must be a size, not {raw!r}", "write [640, 360], 640x360, 16:9 or 256")
    if any(isinstance(side, bool) or not isinstance(side, int) for side in raw):
        raise InvalidValue(
            f"must be two whole numbers of pixels, not {list(raw)!r}",
            "write [640, 360], 640x360, 16:9 or 256",
        )
    for side in raw:
        if not SMALLEST <= side <= LARGEST:
            raise InvalidValue(
                f"must have sides between {SMALLEST} and {LARGEST} pixels, not {side}"
            )
    return raw[0], raw[1]


def _read_text(raw: str, area: float) -> Any:
    if match := _TIMES.fullmatch(raw):
        return int(match[1][:9]), int(match[2][:9])
    if not (match := _RATIO.fullmatch(raw)):
        raise InvalidValue(
            f"must be a size, not '{raw[:40]}'", "write [640, 360], 640x360, 16:9 or 256"
        )
    a, b = float(match[1]), float(match[2])
    if not (a and b) or not 1 / 32 <= a / b <= 32:
        raise InvalidValue(f"must be a ratio between 1:32 and 32:1, not '{raw}'")
    # multiples of 16 suit video codecs, pixel grids and VQGAN
    return tuple(max(16, 16 * round(math.sqrt(area * r) / 16)) for r in (a / b, b / a))


def whole(raw: Any) -> Any:
    """A whole number that is written as 3.0 as an int, as JSON and YAML 1.2 see it; else `raw`."""
    return int(raw) if isinstance(raw, float) and raw.is_integer() else raw


def _read_seed(raw: Any) -> Any:
    if raw == "random":
        return raw
    raw = whole(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw < 2**63:
        raise InvalidValue(
            f"must be a whole number from 0 to {2**63 - 1}, or 'random', not {raw!r}"
        )
    return raw


def _read_device(raw: Any) -> Any:
    if isinstance(raw, str) and re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?|mps", raw):
        return str(raw)
    raise InvalidValue(f"must be auto, cpu, cuda, cuda:N or mps, not {raw!r}")


def _read_names(inputs: dict[str, Value]) -> dict[str, Value]:
    taken = {*CLOCK, *CONSTANTS, *FUNCTIONS}
    for name in inputs:
        if name in taken:
            raise InvalidValue(
                f"has an input '{name}', a name reserved in expressions",
                "choose another name",
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise InvalidValue(
                f"has an invalid input name '{name}'", "a name can have only letters, digits and _"
            )
    return inputs


_SIDE = r"0*(?:1[6-9]|[2-9]\d|[1-9]\d\d|[1-7]\d{3}|80\d\d|81[0-8]\d|819[0-2])"
"""A whole number from SMALLEST to LARGEST."""
_PROPORTION = r"(?!0+(?:\.0+)?(?:$|:))\d+(?:\.\d+)?"
_SIZE_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST},
        {
            "type": "string",
            "pattern": rf"^{_SIDE}\s*[xX×]\s*{_SIDE}$|^{_PROPORTION}:{_PROPORTION}$",
            "patternErrorMessage": f"must be a size from {SMALLEST} to {LARGEST} pixels: "
            "[640, 360], 640x360, 16:9 or 256",
            "examples": ["640x360", "16:9"],
        },
        {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST},
        },
    ]
}
Size = Annotated[tuple[int, int], BeforeValidator(read_size), WithJsonSchema(_SIZE_SCHEMA)]
Seed = Annotated[
    int | Literal["random"],
    BeforeValidator(_read_seed),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**63 - 1}, {"const": "random"}]}
    ),
]
Device = Annotated[
    str,
    BeforeValidator(_read_device),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(auto|cpu|cuda(:\d{1,2})?|mps)$",
            "patternErrorMessage": "must be auto, cpu, cuda, cuda:N or mps",
            "examples": ["auto", "cpu", "cuda", "cuda:0", "mps"],
        }
    ),
]
Inputs = Annotated[
    dict[
        Annotated[
            str,
            WithJsonSchema(
                {
                    "type": "string",
                    "pattern": rf"^(?!(?:{'|'.join((*CLOCK, *CONSTANTS, *FUNCTIONS))})$)"
                    "[A-Za-z_][A-Za-z0-9_]*$",
                }
            ),
        ],
        Value,
    ],
    AfterValidator(_read_names),
]


class GeneralSettings(Settings):
    """The general settings of a recipe."""

    title: str = Field("", description="title of the result")
    seed: Seed = Field(
        0, description="seed of all random numbers; random: choose one and record it"
    )
    size: Size = Field(
        (DEFAULT_SIDE, DEFAULT_SIDE),
        description="width and height in pixels: "
        "[640, 360], 640x360, 16:9, or the side of a square",
    )
    steps: int = Field(200, ge=1, le=100_000, description="number of optimisation steps")
    fps: float = Field(
        24.0,
        gt=0,
        le=1000,
        description="steps per second of the clock of values over time, and frames per second "
        "of films",
    )
    device: Device = Field(
        "auto", description="device to compute on: auto, cpu, cuda, cuda:N or mps"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="precision of the perceptors; auto measures which is fastest"
    )
    do: str = Field(DEFAULT_DO, description="what the recipe does; for several steps see `stages`")
    inputs: Inputs = Field(
        {},
        description="named numbers over time that expressions can use",
        json_schema_extra={"additionalProperties": False},
    )


TOP_LEVEL = (
    "pixweave",
    *LAYERS,
    *GeneralSettings.model_fields,
    *BARE,
    "prompts",
    *KINDS,
    "crops",
    "optimizer",
    "stages",
)
"""All recipe keys, except `x-...`."""
