"""The JSON Schema of parts and stages: one definition per component, found by its name.

A part is a name, or a mapping whose `use` selects the definition; for exporters the ending of
`file` does, for stages `do`. So an editor reports and completes the settings of that component.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from pixweave.component import Component, part_settings
from pixweave.errors import indefinite
from pixweave.media.endings import ends_in
from pixweave.recipe import top_level
from pixweave.recipe.part_reader import takes_prompts
from pixweave.recipe.path_types import INSIDE
from pixweave.recipe.schema_words import (
    WORDS,
    Schema,
    any_of,
    choice,
    definition_name,
    described,
    is_one_of,
    one_or_more,
)
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.plugins import Plugins, RegisteredComponent

_ID = {
    "type": "string",
    "pattern": r"^[A-Za-z][\w-]{0,63}$",
    "patternErrorMessage": "must start with a letter; then letters, digits, - and _",
    "description": "a name for this part, for --set and reports",
}

_WEIGHT = {"$ref": "#/$defs/value", "description": "factor of this part, a number over time"}


class PartSchemas:
    """Builds the definitions of parts; `found` holds those that were needed so far."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        plugins.import_all()  # a component that cannot be imported has no schema
        over_time = {"title": "number over time", **TypeAdapter(Value).json_schema()}
        self.found: Schema = {"value": over_time}

    def part(self, kind: str) -> Schema:
        """A part of a kind: a name, or a mapping."""
        offers = list(self.offered(kind))
        if kind == "exporter":
            return {"anyOf": [self._file_names(), self._mapping(kind)]}
        bare = {name: text(o.component) for name, o in offers if not is_required(o.component)}
        named = choice(bare, f"must be {indefinite(kind)}: {short(bare)}, or {{use: ..., ...}}")
        return {"anyOf": [named, self._mapping(kind)]}

    def parts(self, kind: str) -> Schema:
        """A list of parts of a kind."""
        return {"type": ["array", "null"], "items": self.part(kind)}

    def prompts(self) -> Schema:
        """One or more texts, or mappings: the settings of the loss `prompt`, or of any loss."""
        texts: Schema = {"type": "string", "minLength": 1}
        if "prompt" not in self.plugins.offers("loss"):
            return one_or_more(texts, null=True)
        self.part("loss")
        self.found["prompt"] = {
            "title": "prompt",
            "type": "object",
            "if": {"type": "object", "required": ["use"]},
            "then": {"$ref": "#/$defs/loss"},
            "else": {
                "type": "object",
                "properties": {"id": _ID, "weight": _WEIGHT},
                "$ref": "#/$defs/loss.prompt",
            },
        }
        return one_or_more(texts, {"$ref": "#/$defs/prompt"}, null=True)

    def offered(self, kind: str) -> Iterator[tuple[str, RegisteredComponent]]:
        """The names of a kind, bare and as `plugin/name`, each with its component."""
        bare = self.plugins.offers(kind)
        yield from bare.items()
        for plugin in self.plugins.loaded.values():
            for registered in plugin.offers:
                if registered.kind == kind:
                    yield f"{registered.plugin}/{registered.name}", registered

    def names(self, kind: str) -> dict[str, tuple[list[str], RegisteredComponent]]:
        """The names that select each component of a kind, by the name of its definition."""
        bare = self.plugins.offers(kind)
        found: dict[str, tuple[list[str], RegisteredComponent]] = {}
        for name, registered in self.offered(kind):
            owner = bare.get(registered.name)
            is_bare = owner is not None and owner.plugin == registered.plugin
            middle = "" if is_bare else f"{registered.plugin}."
            key = definition_name(f"{kind}.{middle}{registered.name}")
            found.setdefault(key, ([], registered))[0].append(name)
        return found

    def any_settings(self, kind: str) -> Schema:
        """A mapping without `use`: settings of any component of a kind."""
        settings: dict[str, dict[str, Schema]] = {}
        for key in self.names(kind):
            for name, setting in self.found[key]["properties"].items():
                known = settings.setdefault(name, {})
                if setting is not True and setting not in known.values():
                    known[f"#/$defs/{key}/properties/{name}"] = setting
        each = {name: any_of({"$ref": ref} for ref in known) for name, known in settings.items()}
        return {"type": "object", "properties": {**each, "id": True}, "additionalProperties": False}

    def model(self, name: str, model: type[BaseModel]) -> Schema:
        """The schema of settings, with nested parts; its own definitions become `name.X`."""
        result = self.plain(name, model)
        properties = self._nested(model, result.get("properties", {}))
        result |= {"properties": properties, "additionalProperties": False}
        if issubclass(model, Component):
            result.pop("required", None)
            result |= needs_parts(self, model)
        return result

    def plain(self, name: str, model: type[BaseModel]) -> Schema:
        """The schema of settings as pydantic writes it, without titles of single settings."""
        result = model.model_json_schema(
            ref_template=f"#/$defs/{name}.{{model}}", schema_generator=_Generator
        )
        for key, definition in result.pop("$defs", {}).items():
            self.found[f"{name}.{key}"] = {**definition, "title": key.lower()}
        result.pop("title", None)
        for setting in result.get("properties", {}).values():
            setting.pop("title", None)
        if result.get("description"):
            result["description"] = text(model)
        return result

    def _mapping(self, kind: str) -> Schema:
        """The mapping form of a part of a kind."""
        if kind in self.found:  # a part may contain parts of its own kind
            return {"$ref": f"#/$defs/{kind}"}
        self.found[kind] = {}
        selected = []
        for key, (names, registered) in self.names(kind).items():
            self.found[key] = self._component(key, registered)
            selected.append({"if": is_one_of("use", names), "then": {"$ref": f"#/$defs/{key}"}})
        properties: Schema = {"use": self._use(kind), "id": _ID}
        if kind in top_level.WEIGHED:
            properties["weight"] = _WEIGHT
        result: Schema = {"title": kind, "type": "object", "properties": properties}
        if kind == "exporter":
            result["properties"]["file"] = {
                "type": "string",
                "pattern": f"{INSIDE}$",
                "patternErrorMessage": "must be a file name in the run folder",
                "description": "name of the file in the run folder",
            }
            result["if"] = {"type": "object", "required": ["use"]}
            result["then"] = True
            result["else"] = {
                "type": "object",
                "properties": {"file": self._file_names()},
                "required": ["file"],
                "allOf": [{}, *self._by_ending()],
            }
        else:
            result["required"] = ["use"]
        self.found[kind] = result | ({"allOf": selected} if selected else {})
        return {"$ref": f"#/$defs/{kind}"}

    def _use(self, kind: str) -> Schema:
        names = {name: text(o.component) for name, o in self.offered(kind)}
        message = f"must be {indefinite(kind)}: {short(names)}"
        return described(choice(names, message), f"the name of the {kind}")

    def _component(self, key: str, registered: RegisteredComponent) -> Schema:
        """The definition of one component, which allows the keys that recipes add."""
        result = self.model(key, registered.component)
        also = ("use", "id", "weight") if registered.kind in top_level.WEIGHED else ("use", "id")
        properties = {**dict.fromkeys(also, True), **result["properties"]}
        return {
            **result,
            "title": f"{registered.kind} {registered.name}",
            "properties": properties,
        }

    def _file_names(self) -> Schema:
        """The names of exported files."""
        endings = list(self._endings())
        shown = ", ".join(ending if ending != "/" else "name/" for ending in endings)
        return {
            "type": "string",
            "pattern": INSIDE + ends_in(endings),
            "patternErrorMessage": f"must be a file name in the run folder that ends in {shown}",
            "examples": [f"picture{e}" if e != "/" else "frames/" for e in endings],
            "description": "a file in the run folder; its ending selects the exporter",
        }

    def _endings(self) -> dict[str, str]:
        """The definition of the exporter for each ending."""
        known = self.names("exporter")
        keys = {(o.plugin, o.name): key for key, (_, o) in known.items()}
        endings = sorted({s for _, o in known.values() for s in o.component.suffixes})
        owners = {ending: self.plugins.exporter_for(ending) for ending in endings}
        return {ending: keys[o.plugin, o.name] for ending, o in owners.items()}

    def _by_ending(self) -> Iterator[Schema]:
        """For each exporter: its settings, if the file has one of its endings."""
        endings = self._endings()
        for key in dict.fromkeys(endings.values()):
            pattern = ends_in(ending for ending in endings if endings[ending] == key)
            file = {"type": "string", "pattern": pattern}
            matches = {"type": "object", "properties": {"file": file}, "required": ["file"]}
            yield {"if": matches, "then": {"$ref": f"#/$defs/{key}"}}

    def _nested(self, component: type[BaseModel], properties: Schema) -> Schema:
        """The properties of a component, with nested parts and the settings written inline."""
        found = dict(properties)
        for name, spec in part_settings(component).items():
            schema = self.parts(spec.kind) if spec.many else self.part(spec.kind)
            found[name] = described(schema, str(properties[name].get("description", "")))
            inline = self.plugins.offers(spec.kind).get(spec.inline) if spec.inline else None
            if inline is not None:
                own = self.model(f"{spec.kind}.{spec.inline}", inline.component)["properties"]
                found |= {key: value for key, value in own.items() if key not in found}
        if issubclass(component, Component) and takes_prompts(component):
            found["prompts"] = described(self.prompts(), WORDS["prompts"])
        return found


