"""One JSON Schema of recipes with everything that is installed, for editors and validators."""

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
    "extends": "recipes that this one builds on: files beside it, or built-in ones",
    "quality": "a preset of steps and crops; see `pixweave cat presets/draft`",
    "presets": "presets that this recipe stands on",
    "start_from": "the picture to begin with, instead of noise",
    "mask": "where the picture may change; elsewhere it stays what it starts from, to the bit",
    "overlay": "a picture that is blended over every so many steps",
    "prompts": "what the picture should show; short for losses of `use: prompt`",
    "perceptors": "what understands the picture",
    "generator": "what makes the picture",
    "losses": "what is wanted of the picture, besides the prompts",
    "augmentations": "what is done to the crops before a perceptor sees them",
    "filters": "what is done to the picture before it is shown or exported, in this order",
    "export": "the files to write; the ending says which kind",
    "crops": "the crops of the picture that perceptors look at",
    "optimizer": "how the parameters move",
    "stages": "what is done in turn, each with the pictures that the last one left",
}


def schema(plugins: Plugins) -> Schema:
    """The schema (draft 2020-12) that every recipe made of the installed parts follows."""
    writer = _Writer(plugins)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pixweave recipe",
        "description": "A recipe of pixweave; `pixweave schema -o` writes this file anew.",
        "type": "object",
        "properties": writer.top_level(),
        "patternProperties": {"^x-": {"description": "free for your own use"}},
        "additionalProperties": False,
        "required": ["pixweave"],
        "$defs": writer.definitions,
    }


class _Writer:
    """Collects the definitions that the properties refer to."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
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
        words = dict.fromkeys([top_level.DEFAULT_DO, *self.plugins.offers("stage")])
        found["do"] = {"enum": list(words), "description": found["do"]["description"]}
        found["stages"] = {"type": "array", "minItems": 1, "items": self.stages()}
        for offer in self.plugins.offers("stage").values():  # `do: X` has its settings on top
            if offer.name != top_level.DEFAULT_DO:
                for key, made in self.stage(offer)["properties"].items():
                    found.setdefault(key, made)
        ordered = [*top_level.TOP_LEVEL, *(key for key in found if key not in top_level.TOP_LEVEL)]
        return {key: _described(found[key], _HELP.get(key, "")) for key in ordered}

    def stages(self) -> Schema:
        """One stage, whatever it does: a bare word where it needs nothing, or a mapping."""
        offers = self.plugins.offers("stage")
        bare = [name for name, offer in offers.items() if not _required(offer)]
        return {"anyOf": [{"enum": bare}, *map(self.stage, offers.values())]}

    def stage(self, offer: RegisteredComponent) -> Schema:
        """A stage of that kind."""
        made = self.model(f"stage.{offer.name}", offer.component)
        do = _described({"const": offer.name}, _text(offer.component))
        return {**made, "properties": {"do": do, **made["properties"]}, "required": ["do"]}

    def nested(self, component: type[BaseModel], properties: Schema) -> Schema:
        """The properties of a component with its part settings, and what may stand beside them."""
        found = dict(properties)
        for name, spec in part_settings(component).items():
            one = {"anyOf": [*self.parts(spec.kind)]}
            whole = {"type": "array", "items": one} if spec.many else one
            found[name] = _described(whole, str(properties[name].get("description", "")))
            inline = self.plugins.offers(spec.kind).get(spec.inline) if spec.inline else None
            if inline is not None:
                own = self.model(f"{spec.kind}.{spec.inline}", inline.component)["properties"]
                found |= {key: value for key, value in own.items() if key not in found}
        if issubclass(component, Component) and takes_prompts(component):
            found["prompts"] = _described(self.prompts(), _HELP["prompts"])
        return found

    def model(self, name: str, model: type[BaseModel]) -> Schema:
        """The schema of a settings model, its own definitions moved to the top."""
        made = model.model_json_schema(
            ref_template=f"#/$defs/{name}.{{model}}", schema_generator=_Generator
        )
        for key, definition in made.pop("$defs", {}).items():
            self.definitions[f"{name}.{key}"] = definition
        made.pop("title", None)
        for setting in made.get("properties", {}).values():
            setting.pop("title", None)
        properties = self.nested(model, made.get("properties", {}))
        return {**made, "properties": properties, "additionalProperties": False}

    def section(self, key: str, model: type[BaseModel]) -> Schema:
        """A section that a recipe need not have, or the bare setting that stands for it."""
        made = model.model_json_schema(
            ref_template=f"#/$defs/{key}.{{model}}", schema_generator=_Generator
        )
        for name, definition in made.pop("$defs", {}).items():
            self.definitions[f"{key}.{name}"] = definition
        return {"anyOf": [*made["anyOf"], {"type": "null"}]}

    def optimizer(self, model: type[BaseModel]) -> Schema:
        """Its settings, or the bare name of one."""
        made = self.model("optimizer", model)
        return {"anyOf": [copy.deepcopy(made["properties"]["use"]), made]}

    def parts(self, kind: str) -> list[Schema]:
        """What can stand for a part of a kind: a bare name, or a mapping for each component."""
        offers = self.plugins.offers(kind)
        found: list[Schema] = []
        for name, offer in offers.items():
            key = f"{kind}.{name}"
            if key not in self.definitions:
                self.definitions[key] = {}  # a part may hold parts of its own kind
                self.definitions[key] = self.component(key, offer)
            found.append({"$ref": f"#/$defs/{key}"})
        if kind == "exporter":
            return [{"type": "string", "pattern": _endings(offers)}, *found]
        bare: Schema = {"enum": [name for name, offer in offers.items() if not _required(offer)]}
        if kind == "generator":  # a layer may set only some settings of the generator below it
            found.append({"type": "object", "not": {"required": ["use"]}})
        return [bare, *found]

    def component(self, key: str, offer: RegisteredComponent) -> Schema:
        """The schema of one component, with the names that the recipe adds."""
        made = self.model(key, offer.component)
        use: Schema = {"enum": [offer.name, f"{offer.plugin}/{offer.name}"]}
        properties = {"use": use, "id": _ID, **made["properties"]}
        if offer.kind in top_level.WEIGHED:
            properties["weight"] = _described({"$ref": "#/$defs/value"}, "how much it counts")
        nameless = offer.kind == "exporter"
        required = made.get("required", []) if nameless else ["use", *made.get("required", [])]
        return {**made, "properties": properties, "required": required}

    def prompts(self) -> Schema:
        """A text, or the settings of loss `prompt` without its `use`."""
        offer = self.plugins.offers("loss").get("prompt")
        items: list[Schema] = [{"type": "string"}]
        if offer is not None:
            made = self.component("loss.prompt", offer)
            items.append({**made, "required": [n for n in made["required"] if n != "use"]})
        one = {"anyOf": items}
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": one}]}


_ID = {
    "type": "string",
    "pattern": r"^[A-Za-z][\w-]{0,63}$",
    "description": "its own name, for --set and reports",
}


class _Generator(GenerateJsonSchema):
    """Leaves out defaults that have no JSON form, without a warning."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def _plain_schema(kind: Any) -> Schema:
    from pydantic import TypeAdapter

    return TypeAdapter(kind).json_schema()


def _described(made: Schema, text: str) -> Schema:
    return {**made, "description": text} if text else made


def _text(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _required(offer: RegisteredComponent) -> bool:
    return any(info.is_required() for info in offer.component.model_fields.values())


def _endings(offers: dict[str, RegisteredComponent]) -> str:
    endings = {s[1:] for o in offers.values() for s in o.component.suffixes}
    return f"\\.({'|'.join(sorted(endings))})$" if endings else ""
