"""The plugin host: one by one, the broken kept apart, and clear errors."""

from __future__ import annotations

import functools
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pixweave import Component, Field, PluginError, Plugins, hookimpl, load_text

VIVID = '''
"""Reward vivid colour."""
from pixweave import Component, Field, hookimpl

class Vivid(Component):
    """Push colours away from grey."""
    amount: float = Field(0.3, ge=0, le=1, description="how vivid is vivid enough")

    def build(self, run):
        def loss(view):
            grey = view.image.mean(dim=1, keepdim=True)
            return (self.amount - (view.image - grey).abs().mean()).relu()
        return loss

@hookimpl
def register_losses():
    return {"vivid": Vivid}
'''


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return path


def alone(*folders: Path, without: tuple[str, ...] = ()) -> Plugins:
    return Plugins.discover(folders, without, entry_points=False)


class Thing(Component):
    """A thing."""

    size: int = Field(1, description="how big")

    def build(self, run: Any) -> Any:
        return None


def _named(function: Any, name: str) -> Any:
    def hook() -> Any:
        return function()

    hook.__name__ = name
    return hook


def offering(**hooks: Any) -> Any:
    """An object with the given hook functions."""

    class Holder:
        pass

    for name, returned in hooks.items():
        function: Any = functools.partial(dict, returned)
        setattr(Holder, name, staticmethod(hookimpl(_named(function, name))))
    return Holder


def test_a_file_in_a_folder_is_a_plugin(tmp_path: Path) -> None:
    path = write(tmp_path, "vivid.py", VIVID)
    plugins = alone(tmp_path)
    offer = plugins.find("loss", "vivid")
    assert (offer.kind, offer.name, offer.plugin) == ("loss", "vivid", "vivid")
    assert plugins.loaded["vivid"].origin == str(path)
    assert plugins.loaded["vivid"].heavy is False


def test_a_package_in_a_folder_is_a_plugin(tmp_path: Path) -> None:
    write(tmp_path, "colours/__init__.py", VIVID)
    assert alone(tmp_path).find("loss", "vivid").plugin == "colours"


def test_the_bundled_plugins_come_by_entry_points() -> None:
    plugins = Plugins.discover()
    assert plugins.broken == {}
    assert {p.origin for p in plugins.loaded.values() if p.name.startswith("pixweave_")} == {
        "bundled"
    }
    for kind, name in [
        ("generator", "pixel"),
        ("perceptor", "tiny"),
        ("perceptor", "open_clip"),
        ("loss", "prompt"),
        ("loss", "smoothness"),
        ("loss", "saturation"),
        ("loss", "palette"),
        ("loss", "symmetry"),
        ("augmentation", "jitter"),
        ("augmentation", "noise"),
        ("augmentation", "erase"),
        ("augmentation", "blur"),
        ("exporter", "png"),
        ("exporter", "mp4"),
    ]:
        assert plugins.find(kind, name).plugin.startswith("pixweave_")


def test_without_leaves_a_plugin_out(tmp_path: Path) -> None:
    write(tmp_path, "vivid.py", VIVID)
    assert alone(tmp_path, without=("vivid",)).loaded == {}


