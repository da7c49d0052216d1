"""What a recipe does: `do: classify`, or several `stages:`, one on what the last one left."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from pixweave.component import Field, Settings
from pixweave.errors import Mark, did_you_mean
from pixweave.recipe.expressions import Wrong
from pixweave.recipe.files import nearest, resolve
from pixweave.recipe.layers import DEFAULT
from pixweave.recipe.nodes import Node, Written
from pixweave.recipe.parts import Part, PartReader, bad_prompts, desugar
from pixweave.recipe.words import Subject, Validator

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

STILL = (".png", ".jpg", ".jpeg")
"""Endings of exports that later stages can look at."""
FORMATS = (".csv", ".tsv", ".jsonl")
SHORT = "zero_shot"
"""The classifier whose settings may stand in the stage itself."""
GENERATING = ("size", "steps", "fps", "prompts", "generator", "losses", "augmentations", "export",
              "crops", "optimizer", "inputs", "filters", "start_from", "mask",
              "overlay")  # fmt: skip
"""Keys that only a recipe with a stage `generate` has a use for."""


def _read_seeds(raw: Any) -> int | tuple[int, ...]:
    if isinstance(raw, (list, tuple)):
        if not raw or not all(_is_seed(item) for item in raw):
            raise Wrong("must be a list of whole numbers from 0 on")
        if len(set(raw)) < len(raw):
            raise Wrong("has a seed twice")
        return tuple(raw)
    if not _is_seed(raw) or not 1 <= raw <= 100_000:
        raise Wrong(f"must be how many (1 to 100000), or a list of seeds, not {raw!r}")
    return int(raw)


def _is_seed(raw: Any) -> bool:
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63


def _read_input(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i for i in items):
        raise Wrong("must be a list of files, folders and patterns")
    found = []
    for item in items:
        path = resolve(item)
        if not glob.has_magic(str(item)) and not path.exists():
            raise Wrong(f"names '{item}', which is not there", nearest(path))
        found.append(str(path))
    return tuple(found)


def _read_file(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.endswith(FORMATS) or _leaves(raw):
        raise Wrong(f"must be the name of a file in the run folder, not {raw!r}",
                    "end it in .csv, .tsv or .jsonl")  # fmt: skip
    return str(raw)


def _read_folder(raw: Any) -> str:
    if not isinstance(raw, str) or not raw or _leaves(raw):
        raise Wrong(f"must be the name of a folder in the run folder, not {raw!r}")
    return str(raw)


def _leaves(name: str) -> bool:
    return name.startswith(("/", "~", "\\")) or ".." in name.replace("\\", "/").split("/")


_WHOLE = {"type": "integer", "minimum": 0}
_LIST = {"type": "array", "items": {"type": "string"}}
Seeds = Annotated[
    Any,
    BeforeValidator(_read_seeds),
    WithJsonSchema({"anyOf": [{**_WHOLE, "minimum": 1}, {"type": "array", "items": _WHOLE}],
                    "x-type": "whole number | list of seeds"}),
]  # fmt: skip
Inputs = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_input),
    WithJsonSchema({"anyOf": [{"type": "string"}, _LIST], "x-type": "list of paths"}),
]
TableName = Annotated[
    str,
    BeforeValidator(_read_file),
    WithJsonSchema({"type": "string", "pattern": r"\.(csv|tsv|jsonl)$"}),
]
FolderName = Annotated[str, BeforeValidator(_read_folder), WithJsonSchema({"type": "string"})]


class Generate(Settings):
    """Draw candidates: the recipe's picture for several seeds, each in `candidates/seed-N`."""

    seeds: Seeds = Field(
        1, description="how many, with the recipe's seed and those after it; or a list of seeds"
    )


class Rank(Settings):
    """Order the pictures by losses or prompts, the best first: each is a loss, its sign turned."""

    input: Inputs = Field((), description="pictures: files, folders, patterns; in a first stage")
    keep: int | None = Field(None, ge=1, description="how many go on; by default all")
    file: TableName = Field("ranking.csv", description="table of places and scores")


class Classify(Settings):
    """Name the pictures by a classifier; go on with all, or those that are wanted."""

    input: Inputs = Field((), description="pictures: files, folders, patterns; in a first stage")
    top: int = Field(1, ge=1, description="how many labels the table has for each picture")
    only: tuple[str, ...] | None = Field(
        None, min_length=1, description="go on with the pictures of these labels alone"
    )
    by: str | None = Field(None, description="order them by the score of this label")
    keep: int | None = Field(None, ge=1, description="how many go on; by default all")
    sort_into: FolderName | None = Field(
        None, description="folder, in the run folder, with a folder of pictures for each label"
    )
    how: Literal["copy", "link"] = Field("copy", description="how pictures come into it")
    file: TableName = Field("labels.csv", description="table of labels and scores")


@dataclass(frozen=True)
class Doing:
    """One word for `do`: its settings, and the parts that it takes."""

    model: type[Settings]
    parts: Mapping[str, str] = field(default_factory=dict)
    """Key of the stage -> kind of part."""
    needed: tuple[str, ...] = ()


DOINGS: Mapping[str, Doing] = {
    "generate": Doing(Generate),
    "rank": Doing(Rank, {"losses": "loss", "perceptors": "perceptor"}, ("losses",)),
    "classify": Doing(Classify, {"classifier": "classifier"}, ("classifier",)),
}
"""What a stage can do."""


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
            elif number and given:
                self.check.fail(where, f"'input' of stage '{stage.do}' is not used: it gets the "
                                "pictures of the stage before it", "remove it")  # fmt: skip
            elif not number and stage.do != "generate" and not given:
                self.check.fail(stage.mark, f"stage '{stage.do}' comes first and has no pictures",
                                "add 'input: [photos/]', or a stage 'generate' before it"
                                )  # fmt: skip


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
