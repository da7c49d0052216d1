"""Completion: names where they are known, else the shell's own file names; never an error."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete, get_completion_class
from click.testing import CliRunner

from pixweave.cli import cli, completion

completion.install()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def complete(words: str, shell: str = "bash") -> list[str]:
    """What completes a line; `file` if the shell completes file names."""
    variables = {"bash": {"COMP_LINE": f"pixweave {words}"}}
    start, _, last = words.rpartition(" ")
    count = str(len(start.split()) + 1)
    line = f"pixweave {words}"
    variables["zsh"] = {"COMP_WORDS": line, "COMP_CWORD": count}
    variables["fish"] = {"COMP_WORDS": f"pixweave {start}", "COMP_CWORD": last}
    found = get_completion_class(shell)
    assert found is not None
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables[shell].items():
            patch.setenv(name, value)
        made: ShellComplete = found(cli, {}, "pixweave", "_PIXWEAVE_COMPLETE")
        items = made.get_completions(*made.get_completion_args())
        texts = [made.format_completion(item) for item in items]
    return [_word(text, shell) for text in texts]


def _word(text: str, shell: str) -> str:
    kind, _, rest = text.partition("\n" if shell == "zsh" else ",")
    return kind if kind in ("file", "dir") else rest.split("\n")[0].split("\t")[0]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ru", ["run"]),
        ("run he", ["hello", "hexagons"]),
        ("run ./", ["file"]),
        ("run nothing", ["file"]),
        ("validate pal", ["palette"]),
        ("cat presets/dr", ["presets/draft"]),
        ("cp sti", ["sticker"]),
        ("run hello --quality d", ["draft"]),
        ("run hello -s gen", ["generator.", "generator="]),
        ("run sprite -s generator.al", ["generator.alpha="]),
        ("explain hello crops.c", ["crops.count", "crops.chance"]),
        ("show crop", ["crops"]),
        ("show smo", ["smoothness"]),
        ("train v", ["vqgan"]),
        ("models get vqgan_c", ["vqgan_coco"]),
        ("search red --searcher e", ["exact"]),
        ("index --executor l", ["local"]),
        ("classify --perceptor t", ["tiny"]),
        ("run --without pixweave_e", ["pixweave_exact_search", "pixweave_export"]),
        ("run --plugins-dir x", ["file"]),
        ("run -o x", ["file"]),
        ("train clip da", ["file"]),
        ("plugins n", ["new"]),
        ("plugins check pixweave_f", ["pixweave_fft"]),
        ("completion f", ["fish"]),
    ],
)
def test_a_line(shell: str, words: str, found: list[str]) -> None:
    found = ["dir" if word == "file" and words == "run -o x" else word for word in found]
    assert complete(words, shell) == found


@pytest.mark.parametrize(
    ("words", "bash", "zsh"),
    [
        ("run hello -s generator=p", ["pixel"], ["generator=pixel"]),
        ("run sprite -s generator.alpha=t", ["true"], ["generator.alpha=true"]),
        ("run hello -s crops.padding=b", ["border"], ["crops.padding=border"]),
        ("run hello -s losses.0=sm", ["smoothness"], ["losses.0=smoothness"]),
        ("run hello -s optimizer.use=ada", ["adam", "adamw", "adagrad"], None),
        ("run hello -s quality=d", ["draft"], ["quality=draft"]),
    ],
)
def test_bash_breaks_words_at_the_equals_sign(
    words: str, bash: list[str], zsh: list[str] | None
) -> None:
    assert complete(words) == bash
    assert complete(words, "zsh") == (zsh or [f"optimizer.use={name}" for name in bash])


def test_files_are_offered_beside_recipes_of_the_same_beginning(tmp_path: Path) -> None:
    for name in ("hens.yaml", "heron.txt"):
        (tmp_path / name).touch()
    (tmp_path / "heath").mkdir()
    assert complete("run he") == ["hello", "hexagons", "heath/", "hens.yaml"]
    assert complete("run hen") == ["file"]


def test_nothing_is_said_of_what_is_broken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("pixweave: [")
    (tmp_path / "bad.py").write_text("import pixweave\nprint('loud')\n1 / 0")
    assert complete("run bad.yaml -s generator=") == []
    assert complete("run --plugins-dir . he") == ["hello", "hexagons"]
    assert complete("show --plugins-dir . smo") == ["smoothness"]
    assert complete("nothing he") == []
    assert capfd.readouterr() == ("", "")


def test_parts_of_plugins_in_a_folder_are_offered(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pixweave import Component, hookimpl\n"
        "class Mine(Component):\n    '''Mine.'''\n    def build(self, run): ...\n"
        "@hookimpl\ndef register_losses():\n    return {'minecraft': Mine}\n"
    )
    assert complete("show --plugins-dir . mine") == ["minecraft"]


def test_the_scripts_are_printed() -> None:
    for shell, start in (("bash", "_pixweave_completion() {"), ("zsh", "#compdef pixweave")):
        printed = CliRunner().invoke(cli, ["completion", shell])
        assert printed.exit_code == 0
        assert printed.stdout.startswith(start)
    fish = CliRunner().invoke(cli, ["completion", "fish"])
    assert fish.stdout.startswith("function _pixweave_completion;")


def test_it_imports_no_torch() -> None:
    code = (
        "import os, sys\nos.environ['COMP_LINE'] = 'pixweave run hello -s generator.'\n"
        "os.environ['_PIXWEAVE_COMPLETE'] = 'bash_complete'\nsys.argv = ['pixweave']\n"
        "from pixweave.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "plain,generator." in done.stdout


SHELLS = {
    "bash": (
        'eval "$(pixweave completion bash)"\nCOMP_LINE="pixweave run he"; COMP_POINT=15\n'
        "COMP_WORDS=(pixweave run he); COMP_CWORD=2\ncompopt() { :; }\n"
        '_pixweave_completion pixweave; echo "${COMPREPLY[@]}"'
    ),
    "fish": "pixweave completion fish | source; complete -C 'pixweave run he'",
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_a_real_shell(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [shell, "-c", SHELLS[shell]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    assert done.stdout.split() == ["hello", "hexagons"], done.stderr
