"""RecipeBuilder: from one merged tree to a Recipe that all of its parts have checked."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pixweave.borders.guard import Guard
from pixweave.borders.wording import not_a
from pixweave.component import Part, Settings, nested_parts, part_settings
from pixweave.errors import Issue, PartError, RecipeError, did_you_mean
from pixweave.recipe import check_schedules, stage_reader, top_level
from pixweave.recipe.layers import DEFAULT, Layers
from pixweave.recipe.nodes import Node
from pixweave.recipe.output_files import check_outputs
from pixweave.recipe.part_reader import PartReader, bad_prompts, locate
from pixweave.recipe.recipe import Recipe
from pixweave.recipe.section_reader import check_sections, read_sections
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.recipe.top_level import GeneralSettings
from pixweave.recipe.validation import GENERAL, Subject, Validator

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pixweave.plugins import Plugins

S = TypeVar("S", bound=Settings)


class RecipeBuilder:
    """Turns a merged, expanded tree into a Recipe; `written` is the tree before expansion."""

    def __init__(self, plugins: Plugins, tree: Node, written: Node, layers: Layers) -> None:
        self.plugins, self.tree, self.written, self.layers = plugins, tree, written, layers
        self.check = Validator(plugins)
        self.check.issues += layers.unstated

    def recipe(self, name: str, folder: Path) -> Recipe:
        """The recipe; raises RecipeError with all issues if there are any."""
        self._check_keys()
        general = self.check.settings(GeneralSettings, self._only(GeneralSettings), GENERAL)
        crops = self._section("crops", CropSettings)
        optimizer = self._section("optimizer", OptimizerSettings)
        inputs: dict[str, Any] = read_sections(self.tree, self.check)
        reader = stage_reader.StageReader(self.plugins, self.check)
        stages, first = reader.read(self.tree), reader.first(self.tree)
        draws = "stages" not in self.tree or (first is not None and "draw" in first.can)
        parts = self._parts(draws)
        if first is not None:
            stage_reader.check_use(self.check, self.written, first, parts["export"])
        if general is not None:
            sections = {"crops": crops, "optimizer": optimizer, **inputs}
            every = [part for group in (*parts.values(), stages) for part in group]
            check_outputs(self.check, (*parts["export"], *stages))
            check_schedules.check_values(self.check, self.tree, general, sections, every)
        self._raise_issues()
        assert general is not None
        assert crops is not None
        assert optimizer is not None
        recipe = Recipe(
            title=general.title,
            name=name,
            folder=folder,
            seed=secrets.randbits(32) if general.seed == "random" else general.seed,
            size=general.size,
            steps=general.steps,
            fps=general.fps,
            device=general.device,
            precision=general.precision,
            inputs=general.inputs,
            generator=parts["generator"][0],
            perceptors=parts["perceptors"],
            losses=parts["losses"],
            augmentations=parts["augmentations"],
            filters=parts["filters"],
            exports=parts["export"],
            crops=crops,
            optimizer=optimizer,
            stages=stages,
            **inputs,
            sampler=self._sampler(),
            sources=tuple(self.layers.texts),
            tree=self.tree,
            labels=self.layers.labels,
            paths=tuple(self.layers.paths),
            plugins=self.plugins,
        )
        return self._checked(recipe)

    def _sampler(self) -> Part | None:
        """The default sampler for generators, if it is installed; recipes cannot choose one yet."""
        name = top_level.DEFAULT_SAMPLER
        if name not in self.plugins.offers("sampler"):
            return None
        return PartReader(self.plugins, self.check).default("sampler", name)

    def _raise_issues(self) -> None:
        if self.check.issues:
            raise RecipeError(dict.fromkeys(self.check.issues))

    def _check_keys(self) -> None:
        short = stage_reader.short_keys(self.written, self.plugins)
        known = [*top_level.TOP_LEVEL, *short]
        for key, node in self.written.items():
            if key in top_level.TOP_LEVEL or key.startswith("x-"):
                continue
            home = self.check.home_of(key, GENERAL)
            message = f"'{key}' is not a recipe key"
            self.check.fail(node.place, message, home or did_you_mean(key, known))
        do = self.written.get("do")
        is_name = do is not None and isinstance(do.value, str)
        if do is not None and is_name and self.plugins.get("stage", do.value) is None:
            known = [*self.plugins.offers("stage"), top_level.DEFAULT_DO]
            message = f"'{do.value}' is not a valid 'do'"
            self.check.fail(do.mark, message, did_you_mean(str(do.value), known))

    def _only(self, model: type[BaseModel]) -> Node:
        entries = {k: n for k, n in self.tree.items() if k in model.model_fields}
        return replace(self.tree, value=entries)

    def _section(self, key: str, model: type[S]) -> S | None:
        node = self.tree.get(key) or Node({}, self.tree.mark)
        if not isinstance(node.value, dict):
            self.check.fail(
                node.mark,
                f"'{key}' must be a mapping of settings",
                f"write '{key}: {{{next(iter(model.model_fields))}: ...}}'",
            )
            return None
        return self.check.settings(model, node, Subject(key, f"{key}.", core=True))

    def _parts(self, draws: bool) -> dict[str, tuple[Part, ...]]:
        reader = PartReader(self.plugins, self.check)
        self._check_prompts()
        parts = {key: reader.read(self.tree, key) for key in top_level.KINDS}
        goals = [self.written.get("prompts"), self.written.get("losses")]
        empty = all(n is None or n.value in (None, []) or n.mark == DEFAULT for n in goals)
        guided = all("without_losses" not in part.settings.can for part in parts["generator"])
        if draws and empty and guided:
            top = self.layers.found[-1] if self.layers.found else self.tree
            self.check.fail(
                top.mark,
                "the recipe has no prompts and no losses",
                "add 'prompts: [a fox in snow]'",
            )
        return parts

    def _check_prompts(self) -> None:
        for node in bad_prompts(self.written):
            self.check.fail(
                node.mark,
                "a prompt must be text, or a mapping with 'text' or 'image'",
                "put a number in quotes",
            )
        left = self.tree.get("prompts")
        if left is not None and not isinstance(left.value, list):  # not converted to losses
            self.check.fail(
                left.mark,
                "'prompts' must be a list of texts",
                "write 'prompts: [a fox in snow]'",
            )

    def _checked(self, recipe: Recipe) -> Recipe:
        """The recipe after its parts checked it; raises RecipeError if one reports an error.

        The generator gets the requested size, the other parts the size that it can make.
        """
        for key, issue in check_sections(recipe, self.plugins):
            where = locate(self.tree[key], issue.setting)
            self.check.fail(where, f"'{key}': {issue.message}", issue.hint)
        warnings = self._warnings_of(recipe.generator, recipe)
        fitted = recipe if self.check.issues else self._fitted(recipe, warnings)
        for part in recipe.parts:
            if part is not recipe.generator:
                warnings += self._warnings_of(part, fitted)
        for stage in recipe.stages:
            warnings += self._warnings_of(stage, _within_stage(fitted, stage))
        self._raise_issues()
        return replace(fitted, warnings=tuple(dict.fromkeys(warnings)))

    def _fitted(self, recipe: Recipe, warnings: list[Issue]) -> Recipe:
        part = recipe.generator
        requested = self.tree.get("size")
        try:
            with Guard(f"fit_size() of {part.name}", thorough=False):
                given = part.settings.fit_size(recipe.size)
            size = top_level.read_size(_sized(given, part, "fit_size"))
            _ = replace(recipe, size=size).shown_size
        except PartError as error:
            self.check.fail(part.mark, str(error), "this is a bug in the plugin")
            return recipe
        except ValueError as error:  # too large or too small
            self.check.fail(part.mark, f"{part.name} cannot make this size: {error}")
            return recipe
        if size == recipe.size or requested is None:  # no warning for the default size
            return replace(recipe, size=size)
        old, new = (f"{w}x{h}" for w, h in (recipe.size, size))
        message = f"size {old} becomes {new}, the nearest size that {part.name} supports"
        warnings.append(Issue.at(requested.mark, message))
        return replace(recipe, size=size)

    def _issues_of(self, part: Part, recipe: Recipe) -> list[Issue]:
        """What a part has to say about the recipe; if its `check` breaks, that is an issue."""
        try:
            with Guard(f"check() of {part.name}", thorough=False):
                issues = list(part.settings.check(recipe))
            for issue in issues:
                if not isinstance(issue, Issue):
                    raise PartError(f"check() of {part.name}", not_a(issue, "Issue objects"))
        except PartError as error:
            hint = f"this is a bug in the plugin {part.plugin}"
            self.check.fail(part.mark, str(error), hint)
            return []
        return issues

    def _warnings_of(self, part: Part, recipe: Recipe) -> list[Issue]:
        """The warnings of a part and its nested parts; their errors are added to the issues."""
        warnings: list[Issue] = []
        for checked in (part, *nested_parts(part.settings)):
            for issue in self._issues_of(checked, recipe):
                where = checked.locate(issue.setting)
                placed = replace(issue, where=where, message=f"{checked.name}: {issue.message}")
                (self.check.issues if issue.fatal else warnings).append(placed)
        return warnings


def _sized(size: object, part: Part, method: str) -> tuple[int, int]:
    """A size that a part gave; PartError if it is not one."""
    if isinstance(size, (tuple, list)) and len(size) == 2:
        width, height = size
        if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
            return width, height
    raise PartError(part.name, f"{not_a(size, '(width, height) in pixels')} from {method}()")


def _within_stage(recipe: Recipe, stage: Part) -> Recipe:
    """The recipe as seen by the parts of a stage: with the stage's own perceptors and losses."""
    own = {
        name: getattr(stage.settings, name)
        for name in ("perceptors", "losses")
        if name in part_settings(type(stage.settings)) and getattr(stage.settings, name)
    }
    return replace(recipe, **own)