class _Generator(GenerateJsonSchema):
    """Omits defaults that JSON cannot represent, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def needs_parts(schemas: PartSchemas, component: type[Component]) -> Schema:
    """The `required` of a component: parts that have a short form may be given by that."""
    required = [n for n, info in component.model_fields.items() if info.is_required()]
    either: list[Schema] = []
    for name, spec in part_settings(component).items():
        inline = schemas.plugins.offers(spec.kind).get(spec.inline) if spec.inline else None
        others = list(inline.component.model_fields) if inline is not None else []
        if takes_prompts(component) and spec.kind == "loss" and spec.many:
            others.append("prompts")
        if name in required and others:
            required.remove(name)
            either.append({"anyOf": [{"required": [key]} for key in (name, *others)]})
    result: Schema = {"required": required} if required else {}
    return result | ({"allOf": either} if either else {})


def is_required(component: type[BaseModel]) -> bool:
    """Whether a component has a setting without a default."""
    return any(info.is_required() for info in component.model_fields.values())


def text(model: type[BaseModel]) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((model.__doc__ or "").strip().partition("\n\n")[0].split())


def short(names: Mapping[str, str] | Iterable[str]) -> str:
    """The names without those of the form `plugin/name`."""
    return ", ".join(sorted(name for name in names if "/" not in name))
