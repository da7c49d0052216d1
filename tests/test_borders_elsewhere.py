"""Parts outside the loop are checked and named too; and parts of installed packages like files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixweave import Plugins, generate, open_run, zero_shot
from pixweave.engine.context import Context
from pixweave.errors import PartError
from pixweave.search import IndexOptions, Query, Term, open_index
from pixweave.testing import FakePlugin, plugins_of, tiny_recipe
from pixweave.train import make_plan
from pixweave.train.training_loop import train

HEAD = """
import os, sys
from typing import Any, ClassVar
import numpy as np
import torch
from pixweave import Component, Field, Scores, hookimpl
"""


def plugins_from(folder: Path, source: str) -> Plugins:
    (folder / "mine.py").write_text(HEAD + source)
    plugins = Plugins.discover([folder])
    plugins.add(FakePlugin, "pixweave_fake")
    assert plugins.broken == {}
    return plugins


CLASSIFIER = """
class Guess(Component):
    '''Scores labels.'''
    labels: Any = Field((), description="labels")
    def build(self, run):
        class Built:
            labels = ["a", "b"]
            size = 8
            def __call__(self, images):
                values = torch.full((len(images), 2), 0.5)
                return RETURN
        return Built()

@hookimpl
def register_classifiers():
    return {"part": Guess}
"""
WANTED = "it must give [1, 2] float in 0..1"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "values",
            "gave [1, 2] float32; it must give pixweave.Scores(values), values [N, L] in 0..1",
        ),
        ("Scores(values[:, :1])", f"gave [1, 1] float32; {WANTED}"),
        ("Scores(values * 3)", f"gave values in 1.5..1.5; {WANTED}"),
        ("Scores(values * float('nan'))", f"gave 2 nan values of 2; {WANTED}"),
        (
            "Scores(values, known=values)",
            "gave [1, 2] float32; it must give [1] float in 0..1",
        ),
        ("sys.exit(0)", "called sys.exit(0) (mine.py:17)"),
    ],
)
def test_a_classifier(tmp_path: Path, code: str, message: str) -> None:
    plugins = plugins_from(tmp_path, CLASSIFIER.replace("RETURN", code))
    judge = zero_shot(["a", "b"], "fake", plugins=plugins, classifier="part")
    with pytest.raises(PartError) as caught:
        judge(torch.zeros(1, 3, 8, 8))
    assert str(caught.value) == f"classifier 'part' (argument labels, plugin mine) {message}"


SAMPLER = """
class Draw(Component):
    '''Draws grey.'''
    def build(self, run):
        class Built:
            def sample(self, prompts, rng):
                image = torch.full((1, 3, 16, 16), 0.5)
                return RETURN
        return Built()

@hookimpl
def register_samplers():
    return {"part": Draw}
"""
SAMPLE = "it must give [1, 3, S, S] float32 in 0..1"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("image[0]", f"gave [3, 16, 16] float32; {SAMPLE}"),
        ("image * 255", f"gave values in 128..128; {SAMPLE}"),
        ("None", f"gave None; {SAMPLE}"),
        (
            "torch.rand(1, 3, 16, 16)",
            "changed torch's global random state; draw from run.rng(name, step) instead",
        ),
    ],
)
def test_a_sampler(tmp_path: Path, code: str, message: str) -> None:
    plugins = plugins_from(tmp_path, SAMPLER.replace("RETURN", code))
    sampler = Context(tiny_recipe(plugins)).build(_part("sampler", plugins))
    with pytest.raises(PartError) as caught:
        sampler.sample([("a fox", 1.0)], torch.Generator())
    assert str(caught.value) == f"sampler 'part' (tiny.yaml:1, plugin mine) {message}"


CODEC = """
class Tokens(Component):
    '''One code for eight pixels.'''
    def build(self, run):
        class Built:
            codebook = torch.eye(4)
            factor = 8
            def encode(self, images):
                return ENCODE
            def nearest(self, latents):
                return NEAREST
            def look_up(self, codes):
                return self.codebook[codes].permute(0, 3, 1, 2)
            def decode(self, latents):
                return DECODE
        return Built()

@hookimpl
def register_codecs():
    return {"part": Tokens}