BROKEN = {
    "syntax": ("def (:", "SyntaxError: invalid syntax (syntax.py, line 1)"),
    "missing": (
        "import no_such_package  # pixweave",
        "ModuleNotFoundError: No module named 'no_such_package' (missing.py:1)",
    ),
    "crash": ("import pixweave\n1 / 0", "ZeroDivisionError: division by zero (crash.py:2)"),
    "nohook": (
        "import pixweave",
        "plugin 'nohook' has no hook; a plugin needs at least one of "
        "register_generators, register_perceptors, register_losses, "
        "register_augmentations, register_codecs, register_samplers, register_classifiers, "
        "register_filters, register_searchers, register_exporters, register_stages, "
        "register_trainers, register_executors, register_recipes, register_presets, "
        "register_models, register_commands, after_run",
    ),
    "misspelt": (
        VIVID.replace("register_losses", "register_loses"),
        "plugin 'misspelt' has an unknown hook register_loses(); did you mean 'register_losses'?",
    ),
    "unmarked": (
        VIVID.replace("@hookimpl", ""),
        "register_losses() of plugin 'unmarked' is not marked; put @pixweave.hookimpl above it",
    ),
    "argument": (
        VIVID.replace("register_losses()", "register_losses(config)"),
        "register_losses(config) of plugin 'argument' must take no arguments",
    ),
    "returned": (
        VIVID.replace('return {"vivid": Vivid}', "return [Vivid]"),
        "register_losses() of plugin 'returned' must return {name: Component}, it returned a list",
    ),
    "nodoc": (
        VIVID.replace('"""Push colours away from grey."""', ""),
        "register_losses() of plugin 'nodoc': Vivid has no docstring; add one that says what "
        "it does",
    ),
    "nobuild": (
        VIVID.replace("def build", "def biuld"),
        "register_losses() of plugin 'nobuild': "
        "Vivid has no build(self, run); rename 'biuld' to 'build'",
    ),
    "buildargs": (
        VIVID.replace("def build(self, run)", "def build(self)"),
        "register_losses() of plugin 'buildargs': Vivid.build must take exactly (self, run)",
    ),
    "reserved": (
        VIVID.replace("amount: float", "weight: float"),
        "register_losses() of plugin 'reserved': "
        "Vivid has a setting 'weight', a name reserved for recipes",
    ),
    "badname": (
        VIVID.replace('{"vivid"', '{"Vivid!"'),
        "register_losses() of plugin 'badname': "
        "'Vivid!' is not a valid name; use lower case letters, digits and _",
    ),
    "notclass": (
        VIVID.replace('{"vivid": Vivid}', '{"vivid": 3}'),
        "register_losses() of plugin 'notclass': "
        "'vivid' must be a subclass of pixweave.Component, not 3",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_kept_with_its_reason_and_hurts_no_other(
    name: str, tmp_path: Path
) -> None:
    source, reason = BROKEN[name]
    write(tmp_path, f"{name}.py", source)
    write(tmp_path, "zz_good.py", VIVID)
    plugins = alone(tmp_path)
    assert plugins.broken == {name: reason}
    assert plugins.find("loss", "vivid").plugin == "zz_good"


def test_strict_raises_what_broke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "crash.py", "import pixweave\n1 / 0")
    monkeypatch.setenv("PIXWEAVE_STRICT", "1")
    with pytest.raises(ZeroDivisionError):
        alone(tmp_path)


def test_a_name_claimed_twice_is_an_error_only_for_who_uses_it() -> None:
    plugins = Plugins()
    plugins.add(offering(register_losses={"thing": Thing, "other": Thing}), "one")
    plugins.add(offering(register_losses={"thing": Thing}), "two")
    assert list(plugins.offers("loss")) == ["other"]
    with pytest.raises(LookupError) as caught:
        plugins.find("loss", "thing")
    assert caught.value.args == (
        "loss 'thing' is registered by the plugins 'one' and 'two'",
        "write 'one/thing', or use --without",
    )
    assert plugins.find("loss", "two/thing").plugin == "two"


def test_two_plugins_of_one_name_keep_the_first(tmp_path: Path) -> None:
    first = write(tmp_path / "a", "vivid.py", VIVID)
    second = write(tmp_path / "b", "vivid.py", VIVID)
    plugins = alone(tmp_path / "a", tmp_path / "b")
    assert plugins.find("loss", "vivid").plugin == "vivid"
    assert plugins.broken == {
        f"vivid ({second})": f"plugin 'vivid' ({second}) has the same name as a plugin "
        f"already loaded "
        f"from {first}; rename one or use --without vivid"
    }


def test_a_missing_folder_is_an_error() -> None:
    with pytest.raises(PluginError) as caught:
        alone(Path("no/such"))
    assert str(caught.value) == "the plugin folder 'no/such' does not exist; see --plugins-dir"


def test_an_unknown_name_gets_the_nearest_the_kind_or_the_broken_plugin(tmp_path: Path) -> None:
    plugins = Plugins()
    plugins.add(
        offering(register_losses={"thing": Thing}, register_generators={"maker": Thing}), "one"
    )
    with pytest.raises(LookupError) as caught:
        plugins.find("loss", "thign")
    assert caught.value.args == ("loss 'thign' is not known", "did you mean 'thing'?")
    with pytest.raises(LookupError) as caught:
        plugins.find("loss", "maker")
    assert caught.value.args == ("loss 'maker' is not known", "it is a generator, not a loss")
    write(tmp_path, "my_lpips.py", "import no_such_package  # pixweave")
    with pytest.raises(LookupError) as caught:
        alone(tmp_path).find("loss", "lpips")
    assert caught.value.args == (
        "loss 'lpips' is not known",
        "the plugin 'my_lpips' failed to load: ModuleNotFoundError: No module named "
        "'no_such_package' (my_lpips.py:1)",
    )


def test_exporters_are_found_by_the_ending_of_the_file() -> None:
    plugins = Plugins.discover()
    assert plugins.exporter_for(".mp4").name == "mp4"
    with pytest.raises(LookupError) as caught:
        plugins.exporter_for(".mp5")
    assert caught.value.args == ("no exporter writes '.mp5' files", "did you mean '.mp4'?")


def test_a_hook_may_return_import_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "glow_settings.py").write_text(
        "from pixweave import Component\n\n\n"
        "class Glow(Component):\n    '''Make it glow.'''\n\n"
        "    def build(self, run):\n        return None\n"
    )
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "glowing.py").write_text(
        "from pixweave import hookimpl\n\n\n@hookimpl\ndef register_filters():\n"
        "    return {'glow': 'glow_settings:Glow', 'gone': 'glow_settings:Gone'}\n"
    )
    plugins = Plugins.discover([folder], entry_points=False)
    assert "glow_settings" not in sys.modules
    assert plugins.find("filter", "glow").component.__name__ == "Glow"
    assert "glow_settings" in sys.modules
    said = (
        "register_filters() of plugin 'glowing': cannot import 'gone' from 'glow_settings:Gone': "
        "AttributeError: module 'glow_settings' has no attribute 'Gone'"
    )
    with pytest.raises(PluginError) as caught:
        _ = plugins.find("filter", "gone").component
    assert str(caught.value) == said
    assert plugins.broken == {}
    assert list(plugins.imported("exporter")) == []
    assert plugins.broken == {}  # nothing of another kind is imported
    assert list(plugins.imported("filter")) == []
    assert plugins.broken == {"glowing": said}


def test_a_setting_that_cannot_be_validated_breaks_its_plugin(tmp_path: Path) -> None:
    write(
        tmp_path,
        "wrong.py",
        VIVID.replace("    amount:", "    word: str = Field('', pattern='(')\n    amount:"),
    )
    ((name, reason),) = alone(tmp_path).broken.items()
    assert name == "wrong"
    assert reason.startswith(
        "register_losses() of plugin 'wrong': Vivid: SchemaError: Error building"
    )


def test_an_import_path_that_leads_nowhere_hurts_no_other_recipe(tmp_path: Path) -> None:
    write(
        tmp_path,
        "gone.py",
        "from pixweave import hookimpl\n\n\n@hookimpl\ndef register_exporters():\n"
        "    return {'gone': 'pixweave_gone:Gone'}\n",
    )
    plugins = Plugins.discover([tmp_path])
    recipe = "pixweave: 1\nprompts: [a fox]\nexport: [a.png]\n"
    assert load_text(recipe, "fox.yaml", tmp_path, plugins).exports[0].use == "png"
    assert list(plugins.broken) == ["gone"]
