"""The JSON Schema of recipes, covering all installed plugins, for editors and validators."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from pixweave.component import Component, part_settings
from pixweave.recipe import top_level
from pixweave.recipe.part_reader import takes_prompts
from pixweave.recipe.section_reader import SECTIONS
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.plugins import Plugins, RegisteredComponent

Schema = dict[str, Any]

_HELP = {
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
}


def schema(plugins: Plugins) -> Schema:
    """The JSON Schema (draft 2020-12) of recipes that use the installed components."""
    writer = _Writer(plugins)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pixweave recipe",
        "description": "A recipe of pixweave; `pixweave schema -o FILE` writes this file.",
        "type": "object",
        "properties": writer.top_level(),
        "patternProperties": {"^x-": {"description": "free for any use"}},
        "additionalProperties": False,
        "required": ["pixweave"],
        "$defs": writer.definitions,
    }


class _Writer:
    """Builds the schema, and collects the definitions that it refers to."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        plugins.import_all()  # a component that cannot be imported has no schema
        self.definitions: Schema = {"value": _plain_schema(Value)}

    def top_level(self) -> Schema:
        """The schema of each key."""
        names = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        core_schema = self.model("core", top_level.GeneralSettings)
        found: Schema = {
            "pixweave": {"const": top_level.FORMAT},
            "extends": names,
            "quality": {"enum": list(top_level.QUALITIES)},
            "presets": names,
            **core_schema["properties"],
            "prompts": self.prompts(),
            "crops": self.model("crops", CropSettings),
            "optimizer": self.optimizer(OptimizerSettings),
            **{key: self.section(key, model) for key, model in SECTIONS.items()},
        }
        for key, kind in top_level.KINDS.items():
            one = {"anyOf": [*self.parts(kind)]}
            found[key] = one if key == "generator" else {"type": "array", "items": one}
        names_of_do = dict.fromkeys([top_level.DEFAULT_DO, *self.plugins.offers("stage")])
        found["do"] = {"enum": list(names_of_do), "description": found["do"]["description"]}
        found["stages"] = {"type": "array", "minItems": 1, "items": self.stages()}
        for registered in self.plugins.offers(
            "stage"
        ).values():  # with `do: X` its settings are top-level keys
            if registered.name != top_level.DEFAULT_DO:
                for key, setting in self.stage(registered)["properties"].items():
                    found.setdefault(key, setting)
        ordered = [*top_level.TOP_LEVEL, *(key for key in found if key not in top_level.TOP_LEVEL)]
        return {key: _described(found[key], _HELP.get(key, "")) for key in ordered}

    def stages(self) -> Schema:
        """One stage of any type: a mapping, or just the name if no setting is required."""
        offers = self.plugins.offers("stage")
        bare = [name for name, registered in offers.items() if not _required(registered)]
        return {"anyOf": [{"enum": bare}, *map(self.stage, offers.values())]}

    def stage(self, registered: RegisteredComponent) -> Schema:
        """The schema of one type of stage."""
        result = self.model(f"stage.{registered.name}", registered.component)
        do = _described({"const": registered.name}, _text(registered.component))
        return {**result, "properties": {"do": do, **result["properties"]}, "required": ["do"]}

    def nested(self, component: type[BaseModel], properties: Schema) -> Schema:
        """The properties of a component, including nested parts and inline settings."""
        found = dict(properties)
        for name, spec in part_settings(component).items():
            one = {"anyOf": [*self.parts(spec.kind)]}
            schema = {"type": "array", "items": one} if spec.many else one
            found[name] = _described(schema, str(properties[name].get("description", "")))
            inline = self.plugins.offers(spec.kind).get(spec.inline) if spec.inline else None
            if inline is not None:
                own = self.model(f"{spec.kind}.{spec.inline}", inline.component)["properties"]
                found |= {key: value for key, value in own.items() if key not in found}
        if issubclass(component, Component) and takes_prompts(component):
            found["prompts"] = _described(self.prompts(), _HELP["prompts"])
        return found

    def model(self, name: str, model: type[BaseModel]) -> Schema:
        """The schema of a settings model, with its definitions moved to the top level."""
        result = model.model_json_schema(
            ref_template=f"#/$defs/{name}.{{model}}", schema_generator=_Generator
        )
        for key, definition in result.pop("$defs", {}).items():
            self.definitions[f"{name}.{key}"] = definition
        result.pop("title", None)
        for setting in result.get("properties", {}).values():
            setting.pop("title", None)
        properties = self.nested(model, result.get("properties", {}))
        return {**result, "properties": properties, "additionalProperties": False}

    def section(self, key: str, model: type[BaseModel]) -> Schema:
        """The schema of an optional section, or its short form."""
        result = model.model_json_schema(
            ref_template=f"#/$defs/{key}.{{model}}", schema_generator=_Generator
        )
        for name, definition in result.pop("$defs", {}).items():
            self.definitions[f"{key}.{name}"] = definition
        return {"anyOf": [*result["anyOf"], {"type": "null"}]}

    def optimizer(self, model: type[BaseModel]) -> Schema:
        """The settings of the optimiser, or just its name."""
        result = self.model("optimizer", model)
        return {"anyOf": [copy.deepcopy(result["properties"]["use"]), result]}

    def parts(self, kind: str) -> list[Schema]:
        """The alternatives for a part of a kind: a name, or a mapping for each component."""
        offers = self.plugins.offers(kind)
        found: list[Schema] = []
        for name, registered in offers.items():
            key = f"{kind}.{name}"
            if key not in self.definitions:
                self.definitions[key] = {}  # placeholder: a part may contain parts of its own kind
                self.definitions[key] = self.component(key, registered)
            found.append({"$ref": f"#/$defs/{key}"})
        if kind == "exporter":
            return [{"type": "string", "pattern": _endings(offers)}, *found]
        bare: Schema = {
            "enum": [name for name, registered in offers.items() if not _required(registered)]
        }
        if kind == "generator":  # a layer may override only some settings of the generator
            found.append({"type": "object", "not": {"required": ["use"]}})
        return [bare, *found]

    def component(self, key: str, registered: RegisteredComponent) -> Schema:
        """The schema of one component, with the keys that recipes add: use, id, weight."""
        result = self.model(key, registered.component)
        use: Schema = {"enum": [registered.name, f"{registered.plugin}/{registered.name}"]}
        properties = {"use": use, "id": _ID, **result["properties"]}
        if registered.kind in top_level.WEIGHED:
            properties["weight"] = _described(
                {"$ref": "#/$defs/value"}, "factor of this part, a number over time"
            )
        use_is_optional = registered.kind == "exporter"
        required = (
            result.get("required", []) if use_is_optional else ["use", *result.get("required", [])]
        )
        return {**result, "properties": properties, "required": required}

    def prompts(self) -> Schema:
        """A text, or the settings of the loss `prompt` without `use`."""
        registered = self.plugins.offers("loss").get("prompt")
        items: list[Schema] = [{"type": "string"}]
        if registered is not None:
            result = self.component("loss.prompt", registered)
            items.append({**result, "required": [n for n in result["required"] if n != "use"]})
        one = {"anyOf": items}
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": one}]}


_ID = {
    "type": "string",
    "pattern": r"^[A-Za-z][\w-]{0,63}$",
    "description": "a name for this part, for --set and reports",
}


class _Generator(GenerateJsonSchema):
    """Omits defaults that JSON cannot represent, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def _plain_schema(kind: Any) -> Schema:
    from pydantic import TypeAdapter

    return TypeAdapter(kind).json_schema()


def _described(result: Schema, text: str) -> Schema:
    return {**result, "description": text} if text else result


def _text(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _required(registered: RegisteredComponent) -> bool:
    return any(info.is_required() for info in registered.component.model_fields.values())


def _endings(offers: dict[str, RegisteredComponent]) -> str:
    endings = {s[1:] for o in offers.values() for s in o.component.suffixes}
    return f"\\.({'|'.join(sorted(endings))})$" if endings else ""