"""


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        (
            {"ENCODE": "torch.zeros(1, 4, 3, 3)"},
            "gave [1, 4, 3, 3] float32; it must give [1, D, 2, 2] float from encode",
        ),
        (
            {"NEAREST": "latents.argmax(1).int()"},
            "gave [1, 2, 2] int32; it must give [1, 2, 2] int64 from nearest",
        ),
        (
            {"DECODE": "torch.zeros(1, 3, 2, 2)"},
            "gave [1, 3, 2, 2] float32; it must give [1, 3, 16, 16] float from decode",
        ),
        ({"DECODE": "1 / 0"}, "raised ZeroDivisionError: division by zero (mine.py:21)"),
    ],
)
def test_a_codec(tmp_path: Path, replaced: dict[str, str], message: str) -> None:
    source = CODEC
    right = {
        "ENCODE": "torch.zeros(1, 4, 2, 2)",
        "NEAREST": "latents.argmax(1)",
        "DECODE": "latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)",
    }
    for name, code in {**right, **replaced}.items():
        source = source.replace(name, code)
    plugins = plugins_from(tmp_path, source)
    codec = Context(tiny_recipe(plugins)).build(_part("codec", plugins))
    with pytest.raises(PartError) as caught:
        codec.decode(codec.look_up(codec.nearest(codec.encode(torch.zeros(1, 3, 16, 16)))))
    assert str(caught.value) == f"codec 'part' (tiny.yaml:1, plugin mine) {message}"


def _part(kind: str, plugins: Plugins) -> Any:
    from pixweave import Part, Value
    from pixweave.errors import Mark

    mark = Mark("tiny.yaml", 1, 1)
    settings = plugins.find(kind, "part").component()
    return Part(kind, "part", "part", Value(1), settings, "mine", mark, lambda name: mark)


SEARCHER = """
class Nearest(Component):
    '''All rows.'''
    def build(self, run):
        class Built:
            def search(self, goal, count, allowed):
                rows = np.arange(len(run.matrix.vectors))
                cosines = run.matrix.vectors @ goal
                return RETURN
        return Built()

@hookimpl
def register_searchers():
    return {"part": Nearest}
"""
ARRAYS = "it must give two arrays [K]: rows as int64, and cosines as float32"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("rows.tolist(), cosines.tolist()", f"gave a list of 2 and a list of 2; {ARRAYS}"),
        ("None", f"gave None; {ARRAYS}"),
        (
            "rows, cosines[:-1]",
            f"gave a numpy array [2] int64 and a numpy array [1] float32; {ARRAYS}",
        ),
        (
            "rows.astype(float), cosines",
            f"gave a numpy array [2] float64 and a numpy array [2] float32; {ARRAYS}",
        ),
        ("rows + 1, cosines", "gave row 2 of a matrix of 2 rows"),
        ("rows, cosines * np.nan", "gave a cosine that is nan or infinite"),
        ("sys.exit(2)", "called sys.exit(2) (mine.py:15)"),
        ("1 / 0", "raised ZeroDivisionError: division by zero (mine.py:15)"),
    ],
)
def test_a_searcher(tmp_path: Path, code: str, message: str) -> None:
    plugins = plugins_from(tmp_path, SEARCHER.replace("RETURN", code))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("red", "blue"):
        Image.new("RGB", (16, 16), name).save(photos / f"{name}.png")
    where = tmp_path / "index"
    with open_index(where, "fake", True, plugins=plugins) as index:
        list(index.update(IndexOptions([photos])))
    index = open_index(where, plugins=plugins, searcher="part")
    with index, pytest.raises(PartError) as caught:
        index.search(Query([Term("red")], top=2))
    assert str(caught.value) == f"searcher 'part' (plugin mine) {message}"


EXECUTOR = """
class Here(Component):
    '''Runs tasks in this process.'''
    def build(self, run):
        class Built:
            info = "here"
            def run(self, tasks, stop):
                for task in tasks:
                    yield RESULT
        return BUILT

@hookimpl
def register_executors():
    return {"part": Here}
