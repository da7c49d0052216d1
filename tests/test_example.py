"""The example plugins: about fifteen lines each, from a folder and as an installed package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pixweave import Plugins
from pixweave.testing import FakePlugin, check_component

EXAMPLE = Path(__file__).parent.parent / "plugins" / "example"
OFFERS = [("loss", "vivid"), ("generator", "stripes"), ("augmentation", "darken")]


def from_folder() -> Plugins:
    plugins = Plugins.discover([EXAMPLE])
    plugins.add(FakePlugin, "pixweave_fake")
    return plugins


@pytest.mark.parametrize(("kind", "name"), OFFERS)
def test_it_keeps_the_contract_of_its_kind(kind: str, name: str) -> None:
    check_component(kind, name, plugins=from_folder())


@pytest.mark.parametrize("path", sorted(EXAMPLE.glob("*.py")), ids=lambda p: p.stem)
def test_it_is_as_short_as_promised(path: Path) -> None:
    source = path.read_text()
    code = [
        line
        for line in source.splitlines()
        if line.strip() and not line.strip().startswith(("#", '"""'))
    ]
    assert len(code) <= 17
    assert ast.get_docstring(ast.parse(source))


def test_a_folder_plugin_is_light() -> None:
    assert [p.name for p in from_folder().loaded.values() if p.heavy] == []


@pytest.mark.slow
def test_it_works_as_an_installed_package(tmp_path: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(tmp_path / "site"),
    ]
    subprocess.run([*pip, str(EXAMPLE)], check=True, capture_output=True)
    code = "import sys; sys.path.insert(0, 'site'); from pixweave.cli import main; main()"

    def pixweave(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = pixweave("plugins")
    for kind, name in OFFERS:
        assert f"pixweave-example 0.1.0  {kind} {name}" in " ".join(listed.split()).replace(
            "0.1.0 ", "0.1.0  "
        )
    assert "how vivid is vivid enough" in pixweave("show", "vivid")
    assert '"stripes"' in pixweave("schema")
    (tmp_path / "r.yaml").write_text(
        "pixweave: 1\nsize: [24, 24]\nsteps: 2\ngenerator: stripes\nlosses: [vivid]\n"
        "augmentations: [darken]\nperceptors: []\nexport: [a.png]\n"
    )
    assert pixweave("run", "r.yaml", "-o", "out") == "out/a.png\n"
