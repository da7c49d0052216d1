"""The command `classify`: label images, and optionally sort them into folders."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion, search_filters
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
    help="Classify the images of this index from its stored vectors, without opening files. "
    "An INPUT may be an index too.",
)
@click.option(
    "--labels", metavar="A,B,C", help="Candidate labels; quote a label that contains a comma."
)
@click.option(
    "--labels-file", metavar="FILE", help="Read the candidate labels from FILE, one per line."
)
@click.option(
    "--templates",
    default="auto",
    show_default=True,
    metavar="NAME|FILE",
    help="Prompt templates: raw, simple (7), imagenet (80), or a file with one template per "
    "line, {} standing for the label; auto: the set that suits the perceptor.",
)
@click.option(
    "--multi", is_flag=True, help="Allow several labels per image; each is scored independently."
)
@click.option(
    "--unknown-below",
    type=click.FloatRange(0, 1),
    metavar="X",
    help="Label an image `unknown` if the confidence that any label fits is below X; see "
    "`pixweave show zero_shot`.",
)
@click.option(
    "-k",
    "--top-k",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of labels to show per image.",
)
@click.option(
    "--perceptor",
    shell_complete=completion.perceptors,
    metavar="NAME|{...}",
    help="Perceptor to use: a name, open_clip:MODEL/TAG, or a YAML mapping as in a recipe. "
    "Default: the perceptor of the index, else tiny.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Device to compute on: auto, cpu, cuda, cuda:N or mps.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "table", "tsv", "csv", "jsonl"]),
    default="auto",
    help="Output format; auto: a table on a terminal, else TSV.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as NDJSON on stdout.")
@click.option(
    "--sort-into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Show which image would go into which DIR/LABEL; add --how to sort the files.",
)
@click.option(
    "--how",
    type=click.Choice(["copy", "link", "move"]),
    help="Carry out the sort into DIR by copying, symbolic links or moving (without it, only "
    "show the plan).",
)
@search_filters.options
@click.option("--hidden", is_flag=True, help="Include hidden files and folders.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
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
    **options: Any,
) -> None:
    """Classify images: print the label that fits each best.

    INPUT is a file, a folder, a glob, a run folder, an index, or `-` for a list of paths on
    standard input (separated by newlines or NUL). Rows are printed on stdout as they are ready;
    files that cannot be read as images are reported on stderr, with the reason. The exit code is 4
    if there is no readable image.
    """
    if how and sort_into is None:
        raise click.UsageError("--how needs --sort-into DIR, the folder to sort into")
    filters, options = search_filters.split(options)
    sources = _sources(inputs, folder, filters)
    recipe = _recipe(ctx, options, _perceptor(options["perceptor"], sources))
    printer = _Printer(_form(form, as_json), top_k, recipe)
    found: list[tuple[str, str]] = []
    faults = 0
    for prediction in _predictions(recipe, sources, hidden, filters, quiet or as_json):
        if hasattr(prediction, "reason"):
            faults += 1
            printer.fault(prediction)
        else:
            printer.prediction(prediction)
            found.append((prediction.path, prediction.label))
    if not found:
        files = "the only file found" if faults == 1 else f"any of the {faults} files"
        raise MissingError(f"cannot read {files} as an image" if faults else "no images found")
    if sort_into is not None:
        _sort(sort_into, found, how, as_json)
    if as_json:
        result = {"event": "result", "ok": True, "pictures": len(found), "faults": faults}
        click.echo(json.dumps(result))


def _sources(inputs: Sequence[str], folder: Path | None, filters: Filters) -> list[str]:
    """The inputs, the index last; UsageError if there are none, or filters without an index."""
    from pixweave.search import is_index
    from pixweave.search.index_store import open_index_store

    if not inputs and folder is None:
        raise click.UsageError("name image files or folders, or an index with --index DIR")
    found = expand(inputs)
    if folder is not None:
        open_index_store(folder).close()  # raises an error if it cannot be opened
        found.append(str(folder))
    if filters and not all(map(is_index, found)):
        raise click.UsageError(
            "filters work only on the images of an index; give one with --index DIR, and no "
            "other input"
        )
    return found


def _perceptor(named: str | None, sources: Sequence[str]) -> Any:
    """The entry of the given perceptor, else that of the first index, else `tiny`."""
    from pixweave.recipe.part_text import part_entry
    from pixweave.search import is_index, open_index

    folder = next(filter(is_index, sources), None)
    if named is not None or folder is None:
        return part_entry(named or "tiny", "--perceptor")
    with open_index(folder) as index:
        return part_entry(index.made_with, "--perceptor")


def _recipe(ctx: click.Context, options: dict[str, Any], perceptor: Any) -> Recipe:
    """The recipe equivalent to the options; its errors are reported as for any recipe."""
    from pixweave.recipe import load_text

    labels, labels_file = options["labels"], options["labels_file"]
    if (labels is None) == (labels_file is None):
        raise click.UsageError("give either --labels A,B,C or --labels-file FILE")
    settings: dict[str, Any] = {
        "multi": options["multi"],
        "unknown_below": options["unknown_below"],
    }
    if labels is not None:
        row = next(csv.reader([labels], skipinitialspace=True), [])
        settings["labels"] = [label.strip() for label in row if label.strip()]
    else:
        settings["labels_file"] = labels_file
    is_named_set = options["templates"] in ("auto", "raw", "simple", "imagenet")
    settings["templates" if is_named_set else "templates_file"] = options["templates"]
    body = {
        "pixweave": 1,
        "do": "classify",
        "input": ".",
        "device": options["device"],
        "perceptors": [perceptor],
        **settings,
    }
    text = json.dumps(body, ensure_ascii=True)
    return load_text(text, "the command", Path.cwd(), ctx.obj.plugins())


def expand(inputs: Sequence[str]) -> list[str]:
    """The inputs, with `-` replaced by the list on stdin, and a run folder by its images."""
    from pixweave.loading import read_list

    found: list[str] = []
    for item in inputs:
        if item == "-":
            found += read_list(sys.stdin.buffer.read())
        else:
            found += _images_of_run(Path(item)) or [item]
    return found


def _images_of_run(folder: Path) -> list[str]:
    """The finished images of a run folder; empty if `folder` is not one."""
    from pixweave.loading.image_files import SUFFIXES

    try:
        run = json.loads((folder / "run.json").read_text("utf-8"))
        outputs = [Path(str(path)) for path in run["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    root = Path(str(run.get("folder", "")))
    inside = [folder / p.relative_to(root) if p.is_relative_to(root) else p for p in outputs]
    return [str(p) for p in inside if p.suffix.lower() in SUFFIXES]


def _predictions(
    recipe: Recipe, sources: Sequence[str], hidden: bool, filters: Filters, quiet: bool
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
    yield from classify_inputs(classifier, sources, context, hidden, filters)


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
        self.has_unknown = settings.unknown_below is not None
        self.width = max(len(label) for label in [*labels, "unknown" if self.has_unknown else ""])
        self.has_heading = form not in ("tsv", "csv")

    def prediction(self, prediction: Prediction) -> None:
        from pixweave.classification.prediction_table import prediction_row
        from pixweave.media import tables

        row = prediction_row(
            prediction,
            self.top,
            path=_relative(prediction.path),
            known=self.has_unknown,
            nested=self.form in ("jsonl", "events"),
        )
        if self.form == "table":
            scores = "  ".join(
                f"{name} {score:.3f}" for name, score in prediction.scores[1 : self.top]
            )
            more = f"  ({scores})" if scores else ""
            text = f"{prediction.score:.3f}  {prediction.label:<{self.width}}  {row['path']}{more}"
            click.echo(text.encode("utf-8", "backslashreplace").decode())
            return
        if not self.has_heading:
            self.has_heading = True
            click.echo(tables.heading(list(row), self.form))
        if self.form == "events":
            row = {"event": "picture", **row}
        click.echo(tables.line(row, "jsonl" if self.form == "events" else self.form))
        sys.stdout.flush()  # keep what was printed, even if a later file fails

    def fault(self, fault: Any) -> None:
        path = _relative(fault.path)
        if self.form == "events":
            click.echo(json.dumps({"event": "fault", "path": path, "reason": fault.reason}))
            return
        text = f"cannot read {path}: {fault.reason}"
        click.echo(text.encode("utf-8", "backslashreplace").decode(), err=True)


def _relative(path: str) -> str:
    """The path, relative to the current folder if it is inside it."""
    return path.removeprefix(os.getcwd() + os.sep)


def _sort(root: Path, found: Sequence[tuple[str, str]], how: Any, as_json: bool) -> None:
    from pixweave.classification import sort_into_folders

    steps = sort_into_folders.plan_moves(root, found)
    clashes = sort_into_folders.carry_out(steps, how) if how else [s for s in steps if s.clash]
    count = len(steps) - len(clashes)
    if as_json:
        reasons = {(s.source, s.target): s.clash for s in clashes}
        for step in steps:
            fields = {
                "from": _relative(str(step.source)),
                "to": str(step.target),
                "how": how,
                "clash": reasons.get((step.source, step.target), ""),
            }
            click.echo(json.dumps({"event": "sort", **fields}))
    elif not how:
        for step in steps:
            action = f"stays, {step.clash}" if step.clash else f"-> {step.target}"
            click.echo(f"{_relative(str(step.source))} {action}", err=True)
        click.echo(
            f"{count} of {len(steps)} would go into {root}; "
            "add --how copy, link or move to sort them",
            err=True,
        )
    else:
        for step in clashes:
            click.echo(
                f"not sorted: {_relative(str(step.source))}: '{step.target}' {step.clash}", err=True
            )
        done = {"copy": "copied", "link": "linked", "move": "moved"}[how]
        click.echo(f"{done} {count} of {len(steps)} into {root}", err=True)
    if how and clashes:
        raise RunError(
            f"{len(clashes)} of {len(steps)} images were not sorted: "
            "existing files are never replaced"
        )
