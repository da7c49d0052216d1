"""Completion in bash, zsh and fish: recipes, files, parts, presets, models and `-s` paths.

A completer never prints anything and never fails: where it knows nothing, the shell completes file
names as usual. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from pixweave.cli.state import State

if TYPE_CHECKING:
    from pixweave.plugins import Plugins
    from pixweave.recipe import Recipe

Find = Callable[[click.Context, str], Iterable[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_SUFFIXES = (".yaml", ".yml")


def completer(find: Find, files: bool = False) -> Complete:
    """A completer of the words that `find` gives; `files`: else of file names."""

    @functools.wraps(find)
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found: list[str] = []
        # a broken plugin or recipe must not write into the command line that is being typed
        with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
            found = [word for word in find(ctx, incomplete) if word.startswith(incomplete)]
        if found or not files:
            return [CompletionItem(word) for word in found]
        return [CompletionItem(incomplete, type="file")]

    return complete


def _plugins(ctx: click.Context) -> Plugins:
    return ctx.ensure_object(State).plugins()


def _recipe_names(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Known recipes, then recipe files and folders of the same beginning."""
    from pixweave.recipe.library import PRESETS, listed_recipes

    names = [n for n in listed_recipes(_plugins(ctx)) if not n.startswith(PRESETS)]
    if any(name.startswith(incomplete) for name in names):
        yield from names
        folder, _, start = incomplete.rpartition("/")
        for entry in sorted(os.scandir(folder or "."), key=lambda entry: entry.name):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir() and start and not entry.name.startswith("."):
                yield f"{path}/"
            elif entry.name.endswith(_SUFFIXES):
                yield path


def _library_names(ctx: click.Context, _: str) -> Iterable[str]:
    from pixweave.recipe.library import listed_recipes

    return listed_recipes(_plugins(ctx))


def _names_of(kind: str) -> Find:
    def find(ctx: click.Context, _: str) -> list[str]:
        plugins = _plugins(ctx)
        offers = (each for plugin in plugins.loaded.values() for each in plugin.offers)
        return sorted(plugins.written(each) for each in offers if each.kind == kind)

    return find


def _shown_names(ctx: click.Context, _: str) -> Iterator[str]:
    from pixweave.plugins import HOOKS
    from pixweave.recipe.section_reader import sections

    yield from sections()
    for kind in HOOKS:
        yield from _names_of(kind)(ctx, "")


def _plugin_names(ctx: click.Context, _: str) -> Iterable[str]:
    return _plugins(ctx).loaded


def _model_names(ctx: click.Context, _: str) -> Iterable[str]:
    from pixweave.models import store

    _plugins(ctx)  # plugins bring models too
    return store().models


def _qualities(ctx: click.Context, _: str) -> Iterable[str]:
    from pixweave.recipe.top_level import QUALITIES

    return QUALITIES


def _recipe(ctx: click.Context) -> Recipe:
    """The recipe that the command line names so far."""
    from pixweave.recipe import load

    # click leaves arguments in `args` if the option before the cursor still lacks its value
    given = ctx.params.get("recipes") or ctx.params.get("recipe") or ctx.args or ["hello"]
    sources = [given] if isinstance(given, str) else list(given)
    return load(sources, _plugins(ctx))


def _explained(ctx: click.Context, incomplete: str) -> Iterator[str]:
    yield from _steps((path for path, _, _ in _recipe(ctx).explain()), incomplete, "", "")


