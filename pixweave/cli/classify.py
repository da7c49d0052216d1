"""The verb `classify`: pictures in, labels out, and into folders if wanted."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import search_filters
from pixweave.errors import MissingError, RunError

if TYPE_CHECKING:
    from pixweave.classification.prediction_table import Prediction
    from pixweave.loading import UnreadableImage
    from pixweave.recipe import Recipe
    from pixweave.search import Filters


@click.command()
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "--index",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Name the pictures of this index, by the vectors in it: opens no file. An INPUT "
    "may be an index too.",
)
@click.option("--labels", metavar="A,B,C", help="What to choose from; quote a label with a comma.")
@click.option("--labels-file", metavar="FILE", help="The same, a label on each line.")
@click.option(
    "--templates",
    default="auto",
    show_default=True,
    metavar="NAME|FILE",
    help="Texts around a label: raw, simple (7), imagenet (80), a file with {} for the "
    "label on each line; auto: what suits the perceptor.",
)
@click.option("--multi", is_flag=True, help="Several labels may be right, each scored by itself.")
@click.option(
    "--unknown-below",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="Call a picture `unknown` if it is less sure than X that any label fits; see "
    "`pixweave show zero_shot`.",
)
@click.option(
    "-k",
    "--top-k",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many labels to show for each picture.",
)
@click.option(
    "--perceptor",
    metavar="NAME|{...}",
    help="What sees, as in a recipe, or "
    "open_clip:MODEL/TAG; by default that of the index, else tiny.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N, mps.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "table", "tsv", "csv", "jsonl"]),
    default="auto",
    help="auto: a table on a terminal, else TSV.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as NDJSON on stdout.")
@click.option(
    "--sort-into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Show which picture would go into which DIR/LABEL; --how does it.",
)
@click.option(
    "--how",
    type=click.Choice(["copy", "link", "move"]),
    help="Really sort into DIR, by copies, symbolic links or moves.",
)
@search_filters.options
@click.option("--hidden", is_flag=True, help="Look at hidden files and folders too.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but what is wrong.")
@click.pass_context
def classify(
    ctx: click.Context,
    inputs: tuple[str, ...],
    folder: Path | None,
    form: str,
    as_json: bool,
    sort_into: Path | None,
    how: Any,
    hidden: bool,
    quiet: bool,
    top_k: int,
    **wishes: Any,
) -> None:
    """Name each picture of INPUT by the label that fits it best.

    INPUT is a file, a folder, a pattern, a run folder, an index, or `-` for a list on standard
    input (lines, or NUL). Rows go to stdout as they come; files that are no pictures are named on
    stderr, with the reason. Exits with 4 if there was no picture at all.
    """
    if how and sort_into is None:
        raise click.UsageError("--how says how to sort; name the folder with --sort-into DIR")
    chosen, wishes = search_filters.split(wishes)
    sources = _sources(inputs, folder, chosen)
    recipe = _recipe(ctx, wishes, _perceptor(wishes["perceptor"], sources))
    printer = _Printer(_form(form, as_json), top_k, recipe)
    found: list[tuple[str, str]] = []
    faults = 0
    for answer in _answers(recipe, sources, hidden, chosen, quiet or as_json):
        if hasattr(answer, "reason"):
            faults += 1
            printer.fault(answer)
        else:
            printer.answer(answer)
            found.append((answer.path, answer.label))
    if not found:
        files = "the only file" if faults == 1 else f"any of {faults} files"
        raise MissingError(f"there is no picture in {files}" if faults else "there is no picture")
    if sort_into is not None:
        _sort(sort_into, found, how, as_json)
    if as_json:
        result = {"event": "result", "ok": True, "pictures": len(found), "faults": faults}
        click.echo(json.dumps(result))


def _sources(inputs: Sequence[str], folder: Path | None, chosen: Filters) -> list[str]:
    """What is named, an index last; UsageError if it is nothing, or filters have no index."""
    from pixweave.search import is_index
    from pixweave.search.index_store import open_index_store

    if not inputs and folder is None:
        raise click.UsageError("name pictures, or an index with --index DIR")
    found = expand(inputs)
    if folder is not None:
        open_index_store(folder).close()  # says what is wrong with it
        found.append(str(folder))
    if chosen and not all(map(is_index, found)):
        raise click.UsageError(
            "filters choose among the pictures of an index; name one with "
            "--index DIR, and nothing else"
        )
    return found


def _perceptor(named: str | None, sources: Sequence[str]) -> Any:
    """The one that is named, else that of the first index, else `tiny`."""
    from pixweave.recipe.part_text import part_entry
    from pixweave.search import is_index, open_index

    folder = next(filter(is_index, sources), None)
    if named is not None or folder is None:
        return part_entry(named or "tiny", "--perceptor")
    with open_index(folder) as index:
        return part_entry(index.made_with, "--perceptor")


def _recipe(ctx: click.Context, wishes: dict[str, Any], perceptor: Any) -> Recipe:
    """The recipe that the options make; what is wrong with them is said as of a recipe."""
    from pixweave.recipe import load_text

    labels, file = wishes["labels"], wishes["labels_file"]
    if (labels is None) == (file is None):
        raise click.UsageError("give either --labels A,B,C or --labels-file FILE")
    settings: dict[str, Any] = {"multi": wishes["multi"], "unknown_below": wishes["unknown_below"]}
    if labels is not None:
        row = next(csv.reader([labels], skipinitialspace=True), [])
        settings["labels"] = [label.strip() for label in row if label.strip()]
    else:
        settings["labels_file"] = file
    sets = wishes["templates"] in ("auto", "raw", "simple", "imagenet")
    settings["templates" if sets else "templates_file"] = wishes["templates"]
    body = {
        "pixweave": 1,
        "do": "classify",
        "input": ".",
        "device": wishes["device"],
        "perceptors": [perceptor],
        **settings,
    }
    text = json.dumps(body, ensure_ascii=True)
    return load_text(text, "the command", Path.cwd(), ctx.obj.plugins())


def expand(inputs: Sequence[str]) -> list[str]:
    """The inputs with `-` replaced by the list on stdin, and a run folder by its pictures."""
    from pixweave.loading import read_list

    found: list[str] = []
    for item in inputs:
        if item == "-":
            found += read_list(sys.stdin.buffer.read())
        else:
            found += _of_a_run(Path(item)) or [item]
    return found


def _of_a_run(folder: Path) -> list[str]:
    """The finished pictures of a run folder; none if it is none."""
    from pixweave.loading.find_images import SUFFIXES

    try:
        run = json.loads((folder / "run.json").read_text("utf-8"))
        outputs = [Path(str(path)) for path in run["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    root = Path(str(run.get("folder", "")))
    inside = [folder / p.relative_to(root) if p.is_relative_to(root) else p for p in outputs]
    return [str(p) for p in inside if p.suffix.lower() in SUFFIXES]


def _answers(
    recipe: Recipe, sources: Sequence[str], hidden: bool, chosen: Filters, quiet: bool
) -> Iterator[Prediction | UnreadableImage]:
    from pixweave.classification.classify_images import classify_inputs
    from pixweave.classification.zero_shot import stage_classifier
    from pixweave.engine.context import open_context
    from pixweave.search import is_index

    context = open_context(recipe, text_only=all(map(is_index, sources)))
    classifier = context.build(stage_classifier(recipe))
    if not quiet:
        name = recipe.perceptors[0].id
        perceptor = getattr(context.perceptors[name], "info", name)
        how = getattr(classifier, "info", "")
        click.echo(f"{perceptor}, {context.device}: {how}", err=True)
    yield from classify_inputs(classifier, sources, context, hidden, chosen)


def _form(form: str, as_json: bool) -> str:
    if as_json:
        return "events"
    return ("table" if sys.stdout.isatty() else "tsv") if form == "auto" else form


class _Printer:
    """Prints rows as they come."""

    def __init__(self, form: str, top: int, recipe: Recipe) -> None:
        stage: Any = recipe.stages[0].settings
        settings = stage.classifier.settings
        labels = list(settings.texts())
        self.form, self.top = form, min(top, len(labels))
        self.sure = settings.unknown_below is not None
        self.wide = max(len(label) for label in [*labels, "unknown" if self.sure else ""])
        self.headed = form not in ("tsv", "csv")

    def answer(self, answer: Prediction) -> None:
        from pixweave.classification.prediction_table import prediction_row
        from pixweave.media import tables

        row = prediction_row(
            answer,
            self.top,
            path=_relative(answer.path),
            known=self.sure,
            nested=self.form in ("jsonl", "events"),
        )
        if self.form == "table":
            scores = "  ".join(f"{name} {score:.3f}" for name, score in answer.scores[1 : self.top])
            more = f"  ({scores})" if scores else ""
            text = f"{answer.score:.3f}  {answer.label:<{self.wide}}  {row['path']}{more}"
            click.echo(text.encode("utf-8", "backslashreplace").decode())
            return
        if not self.headed:
            self.headed = True
            click.echo(tables.heading(list(row), self.form))
        if self.form == "events":
            row = {"event": "picture", **row}
        click.echo(tables.line(row, "jsonl" if self.form == "events" else self.form))
        sys.stdout.flush()  # what was printed is there whatever comes

    def fault(self, fault: Any) -> None:
        path = _relative(fault.path)
        if self.form == "events":
            click.echo(json.dumps({"event": "fault", "path": path, "reason": fault.reason}))
            return
        text = f"no picture: {path}: {fault.reason}"
        click.echo(text.encode("utf-8", "backslashreplace").decode(), err=True)


def _relative(path: str) -> str:
    """The path from here if it lies here."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here)


