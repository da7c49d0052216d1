"""What a recipe does: `do: classify`, or several `stages:`, one on what the last one left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import Mark, did_you_mean
from pixweave.recipe.layers import DEFAULT
from pixweave.recipe.nodes import Node, Written
from pixweave.recipe.part_reader import Part, PartReader, bad_prompts, desugar
from pixweave.recipe.stage_types import DOINGS
from pixweave.recipe.validation import Subject, Validator

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

STILL = (".png", ".jpg", ".jpeg")
"""Endings of exports that later stages can look at."""
SHORT = "zero_shot"
"""The classifier whose settings may stand in the stage itself."""
SIMPLE = "exact"
"""The searcher where none is named."""
GENERATING = ("size", "steps", "fps", "prompts", "generator", "losses", "augmentations", "export",
              "crops", "optimizer", "inputs", "filters", "start_from", "mask",
              "overlay")  # fmt: skip
"""Keys that only a recipe with a stage `generate` has a use for."""


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe; `parts` are its own, by the key that they stand under."""

    do: str
    settings: Any
    parts: Mapping[str, tuple[Part, ...]] = field(hash=False)
    mark: Mark = field(compare=False, repr=False)
    node: Node = field(compare=False, repr=False)


def lift(tree: Node, plugins: Plugins) -> Node:
    """The tree with `do: X` made into `stages: [{do: X, ...}]`, and the sugar of stages undone."""
    do = tree.get("do")
    word = do.value if do is not None else "generate"
    if do is not None and "stages" not in tree and word != "generate" and word in DOINGS:
        own = _own_keys(str(word), plugins)
        held = {key: node for key, node in tree.items()
                if key in own and node.mark != DEFAULT}  # fmt: skip
        rest = {key: node for key, node in tree.items() if key not in held and key != "do"}
        stage = Node({"do": do, **held}, do.mark, do.key_mark)
        tree = replace(tree, value={**rest, "stages": Node([stage], do.mark, do.key_mark)})
    stages = tree.get("stages")
    if stages is None or not isinstance(stages.value, list):
        return tree
    sweet = [_desugar(item, plugins) for item in stages.value]
    return replace(tree, value={**tree.value, "stages": replace(stages, value=sweet)})


def also(tree: Node, plugins: Plugins) -> set[str]:
    """The keys that the top of a recipe may have besides, since it says `do: classify`."""
    stages = tree.get("stages")
    if stages is None or not isinstance(stages.value, list) or not stages.value:
        return set()
    do = stages[0].get("do") if isinstance(stages[0].value, dict) else None
    short = do is not None and do.mark == stages.mark
    return _own_keys(str(do.value), plugins) if do is not None and short else set()


def _own_keys(do: str, plugins: Plugins) -> set[str]:
    """The keys that belong to a stage; the recipe's perceptors stay the recipe's."""
    doing = DOINGS[do]
    keys = {*doing.model.model_fields, *doing.parts} - {"perceptors"}
    if "losses" in doing.parts:
        keys.add("prompts")
    return keys | _short(do, plugins)


def _short(do: str, plugins: Plugins) -> set[str]:
    """Settings of the classifier `zero_shot`, which a stage may have as its own."""
    offer = plugins.offers("classifier").get(SHORT) if do == "classify" else None
    return set(offer.component.model_fields) if offer else set()


def _desugar(stage: Node, plugins: Plugins) -> Node:
    if isinstance(stage.value, str):
        stage = Node({"do": stage}, stage.mark, stage.key_mark)
    if not isinstance(stage.value, dict):
        return stage
    stage = desugar(stage)
    do = stage.get("do")
    if do is not None and do.value == "search":
        return _with_searcher(stage)
    classifier = stage.get("classifier")
    if classifier is not None and isinstance(classifier.value, str):
        named = replace(classifier, value={"use": classifier})
        return replace(stage, value={**stage.value, "classifier": named})
    moved = _short(str(do.value) if do is not None else "", plugins) & set(stage.value)
    if classifier is not None or not moved:
        return stage
    held = {key: node for key, node in stage.items() if key in moved}
    mark = next(iter(held.values())).place
    use = Node(Written.make(SHORT, mark, Path()), mark)
    made = Node({"use": use, **held}, mark)
    rest = {key: node for key, node in stage.items() if key not in moved}
    return replace(stage, value={**rest, "classifier": made})


def _with_searcher(stage: Node) -> Node:
    """The stage with its searcher as a mapping: the exact one where none is named."""
    named = stage.get("searcher") or Node(Written.make(SIMPLE, DEFAULT, Path()), DEFAULT)
    if not isinstance(named.value, str):
        return stage
    whole = replace(named, value={"use": named})
    return replace(stage, value={**stage.value, "searcher": whole})


