"""Recipes from files, layers and `--set` to one frozen `Recipe`, or every problem at once."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from pixweave.component import Settings
from pixweave.errors import Problem, RecipeError, did_you_mean
from pixweave.recipe import check_schedules, overrides, top_level
from pixweave.recipe import stage_reader as stages
from pixweave.recipe.layers import DEFAULT, Layers, default_layer
from pixweave.recipe.nodes import Node
from pixweave.recipe.part_reader import Part, PartReader, bad_prompts, desugar
from pixweave.recipe.recipe import Recipe
from pixweave.recipe.section_reader import complaints
from pixweave.recipe.section_reader import read as read_sections
from pixweave.recipe.validation import CORE, Subject, Validator

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

T = TypeVar("T")
S = TypeVar("S", bound=Settings)


def load(sources: Sequence[str | Path], plugins: Plugins, sets: Sequence[str] = ()) -> Recipe:
    """The recipe that files, built-in names (`hello`) or `-` (stdin) make, merged left to right.

    `sets` are `--set` texts such as `steps=100`. Raises RecipeError with every problem found,
    and MissingError when a source is not there. Imports no torch.
    """
    layers = Layers()
    found = [layers.add_source(source) for source in sources]
    name, folder = found[0] if found else ("recipe", Path.cwd())
    return _finish(layers, name, folder, plugins, sets)


def load_text(text: str, name: str, folder: Path, plugins: Plugins,
              sets: Sequence[str] = ()) -> Recipe:  # fmt: skip
    """The recipe in a text; `folder` is what its paths are relative to. Raises like `load`."""
    layers = Layers()
    layers.add_text(text, name, folder)
    return _finish(layers, Path(name).stem, folder, plugins, sets)


def _finish(
    layers: Layers, name: str, folder: Path, plugins: Plugins, sets: Sequence[str]
) -> Recipe:
    problems: list[Problem] = layers.problems
    asked = [c for text in sets if (c := _noting(problems, overrides.read, text)) is not None]
    structural = [change for change in asked if overrides.is_layer(change)]
    if layer := _noting(problems, overrides.layer, structural):
        layers.add_node(layer)
    tree = layers.merged()
    for change in asked:
        if not overrides.is_layer(change):
            tree = _noting(problems, overrides.apply, tree, change) or tree
    tree = replace(tree, value={**default_layer().value, **tree.value})  # --set ~generator
    if any(_is_fatal(problem) for problem in problems):
        raise RecipeError(_unique(problems))
    tree = stages.lift(tree, plugins)
    return _Builder(plugins, desugar(tree), tree, layers, problems).recipe(name, folder)


def _noting(problems: list[Problem], do: Callable[..., T], *args: Any) -> T | None:
    try:
        return do(*args)
    except RecipeError as error:
        problems += error.problems
        return None


def _is_fatal(problem: Problem) -> bool:
    """Whether more problems would be found only because of this one."""
    return "the format is not stated" not in problem.message


def _unique(problems: Sequence[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


class _Builder:
    """Turns one merged tree into a Recipe."""

    def __init__(
        self, plugins: Plugins, tree: Node, written: Node, layers: Layers, problems: list[Problem]
    ) -> None:
        self.plugins, self.tree, self.written, self.layers = plugins, tree, written, layers
        self.check = Validator(plugins)
        self.check.problems += problems

    def recipe(self, name: str, folder: Path) -> Recipe:
        """The recipe; RecipeError with all problems if there are any."""
        from pixweave.recipe.sections import Crops, Optimizer  # it imports this package

        self._unknown_keys()
        head = self.check.settings(top_level.Core, self._only(top_level.Core), CORE)
        crops = self._section("crops", Crops)
        optimizer = self._section("optimizer", Optimizer)
        brought: dict[str, Any] = read_sections(self.tree, self.check)
        doing = stages.StageReader(self.plugins, self.check).read(self.tree)
        self.draws = "stages" not in self.tree or (bool(doing) and doing[0].do == "generate")
        parts = self._parts()
        if doing:
            stages.check_use(self.check, self.written, doing, parts["export"])
        if head is not None:
            sections = {"crops": crops, "optimizer": optimizer, **brought}
            every = {**parts, "stages": tuple(stages.parts_of(doing))}
            check_schedules.check_values(self.check, self.tree, head, sections, every)
        if self.check.problems:
            raise RecipeError(_unique(self.check.problems))
        assert head is not None
        assert crops is not None
        assert optimizer is not None
        recipe = Recipe(
            title=head.title, name=name, folder=folder,
            seed=secrets.randbits(32) if head.seed == "random" else head.seed,
            size=head.size, steps=head.steps, fps=head.fps, device=head.device,
            precision=head.precision, inputs=head.inputs, generator=parts["generator"][0],
            perceptors=parts["perceptors"], losses=parts["losses"],
            augmentations=parts["augmentations"], filters=parts["filters"],
            exports=parts["export"], crops=crops, optimizer=optimizer, stages=doing, **brought,
            sources=tuple(self.layers.texts), tree=self.tree,
            labels=self.layers.labels)  # fmt: skip
        return self._settled(recipe)

    def _unknown_keys(self) -> None:
        known = [*top_level.TOP_LEVEL, *stages.also(self.written, self.plugins)]
        for key, node in self.written.items():
            if key in top_level.TOP_LEVEL or key.startswith("x-"):
                continue
            home = self.check.home_of(key, CORE)
            self.check.fail(
                node.place,
                f"'{key}' is not a key of recipes",
                home or did_you_mean(key, known),
            )

    def _only(self, model: type[BaseModel]) -> Node:
        held = {k: n for k, n in self.tree.items() if k in model.model_fields}
        return replace(self.tree, value=held)

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

    def _parts(self) -> dict[str, tuple[Part, ...]]:
        reader = PartReader(self.plugins, self.check)
        self._check_prompts()
        parts = {key: reader.read(self.tree, key) for key in top_level.KINDS}
        wishes = [self.written.get("prompts"), self.written.get("losses")]
        empty = all(n is None or n.value in (None, []) or n.mark == DEFAULT for n in wishes)
        if self.draws and empty:
            top = self.layers.found[-1] if self.layers.found else self.tree
            self.check.fail(
                top.mark,
                "nothing is wished for: the recipe has no prompts and no losses",
                "add 'prompts: [a fox in snow]'",
            )
        self._same_file(parts["export"])
        return parts

    def _check_prompts(self) -> None:
        for node in bad_prompts(self.written):
            self.check.fail(
                node.mark,
                "a prompt must be a text, or a mapping with 'text' or 'image'",
                "put a number in quotes",
            )
        if "prompts" in self.tree:  # it could not be made into losses
            self.check.fail(
                self.tree["prompts"].mark,
                "'prompts' must be a list of texts",
                "write 'prompts: [a fox in snow]'",
            )

    def _same_file(self, exports: Sequence[Part]) -> None:
        seen: dict[str, Part] = {}
        for part in exports:
            file = part.node.get("file")
            if file is None or not isinstance(file.value, str):
                continue
            if file.value in seen:
                self.check.fail(
                    file.mark, f"'{file.value}' is exported twice", "choose another name"
                )
            seen.setdefault(file.value, part)

    def _settled(self, recipe: Recipe) -> Recipe:
        """The recipe after its parts were asked; RecipeError if one of them refuses it.

        The generator sees the size that was asked for, the other parts the one that it makes.
        """
        self._ask_sections(recipe)
        warnings = self._ask(recipe.generator, recipe)
        fitted = recipe if self.check.problems else self._fitted(recipe, warnings)
        for part in recipe.parts:
            if part is not recipe.generator:
                warnings += self._ask(part, fitted)
        for stage in recipe.stages:
            around = _around(fitted, stage)
            for part in itertools.chain(*stage.parts.values()):
                warnings += self._ask(part, around)
        if self.check.problems:
            raise RecipeError(_unique(self.check.problems))
        return replace(fitted, warnings=tuple(_unique(warnings)))

    def _ask_sections(self, recipe: Recipe) -> None:
        for key, found in complaints(recipe, self.plugins):
            where = _place(self.tree[key], found.setting).mark
            self.check.fail(where, f"'{key}': {found.message}", found.hint)

    def _fitted(self, recipe: Recipe, warnings: list[Problem]) -> Recipe:
        part = recipe.generator
        fit = getattr(part.settings, "fit_size", lambda size: size)
        asked = self.tree.get("size")
        try:
            size = top_level.read_size(tuple(fit(recipe.size)))
        except Exception as error:
            self.check.fail(part.mark, f"{part.kind} '{part.use}' makes no such size: {error}")
            return recipe
        if size == recipe.size or asked is None:  # nobody asked for the default size
            return replace(recipe, size=size)
        old, new = (f"{w}x{h}" for w, h in (recipe.size, size))
        said = f"size {old} becomes {new}, the nearest that generator '{part.use}' makes"
        warnings.append(Problem(asked.mark, said))
        return replace(recipe, size=size)

    def _ask(self, part: Part, recipe: Recipe) -> list[Problem]:
        """The warnings of one part; what it refuses is noted."""
        warnings: list[Problem] = []
        name = f"{part.kind} '{part.use}'"
        try:
            complaints = list(part.settings.check(recipe))
        except Exception as error:  # a plugin's own check broke
            said = f"{name} cannot check the recipe: {type(error).__name__}: {error}"
            self.check.fail(part.mark, said, f"plugin {part.plugin} is at fault")
            return warnings
        for found in complaints:
            where = _place(part.node, found.setting).mark
            problem = Problem(where, f"{name}: {found.message}", found.hint)
            (self.check.problems if found.fatal else warnings).append(problem)
        return warnings


def _around(recipe: Recipe, stage: stages.Stage) -> Recipe:
    """The recipe as the parts of a stage see it: with the stage's perceptors and losses."""
    return replace(
        recipe,
        perceptors=stage.parts.get("perceptors") or recipe.perceptors,
        losses=stage.parts.get("losses") or recipe.losses,
    )


def _place(node: Node, setting: str) -> Node:
    """The node of a setting (`palette`, `colors.2`), or the nearest one around it."""
    for step in setting.split(".") if setting else ():
        if isinstance(node.value, list) and step.isdecimal() and int(step) < len(node.value):
            node = node[int(step)]
        elif step in node:
            node = node[step]
        else:
            break
    return node
