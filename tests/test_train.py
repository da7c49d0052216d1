"""`pixweave train`: data from anywhere, steps that resume, and files that are whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from pixweave import (
    MissingError,
    OutOfMemoryError,
    PartError,
    Plugins,
    RecipeError,
    RunError,
)
from pixweave.cli import cli
from pixweave.cli.train import describe
from pixweave.events import Event
from pixweave.testing import check_component
from pixweave.train import Dataset, Plan, make_plan
from pixweave.train import dataset as dataset_module
from pixweave.train.dataset import open_dataset
from pixweave.train.sources import read_source
from pixweave.train.training_loop import train
from pixweave.train.work_folder import grid

MEAN = '''
"""Trainer `mean`, for tests: learns the mean colour of the pictures."""
import time
from typing import ClassVar

import pixweave
from pixweave import Component, Field


class Mean(Component):
    """Learn the mean colour."""

    suffix: ClassVar[str] = ".pt"
    size: int = Field(8, ge=2, description="side of the pictures")
    steps: int = Field(20, ge=1, description="updates")
    batch: int = Field(4, ge=1, description="pictures per update")
    rate: float = Field(0.1, description="learning rate")
    wait: float = Field(0.0, description="seconds that a step takes")
    breaks: int = Field(-1, description="the step that gives no number")

    def build(self, run):
        return Training(self, run)


class Training:
    def __init__(self, settings, run):
        import torch

        self.set, self.run = settings, run
        self.colour = torch.rand(3).requires_grad_()
        self.optimizer = torch.optim.Adam([self.colour], lr=settings.rate)
        if len(run.dataset) < 3:
            run.warn("few pictures")

    def step(self, step):
        import torch

        time.sleep(self.set.wait)
        rows = self.run.dataset.train[torch.randint(len(self.run.dataset.train), (self.set.batch,))]
        images = self.run.dataset.images(rows)
        noise = torch.rand(()) * self.colour.sum()
        loss = (images.mean((2, 3)) - self.colour).square().mean() + noise
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": float("nan") if step == self.set.breaks else loss.item()}

    def state_dict(self):
        return {"colour": self.colour.detach(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state):
        self.colour.data.copy_(state["colour"])
        self.optimizer.load_state_dict(state["optimizer"])

    def samples(self):
        return self.colour.detach().clamp(0, 1)[None, :, None, None].expand(2, 3, 8, 8)

    def measure(self):
        images = self.run.dataset.images(self.run.dataset.held)
        return {"off": (images.mean((2, 3)) - self.colour).abs().mean().item()}

    def save(self, path):
        path.write_bytes(self.colour.detach().numpy().tobytes())
        path.with_suffix(".txt").write_text("a companion")


@pixweave.hookimpl
def register_trainers():
    return {"mean": Mean}
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mean.py").write_text(MEAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plugins() -> Plugins:
    return Plugins.discover(["plugins"], entry_points=False)


def picture(path: str | Path, colour: Any = "red", size: tuple[int, int] = (12, 9)) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(path)
    return Path(path)


def write(path: str, *lines: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n", "utf-8")
    return Path(path)


def some(folder: str = "data", count: int = 6) -> Path:
    colours = ("red", "lime", "blue", "white", "black", "yellow")
    for number in range(count):
        picture(f"{folder}/{colours[number % 6]}_{number}.png", colours[number % 6])
    return Path(folder)


def pack(folder: str, count: int = 5, side: int = 8, **more: Any) -> Path:
    Path(folder).mkdir()
    pixels = np.arange(count * side * side * 3).reshape(count, side, side, 3) % 251
    np.save(Path(folder) / "pixels.npy", pixels.astype(np.uint8))
    rows = [{"captions": [f"the {n}", f"number {n}"], **more} for n in range(count)]
    write(f"{folder}/captions.jsonl", *map(json.dumps, rows))
    return Path(folder)


def captions(path: str | Path) -> dict[str, list[str]]:
    source = read_source(Path(path))
    return {
        file.name: texts for file, texts in zip(source.files, source.words.captions, strict=True)
    }


def complaint(path: str) -> str:
    with pytest.raises((RecipeError, MissingError)) as caught:
        read_source(Path(path))
    return str(caught.value)


def opened(*data: str, side: int = 8, seed: int = 0, warn: Any = lambda message: None) -> Dataset:
    return open_dataset([Path(path) for path in data], side, seed, Path("work"), warn=warn)


def plan(*sets: str, data: str = "data", **options: Any) -> Plan:
    out = options.pop("out", Path("mine.pt"))
    return make_plan(plugins(), "mean", [Path(data)], out, sets=sets, device="cpu", **options)


def stopped_after(wish: Plan, step: int) -> str:
    """Train until that step was done, and there a wish to stop."""
    seen = [0]

    def tell(event: Event) -> None:
        seen.append(event.data.get("step", 0))

    return train(wish, tell, lambda: max(seen) >= step)


def lines(path: str = "mine.training/log.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def verb(*words: str) -> Result:
    return CliRunner().invoke(cli, ["train", "--plugins-dir", "plugins", *words])


# Captions


def test_a_name_is_a_caption(here: Path) -> None:
    for name in (
        "red_heart-03",
        "Blue  sky(2)",
        "zwölf Äpfel",
        "007",
        "deep/001",
        "9/2/1",
        ".hidden",
    ):
        picture(f"my-data/{name}.png")
    picture("my-data/.trash/cat.png")
    assert captions("my-data") == {
        "007.png": ["my data"],
        "Blue  sky(2).png": ["Blue sky"],
        "red_heart-03.png": ["red heart"],
        "zwölf Äpfel.png": ["zwölf Äpfel"],
        "1.png": ["my data"],
        "001.png": ["deep"],
    }


def test_a_text_file_has_a_caption_in_each_line_and_comes_first(here: Path) -> None:
    picture("data/a.png"), picture("data/b.png"), picture("data/c.png")
    write("data/a.txt", "\ufeffa red square", "", "  nothing but red ")
    write("data/b.txt", "")
    write("data/metadata.csv", "file_name,text", "a.png,from the table", "c.png,from the table")
    assert captions("data") == {
        "a.png": ["a red square", "nothing but red"],
        "b.png": ["b"],
        "c.png": ["from the table"],
    }


def test_a_table_in_the_folder_has_captions_and_labels(here: Path) -> None:
    picture("data/a.png"), picture("data/sub/b.png"), picture("data/c.png")
    write(
        "data/metadata.jsonl",
        '{"file_name": "a.png", "captions": ["one", "two"], "label": "thing"}',
        "",
        '{"image": "sub/b.png", "label": "other"}',
    )
    source = read_source(Path("data"))
    assert captions("data") == {"a.png": ["one", "two"], "c.png": ["c"], "b.png": ["other"]}
    assert source.words.labels == ["thing", "c", "other"]


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("t.csv", ["Image, Caption", 'x/a.png,"red, and flat"', "x/b.png,blue", "x/a.png,red"]),
        ("t.tsv", ["path\ttext", "x/a.png\tred, and flat", "x/b.png\tblue", "", "x/a.png\tred"]),
        (
            "t.jsonl",
            [
                '{"file": "x/a.png", "captions": ["red, and flat", "red"]}',
                '{"path": "x/b.png", "text": "blue"}',
            ],
        ),
    ],
)
def test_a_table_is_data_itself(here: Path, name: str, rows: list[str]) -> None:
    picture("data/x/a.png"), picture("data/x/b.png"), picture("data/x/not-named.png")
    write(f"data/{name}", *rows)
    assert captions(f"data/{name}") == {"a.png": ["red, and flat", "red"], "b.png": ["blue"]}


def test_wrong_rows_are_named_all_at_once(here: Path) -> None:
    picture("data/a.png")
    write(
        "data/t.csv", "image,caption", "a.png,red", "b.png,blue", "a.png", ",green", "a.png,", '"a'
    )
    assert complaint("data/t.csv") == (
        "data/t.csv:3:1: image 'b.png' not found; names are relative to 'data'; fix or remove "
        "the row\n"
        "data/t.csv:4:1: the row has 1 cells, the first line has 2; put texts with commas in "
        "quotes\n"
        "data/t.csv:5:1: the row has no image; add a 'file_name'\n"
        "data/t.csv:6:1: 'a.png' has no caption; add a 'caption', a text\n"
        "data/t.csv:7:1: this cannot be read: unexpected end of data; fix the quotes"
    )
    write("data/u.csv", "picture,caption", "a.png,red")
    assert complaint("data/u.csv") == (
        "data/u.csv:1:1: there is no column for the image; name a column file_name, file, image or "
        "path"
    )
    write("data/t.jsonl", '{"file": "a.png"', "[]", '{"file": "a.png", "caption": 3}')
    assert complaint("data/t.jsonl") == (
        "data/t.jsonl:1:1: this is not JSON: Expecting ',' delimiter: line 1 column 17 (char 16); "
        "write one {...} per line\n"
        "data/t.jsonl:2:1: this is not a JSON object; write one {...} per line\n"
        "data/t.jsonl:3:1: 'a.png' has no caption; add a 'caption', a text"
    )
    (here / "data" / "v.csv").write_bytes(b"image,caption\na.png,caf\xe9\n")
    assert complaint("data/v.csv") == (
        "data/v.csv:2:1: this is not UTF-8 text; save the file as UTF-8"
    )


def test_data_that_is_none_says_what_data_is(here: Path) -> None:
    some()
    (here / "empty").mkdir()
    write("notes.md", "hello")
    assert complaint("dat") == "data 'dat' not found; did you mean 'data'?"
    assert complaint("empty") == (
        "no images in 'empty'; supported files are bmp, gif, jpeg, jpg, png, webp"
    )
    assert complaint("notes.md") == (
        "'notes.md' is not valid data: use a folder of images, a .csv, .tsv or .jsonl table, or a "
        "folder with pixels.npy and captions.jsonl"
    )


def test_a_link_in_a_circle_and_a_work_folder_are_no_data(here: Path) -> None:
    some(count=2)
    (here / "data" / "round").symlink_to(here / "data")
    train(plan(out=Path("data/mine.pt")))
    assert (here / "data/mine.training/samples/000020.png").is_file()
    assert list(captions("data")) == ["lime_1.png", "red_0.png"]


# Pixels


def test_pictures_become_squares_over_white(here: Path) -> None:
    picture("data/a_clear.png", (0, 0, 0, 0))
    wide = Image.new("RGB", (32, 8), "blue")
    wide.paste("red", (12, 0, 20, 8))
    wide.save("data/b_wide.bmp")
    turned = Image.new("RGB", (16, 32), "blue")
    turned.paste("red", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned.crop((0, 8, 16, 24)).save("data/c_turned.jpg", exif=exif, quality=100)
    first, second = Image.new("L", (8, 8), 255), Image.new("L", (8, 8), 0)
    first.save("data/d_film.gif", save_all=True, append_images=[second])
    Image.fromarray(np.full((8, 8), 0x8080, np.uint16)).save("data/e_deep.png")
    data = opened("data")
    assert data.pixels.shape == (5, 8, 8, 3)
    assert (data.pixels[0] == 255).all()
    assert (data.pixels[1] == (255, 0, 0)).all()
    assert data.pixels[2, 1, 4, 2] > 250
    assert data.pixels[2, 6, 4, 0] > 250
    assert (data.pixels[3] == 255).all()
    assert (data.pixels[4] == 0x80).all()
    images = data.images([1, 4])
    assert (images.shape, images.dtype, images.is_contiguous()) == (
        (2, 3, 8, 8),
        torch.float32,
        True,
    )
    assert images[0, 0].eq(1).all()
    assert images[1].eq(128 / 255).all()


def test_pictures_are_prepared_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some()
    first = opened("data")
    with monkeypatch.context() as patched:
        patched.setattr(dataset_module, "square_from_file", lambda *_: pytest.fail("read again"))
        assert np.array_equal(opened("data").pixels, first.pixels)
    picture("data/red_0.png", "green", (30, 30))
    second = opened("data")
    assert not np.array_equal(second.pixels, first.pixels)
    assert second.digest != first.digest
    assert len(list(Path("work").iterdir())) == 1


def test_unreadable_pictures_are_left_out_and_named(here: Path) -> None:
    some(count=3)
    write("data/not.png", "no picture")
    whole = Path("data/red_0.png").read_bytes()
    Path("data/cut.png").write_bytes(whole[:40])
    said: list[str] = []
    data = opened("data", warn=said.append)
    assert data.captions == [["blue"], ["lime"], ["red"]]
    assert len(said) == 1
    assert said[0].startswith("2 images are left out:\n  cannot read 'data/cut.png' as an image:")
    assert "cannot read 'data/not.png' as an image: cannot identify image file" in said[0]
    opened("data", warn=said.append)
    assert said[1] == said[0]
    for path in Path("data").glob("*_*.png"):
        path.unlink()
    with pytest.raises(
        MissingError, match=r"^none of the images can be read; 2 images are left out:\n"
    ):
        opened("data")


def test_some_are_held_out_by_the_seed(here: Path) -> None:
    pack("packed", 200)
    one, same, other = opened("packed"), opened("packed"), opened("packed", seed=1)
    assert len(one.held) == 4
    assert sorted([*one.held, *one.train]) == list(range(200))
    assert np.array_equal(one.held, same.held)
    assert not np.array_equal(one.held, other.held)
    pack("single", 1)
    assert (len(opened("single").held), len(opened("single").train)) == (0, 1)


# Packed data


def test_packed_data_stays_where_it_lies(here: Path) -> None:
    pack("packed", claims=[["a"], ["b", "c"]], facts=["a", "b", "c"], label="thing")
    data = opened("packed")
    assert isinstance(data.pixels, np.memmap)
    assert not Path("work").exists()
    assert data.captions[2] == ["the 2", "number 2"]
    assert data.claims is not None
    assert data.facts is not None
    assert (data.claims[1], data.facts[1]) == ([["a"], ["b", "c"]], ["a", "b", "c"])
    assert data.labels == ["thing"] * 5
    pack("plain")
    bare = opened("plain")
    assert (bare.claims, bare.facts, bare.labels[3]) == (None, None, "the 3")


def test_data_of_all_kinds_is_joined_at_one_side(here: Path) -> None:
    pack("packed", 2, 16, claims=[["a"], ["b"]])
    some(count=1)
    data = opened("packed", "data")
    assert data.pixels.shape == (3, 8, 8, 3)
    packed = np.load("packed/pixels.npy")
    assert abs(data.pixels[1, 3, 3].astype(int) - packed[1, 6:8, 6:8].mean((0, 1))).max() < 1
    assert data.captions == [["the 0", "number 0"], ["the 1", "number 1"], ["red"]]
    assert data.claims == [[["a"], ["b"]], [["a"], ["b"]], [["red"]]]
    assert data.facts is None


def test_wrong_packed_data_says_what_is_wrong(here: Path) -> None:
    pack("packed")
    hint = 'write {"captions": ["..."]}, optionally with "claims", "facts", "label"'
    write(
        "packed/captions.jsonl",
        '{"captions": ["a"]}',
        '{"captions": []}',
        '{"caption": "a"}',
        '{"captions": ["a"], "claims": [["a"], ["b"]]}',
        '{"captions": [""]}',
    )
    assert complaint("packed") == (
        f"packed/captions.jsonl:2:1: 'captions' must be a list of one or more texts; {hint}\n"
        f"packed/captions.jsonl:3:1: 'captions' is missing; {hint}\n"
        f"packed/captions.jsonl:4:1: 'claims' must have a list of texts for each caption; {hint}\n"
        f"packed/captions.jsonl:5:1: 'captions' contains an empty text; {hint}"
    )
    write("packed/captions.jsonl", '{"captions": ["a"]}')
    assert complaint("packed") == (
        "'packed/captions.jsonl' has 1 line for the 5 images of pixels.npy; write one for each "
        "image"
    )
    Path("packed/captions.jsonl").unlink()
    assert complaint("packed") == (
        "'packed/captions.jsonl' not found; write one line for each image of pixels.npy"
    )
    np.save("packed/pixels.npy", np.zeros((5, 8, 8), np.float32))
    assert complaint("packed") == (
        "'packed/pixels.npy' contains float32 [5, 8, 8]; it must be uint8 [images, side, side, 3]"
    )
    write("packed/pixels.npy", "nothing")
    assert complaint("packed").startswith("'packed/pixels.npy' cannot be read: ")


# Plans


def test_settings_come_from_file_and_command_line(here: Path) -> None:
    some("deep/data")
    write("deep/mine.yaml", "steps: 7", "rate: 0.5", "seed: 3", "data: data")
    made = make_plan(plugins(), "mean", [], Path("mine.pt"), Path("deep/mine.yaml"), ["steps=9"])
    assert (made.steps, made.seed, made.side) == (9, 3, 8)
    assert made.data == (here / "deep/data",)
    assert made.work == Path("mine.training")


def test_wrong_settings_are_told_with_their_places(here: Path) -> None:
    some()
    write("mine.yaml", "setps: 7", "rate: fast", "device: cpu", "seed: -1")
    with pytest.raises(RecipeError) as caught:
        plan("batch=0", config=Path("mine.yaml"))
    assert str(caught.value) == (
        "--set batch=0: 'batch' of trainer 'mean' must be at least 1, not 0\n"
        "mine.yaml:1:1: trainer 'mean' has no setting 'setps'; did you mean 'steps'?\n"
        "mine.yaml:2:7: 'rate' of trainer 'mean' must be a number, not 'fast'\n"
        "mine.yaml:3:1: trainer 'mean' has no setting 'device'; write --device instead\n"
        "mine.yaml:4:7: 'seed' of trainer 'mean' must be between 0 and 1e+09, not -1"
    )
    write("empty.yaml", "# nothing")
    with pytest.raises(RecipeError) as caught:
        plan(config=Path("empty.yaml"))
    assert str(caught.value) == (
        "empty.yaml:1:1: the configuration is empty; start with 'steps: 1000'"
    )


def test_a_wrong_command_says_what_to_write(here: Path) -> None:
    some()
    asked = ["mean", "data", "--out"]
    done = verb(*asked, "mine.ckpt")
    assert (done.exit_code, done.stderr) == (
        1,
        "pixweave: trainer 'mean' writes .pt files; use --out mine.pt\n",
    )
    assert verb("men", "data", "--out", "mine.pt").stderr == (
        "pixweave: trainer 'men' is not known; did you mean 'mean'?\n"
    )
    assert verb("mean", "--out", "mine.pt").stderr == (
        "pixweave: no data given; use `pixweave train mean FOLDER --out mine.pt`, or "
        "'data: [FOLDER]' in the configuration\n"
    )
    assert verb(*asked, "mine.pt", "--device", "gpu").stderr == (
        "pixweave: unknown device 'gpu'; did you mean 'cpu'?\n"
    )
    (here / "other").mkdir()
    write("other/precious.txt", "mine")
    assert verb(*asked, "mine.pt", "--work", "other").stderr == (
        "pixweave: the folder 'other' has content that is not a training; name a new one with "
        "--work\n"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps: int", "rounds: int", "Mean has no setting 'steps', the number of updates"),
        ("rate: float", "seed: float", "Mean has a setting 'seed', which all trainers have"),
        (
            "suffix: ClassVar[str]",
            "ending: ClassVar[str]",
            "Mean has no `suffix: ClassVar[str]`, its file extension",
        ),
    ],
)
def test_a_trainer_that_cannot_be_run_is_refused(here: Path, old: str, new: str, said: str) -> None:
    write("plugins/mean.py", MEAN.replace(old, new))
    assert plugins().broken == {"mean": f"register_trainers() of plugin 'mean': {said}"}


# Steps


def test_a_training_leaves_model_log_samples_and_settings(here: Path) -> None:
    some()
    events: list[Event] = []
    assert train(plan("steps=40"), events.append) == "done"
    assert len(Path("mine.pt").read_bytes()) == 3 * 4
    assert Path("mine.txt").read_text() == "a companion"
    assert {path.name for path in here.iterdir()} == {
        "data",
        "plugins",
        "mine.pt",
        "mine.txt",
        "mine.training",
    }
    log = lines()
    assert [line["step"] for line in log] == list(range(1, 41))
    assert log[-1]["metrics"].keys() == {"loss"}
    assert log[-1]["measures"].keys() == {"off"}
    assert log[-1]["pictures_per_second"] > 0
    with Image.open("mine.training/samples/000040.png") as sheet:
        assert sheet.size == (18, 8)
    config = json.loads(Path("mine.training/config.json").read_text())
    assert config["settings"]["steps"] == 40
    assert config["data"] == [str(here / "data")]
    assert "torch" in config["versions"]
    kinds = [event.kind for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "preparing",
        "building",
        "started",
        "step",
        "measured",
        "saved",
        "result",
    ]
    assert events[-1].data["measures"] == log[-1]["measures"]


@pytest.mark.parametrize("at", [1, 7, 19])
def test_a_stopped_training_ends_as_an_unbroken_one(here: Path, at: int) -> None:
    some()
    train(plan(out=Path("whole.pt")))
    assert stopped_after(plan(), at) == "interrupted"
    assert not Path("mine.pt").exists()
    with open("mine.training/log.jsonl", "a") as log:
        log.write(f'{{"step": {at + 3}, "lost": true}}\n{{"step": 1')
    assert train(plan()) == "done"
    states = [
        torch.load(f"{name}.training/checkpoint.pt", weights_only=True)["training"]
        for name in ("whole", "mine")
    ]
    assert torch.equal(states[0]["colour"], states[1]["colour"])
    moments = [state["optimizer"]["state"][0]["exp_avg_sq"] for state in states]
    assert torch.equal(*moments)
    assert Path("mine.pt").read_bytes() == Path("whole.pt").read_bytes()
    whole, mine = lines("whole.training/log.jsonl"), lines()
    assert [line["step"] for line in mine] == [line["step"] for line in whole]
    assert [line["metrics"] for line in mine] == [line["metrics"] for line in whole]


def test_it_goes_on_with_more_steps_but_not_with_fewer(here: Path) -> None:
    some()
    train(plan("steps=4"))
    train(plan("steps=6"))
    assert lines()[-1]["step"] == 6
    with pytest.raises(RunError) as caught:
        train(plan("steps=5"))
    assert str(caught.value) == (
        "'mine.training' contains a training of 6 steps, more than 5; ask for more with --steps, "
        "or add --fresh to start over"
    )
    assert train(plan("steps=5", fresh=True)) == "done"
    assert [line["step"] for line in lines()] == [1, 2, 3, 4, 5]
    assert not Path("mine.training/samples/000006.png").exists()


def test_another_training_is_not_gone_on_with(here: Path) -> None:
    some()
    train(plan())
    remedy = "; add --fresh to start over, or name another folder with --work"
    with pytest.raises(RunError) as caught:
        train(plan("rate=0.2", "size=4", "seed=1"))
    assert str(caught.value) == (
        "'mine.training' contains another training: size 8 (now 4), rate 0.1 (now 0.2), "
        f"seed 0 (now 1){remedy}"
    )
    picture("data/new.png")
    with pytest.raises(RunError) as caught:
        train(plan())
    assert (
        str(caught.value) == f"'mine.training' contains another training: 6 images (now 7){remedy}"
    )
    Path("data/new.png").unlink()
    write("data/red_0.txt", "crimson")
    with pytest.raises(RunError) as caught:
        train(plan())
    assert str(caught.value) == (
        f"'mine.training' contains another training: other captions or images{remedy}"
    )
    train(plan(fresh=True))


def test_a_broken_checkpoint_and_a_number_that_is_none(here: Path) -> None:
    some()
    train(plan())
    Path("mine.training/checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(MissingError) as caught:
        train(plan())
    assert str(caught.value) == (
        "'mine.training/checkpoint.pt' cannot be read: UnpicklingError; add --fresh to start over"
    )
    with pytest.raises(RunError) as error:
        train(plan("breaks=7", out=Path("other.pt")))
    assert str(error.value) == (
        "'loss' became nan at step 8; lower the learning rate. The last checkpoint in "
        "'other.training' is from an earlier step"
    )
    assert torch.load("other.training/checkpoint.pt", weights_only=True)["step"] <= 7
    assert not Path("other.pt").exists()


def test_time_can_be_up(here: Path) -> None:
    some()
    assert train(plan(minutes=0.0)) == "paused"
    assert Path("mine.pt").is_file()
    assert lines()[-1]["step"] == 1
    assert "measures" in lines()[-1]
    assert train(plan()) == "done"


def test_one_picture_is_enough_and_the_trainer_may_warn(here: Path) -> None:
    some(count=1)
    events: list[Event] = []
    train(plan("steps=2"), events.append)
    assert [e.data for e in events if e.kind == "warning"] == [{"message": "few pictures"}]
    assert lines()[-1]["measures"] == {}


def test_pictures_stand_in_rows_of_eight() -> None:
    sheet = grid(torch.zeros(10, 1, 4, 6))
    assert sheet.shape == (3, 10, 62)
    assert sheet[:, 6:, 14:].eq(1).all()
    assert sheet[:, :4, :6].eq(0).all()


def test_the_double_keeps_the_contract(here: Path) -> None:
    check_component("trainer", "mean", plugins=plugins())


def test_the_trainer_in_the_guide_keeps_the_contract(here: Path) -> None:
    guide = (Path(__file__).parent.parent / "docs" / "training.md").read_text("utf-8")
    write("plugins/mean.py", guide.split("```python\n")[1].split("```")[0])
    check_component("trainer", "mean", {"batch": 4}, plugins())


def test_a_trainer_that_draws_elsewhere_does_not(here: Path) -> None:
    write("plugins/mean.py", MEAN.replace("torch.rand(())", "time.perf_counter()"))
    with pytest.raises(AssertionError, match="'mean' does not repeat its steps when it is resumed"):
        check_component("trainer", "mean", plugins=plugins())


def test_errors_name_the_trainer(here: Path) -> None:
    some()
    write("plugins/mean.py", MEAN.replace("loss.backward()", "loss.forwards()"))
    with pytest.raises(PartError) as caught:
        train(plan())
    assert str(caught.value) == (
        "trainer 'mean' (plugin mean) raised AttributeError: 'Tensor' object has no attribute "
        "'forwards' (mean.py:44)"
    )
    write("plugins/mean.py", MEAN.replace("loss.backward()", "raise RuntimeError('out of memory')"))
    with pytest.raises(OutOfMemoryError) as full:
        train(plan())
    assert str(full.value) == (
        "trainer 'mean' (plugin mean) ran out of memory (out of memory); try a smaller 'batch' or "
        "'size'"
    )


# The verb


def test_checking_needs_no_torch(here: Path) -> None:
    some()
    code = (
        "import sys, pixweave.cli, pixweave.train; "
        "sys.argv = 'pixweave train --plugins-dir plugins mean data -o m.pt --check'.split(); "
        "import atexit; atexit.register(lambda: print('torch' in sys.modules)); pixweave.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_paths_are_on_stdout_and_the_rest_on_stderr(here: Path) -> None:
    some()
    done = verb("mean", "data", "--out", "mine.pt", "--device", "cpu", "-n", "2")
    assert done.stdout == "mine.pt\nmine.txt\n"
    told = done.stderr.splitlines()
    assert told[0] == "training for 2 steps on cpu: 5 images, 1 held out; see mine.training"
    assert told[1].startswith("step 1: off 0.")
    assert told[-1].startswith("done: off 0.")
    assert told[-1].endswith("; log and samples are in mine.training")
    again = verb("mean", "data", "--out", "mine.pt", "--device", "cpu", "-n", "3", "--quiet")
    assert again.stderr.startswith("done: off 0.")
    assert len(again.stderr.splitlines()) == 1


def test_json_prints_events(here: Path) -> None:
    some()
    done = verb("mean", "data", "-o", "mine.pt", "-n", "4", "--seed", "5", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "result"
    assert (events[-1]["status"], events[-1]["outputs"]) == ("done", ["mine.pt", "mine.txt"])
    last = [event for event in events if event["event"] == "step"][-1]
    assert (last["step"], last["steps"], last["metrics"].keys()) == (4, 4, {"loss"})
    assert done.stderr == ""


def test_check_counts_and_trains_nothing(here: Path) -> None:
    pack("packed", 1)
    some(count=2)
    write("data/not.png", "no picture")
    done = verb("mean", "packed", "data", "-o", "mine.pt", "--check")
    assert done.exit_code == 0
    assert done.stdout == (
        "packed: 1 image, 2 captions, 1 label\n"
        "  1: the 0 | number 0\n"
        "data: 3 images, 3 captions, 3 labels\n"
        "  1: lime\n"
        "  2: not\n"
        "  3: red\n"
        "trainer mean: 20 steps at 8 px, seed 0, into mine.pt; work folder mine.training\n"
    )
    assert done.stderr == (
        "warning: 1 image is left out:\n  cannot read 'data/not.png' as an image: cannot "
        "identify image file 'data/not.png'\n"
    )
    assert not Path("mine.training").exists()
    counted = json.loads(verb("mean", "data", "-o", "mine.pt", "--check", "--json").stdout)
    assert counted["data"] == [{"data": "data", "pictures": 3, "captions": 3}]
    assert len(counted["faults"]) == 1


def test_a_line_for_a_log() -> None:
    data = {"step": 120, "steps": 200, "seconds": 10.0, "metrics": {"loss": 0.61803}}
    assert describe(data) == "120/200  12.0 it/s  0:00:06 left  loss 0.618"
    assert describe(data, 115) == "120/200  2.0 s/it  0:02:40 left  loss 0.618"
    assert describe({"done": 64, "total": 99}) == "preparing images: 64/99"


def test_show_has_the_command(here: Path) -> None:
    done = CliRunner().invoke(cli, ["show", "mean", "--plugins-dir", "plugins"])
    assert done.stdout.startswith("trainer mean  (plugin mean)\n\nLearn the mean colour.\n")
    assert done.stdout.endswith("on the command line:\n  pixweave train mean DATA --out FILE\n")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_finishes_the_step_and_saves_it(here: Path, number: int, code: int) -> None:
    some()
    words = ["train", "--plugins-dir", "plugins", "mean", "data", "--out", "mine.pt", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pixweave", *words, "-n", "5000", "--set", "wait=0.02"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while '"step"' not in process.stdout.readline():
        pass
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    result = json.loads(out.splitlines()[-1])
    assert result["status"] == "interrupted"
    done = result["steps_done"]
    assert torch.load("mine.training/checkpoint.pt", weights_only=True)["step"] == done
    assert lines()[-1]["step"] == done
    again = verb(
        "mean",
        "data",
        "-o",
        "mine.pt",
        "--device",
        "cpu",
        "--minutes",
        "0",
        "-n",
        "5000",
        "--set",
        "wait=0.02",
    )
    assert again.exit_code == 0
    told = again.stderr.splitlines()
    assert told[0].startswith(f"resuming from step {done} of 5000 steps on cpu: ")
    assert told[-1] == (
        f"time is up after {done + 1} of 5000 steps; log and samples are in mine.training; "
        "run the same command to continue"
    )