def _assignments(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """`generator.` and `generator.cell=`; after the `=`, the values that the setting can have."""
    from pixweave.recipe import top_level

    path, equals, _ = incomplete.partition("=")
    recipe = _recipe(ctx)
    if equals:
        for value in _values(recipe, _plugins(ctx), path):
            yield f"{path}={value}"
        return
    paths = [path for path, _, _ in recipe.explain()]
    paths += [key for key in top_level.TOP_LEVEL if key not in top_level.LAYERS]
    yield from _steps(paths, incomplete, ".", "=")


def _steps(paths: Iterable[str], incomplete: str, inner: str, leaf: str) -> Iterator[str]:
    """The next step of each path that begins so: `generator.` before `generator.cell=`."""
    found: dict[str, None] = {}
    start = incomplete.rpartition(".")[0]
    for path in paths:
        if not path.startswith(incomplete):
            continue
        rest = path[len(start) + 1 :] if start else path
        head, dot, _ = rest.partition(".")
        whole = f"{start}.{head}" if start else head
        found[whole + (inner if dot else leaf)] = None
        if dot and leaf:
            found[whole + leaf] = None
    yield from found


def _values(recipe: Recipe, plugins: Plugins, path: str) -> Iterator[str]:
    """The values that a setting can have, as far as they are names."""
    from pixweave.recipe import top_level
    from pixweave.recipe.sections import CropSettings, OptimizerSettings

    head, _, setting = path.partition(".")
    number, _, inner = setting.partition(".")
    if path == "quality":
        yield from top_level.QUALITIES
    elif path == "generator" or (setting == "use" and head == "generator"):
        yield from plugins.offers("generator")
    elif head == "generator":
        yield from _choices(type(recipe.generator.settings), setting)
    elif head == "crops":
        yield from _choices(CropSettings, setting)
    elif head == "optimizer":
        yield from _choices(OptimizerSettings, setting)
    elif head in top_level.KINDS and number.isdigit():
        parts = getattr(recipe, "exports" if head == "export" else head)
        if inner in ("", "use"):
            yield from plugins.offers(top_level.KINDS[head])
        else:
            yield from _choices(type(parts[int(number)].settings), inner)
    elif head in ("device", "precision"):
        from pixweave.recipe.top_level import GeneralSettings

        yield from _choices(GeneralSettings, head)


def _choices(model: Any, setting: str) -> list[str]:
    """The names among the values that a setting can have."""
    schema = model.model_json_schema()
    full = schema if "properties" in schema else schema["anyOf"][-1]
    found: dict[str, None] = {}
    pending = [full["properties"].get(setting, {})]
    while pending:
        part = pending.pop()
        if "$ref" in part:
            pending.append(schema["$defs"][part["$ref"].rpartition("/")[2]])
        found.update(dict.fromkeys(map(str, part.get("enum", part.get("examples", [])))))
        if part.get("type") == "boolean":
            found.update({"true": None, "false": None})
        pending += part.get("anyOf", [])
    return list(found)


recipe_names = completer(_recipe_names, files=True)
library_names = completer(_library_names)
shown_names = completer(_shown_names)
plugin_names = completer(_plugin_names)
plugin_places = completer(_plugin_names, files=True)
model_names = completer(_model_names)
qualities = completer(_qualities)
assignments = completer(_assignments)
explained = completer(_explained)
trainers = completer(_names_of("trainer"))
perceptors = completer(_names_of("perceptor"))
searchers = completer(_names_of("searcher"))
executors = completer(_names_of("executor"))


class Bash(BashComplete):
    """Completion in bash, which breaks words at `=` and `:` and adds a space after each."""

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' type value
    local line="${COMP_LINE:0:COMP_POINT}"
    for completion in $(env COMP_LINE="$line" %(complete_var)s=bash_complete $1); do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == 'dir' ]]; then
            COMPREPLY=(); compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            COMPREPLY=(); compopt -o default
        else
            COMPREPLY+=("$value")
        fi
    done
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]]; then
        compopt -o nospace
    fi
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it, split as the shell splits arguments."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        incomplete = "" if not words or line[-1:].isspace() else words.pop()
        end = max(incomplete.rfind(mark) for mark in "=:")
        self._begun = incomplete[: end + 1]
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """The type, and the part of the value that bash takes for the current word."""
        return f"{item.type},{str(item.value).removeprefix(self._begun)}"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes pixweave's command line in SHELL: bash, zsh or fish.

    \b
    bash   eval "$(pixweave completion bash)"             in ~/.bashrc
    zsh    eval "$(pixweave completion zsh)"              in ~/.zshrc, after compinit
    fish   pixweave completion fish > ~/.config/fish/completions/pixweave.fish
    """
    install()
    found = get_completion_class(shell)
    assert found is not None
    script = found(ctx.find_root().command, {}, "pixweave", "_PIXWEAVE_COMPLETE")
    click.echo(script.source_template % script.source_vars())


def install() -> None:
    """Use pixweave's completion of bash instead of click's."""
    add_completion_class(Bash, "bash")
