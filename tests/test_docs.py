"""Docs cannot go stale."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

import pixweave
from pixweave import hookspecs
from pixweave.cli import cli
from pixweave.plugins import HOOKS

ROOT = Path(__file__).parent.parent


def reference_script() -> Any:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_written_from_the_code_as_it_is() -> None:
    page = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert page == reference_script().reference(), "run `python scripts/reference.py`"


def test_the_readme_has_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert "pip install -e . && pixweave run recipes/hello.yaml" in lines
    assert "pip install -e '.[test]' && pytest" in lines


def test_the_readme_names_every_verb_and_only_verbs_that_exist() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    used = {m[1] for m in re.finditer(r"(?:^|&& |`)pixweave ([a-z]+)", text, re.MULTILINE)}
    assert used == set(cli.all_commands())


def test_links_in_the_docs_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_public_names_are_there_and_listed() -> None:
    for name in pixweave.__all__:
        assert getattr(pixweave, name) is not None
    assert len(set(pixweave.__all__)) == len(pixweave.__all__)
    earlier = {"Complaint": "Issue", "Problem": "Issue", "Drawing": "TensorGenerator"}
    for name, now in earlier.items():  # plugins import them by these names
        assert getattr(pixweave, name) is getattr(pixweave, now)


def test_every_hook_says_what_it_is_for() -> None:
    for kind, hook in HOOKS.items():
        plural = kind + ("es" if kind.endswith("s") else "s")
        assert (getattr(hookspecs, hook).__doc__ or "").startswith(f"{plural.capitalize()} ")


def test_the_recipe_and_the_mistake_in_the_readme_are_real() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    recipe = text.split("```yaml\n# A fox", 1)[1].split("```", 1)[0]
    recipe = "# A fox" + recipe
    plugins = pixweave.Plugins.discover()
    assert pixweave.load_text(recipe, "fox.yaml", ROOT, plugins).warnings == ()
    wrong = recipe.replace("smoothness", "smoothnes")
    with pytest.raises(pixweave.RecipeError) as caught:
        pixweave.load_text(wrong, "fox.yaml", ROOT, plugins)
    assert f"\n{caught.value}\n" in text


def test_the_plugin_in_the_readme_is_a_plugin(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    source = text.split("```python\nfrom pixweave import Component", 1)[1].split("```", 1)[0]
    (tmp_path / "mine.py").write_text("from pixweave import Component" + source)
    plugins = pixweave.Plugins.discover([tmp_path], entry_points=False)
    assert plugins.broken == {}
    assert plugins.find("loss", "vivid").plugin == "mine"