def _sort(root: Path, found: Sequence[tuple[str, str]], how: Any, as_json: bool) -> None:
    from pixweave.classification import sort_into_folders

    steps = sort_into_folders.plan_moves(root, found)
    clashes = sort_into_folders.carry_out(steps, how) if how else [s for s in steps if s.clash]
    went = len(steps) - len(clashes)
    if as_json:
        bad = {(s.source, s.target): s.clash for s in clashes}
        for step in steps:
            said = {
                "from": _relative(str(step.source)),
                "to": str(step.target),
                "how": how,
                "clash": bad.get((step.source, step.target), ""),
            }
            click.echo(json.dumps({"event": "sort", **said}))
    elif not how:
        for step in steps:
            goes = f"stays, {step.clash}" if step.clash else f"-> {step.target}"
            click.echo(f"{_relative(str(step.source))} {goes}", err=True)
        click.echo(
            f"{went} of {len(steps)} would go into {root}; add --how copy, link or move to do it",
            err=True,
        )
    else:
        for step in clashes:
            click.echo(
                f"not sorted: {_relative(str(step.source))}: '{step.target}' {step.clash}", err=True
            )
        verb = {"copy": "copied", "link": "linked", "move": "moved"}[how]
        click.echo(f"{verb} {went} of {len(steps)} into {root}", err=True)
    if how and clashes:
        raise RunError(
            f"{len(clashes)} of {len(steps)} pictures were not sorted: nothing is replaced"
        )
