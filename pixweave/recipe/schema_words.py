"""Words and small forms of the JSON Schema, and the keywords that only editors know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]

EDITOR_KEYWORDS = (
    "doNotSuggest",
    "errorMessage",
    "markdownEnumDescriptions",
    "patternErrorMessage",
)
"""Keywords of YAML editors beyond JSON Schema: they change no verdict, only texts and offers."""

WORDS = {
    "pixweave": "the format of the recipe",
    "extends": "recipes to extend: files, relative to this one, or built-in recipes",
    "quality": "a preset of steps and crops; see `pixweave cat presets/draft`",
    "presets": "presets to build on",
    "start_from": "the image to start from, instead of noise",
    "mask": "where the image may change; elsewhere it stays identical to the start image",
    "overlay": "an image that is blended over the result every few steps",
    "prompts": "what the image should show; shorthand for losses with `use: prompt`",
    "perceptors": "the models that compare the image with texts, such as CLIP",
    "generator": "what makes the image",
    "losses": "the losses to minimise, in addition to the prompts",
    "augmentations": "changes to the crops before a perceptor encodes them",
    "filters": "changes to the image before it is shown or exported, in this order",
    "export": "the files to write; the extension selects the exporter",
    "crops": "the crops of the image that perceptors encode",
    "optimizer": "the optimiser and its learning rate",
    "stages": "the steps of the recipe, in order; each gets the images of the one before",
    "do": "what the recipe does; for several steps see `stages`",
}
"""The description of each top-level key that is not a general setting."""


def described(result: Schema, text: str) -> Schema:
    """The schema with a description; unchanged if the text is empty."""
    return {**result, "description": text} if text else result


def choice(names: Mapping[str, str], message: str) -> Schema:
    """One of these names; each has a text that editors show beside it."""
    if not names:
        return {"not": {}, "errorMessage": "no plugin that is installed offers one"}
    return {
        "enum": list(names),
        "markdownEnumDescriptions": list(names.values()),
        "errorMessage": message,
    }


def refuse(names: Iterable[str], message: str) -> Schema:
    """None of these names."""
    known = list(names)
    if not known:
        return {}
    return {"if": {"enum": known}, "then": {"type": "null", "errorMessage": message}}


def is_one_of(key: str, names: Iterable[str]) -> Schema:
    """A condition: the key of a mapping has one of these names."""
    known = list(names)
    if not known:
        return {"not": {}}
    return {"type": "object", "properties": {key: {"enum": known}}, "required": [key]}


def definition_name(words: str) -> str:
    """A name of a definition that can stand in a `$ref`: the name of a plugin may have spaces."""
    return re.sub(r"[^\w.-]", "-", words)


def any_of(schemas: Iterable[Schema]) -> Schema | bool:
    """One of these schemas; anything if there are none."""
    found = list(schemas)
    if len(found) < 2:
        return found[0] if found else True
    return {"anyOf": found}


def one_or_more(*kinds: Schema, null: bool = False) -> Schema:
    """A value of one of these kinds, or a list of them; `null` allows an empty key."""
    one = kinds[0] if len(kinds) == 1 else {"anyOf": list(kinds)}
    nothing: list[Schema] = [{"type": "null"}] if null else []
    return {"anyOf": [*kinds, {"type": "array", "items": one}, *nothing]}


def exactly_one(*names: str) -> Schema:
    """Exactly one of these settings is set; for `model_config` of a component."""
    is_set = {"type": ["string", "array", "object"]}
    each = [{"required": [name], "properties": {name: is_set}} for name in names]
    return {"oneOf": [{"type": "object", **one} for one in each]}


def tidy(schema: Any, *, plain: bool = False) -> Any:
    """The schema without pixweave's own `x-` keywords; `plain` removes those of editors too."""
    if isinstance(schema, list):
        return [tidy(item, plain=plain) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key.startswith("x-") or (plain and key in EDITOR_KEYWORDS):
            continue
        if key in _BY_NAME and isinstance(value, dict):
            found[key] = {name: tidy(inner, plain=plain) for name, inner in value.items()}
        elif key in _DATA:
            found[key] = value
        else:
            found[key] = tidy(value, plain=plain)
    return found


_BY_NAME = ("properties", "patternProperties", "$defs", "dependentSchemas")
"""Keywords whose keys are names."""
_DATA = ("enum", "const", "default", "examples", "required")
"""Keywords whose values are not schemas."""
