"""Names of plugins: who keeps a bare name, the api, versions, helpers and what may not happen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pixweave import Plugins, RecipeError, load_text
from pixweave.cli import cli
from pixweave.embedding.text_embedding_cache import identity_of
from pixweave.media.metadata import read_metadata
from pixweave.pipeline.runner import perform
from pixweave.plugins.plugin_files import digest
from pixweave.recipe.library import known_recipes
from pixweave.testing import FakePlugin, tiny_recipe

SMOOTH = '''
from typing import ClassVar
from pixweave import Component, Export, Field, hookimpl

class Smoothness(Component):
    """Another smoothness."""

    strength: float = Field(1.0, description="how strong")

    def build(self, run):
        return lambda view: view.image.mean()

class Png(Export):
    """Another PNG."""

    suffixes: ClassVar[tuple[str, ...]] = (".png", ".mine")

    def save(self, frame, path, run):
        path.write_bytes(b"mine")

@hookimpl
def register_losses():
    return {"smoothness": Smoothness}

@hookimpl
def register_exporters():
    return {"png": Png}
'''


def found_in(folder: Path, **files: str) -> Plugins:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    plugins = Plugins.discover([folder])
    plugins.add(FakePlugin, "pixweave_fake")
    return plugins


def test_the_bundled_one_keeps_the_bare_name(tmp_path: Path) -> None:
    plugins = found_in(tmp_path, mine=SMOOTH)
    assert plugins.broken == {}
    assert plugins.find("loss", "smoothness").plugin == "pixweave_image_losses"
    assert plugins.find("loss", "mine/smoothness").plugin == "mine"
    assert plugins.find("loss", "pixweave_image_losses/smoothness").owner.is_bundled
    assert plugins.exporter_for(".png").plugin == "pixweave_export"
    assert plugins.exporter_for(".mine").plugin == "mine"
    for name, path in known_recipes(plugins).items():
        if not name.startswith("presets/"):
            assert load_text(path.read_text(), path.name, path.parent, plugins).name == path.stem


def test_both_are_used_in_one_recipe_and_written_back(tmp_path: Path) -> None:
    plugins = found_in(tmp_path, mine=SMOOTH)
    recipe = tiny_recipe(
        plugins,
        tmp_path,
        losses=["smoothness", {"use": "mine/smoothness", "strength": 2}],
        export=["a.png", {"use": "mine/png", "file": "b.mine"}],
    )
    assert [part.plugin for part in recipe.losses[1:]] == ["pixweave_image_losses", "mine"]
    again = load_text(recipe.resolved_yaml(), "again.yaml", tmp_path, plugins)
    assert again == recipe
    assert [part.use for part in again.losses[1:]] == ["smoothness", "mine/smoothness"]
    paths = [e.data["path"] for e in perform(recipe, tmp_path) if e.kind == "saved"]
    assert [Path(path).read_bytes()[:4] for path in paths] == [b"\x89PNG", b"mine"]


def test_two_strangers_with_one_name_must_be_written_in_full(tmp_path: Path) -> None:
    other = SMOOTH.replace('"smoothness"', '"soft"').replace('"png"', '"other"')
    plugins = found_in(tmp_path, one=other, two=other)
    with pytest.raises(LookupError) as caught:
        plugins.find("loss", "soft")
    assert caught.value.args == (
        "loss 'soft' is registered by the plugins 'one' and 'two'",
        "write 'one/soft', or use --without",
    )
    with pytest.raises(LookupError) as suffix:
        plugins.exporter_for(".mine")
    assert suffix.value.args == (
        "'.mine' files are written by the exporters 'one/other' and 'two/other'",
        "add 'use: one/other'",
    )
    assert plugins.find("loss", "two/soft").plugin == "two"


def test_the_command_line_says_how_to_write_each(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SMOOTH)
    listed = CliRunner().invoke(cli, ["plugins", "--plugins-dir", str(tmp_path)])
    line = next(line for line in listed.stdout.splitlines() if line.startswith("mine "))
    assert line.endswith("loss mine/smoothness; exporter mine/png")
    assert listed.stderr.splitlines() == [
        "note: 'loss/smoothness' is offered as pixweave_image_losses/smoothness and "
        "mine/smoothness; 'loss/smoothness' is the first",
        "note: 'exporter/png' is offered as pixweave_export/png and mine/png; 'exporter/png' is "
        "the first",
    ]
    shown = CliRunner().invoke(cli, ["show", "smoothness", "--plugins-dir", str(tmp_path)])
    heads = [line for line in shown.stdout.splitlines() if line.startswith("loss ")]
    assert heads == [
        "loss smoothness  (plugin pixweave_image_losses)",
        "loss mine/smoothness  (plugin mine)",
    ]
    for name in ("mine/smoothness", "loss/mine/smoothness"):
        alone = CliRunner().invoke(cli, ["show", name, "--plugins-dir", str(tmp_path)])
        assert alone.stdout.splitlines()[0] == "loss mine/smoothness  (plugin mine)"


def test_a_plugin_named_like_a_bundled_one_hides_nothing(tmp_path: Path) -> None:
    plugins = found_in(tmp_path, pixweave_pixel=SMOOTH)
    place = tmp_path / "pixweave_pixel.py"
    assert plugins.broken == {
        f"pixweave_pixel ({place})": f"plugin 'pixweave_pixel' ({place}) has the same name as a "
        "plugin already loaded from bundled; rename one or use --without pixweave_pixel"
    }
    assert plugins.find("generator", "pixel").owner.is_bundled


@pytest.mark.parametrize(
    ("api", "reason"),
    [
        ("1", ""),
        (
            "2",
            "plugin 'mine' needs api 2 of pixweave, and this pixweave has api 1; install a newer "
            "pixweave, or an older version of the plugin",
        ),
        (
            "0",
            "plugin 'mine' was written for api 0 of pixweave, and this pixweave has api 1; install "
            "a newer version of the plugin",
        ),
        ("'1'", "plugin 'mine' has api = '1'; it must be a whole number: api = 1"),
        ("True", "plugin 'mine' has api = True; it must be a whole number: api = 1"),
        ("__import__('json')", ""),
    ],
)
def test_the_api_that_a_plugin_states(tmp_path: Path, api: str, reason: str) -> None:
    plugins = found_in(tmp_path, mine=f"api = {api}\n{SMOOTH}")
    assert plugins.broken == ({"mine": reason} if reason else {})
    assert plugins.find("loss", "smoothness").owner.is_bundled


def test_versions_are_in_the_run_folder_and_in_every_file(tmp_path: Path) -> None:
    plugins = found_in(tmp_path, mine=SMOOTH)
    run = tmp_path / "run"
    run.mkdir()
    recipe = tiny_recipe(plugins, losses=["mine/smoothness"], export=["a.png"])
    list(perform(recipe, run))
    versions = json.loads((run / "run.json").read_text())["plugins"]
    assert versions["mine"] == digest(tmp_path / "mine.py")
    assert versions["mine"].startswith("sha256:")
    assert versions["pixweave_pixel"] == "0.1.0"
    stamp = read_metadata(run / "a.png")["pixweave"]
    again = load_text(stamp, "again.yaml", tmp_path, plugins)
    assert again == recipe
    assert f"\nx-plugins:\n  mine: {versions['mine']}\n" in stamp


def test_a_digest_changes_with_the_file_and_with_any_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    first = digest(tmp_path / "a.py")
    (tmp_path / "a.py").write_text("x = 2")
    assert digest(tmp_path / "a.py") != first
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("x = 1")
    second = digest(package / "__init__.py")
    (package / "part.py").write_text("x = 2")
    assert digest(package / "__init__.py") != second


PERCEPTOR = """
from pixweave import Component, hookimpl
class Eyes(Component):
    '''Sees.'''
    def build(self, run): ...
    def identity(self):
        return IDENTITY
