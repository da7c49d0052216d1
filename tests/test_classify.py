"""The verb `classify`, and `pixweave.zero_shot`, as a user meets them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageDraw
from pixweave_tiny.clip_model import TinyClip, load_tiny_clip

import pixweave
from pixweave.classification import sort_into_folders
from pixweave.cli import cli
from pixweave.search import IndexOptions, open_index

LABELS = "a red square,a blue circle"


def drawing(path: Path, colour: str, shape: str) -> None:
    picture = Image.new("RGB", (60, 60), "white")
    draw = ImageDraw.Draw(picture)
    getattr(draw, shape)((15, 15, 45, 45), fill=colour)
    picture.save(path)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics" / "sub").mkdir(parents=True)
    drawing(tmp_path / "pics" / "a.png", "red", "rectangle")
    drawing(tmp_path / "pics" / "b.png", "blue", "ellipse")
    drawing(tmp_path / "pics" / "sub" / "a.png", "red", "rectangle")
    (tmp_path / "pics" / "broken.png").write_bytes(b"\x89PNG junk")
    return tmp_path


def classify(*words: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli, ["classify", *words], input=stdin)


FAULT = "cannot read pics/broken.png: this is not an image in a supported format\n"


def test_rows_on_stdout_and_faults_with_their_reason_on_stderr(work: Path) -> None:
    done = classify("pics", "--labels", LABELS, "-q")
    assert (done.exit_code, done.stderr) == (0, FAULT)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["path", "label", "score"]
    assert [row[:2] for row in rows[1:]] == [
        ["pics/a.png", "a red square"],
        ["pics/b.png", "a blue circle"],
        ["pics/sub/a.png", "a red square"],
    ]
    assert all(0.5 < float(row[2]) <= 1 for row in rows[1:])


def test_it_says_what_judges(work: Path) -> None:
    done = classify("pics/a.png", "--labels", LABELS, "--templates", "simple")
    scale = f"{load_tiny_clip().logit_scale:.4g}"
    said = f"tiny CLIP, 64 px, cpu: 2 labels, 7 templates, softmax, scale {scale}\n"
    assert done.stderr == said


def test_every_format_holds_the_same(work: Path) -> None:
    words = ("pics/a.png", "--labels", LABELS, "-q", "-k", "2")
    csv = classify(*words, "--format", "csv").stdout.splitlines()
    tsv = classify(*words, "--format", "tsv").stdout.splitlines()
    assert csv == [line.replace("\t", ",") for line in tsv]
    assert csv[0] == "path,label,score,label_2,score_2"
    row = json.loads(classify(*words, "--format", "jsonl").stdout)
    assert list(row) == ["path", "label", "score", "top"]
    assert [one["label"] for one in row["top"]] == LABELS.split(",")
    assert sum(one["score"] for one in row["top"]) == pytest.approx(1, abs=1e-5)
    first = f"{row['score']:.4f}"
    assert csv[1].startswith(f"pics/a.png,a red square,{first},a blue circle,")
    table = classify(*words, "--format", "table").stdout
    second = row["top"][1]["score"]
    assert table == (
        f"{row['score']:.3f}  a red square   pics/a.png  (a blue circle {second:.3f})\n"
    )


def test_a_list_comes_from_stdin_by_nul_or_by_lines(work: Path) -> None:
    want = ["pics/b.png", "pics/a.png"]
    for data in (b"pics/b.png\0pics/a.png\0", b"pics/b.png\npics/a.png\n"):
        done = classify("-", "--labels", LABELS, "-q", stdin=data)
        assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == want


def test_a_run_folder_means_its_finished_pictures(work: Path) -> None:
    run = {"folder": "runs/x", "outputs": ["runs/x/one.png", "runs/x/labels.csv"]}
    (work / "moved").mkdir()
    (work / "moved" / "run.json").write_text(json.dumps(run))
    drawing(work / "moved" / "one.png", "red", "rectangle")
    drawing(work / "moved" / "step.png", "red", "rectangle")
    done = classify("moved", "--labels", LABELS, "-q")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == ["moved/one.png"]


def test_a_picture_of_neither_is_unknown(work: Path) -> None:
    Image.new("RGB", (60, 60), "green").save(work / "green.png")
    done = classify("green.png", "pics/a.png", "--labels", LABELS, "--unknown-below", "0.5", "-q")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[0] == ["path", "label", "score", "known"]
    assert [row[1] for row in rows[1:]] == ["unknown", "a red square"]
    assert float(rows[1][3]) < 0.5 < float(rows[2][3])


def indexed(folder: Path, perceptor: str = "tiny", **wish: Any) -> str:
    """An index of `pics` in that folder."""
    with open_index(folder, perceptor, make=True, device="cpu") as index:
        list(index.update(IndexOptions(["pics"], **wish)))
    return str(folder)


def test_of_an_index_the_vectors_are_named_and_no_file_is_opened(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--labels", LABELS, "-q", "-k", "2", "--format", "jsonl", "--unknown-below", "0.5")
    files = classify("pics", *words)
    names = [indexed(work / "album", tags=["mine"]), indexed(work / "more", frames=4)]
    for path in (work / "pics").rglob("*.png"):
        path.unlink()  # the vectors are all there is

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a picture was encoded")

    monkeypatch.setattr(TinyClip, "encode_image", refuse)
    want = {row["path"]: row for row in map(json.loads, files.stdout.splitlines())}
    for given in (("--index", names[0]), (names[0],), (names[1],)):
        done = classify(*given, *words)
        assert (done.exit_code, done.stderr) == (0, "")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["path"] for row in rows] == sorted(want)
        for row in rows:
            same = want[row["path"]]
            assert row["label"] == same["label"]
            assert [one["label"] for one in row["top"]] == [one["label"] for one in same["top"]]
            assert row["score"] == pytest.approx(same["score"], abs=2e-3)  # float16 is kept
            assert row["known"] == pytest.approx(same["known"], abs=2e-3)
    chosen = classify("--index", names[0], *words, "--in", "pics/sub", "--tag", "mine")
    assert [json.loads(line)["path"] for line in chosen.stdout.splitlines()] == ["pics/sub/a.png"]
    none = classify("--index", names[0], *words, "--tag", "yours")
    assert (none.exit_code, none.stderr) == (4, "pixweave: no images found\n")


def test_an_index_brings_its_perceptor_and_models_never_mix(work: Path) -> None:
    small = "{use: open_clip, model: ViT-S-32-alt, pretrained: random}"
    folder = indexed(work / "album", small)
    done = classify(folder, "--labels", LABELS)
    assert done.exit_code == 0
    assert done.stderr == (
        "ViT-S-32-alt, 224 px, text tower, cpu: 2 labels, 7 templates, softmax, scale 14.29\n"
    )
    files = classify("pics", "--labels", LABELS, "-q", "--perceptor", small, "--format", "csv")
    stored = classify(folder, "--labels", LABELS, "-q", "--format", "csv")
    assert [r.split(",")[:2] for r in stored.stdout.splitlines()] == [
        r.split(",")[:2] for r in files.stdout.splitlines()
    ]
    other = classify(folder, "--labels", LABELS, "-q", "--perceptor", "tiny")
    assert (other.exit_code, other.stdout) == (4, "")
    assert re.fullmatch(
        rf"pixweave: the index '{folder}' has no vectors of tiny with these weights "
        r"\(tiny:[0-9a-f]{16}\); it has vectors of \{.*\}: index the images again, or use a "
        r"perceptor of the index\n",
        other.stderr,
    )


def test_what_is_asked_of_no_index_is_told(work: Path) -> None:
    for words, said in (
        ((), "name image files or folders, or an index with --index DIR"),
        (
            ("pics", "--tag", "x"),
            "filters work only on the images of an index; give one with "
            "--index DIR, and no other input",
        ),
    ):
        done = classify(*words, "--labels", LABELS)
        assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, f"Error: {said}")
    done = classify("--index", "gone", "--labels", LABELS)
    assert (done.exit_code, done.stderr) == (
        4,
        "pixweave: there is no index in 'gone'; create one with `pixweave index FOLDER`\n",
    )


def test_json_tells_pictures_faults_and_the_result(work: Path) -> None:
    done = classify("pics", "--labels", LABELS, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert [e["event"] for e in events] == ["picture"] * 2 + ["fault", "picture", "result"]
    assert events[2] == {
        "event": "fault",
        "path": "pics/broken.png",
        "reason": "this is not an image in a supported format",
    }
    assert events[-1] == {"event": "result", "ok": True, "pictures": 3, "faults": 1}


def test_sorting_shows_its_plan_then_does_it_and_replaces_nothing(work: Path) -> None:
    words = ("pics", "--labels", LABELS, "-q", "--sort-into", "out")
    taken = f"the name is taken by '{work}/pics/a.png'"
    dry = classify(*words)
    assert (dry.exit_code, dry.stderr) == (
        0,
        FAULT
        + (
            "pics/a.png -> out/a red square/a.png\n"
            "pics/b.png -> out/a blue circle/b.png\n"
            f"pics/sub/a.png stays, {taken}\n"
            "2 of 3 would go into out; add --how copy, link or move to sort them\n"
        ),
    )
    assert not (work / "out").exists()
    (work / "out" / "a blue circle").mkdir(parents=True)
    (work / "out" / "a blue circle" / "b.png").write_text("mine")
    done = classify(*words, "--how", "move")
    assert (done.exit_code, done.stderr) == (
        1,
        FAULT
        + (
            "not sorted: pics/b.png: 'out/a blue circle/b.png' already exists\n"
            f"not sorted: pics/sub/a.png: 'out/a red square/a.png' {taken}\n"
            "moved 1 of 3 into out\n"
            "pixweave: 2 of 3 images were not sorted: existing files are never replaced\n"
        ),
    )
    assert (work / "out" / "a blue circle" / "b.png").read_text() == "mine"
    left = sorted(str(p.relative_to(work)) for p in (work / "pics").rglob("*.png"))
    assert left == ["pics/b.png", "pics/broken.png", "pics/sub/a.png"]
    assert [p.name for p in (work / "out" / "a red square").iterdir()] == ["a.png"]


@pytest.mark.parametrize("how", ["copy", "link"])
def test_copies_and_links_leave_the_pictures_where_they_are(work: Path, how: str) -> None:
    done = classify("pics/a.png", "--labels", LABELS, "-q", "--sort-into", "out", "--how", how)
    assert done.exit_code == 0
    target = work / "out" / "a red square" / "a.png"
    assert target.read_bytes() == (work / "pics" / "a.png").read_bytes()
    assert target.is_symlink() == (how == "link")


def test_labels_are_safe_as_folders() -> None:
    assert sort_into_folders.folder_name("a/b: ../c") == "a_b_ .._c"
    assert sort_into_folders.folder_name("..") == "_"
    assert sort_into_folders.folder_name("un café") == "un café"


def test_what_cannot_be_done_is_told(work: Path) -> None:
    done = classify("pics/broken.png", "gone.png", "--labels", LABELS, "-q")
    assert (done.exit_code, done.stderr) == (
        4,
        FAULT
        + (
            "cannot read gone.png: there is no such file\n"
            "pixweave: cannot read any of the 2 files as an image\n"
        ),
    )
    done = classify("pics", "--labels", "a")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.endswith(
        "classifier 'zero_shot': a single label always wins; add another, or set 'multi' or "
        "'unknown_below'\n"
    )
    done = classify("pics")
    assert done.exit_code == 2
    assert done.stderr.endswith("Error: give either --labels A,B,C or --labels-file FILE\n")
    done = classify("pics", "--labels", LABELS, "--how", "copy")
    assert done.exit_code == 2
    assert done.stderr.endswith("Error: --how needs --sort-into DIR, the folder to sort into\n")


def test_ctrl_c_keeps_the_rows_that_are_printed(work: Path) -> None:
    for number in range(3000):  # more than it can have done by then
        os.link(work / "pics" / "a.png", work / "pics" / f"n{number:04}.png")
    command = [sys.executable, "-m", "pixweave", "classify", "pics", "--labels", LABELS, "-q"]
    heed = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, heed)
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("stopped\n")
    assert first[1].startswith("pics/a.png\ta red square\t")
    assert all(line.count("\t") == 2 for line in rest.splitlines())


def test_in_python_it_is_a_function_of_pictures(work: Path) -> None:
    name = pixweave.zero_shot(LABELS.split(","), device="cpu")
    one, two = name(["pics/a.png", work / "pics" / "b.png"])
    assert (one.label, two.label) == ("a red square", "a blue circle")
    assert one.path == str(work / "pics" / "a.png")
    assert one.score == dict(one.scores)["a red square"]
    picture = torch.ones(1, 3, 80, 80)
    picture[:, 1:, 20:60, 20:60] = 0
    assert name(picture)[0].label == "a red square"
    with pytest.raises(pixweave.MissingError) as caught:
        name("pics/broken.png")
    assert str(caught.value) == (
        f"'{work}/pics/broken.png' is not an image: this is not an image in a supported format"
    )
