"""The JSON Schema of recipes, covering all installed plugins, for editors and validators."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from pixweave.errors import RecipeError
from pixweave.recipe import top_level
from pixweave.recipe.image_inputs import ShorthandSettings
from pixweave.recipe.library import PRESETS, known_recipes
from pixweave.recipe.part_schema import PartSchemas, needs_parts
from pixweave.recipe.paths import builtins
from pixweave.recipe.read_text import read_text
from pixweave.recipe.schema_document import document
from pixweave.recipe.schema_words import (
    WORDS,
    Schema,
    choice,
    described,
    is_one_of,
    one_or_more,
)
from pixweave.recipe.section_reader import SECTIONS
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.recipe.stage_reader import DRAWING, own_keys
from pixweave.recipe.stage_schema import needs_input, stage_names, stages

if TYPE_CHECKING:
    from pixweave.plugins import Plugins


def schema(plugins: Plugins, *, plain: bool = False) -> Schema:
    """The JSON Schema (draft 2020-12) of recipes that use the installed components.

    It has some keywords that only editors know, see `EDITOR_KEYWORDS`; `plain` leaves them out.
    """
    writer = _Writer(plugins)
    made = {
        "title": "pixweave recipe",
        "description": "A recipe of pixweave; `pixweave schema -o FILE` writes this file.",
        "type": "object",
        "properties": writer.top_level(),
        "patternProperties": {"^x-": {"description": "free for any use"}},
        "additionalProperties": False,
        "required": ["pixweave"],
        "allOf": [*writer.each_do(), *writer.alone()],
    }
    return document(made, writer.parts.found, plain=plain)


class _Writer:
    """The top level of the schema; the definitions of parts are in `parts.found`."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.parts = PartSchemas(plugins)
        self.stages = dict(self.parts.offered("stage"))

    def top_level(self) -> Schema:
        """The schema of each key."""
        general = self.parts.model("core", top_level.GeneralSettings)["properties"]
        known = known_recipes(self.plugins)
        presets = {n.removeprefix(PRESETS): p for n, p in known.items() if n.startswith(PRESETS)}
        recipes = {name: path for name, path in known.items() if not name.startswith(PRESETS)}
        found: Schema = {
            "pixweave": {"const": top_level.FORMAT},
            "extends": _names(recipes, "must be the name of a file or of a built-in recipe"),
            "quality": _quality(),
            "presets": _names(presets, "must be the name of a preset"),
            **general,
            "do": stage_names(self.parts, general["do"]["description"]),
            "prompts": self.parts.prompts(),
            "crops": {"title": "crops", **self.parts.model("crops", CropSettings)},
            "optimizer": self.optimizer(),
            **{key: self.section(key, model) for key, model in SECTIONS.items()},
        }
        for key, kind in top_level.KINDS.items():
            found[key] = self.generator() if key == "generator" else self.parts.parts(kind)
        found["export"]["uniqueItems"] = True
        found["stages"] = stages(self.parts)
        stage = {"description": "a setting of a stage, see `do`", "doNotSuggest": True}
        of_stages = dict.fromkeys(sorted(self.stage_keys() - set(found)), stage)
        ordered = {key: found[key] for key in top_level.TOP_LEVEL}
        return {
            **{key: described(each, WORDS.get(key, "")) for key, each in ordered.items()},
            **of_stages,
        }

    def generator(self) -> Schema:
        """The generator: `use` may be missing, see `without_use`."""
        named, _ = self.parts.part("generator")["anyOf"]
        mapping = dict(self.parts.found["generator"])
        del mapping["required"]
        self.parts.found["generator-or-settings"] = mapping
        return {"anyOf": [named, {"$ref": "#/$defs/generator-or-settings"}]}

    def section(self, key: str, model: type[ShorthandSettings]) -> Schema:
        """An optional section, or its short form."""
        result = self.parts.plain(key, model)
        *short, full = result["anyOf"]
        for setting in full["properties"].values():
            setting.pop("title", None)
        return {"title": key, "anyOf": [*short, {"title": key, **full}, {"type": "null"}]}

    def optimizer(self) -> Schema:
        """The settings of the optimiser, or just its name."""
        result = {"title": "optimizer", **self.parts.model("optimizer", OptimizerSettings)}
        return {"anyOf": [copy.deepcopy(result["properties"]["use"]), result]}

    def stage_keys(self) -> set[str]:
        """The keys of all stages that `do` allows at the top level."""
        short = [o for name, o in self.stages.items() if name != top_level.DEFAULT_DO]
        return {key for o in short for key in own_keys(o.component, self.plugins)}

    def each_do(self) -> list[Schema]:
        """What may stand beside each `do`, and beside stages of which none draws."""
        every, found = self.stage_keys(), []
        for definition, (names, registered) in self.parts.names("stage").items():
            names = [name for name in names if name != top_level.DEFAULT_DO]
            settings = self.parts.found[definition]["properties"]
            where = f"#/$defs/{definition}/properties"
            own = own_keys(registered.component, self.plugins)
            drawing = () if "draw" in registered.component.can else DRAWING
            refused = ((every - set(top_level.TOP_LEVEL)) | {*drawing}) - own
            properties = {
                **dict.fromkeys(sorted(refused), False),
                **{key: {"$ref": f"{where}/{key}"} for key in settings if key in own},
                "stages": False,
            }
            then = {"type": "object", "properties": properties}
            found.append({"if": is_one_of("do", names), "then": then})
        return [*found, self.undrawn()]

    def undrawn(self) -> Schema:
        """With stages of which none draws, the keys of drawing are not used."""
        names = [name for name, o in self.stages.items() if "draw" not in o.component.can]
        first = {"anyOf": [is_one_of("do", names), {"enum": names}]}
        stages = {"type": "array", "minItems": 1, "prefixItems": [first]}
        condition = {"type": "object", "properties": {"stages": stages}, "required": ["stages"]}
        refused = {"type": "object", "properties": dict.fromkeys([*DRAWING, "do"], False)}
        return {"if": condition, "then": refused}

    def alone(self) -> list[Schema]:
        """What a recipe needs, or may not have, that extends no other; and what one that does."""
        hungry = [name for name, o in self.stages.items() if needs_input(o.component)]
        found = [
            {"if": is_one_of("do", hungry), "then": {"type": "object", "required": ["input"]}},
            *(
                {"if": is_one_of("do", names), "then": {"type": "object", **needed}}
                for names, o in self.parts.names("stage").values()
                if (needed := needs_parts(self.parts, o.component))
            ),
            self.drawn(),
        ]
        extends = {"type": "object", "required": ["extends"]}
        presets = {"type": "object", "required": ["presets"]}
        condition = {"anyOf": [extends, presets]}
        lower = self.without_use(self.parts.any_settings("generator"))
        extending = {"type": "object", "properties": lower}
        return [{"if": condition, "then": extending, "else": {"type": "object", "allOf": found}}]

    def drawn(self) -> Schema:
        """What a recipe that draws may not have, and pictures that are complete.

        Prompts are not needed: a preset, or a recipe for others to extend, has none.
        """
        image = {"properties": {"image": {"type": "string"}}, "required": ["image"]}
        whole = {"if": {"type": "object"}, "then": {"type": "object", **image}}
        properties = {
            **dict.fromkeys(sorted(self.stage_keys() - set(top_level.TOP_LEVEL)), False),
            "start_from": whole,
            "overlay": whole,
            **self.default_generator(),
        }
        no_start = {
            "type": "null",
            "errorMessage": "a mask needs `start_from`: outside it the start image stays",
        }
        some = {"type": ["string", "object"]}
        given = {"properties": {"start_from": some}, "required": ["start_from"]}
        start = {
            "if": {"type": "object", **given},
            "then": True,
            "else": {"type": "object", "properties": {"mask": no_start}},
        }
        others = [n for n, o in self.stages.items() if "draw" not in o.component.can]
        drawing = {"type": "object", "properties": properties, "allOf": [start]}
        return {"if": is_one_of("do", others), "then": True, "else": drawing}

    def without_use(self, settings: Schema) -> Schema:
        """The generator without `use` has these settings: of the default, or of a lower layer."""
        no_use = {"type": "object", "properties": {"use": False}}
        return {"generator": {"if": no_use, "then": settings}}

    def default_generator(self) -> Schema:
        """Without `use`, the settings are those of the default generator."""
        key = f"generator.{top_level.DEFAULT_GENERATOR}"
        if key not in self.parts.found:
            return {}
        return self.without_use({"$ref": f"#/$defs/{key}"})


def _names(files: dict[str, Path], message: str) -> Schema:
    """The names of known recipes or presets, or of files; one or more."""
    known = {name: _about(path) for name, path in files.items()}
    any_file = {"type": "string", "minLength": 1, "errorMessage": message}
    return one_or_more(choice(known, message), any_file)


def _quality() -> Schema:
    known = builtins()
    names = {name: _about(known[f"presets/{name}"]) for name in top_level.QUALITIES}
    return choice(names, f"must be one of {', '.join(names)}")


def _about(path: Path) -> str:
    """The first comment of a recipe: what it is for; '' if it has none or cannot be read."""
    try:
        lines = read_text(path, path.name).splitlines()
    except RecipeError:
        return ""
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
