"""The commands `models ...`: download, verify, remove and convert model weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.errors import RunError

if TYPE_CHECKING:
    from pixweave.models import Check, ModelFiles, Store

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def models() -> None:
    """Download, verify, convert and remove model weights.

    Weights are downloaded once and always checked. They are stored in the platform's cache
    folder, or in PIXWEAVE_HOME; PIXWEAVE_OFFLINE=1 disables
    the network. A proxy is taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
    """


@models.command()
@click.argument("pattern", default="", shell_complete=completion.model_names)
@_json
def ls(pattern: str, as_json: bool) -> None:
    """List the models, and which are on this machine.

    Only models whose name contains PATTERN are listed. Columns: name, `here` or `part` (download
    incomplete), size, licence, description. The pattern `open_clip:` lists the models of open_clip,
    which takes some seconds.
    """
    from pixweave.models import open_clip_weights

    if pattern.startswith(open_clip_weights.PREFIX):
        names = [name for name in open_clip_weights.names() if pattern in name]
        click.echo(
            json.dumps([{"name": n} for n in names], indent=2) if as_json else "\n".join(names)
        )
        return
    store = _store()
    found = {name: model for name, model in store.models.items() if pattern in name}
    if as_json:
        listed = [
            {**model.model_dump(), "name": name, "state": store.state(name)}
            for name, model in found.items()
        ]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows = [(n, store.state(n), m.extent, m.licence, m.about) for n, m in found.items()]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    for row in rows:
        click.echo("  ".join([*(f"{w:<{n}}" for w, n in zip(row, widths, strict=False)), row[4]]))
    if not pattern:
        click.echo("and open_clip:MODEL/TAG; `pixweave models ls open_clip:` lists them", err=True)


@models.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=completion.model_names
)
@click.option(
    "--offline", is_flag=True, help="Do not use the network: only check the files on this machine."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Give up on a mirror after this many seconds without data.",
)
@_json
def get(names: tuple[str, ...], offline: bool, timeout: float, as_json: bool) -> None:
    """Download models and print the paths of their files.

    A model that is already on this machine is not downloaded again. Interrupted downloads resume.
    Each file is checked against its published sha256, or against the one that models.lock recorded
    at its first download.
    """
    from pixweave.models.fetch import Limits

    store = _store(Limits(stall=timeout, connect=min(timeout, Limits.connect)))
    if offline:
        store.offline = "--offline"
    for name in names:
        with _progress(as_json) as report:
            found = store.get(name, report)
        _print(found, as_json)


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completion.model_names)
@_json
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Check the sha256 of the files of models.

    Without NAME, all models on this machine are checked. The exit code is 1 if a file is wrong.
    """
    store = _store()
    names = names or tuple(name for name in store.models if store.state(name))
    checks = [check for name in names for check in store.verify(name)]
    for check in checks:
        click.echo(json.dumps(_check_json(check)) if as_json else _check(check))
    if wrong := [check for check in checks if check.fault]:
        raise RunError(
            f"{len(wrong)} of {len(checks)} files are corrupt or missing; remove the model with "
            "`pixweave models rm NAME` and download it again with `pixweave models get NAME`"
        )


@models.command()
@click.argument("name", required=False, shell_complete=completion.model_names)
@click.option("--role", help="Print only the file with this role: weights or config.")
@_json
def path(name: str | None, role: str | None, as_json: bool) -> None:
    """Print the paths of the files of a model.

    Nothing is downloaded. Without NAME, the folder of the store is printed.
    """
    store = _store()
    if name is None:
        click.echo(json.dumps({"home": str(store.home)}) if as_json else store.home)
        return
    found = store.path(name)
    if role is not None and role not in found.paths:
        raise RunError(
            f"model '{name}' has no file with the role '{role}'; it has {', '.join(found.paths)}"
        )
    if role is not None:
        found = type(found)(name, {role: found.paths[role]})
    _print(found, as_json)


@models.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=completion.model_names
)
@click.option(
    "--unlock", is_flag=True, help="Also drop the recorded sha256, so a different file is accepted."
)
def rm(names: tuple[str, ...], unlock: bool) -> None:
    """Remove models, including incomplete downloads."""
    from pixweave.models.catalogue import in_bytes

    store = _store()
    for name in names:
        freed = store.remove(name, unlock)
        click.echo(f"removed {name}, {in_bytes(freed)}", err=True)


@models.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--without",
    multiple=True,
    metavar="PREFIX",
    help="Drop tensors whose name starts with PREFIX, e.g. loss.; may be repeated.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def convert(source: Path, target: Path, without: tuple[str, ...], force: bool) -> None:
    """Convert the pickled checkpoint IN to OUT, a .safetensors file.

    No code in the pickle is executed: anything that is not data is refused, with its name. Plain
    settings and counters are stored as JSON in the metadata key `checkpoint`.
    """
    if target.suffix != ".safetensors":
        raise RunError(f"'{target}' must end in .safetensors")
    if target.exists() and not force:
        raise RunError(f"'{target}' already exists; use --force to replace it")
    from pixweave.models.catalogue import in_bytes
    from pixweave.models.convert import convert as run

    result = run(source, target, without)
    click.echo(f"{result.tensors} tensors, {in_bytes(result.size)}", err=True)
    if result.dropped:
        more = f" and {len(result.dropped) - 5} more" if len(result.dropped) > 5 else ""
        click.echo(f"warning: not kept: {', '.join(result.dropped[:5])}{more}", err=True)
    click.echo(target)


def _store(limits: Any = None) -> Store:
    from pixweave.models import Store

    return Store(limits=limits) if limits else Store()


def _print(found: ModelFiles, as_json: bool) -> None:
    if as_json:
        paths = {role: str(path) for role, path in found.paths.items()}
        click.echo(json.dumps({"event": "model", "name": found.name, "paths": paths}))
        return
    for file in found.paths.values():
        click.echo(file)


def _check(check: Check) -> str:
    if check.fault:
        return f"WRONG {check.model} {check.path.name}: it {check.fault}"
    return f"ok {check.model} {check.path.name} {check.sha256}"


def _check_json(check: Check) -> dict[str, Any]:
    return {
        "event": "verified",
        "model": check.model,
        "path": str(check.path),
        "sha256": check.sha256,
        "ok": not check.fault,
        "fault": check.fault,
    }


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A progress bar per file on stderr, if that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def report(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=total)
            bars.update(tasks[file], completed=done, total=total)

        yield report