@hookimpl
def register_perceptors():
    return {"eyes": Eyes}
"""


def test_cached_vectors_are_keyed_by_the_version_of_the_plugin(tmp_path: Path) -> None:
    keys = []
    for comment in ("", "# another table"):
        plugins = found_in(tmp_path, mine=PERCEPTOR.replace("IDENTITY", "'same'") + comment)
        part = tiny_recipe(plugins, perceptors=["eyes"]).perceptors[0]
        keys.append(identity_of(part))
        assert keys[-1] == f"mine@{digest(tmp_path / 'mine.py')}/eyes:same"
    assert keys[0] != keys[1]
    bundled = tiny_recipe(perceptors=["tiny"]).perceptors[0]
    assert identity_of(bundled).startswith("tiny:")
    full = tiny_recipe(perceptors=["pixweave_tiny/tiny"]).perceptors[0]
    assert identity_of(full) == identity_of(bundled)


def test_an_identity_of_a_wrong_type_is_named(tmp_path: Path) -> None:
    plugins = found_in(tmp_path, mine=PERCEPTOR.replace("IDENTITY", "3"))
    part = tiny_recipe(plugins, perceptors=["eyes"]).perceptors[0]
    with pytest.raises(Exception, match="identity") as caught:
        identity_of(part)
    assert str(caught.value) == (
        "perceptor 'eyes' (tiny.yaml:1, plugin mine) gave 3; it must give a text or None from "
        "identity()"
    )


def test_helpers_and_tests_beside_a_plugin(tmp_path: Path) -> None:
    source = "from mine_tables import TABLE\n" + SMOOTH
    plugins = found_in(
        tmp_path,
        mine=source,
        mine_tables="import pixweave\nTABLE = [1]",
        test_mine="from pixweave import hookimpl\nraise ValueError",
        conftest="raise ValueError",
        notes="print('not imported')",
    )
    assert plugins.broken == {}
    assert [name for name in plugins.loaded if not name.startswith("pixweave_")] == ["mine"]


def test_a_single_file_is_a_plugin_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SMOOTH)
    assert Plugins.discover([path], entry_points=False).find("loss", "smoothness").plugin == "mine"
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(Exception, match="notes") as caught:
        Plugins.discover([tmp_path / "notes.txt"])
    assert str(caught.value) == (
        f"the plugin folder '{tmp_path}/notes.txt' is not a folder or a .py file; see --plugins-dir"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("import sys; sys.exit(0)", "plugin 'mine' called sys.exit(0) (mine.py:1)"),
        ("raise KeyboardInterrupt", "plugin 'mine' raised KeyboardInterrupt (mine.py:1)"),
        (
            "import os; os.chdir('/')",
            "plugin 'mine' changed the working directory; use absolute paths; run.folder is the "
            "run folder",
        ),
        (
            "import torch; torch.set_default_dtype(torch.float64)",
            "plugin 'mine' changed torch's default dtype; pass dtype= to each tensor",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero (mine.py:1)"),
    ],
)
def test_what_a_plugin_does_when_it_is_imported(tmp_path: Path, line: str, reason: str) -> None:
    here = os.getcwd()
    plugins = found_in(tmp_path, mine=f"{line}\n{SMOOTH}", other=SMOOTH)
    assert plugins.broken == {"mine": reason}
    assert plugins.loaded["other"].broken == ""
    assert os.getcwd() == here


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "speed = 0.01",
            "'speed' has no type; write 'speed: float = ...' for a setting of that type, or "
            "'speed: ClassVar = ...' (mine.py:5)",
        ),
        (
            "amount = Field(1, description='how much')",
            "'amount' has no type; write 'amount: float = ...' for a setting of that type, or "
            "'amount: ClassVar = ...' (mine.py:5)",
        ),
    ],
)
def test_a_setting_without_a_type_is_told_in_words(tmp_path: Path, line: str, reason: str) -> None:
    source = SMOOTH.replace('    """Another smoothness."""\n', f'    """Another."""\n    {line}\n')
    assert found_in(tmp_path, mine=source).broken == {"mine": reason}


def test_full_names_work_wherever_a_part_is_named(tmp_path: Path) -> None:
    from pixweave.errors import RunError

    plugins = found_in(tmp_path)
    recipe = tiny_recipe(
        plugins,
        generator="pixweave_pixel/pixel",
        losses=["pixweave_image_losses/smoothness"],
        augmentations=["pixweave_augmentations/noise"],
        export=[{"use": "pixweave_export/png", "file": "a.png"}],
        stages=["pixweave_stages/generate"],
    )
    assert recipe.generator.plugin == "pixweave_pixel"
    assert recipe.stages[0].plugin == "pixweave_stages"
    assert plugins.component("searcher", {"use": "pixweave_exact_search/exact"}) is not None
    with pytest.raises(RunError) as caught:
        plugins.component("executor", {"use": "local", "proceses": 2})
    assert str(caught.value).startswith("executor 'local' has no setting 'proceses'; ")
    with pytest.raises(RunError) as wrong:
        plugins.component("executor", {"use": "local", **_wrong(plugins)})
    assert "must be" in str(wrong.value)


def _wrong(plugins: Plugins) -> dict[str, Any]:
    fields = plugins.find("executor", "local").component.model_fields
    return {next(iter(fields)): "many"}


def test_an_unknown_full_name_gets_a_hint() -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(losses=["nobody/smoothness"])
    (issue,) = caught.value.issues
    assert issue.message == "loss 'nobody/smoothness' is not known"
    assert issue.hint == "did you mean 'smoothness'?"
