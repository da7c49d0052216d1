"""A whole JSON Schema from its parts: what is repeated becomes one definition."""

from __future__ import annotations

from typing import Any

from pixweave.recipe.schema_words import Schema, definition_name, tidy
from pixweave.timeline.keyframes import LARGEST
from pixweave.timeline.values import EXPRESSION


def document(made: Schema, definitions: Schema, *, plain: bool = False) -> Schema:
    """The JSON Schema (draft 2020-12) with these definitions.

    Numbers over time are within float32, whole numbers within 64 bits. `plain` leaves out the
    keywords that only editors know.
    """
    expression = {"title": "expression", **EXPRESSION}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "$defs": {**definitions, "expression": expression},
    }
    shared: Schema = {}
    whole = _shared(whole, shared)
    whole["$defs"] |= shared
    return tidy(whole, plain=plain)


def _shared(schema: Any, found: Schema) -> Any:
    """The schema with one definition for each range of numbers over time, added to `found`."""
    if isinstance(schema, list):
        each = [_shared(item, found) for item in schema]
        return _over_time(schema, found) if EXPRESSION in schema else each
    if not isinstance(schema, dict):
        return schema
    shared = _optional({key: _shared(value, found) for key, value in schema.items()})
    return {"maximum": 2**63 - 1, **shared} if schema.get("type") == "integer" else shared


def _optional(schema: Schema) -> Schema:
    """One kind of value or null as one schema, which editors describe once."""
    kinds = schema.get("anyOf", [])
    if len(kinds) != 2 or kinds[1] != {"type": "null"} or not isinstance(kinds[0].get("type"), str):
        return schema
    found = {**kinds[0], **{key: value for key, value in schema.items() if key != "anyOf"}}
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    return {**found, "type": [kinds[0]["type"], "null"]}


def _over_time(kinds: list[Schema], found: Schema) -> list[Schema]:
    """The alternatives of a number over time, as a reference to a definition in `found`."""
    over_time = [_bounded(item) for item in kinds if item.get("type") != "null"]
    name = definition_name("-".join(["over-time", *_range(over_time[0])]))
    found.setdefault(name, {"title": "number over time", "anyOf": over_time})
    nothing = [item for item in kinds if item.get("type") == "null"]
    return [{"$ref": f"#/$defs/{name}"}, *nothing]


def _bounded(schema: Schema) -> Schema:
    """A number over time within float32, or the numbers of its keyframes."""
    if schema == EXPRESSION:
        return {"$ref": "#/$defs/expression"}
    if schema.get("type") == "number":
        low = {} if "exclusiveMinimum" in schema else {"minimum": -LARGEST}
        high = {} if "exclusiveMaximum" in schema else {"maximum": LARGEST}
        return {**low, **high, **schema}
    found = dict(schema)
    for key in ("properties", "patternProperties"):
        if key in schema:
            found[key] = {name: _bounded(inner) for name, inner in schema[key].items()}
    if "anyOf" in schema:
        found["anyOf"] = [_bounded(inner) for inner in schema["anyOf"]]
    return found


def _range(schema: Schema) -> list[str]:
    return [f"{key}_{schema[key]:g}" for key in sorted(schema) if "imum" in key]
