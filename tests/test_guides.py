"""The guides to Python and to plugins: what they show runs, and what they list is all there is."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from pydantic import BaseModel

import pixweave
from pixweave import (
    BuildContext,
    Component,
    Moment,
    PartError,
    Plugins,
    RecipeInfo,
    StageContext,
    View,
    generate,
    load_text,
    open_run,
    perform,
    protocols,
)
from pixweave.borders.process_state import FIELDS
from pixweave.cli import cli
from pixweave.hookspecs import HOOKS, Outcome
from pixweave.testing import FakePlugin, check_component, tiny_recipe

DOCS = Path(__file__).parent.parent / "docs"


def blocks(page: str, language: str = "python") -> list[str]:
    """The code blocks of a page, in order."""
    text = (DOCS / page).read_text("utf-8")
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [source for found, source in fenced if found == language]


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Small pictures: on a busy machine, waiting for a second thread takes longer than drawing."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_the_guide_to_python_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    printed = io.StringIO()
    found = blocks("python.md")
    assert len(found) == 12
    with contextlib.redirect_stdout(printed):
        for number, source in enumerate(found, 1):
            exec(compile(source, f"python.md, block {number}", "exec"), names)
    said = printed.getvalue()
    (quoted,) = (text for text in blocks("python.md", "") if text.startswith("argument "))
    assert quoted in said
    assert (tmp_path / "heart.png").exists()
    assert [path.suffix for path in names["film"].outputs] == [".png", ".gif"]
    assert names["sunset"].status == "done"
    assert names["hit"].path.endswith(".png")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("heart.png", "runs", "owl", "photos", "photos.index")
    }


def test_the_guide_to_python_lists_what_frames_and_runs_have() -> None:
    from pixweave import Frame, PictureRun

    text = (DOCS / "python.md").read_text("utf-8")
    run = {name for name in dir(PictureRun) if name[0] != "_"} | {"recipe", "folder"}
    for name in sorted(run | {name for name in dir(Frame) if name[0] != "_"} - {"finish"}):
        assert re.search(rf"`{name}(\(\))?`", text), name


NOTEBOOK = [
    "import pixweave\n"
    "from IPython.display import display\n"
    'picture = pixweave.run("a red heart", size=64, steps=21, folder="heart")\n'
    "for frame in picture:\n"
    "    if frame.step % 10 == 0: display(frame)\n",
    "picture\n",
    'index = pixweave.open_index("hearts.index", make=True)\n'
    'index.add("heart")\n'
    'index.search("a red heart", top=3)\n',
    'classify = pixweave.zero_shot("a red heart, a blue circle")\n'
    "classify(picture.image)[0].label\n",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the notebook's own packages
def test_a_notebook_draws_shows_searches_and_classifies(tmp_path: Path) -> None:
    import nbclient
    import nbformat

    assert sum(cell.count("\n") for cell in NOTEBOOK) <= 12
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in NOTEBOOK])
    nbformat.write(book, tmp_path / "hearts.ipynb")
    read = nbformat.read(tmp_path / "hearts.ipynb", as_version=4)
    nbclient.NotebookClient(
        read, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [
        ["image/png" in output.get("data", {}) for output in cell.outputs] for cell in read.cells
    ]
    assert shown == [[True] * 3, [True], [True], [False]]
    pictures = [cell.outputs[0]["data"].get("image/png", "") for cell in read.cells[:2]]
    assert pictures[0] != pictures[1]
    assert read.cells[3].outputs[0]["data"]["text/plain"] == "'a red heart'"


# plugins

EXAMPLES = [
    (re.findall(r"register_(\w+)\(\)", source)[0], source) for source in blocks("plugins.md")
]
SETTINGS: dict[str, dict[str, Any]] = {"trainer": {"steps": 2}}


def test_the_guide_to_plugins_has_an_example_of_each_kind() -> None:
    shown = {hook for hook, _ in EXAMPLES}
    assert {f"register_{hook}" for hook in shown} == {*HOOKS.values(), "register_commands"}


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(n, marks=pytest.mark.slow) if kind == "executors" else n
        for n, (kind, _) in enumerate(EXAMPLES)
    ],
)
def test_each_example_is_a_plugin_that_keeps_its_contract(number: int, tmp_path: Path) -> None:
    name, source = f"guide_{number}", EXAMPLES[number][1]
    (tmp_path / f"{name}.py").write_text(source)
    plugins = Plugins.discover(tmp_path)
    plugins.add(FakePlugin, "pixweave_fake")
    assert plugins.broken == {}
    offers = plugins.loaded[name].offers
    for offer in offers:
        settings = {**offer.component.example, **SETTINGS.get(offer.kind, {})}
        check_component(offer.kind, offer.name, settings, plugins)
    assert bool(offers) == (EXAMPLES[number][0] != "commands")


def test_the_mistake_in_the_guide_is_real(tmp_path: Path) -> None:
    source = EXAMPLES[0][1]
    assert ".relu().mean()" in source
    (tmp_path / "contrast.py").write_text(source.replace(".relu().mean()", ".relu()"))
    plugins = Plugins.discover(tmp_path / "contrast.py")
    recipe = "pixweave: 1\nsize: 32\nsteps: 1\nprompts: []\nlosses:\n  - contrast\n"
    run = open_run(load_text(recipe, "fox.yaml", tmp_path, plugins))
    with pytest.raises(PartError) as caught:
        next(generate(run))
    assert f"\n{caught.value}\n" in (DOCS / "plugins.md").read_text("utf-8")


PROTOCOLS = [
    kind
    for kind in vars(protocols).values()
    if getattr(kind, "_is_protocol", False) and kind.__module__ == protocols.__name__
]


def test_the_guide_to_plugins_names_what_each_part_has_and_may_have() -> None:
    text = (DOCS / "plugins.md").read_text("utf-8")
    assert len(PROTOCOLS) == 16
    for kind in PROTOCOLS:
        optional = re.findall(r"^ +- `(\w+)", kind.__doc__ or "", re.MULTILINE)
        own = {*vars(kind), *getattr(kind, "__annotations__", ())}
        for name in {*optional, *(name for name in own if name[0] != "_")}:
            assert re.search(rf"\b{name}\b", text), f"{kind.__name__}.{name}"


def test_the_command_and_the_gallery_of_the_guide_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = (source for hook, source in EXAMPLES if hook == "commands")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gallery.py").write_text(source)
    plugins = Plugins.discover("gallery.py")
    plugins.add(FakePlugin, "pixweave_fake")
    list(perform(tiny_recipe(plugins, export=["a.png"]), "out"))
    row = json.loads((tmp_path / "gallery.jsonl").read_text())
    assert row == {"status": "done", "files": [str(Path("out/a.png"))]}
    found = CliRunner().invoke(cli, ["seconds", "out", "--plugins-dir", "gallery.py"])
    assert found.exit_code == 0
    assert float(found.output) > 0


@pytest.mark.parametrize(
    "kind",
    [BuildContext, View, Moment, RecipeInfo, StageContext, Component, Outcome],
    ids=lambda kind: kind.__name__,
)
def test_the_guide_to_plugins_names_every_attribute(kind: type) -> None:
    text = (DOCS / "plugins.md").read_text("utf-8")
    listed = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
    listed = {name for name in listed if name[0] != "_"}
    listed -= set(dir(BaseModel)) | {"context", "prebuilt"} | {"build"}
    missing = [
        name for name in sorted(listed) if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", text)
    ]
    assert missing == []
    assert listed


def test_the_guide_to_plugins_names_what_a_plugin_must_leave_alone() -> None:
    table = (DOCS / "plugins.md").read_text("utf-8").split("| part changes |")[1].split("\n\n")[0]
    for field in FIELDS:
        name = field.name.removesuffix("'s global random state")
        assert name in table or name.lower() in table.lower(), field.name


def test_the_names_of_setting_types_can_be_imported_from_pixweave() -> None:
    table = (DOCS / "plugins.md").read_text("utf-8").split("| type | in a recipe |")[1]
    names = re.findall(r"`([A-Z]\w+)`", table.split("\n\n")[0])
    assert {"Value", "InputFile", "PictureFile", "Palette", "Colour", "Mask", "Part"} <= set(names)
    assert set(names) - {"Path"} <= set(pixweave.__all__)


def test_the_commands_in_the_guides_exist() -> None:
    for page in ("plugins.md", "python.md"):
        text = (DOCS / page).read_text("utf-8")
        found = re.findall(r"`pixweave ([a-z][a-z ]*)", text)
        found += re.findall(r"^pixweave ([a-z][a-z ]*)", "".join(blocks(page, "")), re.MULTILINE)
        for command in found:
            at: Any = cli
            for word in command.split():
                if isinstance(at, click.Group):
                    at = at.get_command(click.Context(at), word)
                    assert at is not None, f"{page}: {command}"
