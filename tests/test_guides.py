"""The guides to Python and to plugins: what they show runs, and what they list is all there is."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

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