"""


@pytest.mark.parametrize(
    ("result", "built", "message"),
    [
        ("'done'", "Built()", "gave a str; it must give TaskResult objects"),
        ("1 / 0", "Built()", "raised ZeroDivisionError: division by zero (mine.py:15)"),
        ("sys.exit(0)", "Built()", "called sys.exit(0) (mine.py:15)"),
        ("1", "object()", "has no 'run'; add it to the object that build(run) returns"),
        (
            "1",
            "None",
            "has a build(run) that returned None; return the object that does the work",
        ),
    ],
)
def test_an_executor(tmp_path: Path, result: str, built: str, message: str) -> None:
    plugins = plugins_from(tmp_path, EXECUTOR.replace("RESULT", result).replace("BUILT", built))
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (16, 16), "red").save(photos / "red.png")
    index = open_index(tmp_path / "i", "tiny", True, plugins=plugins)
    with index, pytest.raises(PartError) as caught:
        list(index.update(IndexOptions([photos], executor="part")))
    assert str(caught.value) == f"executor 'part' (plugin mine) {message}"


TRAINER = """
class Nothing(Component):
    '''Learns nothing.'''
    suffix: ClassVar = ".pt"
    steps: int = Field(2, ge=1, description="updates")
    def build(self, run):
        class Built:
            def step(self, step):
                return STEP
            def state_dict(self):
                return {}
            def load_state_dict(self, state):
                pass
            def samples(self):
                return None
            def measure(self):
                return {}
            def save(self, path):
                path.write_bytes(b"x")
        return BUILT

@hookimpl
def register_trainers():
    return {"part": Nothing}
"""


@pytest.mark.parametrize(
    ("step", "built", "message"),
    [
        ("0.5", "Built()", "gave 0.5; it must give a mapping of names to numbers from step()"),
        (
            "{'loss': 'low'}",
            "Built()",
            "gave a dict of 1; it must give a mapping of names to numbers from step()",
        ),
        ("sys.exit(0)", "Built()", "called sys.exit(0) (mine.py:15)"),
        (
            "os.environ.clear() or {}",
            "Built()",
            "changed the environment; pass env= to the subprocess that needs it",
        ),
        ("{}", "Built", "raised TypeError: "),
        ("{}", "object()", "has no 'step'; add it to the object that build(run) returns"),
    ],
)
def test_a_trainer(tmp_path: Path, step: str, built: str, message: str) -> None:
    plugins = plugins_from(tmp_path, TRAINER.replace("STEP", step).replace("BUILT", built))
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("red", "blue", "green"):
        Image.new("RGB", (16, 16), name).save(photos / f"{name}.png")
    plan = make_plan(plugins, "part", [photos], tmp_path / "x.pt", sets=(), device="cpu")
    with pytest.raises(PartError) as caught:
        train(plan)
    assert str(caught.value).startswith(f"trainer 'part' (plugin mine) {message}")


INSTALLED = (
    HEAD
    + """
class Scalar(Component):
    '''Gives a list.'''
    def build(self, run):
        return lambda view: [view.image.mean()]

class Half(Component):
    '''Halves the crops.'''
    def build(self, run):
        return lambda crops, rng, moment: crops[..., ::2]

class Nothing(Component):
    '''Gives nothing.'''
    def build(self, run):
        return lambda image, moment: None

@hookimpl
def register_losses():
    return {"scalar": Scalar}

@hookimpl
def register_augmentations():
    return {"half": Half}

@hookimpl
def register_filters():
    return {"nothing": Nothing}
"""
)


def test_parts_of_an_installed_package_are_named_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed_parts.py").write_text(INSTALLED)
    info = tmp_path / "installed_parts-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: installed-parts\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[pixweave]\nstrangers = installed_parts\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "installed_parts", raising=False)
    plugins = plugins_of()
    assert plugins.loaded["strangers"].version == "2.0"
    wanted = {
        "losses": (
            "scalar",
            "loss",
            "gave a list of 1; it must give a scalar tensor, [] float32, such as x.mean()",
        ),
        "augmentations": (
            "half",
            "augmentation",
            "gave [4, 3, 16, 8] float32; it must give [4, 3, 16, 16] float32",
        ),
        "filters": ("nothing", "filter", "gave None; it must give [1, 3 or 4, 24, 24] float32"),
    }
    for key, (name, kind, message) in wanted.items():
        with pytest.raises(PartError) as caught:
            list(generate(open_run(tiny_recipe(plugins, None, **{key: [name]}))))
        assert str(caught.value) == f"{kind} '{name}' (tiny.yaml:1, plugin strangers) {message}"


def test_numpy_s_stream_is_put_back_exactly() -> None:
    from pixweave.borders.process_state import ProcessState

    before: Any = np.random.get_state()
    state = ProcessState()
    np.random.seed(3)
    assert [field.name for field in state.restore()] == ["numpy's global random state"]
    after: Any = np.random.get_state()
    assert (before[1] == after[1]).all()
    assert before[2] == after[2]
