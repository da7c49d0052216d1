"""The JSON Schema of stages: `do` selects the definition of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixweave.recipe import top_level
from pixweave.recipe.part_schema import PartSchemas, is_required, short, text
from pixweave.recipe.schema_words import Schema, choice, described, is_one_of, refuse

if TYPE_CHECKING:
    from pixweave.component import Component
    from pixweave.plugins import RegisteredComponent


def stages(parts: PartSchemas) -> Schema:
    """The list of stages: the first may need `input`, the others get it from the one before."""
    stages = dict(parts.offered("stage"))
    bare = {n: text(o.component) for n, o in stages.items() if not is_required(o.component)}
    named = choice(bare, f"must be a stage: {short(bare)}, or {{do: ..., ...}}")
    drawing = [name for name, o in stages.items() if "draw" in o.component.can]
    hungry = [name for name, o in stages.items() if needs_input(o.component)]
    parts.found["stage"] = {
        "title": "stage",
        "type": "object",
        "properties": {"do": stage_names(parts, "what the stage does")},
        "required": ["do"],
    }
    selected = []
    for key, (names, registered) in parts.names("stage").items():
        parts.found[key] = _stage(parts, key, registered)
        selected.append({"if": is_one_of("do", names), "then": {"$ref": f"#/$defs/{key}"}})
    if selected:
        parts.found["stage"]["allOf"] = selected
    first = {
        "if": is_one_of("do", hungry),
        "then": {"type": "object", "required": ["input"]},
        "else": refuse(hungry, "the first stage needs `input`, or a stage `generate` before it"),
    }
    only_first = refuse(drawing, "this must be the first stage")
    properties = {"do": only_first, "input": False}
    later = {
        "if": {"type": "object"},
        "then": {"type": "object", "properties": properties},
        "else": only_first,
    }
    return {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [named, {"$ref": "#/$defs/stage"}]},
        "allOf": [{"type": "array", "prefixItems": [first], "items": later}],
    }


def stage_names(parts: PartSchemas, description: str) -> Schema:
    """The names of the stages."""
    names = {n: text(o.component) for n, o in parts.offered("stage")}
    names = {top_level.DEFAULT_DO: names.get(top_level.DEFAULT_DO, ""), **names}
    return described(choice(names, f"must be a stage: {short(names)}"), description)


def needs_input(component: type[Component]) -> bool:
    """Whether a stage needs `input` when it is the first."""
    return "input" in component.model_fields and "input_optional" not in component.can


def _stage(parts: PartSchemas, key: str, registered: RegisteredComponent) -> Schema:
    """The definition of one stage."""
    result = parts.model(key, registered.component)
    title = f"stage {registered.name}"
    return {**result, "title": title, "properties": {"do": True, **result["properties"]}}
