"""The commands that inspect recipes: validate, explain, ls, cat, cp and schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.errors import MissingError, PixweaveError, RecipeError, RunError, did_you_mean

if TYPE_CHECKING:
    from pixweave.errors import Issue

_recipes = click.argument(
    "recipes",
    nargs=-1,
    required=True,
    metavar="RECIPE...",
    shell_complete=completion.recipe_names,
)
_sets = click.option(
    "-s",
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=completion.assignments,
    help="Set a value, e.g. crops.count=8; may be repeated.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@_recipes
@_sets
@_json
@click.pass_context
def validate(
    ctx: click.Context, recipes: tuple[str, ...], sets: tuple[str, ...], as_json: bool
) -> None:
    """Check recipes and report all errors.

    Each RECIPE is checked separately. The exit code is 3 if a recipe has errors and 4 if one is not
    found. `-` is standard input.
    """
    code = 0
    for name in recipes:
        found, error = _validated(ctx, name, sets)
        code = code or (error.exit_code if error else 0)
        if as_json:
            click.echo(json.dumps(found, ensure_ascii=False))
            continue
        for warning in found["warnings"]:
            click.echo(f"warning: {_line(warning)}", err=True)
        if error:
            click.echo(str(error), err=True)
        else:
            click.echo(f"ok {name}")
    ctx.exit(code)


def _validated(
    ctx: click.Context, name: str, sets: tuple[str, ...]
) -> tuple[dict[str, Any], PixweaveError | None]:
    from pixweave.recipe import load

    found: dict[str, Any] = {"event": "validated", "recipe": name, "ok": True}
    try:
        warnings = load([name], ctx.obj.plugins(), sets).warnings
    except PixweaveError as error:
        issues = error.issues if isinstance(error, RecipeError) else []
        listed = [_problem(p) for p in issues] or [{"message": str(error)}]
        return {**found, "ok": False, "problems": listed, "warnings": []}, error
    return {**found, "problems": [], "warnings": [_problem(p) for p in warnings]}, None


def _problem(issue: Issue) -> dict[str, Any]:
    mark = issue.where
    return {
        "file": mark.source,
        "line": mark.line,
        "column": mark.column,
        "message": issue.message,
        "hint": issue.hint,
    }


def _line(found: dict[str, Any]) -> str:
    place = f"{found['file']}:{found['line']}:{found['column']}" if found["line"] else found["file"]
    return f"{place}: {found['message']}" + (f"; {found['hint']}" if found["hint"] else "")


@click.command()
@click.argument("recipe", shell_complete=completion.recipe_names)
@click.argument("key", required=False, shell_complete=completion.explained)
@_sets
@_json
@click.pass_context
def explain(
    ctx: click.Context, recipe: str, key: str | None, sets: tuple[str, ...], as_json: bool
) -> None:
    """Show every setting of RECIPE and where it comes from.

    With KEY, such as crops or losses.0, only the settings at or below it.
    """
    from pixweave.recipe import load

    loaded = load([recipe], ctx.obj.plugins(), sets)
    rows = loaded.explain(key)
    if key is not None and not rows:
        known = {
            ".".join(path.split(".")[:n]) for path, _, _ in loaded.explain() for n in (1, 2, 3)
        }
        raise RunError(f"the recipe has no '{key}'; {did_you_mean(key, known)}")
    if as_json:
        listed = [{"path": p, "value": v, "origin": o} for p, v, o in rows]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    shown = [(path, _flow(value), origin) for path, value, origin in rows]
    widths = [min(max(len(row[i]) for row in shown), 48) for i in (0, 1)]
    for path, value, origin in shown:
        click.echo(f"{path:<{widths[0]}}  {value:<{widths[1]}}  {origin}")
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)


def _flow(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


@click.command()
@_json
@click.pass_context
def ls(ctx: click.Context, as_json: bool) -> None:
    """List the recipes and presets, also those of plugins."""
    from pixweave.recipe.library import listed_recipes

    found = listed_recipes(ctx.obj.plugins())
    owners = _owners(ctx)
    if as_json:
        listed = [
            {
                "name": name,
                "about": _headline(path),
                "preset": _is_preset(name),
                "plugin": owners.get(path),
            }
            for name, path in found.items()
        ]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    width = max((len(name) for name in found), default=0)
    for preset, heading in (
        (False, ""),
        (True, "presets, used with `quality: draft` or `presets: [...]`"),
    ):
        names = [name for name in found if _is_preset(name) == preset]
        if heading and names:
            click.echo(f"\n{heading}")
        for name in names:
            path = found[name]
            owner = f"  (plugin {owners[path]})" if path in owners else ""
            click.echo(f"{name:<{width}}  {_headline(path)}{owner}".rstrip())


def _owners(ctx: click.Context) -> dict[Path, str]:
    """The name of the plugin that brings a recipe or a preset, by the path of its file."""
    loaded = ctx.obj.plugins().loaded.values()
    return {o.value: p.name for p in loaded for o in (*p.recipes, *p.presets)}


def _is_preset(name: str) -> bool:
    return name.startswith("presets/")


def _headline(path: Path) -> str:
    """The first comment line of a recipe."""
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    return first.lstrip("# ").strip() if first.startswith("#") else ""


@click.command()
@click.argument("name", shell_complete=completion.library_names)
@click.pass_context
def cat(ctx: click.Context, name: str) -> None:
    """Print the recipe or preset NAME."""
    click.echo(_known(ctx, name).read_text(encoding="utf-8"), nl=False)


@click.command()
@click.argument("name", shell_complete=completion.library_names)
@click.argument("dest", required=False, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace DEST if it exists.")
@click.pass_context
def cp(ctx: click.Context, name: str, dest: Path | None, force: bool) -> None:
    """Copy the recipe or preset NAME to DEST.

    DEST is a file or a folder; the default is the current folder. The files that the recipe refers
    to are copied too, to the same relative paths.
    """
    source = _known(ctx, name)
    dest = dest or Path()
    target = dest / source.name if dest.is_dir() else dest
    _write(target, source.read_bytes(), force)
    click.echo(target)
    for name_beside in _inputs(source):
        data, copy = (source.parent / name_beside).read_bytes(), target.parent / name_beside
        if not copy.is_file() or copy.read_bytes() != data:
            copy.parent.mkdir(parents=True, exist_ok=True)
            _write(copy, data, force)
        click.echo(copy)


def _inputs(recipe: Path) -> list[Path]:
    """The files beside a recipe that it refers to, relative to it."""
    from pixweave.recipe.nodes import parse

    found: dict[Path, None] = {}
    pending = [parse(recipe.read_text("utf-8"), recipe.name, recipe.parent)]
    while pending:
        value = pending.pop(0).value
        if isinstance(value, (dict, list)):
            pending += value.values() if isinstance(value, dict) else value
        elif isinstance(value, str) and _is_beside(recipe, Path(value)):
            found[Path(value)] = None
    return list(found)


def _is_beside(recipe: Path, name: Path) -> bool:
    is_inside = not name.is_absolute() and ".." not in name.parts
    return is_inside and (recipe.parent / name).is_file()


def _known(ctx: click.Context, name: str) -> Path:
    from pixweave.recipe.library import known_recipes

    known = known_recipes(ctx.obj.plugins())
    short = name.removesuffix(".yaml")
    if short in known:
        return known[short]
    raise MissingError(f"built-in recipe '{name}' not found; {did_you_mean(short, known)}")


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the schema to FILE instead of printing it.",
)
@click.option(
    "--plain", is_flag=True, help="Leave out the keywords that only editors know, for validators."
)
@click.option(
    "--train",
    metavar="NAME",
    shell_complete=completion.trainers,
    help="The schema of configuration files of a trainer instead.",
)
@click.pass_context
def schema(ctx: click.Context, out: Path | None, plain: bool, train: str | None) -> None:
    """Print the JSON Schema of recipes, for editors.

    It covers all installed plugins. An editor with a YAML language server validates and completes a
    recipe that starts with `# yaml-language-server: $schema=FILE`; see docs/editor.md.
    """
    plugins = ctx.obj.plugins()
    if train is None:
        from pixweave.recipe import json_schema

        made = json_schema.schema(plugins, plain=plain)
    else:
        from pixweave.train import config_schema

        made = config_schema.schema(plugins, train, plain=plain)
    text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    _write(out, text.encode(), force=True)
    click.echo(out)


def _write(target: Path, data: bytes, force: bool) -> None:
    from pixweave.media.atomic_write import whole

    if target.exists() and not force:
        raise RunError(f"'{target}' already exists; use --force to replace it")
    try:
        with whole(target) as part:
            part.write_bytes(data)
    except OSError as error:
        raise RunError(f"cannot write '{target}': {error.strerror}") from None
