"""Read the stages of a recipe: `do: classify`, or a list of `stages:` that pass on images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pixweave.component import Component, Part
from pixweave.errors import describe_value, did_you_mean
from pixweave.recipe import top_level
from pixweave.recipe.layers import DEFAULT
from pixweave.recipe.nodes import Node
from pixweave.recipe.part_reader import (
    PartReader,
    expand,
    inline_settings,
    make_part,
    takes_prompts,
)
from pixweave.recipe.validation import Subject, Validator

if TYPE_CHECKING:
    from pixweave.plugins import Plugins, RegisteredComponent

STILL = (".png", ".jpg", ".jpeg")
"""Extensions of exported images that later stages can read."""

DRAWING = (
    *("size", "steps", "fps", "prompts", "generator", "losses", "augmentations", "export"),
    *("crops", "optimizer", "inputs", "filters", "start_from", "mask", "overlay"),
)
"""Keys that are used only by a stage that generates an image."""


def lift(tree: Node, plugins: Plugins) -> Node:
    """The tree with `do: X` rewritten as `stages: [{do: X, ...}]`, and stages expanded."""
    do = tree.get("do")
    name = do.value if do is not None else top_level.DEFAULT_DO
    known = plugins.get("stage", name)
    if do is not None and "stages" not in tree and known and name != top_level.DEFAULT_DO:
        stage_keys = own_keys(known.component, plugins)
        moved = {
            key: node for key, node in tree.items() if key in stage_keys and node.mark != DEFAULT
        }
        rest = {key: node for key, node in tree.items() if key not in moved and key != "do"}
        stage = Node({"do": do, **moved}, do.mark, do.key_mark)
        tree = replace(tree, value={**rest, "stages": Node([stage], do.mark, do.key_mark)})
    stages = tree.get("stages")
    if stages is None or not isinstance(stages.value, list):
        return tree
    opened = [_opened(item) for item in stages.value]
    return replace(tree, value={**tree.value, "stages": replace(stages, value=opened)})


def short_keys(tree: Node, plugins: Plugins) -> set[str]:
    """The keys of the stage that may be at the top level of a recipe with `do: classify`."""
    stages = tree.get("stages")
    if stages is None or not isinstance(stages.value, list) or not stages.value:
        return set()
    do = stages[0].get("do") if isinstance(stages[0].value, dict) else None
    if do is None or do.mark != stages.mark:
        return set()
    registered = plugins.get("stage", do.value)
    return set() if registered is None else own_keys(registered.component, plugins)


def own_keys(component: type[Component], plugins: Plugins) -> set[str]:
    """The keys that belong to a stage; `perceptors` always belong to the recipe."""
    keys = set(component.model_fields) - {"perceptors"}
    if takes_prompts(component):
        keys.add("prompts")
    for names in inline_settings(component, plugins).values():
        keys.update(names)
    return keys


def _opened(stage: Node) -> Node:
    """A stage expanded to a mapping, with its parts as mappings with `use`."""
    if isinstance(stage.value, str):
        stage = Node({"do": stage}, stage.mark, stage.key_mark)
    return expand(stage) if isinstance(stage.value, dict) else stage


class StageReader:
    """Reads the stages of a tree from `lift`; issues are added to the validator."""

    def __init__(self, plugins: Plugins, check: Validator) -> None:
        self.plugins, self.check = plugins, check
        self.parts = PartReader(plugins, check)

    def read(self, tree: Node) -> tuple[Part, ...]:
        """The stages; empty if the recipe has none, or if one of them is invalid."""
        node = tree.get("stages")
        if node is None:
            return ()
        if "do" in tree:
            self.check.fail(tree["do"].place, "the recipe has both 'do' and 'stages'", "remove one")
        if not isinstance(node.value, list) or not node.value:
            self.check.fail(
                node.mark,
                "'stages' must be a list of stages",
                "write 'stages: [{do: generate, seeds: 4}, ...]'",
            )
            return ()
        found = [self._one(number, item) for number, item in enumerate(node.value)]
        stages = tuple(stage for stage in found if stage is not None)
        return stages if len(stages) == len(found) else ()

    def first(self, tree: Node) -> type[Component] | None:
        """The component of the first stage; None if there is none, or if it is unknown."""
        node = tree.get("stages")
        items = node.value if node is not None and isinstance(node.value, list) else []
        registered = self._offer(items[0]) if items else None
        return registered.component if registered is not None else None

    def _offer(self, node: Node) -> RegisteredComponent | None:
        do = node.get("do")
        return self.plugins.get("stage", do.value) if do is not None else None

    def _one(self, number: int, node: Node) -> Part | None:
        registered = self._offer(node)
        if registered is None:
            do = node.get("do")
            self._report_unknown(node, do)
            return None
        self._check_order(number, registered.component, registered.name, node)
        also = sorted(
            own_keys(registered.component, self.plugins) - set(registered.component.model_fields)
        )
        rest = {key: item for key, item in node.items() if key != "do"}
        subject = Subject(f"stage '{registered.name}'", also=tuple(also))
        settings = self.parts.settings(registered.component, replace(node, value=rest), subject)
        if settings is None:
            return None
        return make_part(registered, str(node["do"].value), settings, node, id_=registered.name)

    def _report_unknown(self, node: Node, do: Node | None) -> None:
        if do is None:
            hint = did_you_mean("", self.plugins.offers("stage"))
            self.check.fail(node.mark, "a stage needs 'do'", hint)
            return
        if not isinstance(do.value, str):
            message = f"'do' must be the name of a stage, not {describe_value(do.value)}"
            self.check.fail(do.mark, message, did_you_mean("", self.plugins.offers("stage")))
            return
        try:
            self.plugins.find("stage", str(do.value))
        except LookupError as error:
            message, hint = (*error.args, "")[:2]
            self.check.fail(do.mark, str(message), str(hint))

    def _check_order(self, number: int, component: type[Component], name: str, node: Node) -> None:
        """Check that a generating stage is first, and that `input` is set only on a first stage."""
        if number and "draw" in component.can:
            self.check.fail(node.mark, f"'{name}' must be the first stage")
        if "input" not in component.model_fields:
            return
        given = node.get("input")
        if number and given is not None and given.value:
            self.check.fail(
                given.place,
                f"'input' of stage '{name}' is not used: it gets the images of the previous stage",
                "remove it",
            )
        elif (
            not number
            and (given is None or not given.value)
            and "input_optional" not in component.can
        ):
            self.check.fail(
                node.mark,
                f"stage '{name}' is the first stage and has no input",
                "add 'input: [photos/]', or a stage 'generate' before it",
            )


def check_use(
    check: Validator, written: Node, first: type[Component], exports: tuple[Part, ...]
) -> None:
    """Add issues for keys that the stages do not use, and for a missing image export."""
    stages = written["stages"]
    if "draw" not in first.can:
        for key in DRAWING:
            if key in written and written[key].mark != DEFAULT:
                check.fail(
                    written[key].place,
                    f"'{key}' is not used: no stage generates",
                    "remove it, or add a stage 'generate'",
                )
        return
    files = [str(getattr(part.settings, "file", "")) for part in exports]
    if len(stages.value) > 1 and not any(file.lower().endswith(STILL) for file in files):
        where = (written.get("export") or stages.value[0]).place
        check.fail(
            where,
            "the stages after 'generate' have no image to work on",
            "export one, such as picture.png",
        )


def still_picture(paths: list[str]) -> str | None:
    """The first exported file that later stages can read, or None."""
    return next((path for path in paths if path.lower().endswith(STILL)), None)