class StageReader:
    """Reads the stages of a lifted tree; problems go to the validator."""

    def __init__(self, plugins: Plugins, check: Validator) -> None:
        self.plugins, self.check = plugins, check
        self.parts = PartReader(plugins, check)

    def read(self, tree: Node) -> tuple[Stage, ...]:
        """The stages; none for a recipe that only generates, or when one of them is wrong."""
        node = tree.get("stages")
        if node is None:
            return ()
        if "do" in tree:
            self.check.fail(tree["do"].place, "'do' and 'stages' are both there", "remove one")
        if not isinstance(node.value, list) or not node.value:
            self.check.fail(node.mark, "'stages' must be a list of what to do",
                            "write 'stages: [{do: generate, seeds: 4}, ...]'")  # fmt: skip
            return ()
        found = [stage for item in node.value if (stage := self._one(item)) is not None]
        if len(found) < len(node.value):
            return ()
        self._in_order(found)
        self._see(found, tree)
        return tuple(found)

    def _one(self, node: Node) -> Stage | None:
        do = node.get("do") if isinstance(node.value, dict) else None
        if do is None or do.value not in DOINGS:
            said = f"'{do.value}' is nothing that a stage can do" if do else "a stage needs 'do'"
            hint = did_you_mean(str(do.value) if do else "", DOINGS)
            self.check.fail(do.mark if do else node.mark, said, hint)
            return None
        name = str(do.value)
        doing = DOINGS[name]
        keys = {*doing.parts, "do"}
        also = (*doing.parts, *sorted(_short(name, self.plugins)))
        if "losses" in doing.parts:
            also = (*also, "prompts")
            self._prompts(node)
        rest = {k: n for k, n in node.items() if k not in keys}
        settings = self.check.settings(
            doing.model, replace(node, value=rest), Subject(f"stage '{name}'", also=also)
        )
        parts = {key: self.parts.read(node, key, kind) for key, kind in doing.parts.items()}
        for key in doing.needed:
            if key not in node or node[key].value in (None, []):
                wish = "prompts or losses" if key == "losses" else "labels, or a classifier"
                self.check.fail(node.mark, f"stage '{name}' needs {wish}")
        return None if settings is None else Stage(name, settings, parts, node.mark, node)

    def _prompts(self, node: Node) -> None:
        for bad in bad_prompts(node):
            said = "a prompt must be a text, or a mapping with 'text' or 'image'"
            self.check.fail(bad.mark, said, "put a number in quotes")

    def _in_order(self, stages: list[Stage]) -> None:
        for number, stage in enumerate(stages):
            given = getattr(stage.settings, "input", ())
            where = (stage.node.get("input") or stage.node).place
            if number and stage.do == "generate":
                self.check.fail(stage.mark, "'generate' must be the first stage")
            elif stage.do == "search":
                self._search(number, stage)
            elif number and given:
                self.check.fail(where, f"'input' of stage '{stage.do}' is not used: it gets the "
                                "pictures of the stage before it", "remove it")  # fmt: skip
            elif not number and stage.do != "generate" and not given:
                self.check.fail(stage.mark, f"stage '{stage.do}' comes first and has no pictures",
                                "add 'input: [photos/]', or a stage 'generate' before it"
                                )  # fmt: skip


    def _search(self, number: int, stage: Stage) -> None:
        """A first search has an index or pictures, a later one neither."""
        from pixweave.search import is_index

        settings = stage.settings
        if number:
            for key, why in (
                ("index", "it searches the pictures of the stage before it"),
                ("input", "it gets the pictures of the stage before it"),
                ("tag", "the pictures of the stage before it have no tags"),
            ):
                if getattr(settings, key):
                    where = (stage.node.get(key) or stage.node).place
                    self.check.fail(where, f"'{key}' of stage 'search' is not used: {why}",
                                    "remove it")  # fmt: skip
        elif not settings.index and not settings.input:
            self.check.fail(stage.mark, "stage 'search' comes first and has no pictures",
                            "add 'index: DIR' of an index, 'input: [photos/]', or a stage "
                            "'generate' before it")  # fmt: skip
        elif not settings.input and not is_index(settings.index):
            where = (stage.node.get("index") or stage.node).mark
            self.check.fail(where, f"'index' of stage 'search' names '{settings.index}', in which "
                            "there is no index", "make it with `pixweave index`, or add 'input: "
                            "[photos/]'")  # fmt: skip

    def _see(self, stages: list[Stage], tree: Node) -> None:
        """An index has one perceptor."""
        for stage in stages:
            if "perceptors" not in stage.parts or stage.do == "rank":
                continue
            own = stage.parts["perceptors"]
            if len(own) > 1:
                self.check.fail(stage.node["perceptors"].place, f"stage '{stage.do}' sees with "
                                f"one perceptor, and has {len(own)}", "keep one")  # fmt: skip
            elif not own and tree["perceptors"].value in (None, []):
                self.check.fail(stage.mark, f"stage '{stage.do}' needs a perceptor",
                                "add 'perceptors: [tiny]'")  # fmt: skip


def check_use(check: Validator, written: Node, stages: tuple[Stage, ...],
              exports: tuple[Part, ...]) -> None:  # fmt: skip
    """Note what the stages have no use for, and what they lack."""
    if stages[0].do != "generate":
        for key in GENERATING:
            if key in written and written[key].mark != DEFAULT:
                check.fail(written[key].place, f"'{key}' is not used: no stage generates",
                           "remove it, or add a stage 'generate'")  # fmt: skip
        return
    files = [str(getattr(part.settings, "file", "")) for part in exports]
    if len(stages) > 1 and not any(file.lower().endswith(STILL) for file in files):
        where = (written.get("export") or stages[0].node).place
        check.fail(where, "the stages after 'generate' have no picture to look at",
                   "export one, such as picture.png")  # fmt: skip


def still(paths: list[str]) -> str | None:
    """The first of the exported files that a later stage can look at."""
    return next((path for path in paths if path.lower().endswith(STILL)), None)


def parts_of(stages: tuple[Stage, ...]) -> Iterator[Part]:
    """Every part of the stages."""
    for stage in stages:
        for parts in stage.parts.values():
            yield from parts
