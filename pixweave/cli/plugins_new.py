"""The command `plugins new`: write an installable package with a component, a test and a recipe."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixweave.errors import RunError, indefinite
from pixweave.hookspecs import HOOKS

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

TEMPLATES = Path(__file__).parent.parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@click.command()
@click.argument("kind", type=click.Choice(list(HOOKS)), metavar="KIND")
@click.argument("name")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write into this new or empty folder instead of pixweave-NAME.",
)
@click.pass_context
def new(ctx: click.Context, kind: str, name: str, folder: Path | None) -> None:
    """Write a package with a new component: a module, a test, and a recipe that uses it.

    KIND is generator, perceptor, loss, augmentation, codec, sampler, classifier, filter, searcher,
    exporter, stage, trainer or executor. NAME is what recipes will call it. The component is a
    small real one to start from; its test passes at once.
    """
    _check_name(name)
    module = f"pixweave_{name}"
    if importlib.util.find_spec(module) is not None:
        raise RunError(f"a module '{module}' is installed already; choose another name")
    folder = folder or Path(f"pixweave-{name.replace('_', '-')}")
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"the folder '{folder}' is not empty; choose a new one with --folder")
    for path, text in package_files(kind, name).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        click.echo(target)
    _warn_of_clash(ctx.find_root().obj.plugins(), kind, name)
    click.echo(f"next: cd {folder} && pip install -e '.[test]' && pytest", err=True)


def package_files(kind: str, name: str) -> dict[str, str]:
    """The texts of the files of a new package, by path."""
    module, distribution = f"pixweave_{name}", f"pixweave-{name.replace('_', '-')}"
    source = (TEMPLATES / f"{kind}.py").read_text("utf-8")
    recipe = _RECIPES.get(kind, "").replace("NAME", name)
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README + (_USE_RECIPE if recipe else _USE[kind]) + _FURTHER,
        f"{module}.py": re.sub(r"\bExample\b", _class_name(name), source),
        f"tests/test_{name}.py": _TEST_WITH_RECIPE if recipe else _TEST,
    }
    if recipe:
        files["recipe.yaml"] = recipe
    files[f"{module}.py"] = re.sub(r"\bexample\b", name, files[f"{module}.py"])
    words = {
        "MODULE": module,
        "DISTRIBUTION": distribution,
        "A_KIND": indefinite(kind).capitalize(),
        "KIND": kind,
        "SETTINGS": _SETTINGS.get(kind, "{}"),
        "NAME": name,
    }
    for path in ("pyproject.toml", "README.md", f"tests/test_{name}.py"):
        for word, value in words.items():
            files[path] = files[path].replace(word, value)
    return files


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) and not keyword.iskeyword(name):
        return
    near = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
    hint = f", such as '{near}'" if near and near != name and not keyword.iskeyword(near) else ""
    raise RunError(
        f"'{name}' is not a valid name; use lower case letters, digits and _{hint}, and no word "
        "of Python"
    )


def _warn_of_clash(plugins: Plugins, kind: str, name: str) -> None:
    for registered in plugins.claims(kind, name):
        click.echo(
            f"warning: the plugin '{registered.plugin}' has {indefinite(kind)} '{name}' too; "
            f"recipes must call yours 'pixweave_{name}/{name}'",
            err=True,
        )


_SETTINGS = {"exporter": '{"file": "a.ppm"}', "classifier": '{"labels": ["red", "blue"]}'}
_HEAD = """# NAME at work.
#   pixweave run recipe.yaml
pixweave: 1
"""
_RECIPES = {
    "loss": _HEAD + "prompts: [a red mushroom]\nlosses: [NAME]\nsteps: 60\nexport: [NAME.png]\n",
    "augmentation": _HEAD
    + "prompts: [a red mushroom]\naugmentations: [NAME]\nsteps: 60\nexport: [NAME.png]\n",
    "filter": _HEAD
    + "prompts: [a red mushroom]\nfilters: [{use: NAME, strength: {0: 0, end: 0.8}}]\n"
    + "steps: 60\nexport: [NAME.png, {file: NAME.mp4, fps: 12}]\n",
    "generator": _HEAD
    + "prompts: [a sunset over the sea]\ngenerator: NAME\nsteps: 60\nexport: [NAME.png]\n",
    "perceptor": _HEAD
    + "prompts: [red and yellow]\nperceptors: [tiny, NAME]\nsteps: 60\nexport: [NAME.png]\n",
    "exporter": _HEAD
    + "prompts: [a red mushroom]\nsteps: 60\nexport: [NAME.png, {use: NAME, file: NAME.ppm}]\n",
    "stage": _HEAD
    + "prompts: [a red mushroom]\nsteps: 60\nexport: [image.png]\n"
    + "stages: [{do: generate, seeds: 4}, {do: NAME, keep: 1}]\n",
    "classifier": _HEAD
    + "prompts: [a red mushroom]\nsteps: 60\nexport: [image.png]\nstages:\n"
    + "  - {do: generate, seeds: 4}\n"
    + "  - {do: classify, classifier: {use: NAME, labels: [red, green, blue]}}\n",
}
_USE = {
    "searcher": "pixweave index my-images && pixweave search 'a red boat' --searcher NAME\n",
    "trainer": "pixweave train NAME my-images --out model.safetensors\n",
    "executor": "pixweave index my-images --executor NAME\n",
    "codec": "pixweave show NAME\n",
    "sampler": "pixweave show NAME\n",
}
_USE_RECIPE = "pixweave run recipe.yaml\n"
_PYPROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "DISTRIBUTION"
version = "0.1.0"
description = "A_KIND for pixweave: NAME"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["pixweave"]

[project.optional-dependencies]
test = ["mypy", "pytest", "ruff"]

# pixweave finds the plugin by this entry point: its name, and the module with the hooks
[project.entry-points.pixweave]
MODULE = "MODULE"

[tool.hatch.build.targets.wheel]
only-include = ["MODULE.py"]

[tool.pytest.ini_options]
pythonpath = ["."]
testpaths = ["tests"]

[tool.mypy]
strict = true
files = ["MODULE.py", "tests"]

[tool.ruff]
line-length = 100

[tool.ruff.lint]
select = ["E", "F", "B"]
"""
_README = """# DISTRIBUTION

A_KIND for pixweave: `NAME`.

```
pip install -e '.[test]' && pytest
"""
_FURTHER = """```

`pixweave show NAME` describes its settings.
`pixweave plugins check MODULE` tests that it keeps the contract of its kind.
"""
_TEST = '''"""NAME keeps the contract of its kind."""

from __future__ import annotations

from pixweave.testing import check_component, plugins_of

import MODULE


def test_it_keeps_the_contract_of_its_kind() -> None:
    check_component(
        "KIND",
        "NAME",
        SETTINGS,
        plugins=plugins_of(MODULE),
    )
'''
_TEST_WITH_RECIPE = (
    _TEST.replace(
        "from pixweave.testing import",
        "from pathlib import Path\n\nfrom pixweave import load\nfrom pixweave.testing import",
    )
    + """

def test_the_recipe_is_valid() -> None:
    path = Path(__file__).parent.parent / "recipe.yaml"
    assert load([path], plugins_of(MODULE)).warnings == ()
"""
)
