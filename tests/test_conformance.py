"""The kit of `pixweave.testing` names every way in which a component breaks its contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pixweave import Plugins
from pixweave.testing import FakePlugin, check_component

HEAD = """
from typing import ClassVar
import numpy as np
import torch
from pixweave import Component, Export, Field, Scores, Value, hookimpl, over_time
"""
PLURAL = {"loss": "losses"}


def source(kind: str, body: str) -> str:
    """A plugin whose class `Part` is the component `part` of a kind."""
    hook = f"register_{PLURAL.get(kind, kind + 's')}"
    return f"{HEAD}\n{body}\n\n@hookimpl\ndef {hook}():\n    return {{'part': Part}}\n"


def fault(folder: Path, kind: str, body: str, **settings: Any) -> str:
    """What the kit says about a component; '' if it passes."""
    (folder / "mine.py").write_text(source(kind, body))
    plugins = Plugins.discover([folder])
    plugins.add(FakePlugin, FakePlugin.name)
    assert plugins.broken == {}
    try:
        check_component(kind, "part", settings, plugins)
    except AssertionError as error:
        return str(error).splitlines()[0]
    return ""


def loss(body: str, before: str = "pass", extra: str = "pass") -> str:
    return (
        f"class Part(Component):\n    '''A loss.'''\n    {extra}\n    def build(self, run):\n"
        f"        {before}\n        def loss(view):\n            {body}\n        return loss\n"
    )


def augmentation(body: str) -> str:
    return (
        "class Part(Component):\n    '''An augmentation.'''\n    def build(self, run):\n"
        f"        def augment(crops, rng, moment):\n            {body}\n        return augment\n"
    )


def filter_(body: str, before: str = "pass", extra: str = "pass") -> str:
    return (
        f"class Part(Component):\n    '''A filter.'''\n    {extra}\n    def build(self, run):\n"
        f"        {before}\n        def change(image, moment):\n            {body}\n"
        "        return change\n"
    )


GOOD = "return view.image.square().mean()"
DICE = "torch.rand(len(crops), 1, 1, 1, generator=rng).to(crops.device)"
STATEFUL = """
class Part(Component):
    '''A loss with state.'''
    def build(self, run):
        class Loss:
            calls = 0
            def __call__(self, view):
                self.calls += 1
                return view.image.square().mean() * (1 + self.calls)
            def state_dict(self):
                return STATE
            def load_state_dict(self, state):
                self.calls = state.get("calls", 0)
        return Loss()
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (loss(GOOD), ""),
        (
            loss("seen.append(1); return view.image.mean() * (30 - len(seen))", "seen = []"),
            "loss 'part' gives A and then B for the same view; keep no state from call to "
            "call, or add state_dict() and load_state_dict()",
        ),
        (
            loss("return view.image[:1].mean()"),
            "loss 'part' ignores image 2 of a batch of 2; use every image of view.image, "
            "[B, 3, H, W]",
        ),
        (
            loss("return -view.image.mean().detach()"),
            "loss 'part' (tiny.yaml:1, plugin mine) gave a number without a gradient; compute it "
            "from view.image or view.embedding(...) without detach(), .item() or no_grad()",
        ),
        (
            loss("return view.image.mean((2, 3))"),
            "loss 'part' (tiny.yaml:1, plugin mine) gave [1, 3] float32; it must give a scalar "
            "tensor, [] float32, such as x.mean()",
        ),
        (loss("return -view.image.mean() * 0"), "loss 'part' does not decrease: 0 -> 0"),
        (
            loss("return (view.image * torch.linspace(0, 1, 24)).square().mean()"),
            "loss 'part' makes tensors on the CPU whatever the device of the run is; make them on "
            "run.device, or on the device of the tensor that it is handed",
        ),
        (
            loss(GOOD, extra="amount: float = Field(3, le=1, description='how much')"),
            "setting 'amount' of loss 'part' has the default 3, which it would refuse from a "
            "user: Input should be less than or equal to 1",
        ),
        (
            loss(GOOD, extra="amount: float = 1.0"),
            "setting 'amount' of loss 'part' has no description",
        ),
        (
            loss(
                "return view.image.square().mean() * float(self.amount.raw)",
                extra="amount: Value = over_time(1, ge=0, le=2, description='how much')",
            ),
            "loss 'part' (tiny.yaml:1, plugin mine) raised TypeError: float() argument must be a "
            "string or a real number, not 'dict' (mine.py:13)",
        ),
        (
            loss(
                "return view.image.square().mean() * (1 if mine == len(Part.builds) else 2)",
                "Part.builds.append(1); mine = len(Part.builds)",
                extra="builds: ClassVar = []",
            ),
            "loss 'part' gives other results while a second one is in use; keep state on the "
            "object that build(run) returns, not on the class or the module",
        ),
    ],
)
def test_a_loss(tmp_path: Path, body: str, message: str) -> None:
    found = fault(tmp_path, "loss", body)
    assert re.sub(r"gives \S+ and then \S+", "gives A and then B", found) == message


def test_a_loss_with_a_state_that_is_not_all_of_it(tmp_path: Path) -> None:
    falling = STATEFUL.replace("(1 + self.calls)", "(60 - self.calls)")
    assert fault(tmp_path, "loss", falling.replace("STATE", "{'calls': self.calls}")) == ""
    assert fault(tmp_path, "loss", falling.replace("STATE", "{}")) == (
        "the state_dict of loss 'part' is not all of its state"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (augmentation(f"return crops * (0.5 + {DICE} / 2)"), ""),
        (
            augmentation(f"return crops * 255 * {DICE}"),
            "'part' gives crops up to {number}; crops are in 0..1",
        ),
        (
            augmentation(f"return (crops * {DICE}).double()"),
            "augmentation 'part' (tiny.yaml:1, plugin mine) gave [8, 3, 16, 16] float64; it must "
            "give [8, 3, 16, 16] float32",
        ),
        (
            augmentation(f"return crops.lerp(crops.flip(0), {DICE})"),
            "'part' mixes crops: a change of the first one changes others",
        ),
        (
            augmentation(f"return crops.mul_({DICE})"),
            "augmentation 'part' (tiny.yaml:1, plugin mine) raised RuntimeError: a leaf Variable "
            "that requires grad is being used in an in-place operation. (mine.py:11)",
        ),
        (
            augmentation("return crops * torch.rand(1)"),
            "augmentation 'part' (tiny.yaml:1, plugin mine) changed torch's global random state; "
            "draw from run.rng(name, step) instead",
        ),
        (augmentation("return crops * 1"), "'part' does nothing"),
        (
            augmentation(f"return crops * {DICE} * torch.linspace(0, 1, 16)"),
            "augmentation 'part' makes tensors on the CPU whatever the device of the run is; make "
            "them on run.device, or on the device of the tensor that it is handed",
        ),
    ],
)
def test_an_augmentation(tmp_path: Path, body: str, message: str) -> None:
    found = fault(tmp_path, "augmentation", body)
    if "{number}" in message:
        start, _, end = message.partition("{number}")
        assert found.startswith(start)
        assert found.endswith(end)
    else:
        assert found == message


def test_abilities_that_do_not_exist(tmp_path: Path) -> None:
    for kind, can, hint in (
        ("generator", "start_form", "did you mean 'start_from'?"),
        ("filter", "statless", "did you mean 'stateless'?"),
        ("loss", "stateless", "a loss declares no abilities"),
    ):
        body = loss(GOOD, extra=f"can: ClassVar = frozenset({{'{can}'}})")
        (tmp_path / "mine.py").write_text(source(kind, body))
        hook = f"register_{PLURAL.get(kind, kind + 's')}() of plugin 'mine'"
        assert Plugins.discover([tmp_path]).broken == {
            "mine": f"{hook}: Part.can has '{can}'; {hint}"
        }


GENERATOR = """
class Part(Component):
    '''A generator.'''
    can: ClassVar = frozenset({CAN})
    def build(self, run):
        from pixweave import TensorGenerator
        width, height = run.size
        made = TensorGenerator(lambda t: IMAGE, x=torch.full((1, 3, height, width), 0.5))
        AFTER
        return made
"""


@pytest.mark.parametrize(
    ("image", "after", "can", "message"),
    [
        ("t['x']", "pass", "'start_from'", ""),
        (
            "t['x']",
            "pass",
            "'latent'",
            "generator 'part' (tiny.yaml:1, plugin mine) has no 'latents'; add it to the object "
            "that build(run) returns",
        ),
        (
            "t['x']",
            "made.constrain = None",
            "",
            "generator 'part' (tiny.yaml:1, plugin mine) raised TypeError: 'NoneType' object is "
            "not callable",
        ),
        (
            "t['x'].detach()",
            "pass",
            "",
            "generator 'part' (tiny.yaml:1, plugin mine) gave an image without a gradient; compute "
            "it from the tensors of parameters() without detach(), .data or no_grad()",
        ),
        (
            "t['x'][..., :8]",
            "pass",
            "",
            "generator 'part' (tiny.yaml:1, plugin mine) gave [1, 3, 24, 8] float32; it must give "
            "[B, 3 or 4, 24, 24] float32 in 0..1",
        ),
        (
            "t['x']",
            "made.state_dict = lambda: {'x': torch.zeros_like(made.tensors['x'])}",
            "",
            "'part' does not restore its state exactly",
        ),
        (
            "t['x']",
            "made.start_from = lambda image: made.tensors.update(x=image.clone().requires_grad_())",
            "'start_from'",
            "'part' replaces its parameters in start_from; it must set them in place",
        ),
        (
            "t['x']",
            "made.start_from = lambda image: None",
            "'start_from'",
            "'part' does not start from an image: off by 0.250",
        ),
    ],
)
def test_a_generator(tmp_path: Path, image: str, after: str, can: str, message: str) -> None:
    body = GENERATOR.replace("IMAGE", image).replace("AFTER", after).replace("CAN", can)
    assert fault(tmp_path, "generator", body) == message


PERCEPTOR = """
class Part(Component):
    '''A perceptor.'''
    def identity(self):
        return IDENTITY
    def build(self, run):
        from torch.nn.functional import normalize
        class Eyes:
            size = 16
            EXTRA
            def encode_image(self, crops):
                return normalize(IMAGE + 0.1, dim=1)
            def encode_text(self, texts):
                rows = torch.tensor([[len(t) / 20, 0.5, 0.1] for t in texts])
                return normalize(TEXT, dim=1)
        return Eyes()
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        (
            {"IMAGE": "(crops.mean((2, 3)) - crops.mean()) * 50"},
            "'part' gives an image another vector in another batch",
        ),
        (
            {"TEXT": "rows - rows.mean(0) * 0.5"},
            "'part' gives a text another vector among other texts",
        ),
        ({"IDENTITY": "7"}, "identity() of 'part' gives 7; it must give a text or None"),
        (
            {"IDENTITY": "str(id(self))"},
            "identity() of 'part' differs for equal settings; it must depend on what the vectors "
            "depend on, and on nothing else",
        ),
        (
            {"EXTRA": "bank = ['red', '']"},
            "perceptor 'part' (tiny.yaml:1, plugin mine) has the bank a list of 2; it must be a "
            "list of texts",
        ),
        (
            {"EXTRA": "overflow = lambda self, text: text"},
            "overflow('red') of 'part' gives 'red'; it must give '' if all fits",
        ),
        (
            {"EXTRA": "overflow = lambda self, text: '' if len(text) < 9 else 3"},
            "perceptor 'part' (tiny.yaml:1, plugin mine) gave 3; it must give the words that do "
            "not fit, or an empty text from overflow()",
        ),
        (
            {"EXTRA": "fit = 'cover'"},
            "'fit' of 'part' is 'cover'; it must be one of crop, squash, pad",
        ),
        (
            {"IMAGE": "crops.mean((2, 3)).detach() + 0 * crops.mean((2, 3))"},
            "'part' passes no gradient",
        ),
    ],
)
def test_a_perceptor(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    right = {"IMAGE": "crops.mean((2, 3))", "TEXT": "rows", "IDENTITY": "'one'", "EXTRA": "pass"}
    body = PERCEPTOR
    for name, code in {**right, **changes}.items():
        body = body.replace(name, code)
    assert fault(tmp_path, "perceptor", body) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (filter_("return image * 0.5"), ""),
        (
            filter_(
                "mean = seen[-1] if seen else image.mean(); seen.append(image.mean()); "
                "return (image + mean) / 2",
                "seen = []",
            ),
            "'part' gives another result for the same image after another one; keep no state, or "
            "add state_dict() and load_state_dict() and leave 'stateless' out of `can`",
        ),
        (
            filter_("return image[..., ::2, ::2]"),
            "filter 'part' (tiny.yaml:1, plugin mine) gave [2, 3, 12, 12] float32; it must give "
            "[2, 3 or 4, 24, 24] float32",
        ),
        (filter_("return image * 3"), "'part' goes above 1"),
        (
            filter_("return image[:, :3].mul_(0.5)"),
            "filter 'part' (tiny.yaml:1, plugin mine) changed image in place; work on a copy: "
            "image.clone()",
        ),
    ],
)
def test_a_filter(tmp_path: Path, body: str, message: str) -> None:
    assert fault(tmp_path, "filter", body) == message


EXPORTER = """
class Part(Component):
    '''An exporter.'''
    suffixes: ClassVar = (".txt",)
    file: str = Field("a.txt", description="where")
    def build(self, run):
        settings = self
        class Writer:
            path = run.folder / settings.file
            def write(self, frame):
                WRITE
            def close(self):
                CLOSE
            def abort(self):
                ABORT
        return Writer()
"""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        (
            {"WRITE": "self.path.write_text('half')", "ABORT": "self.path.unlink(True)"},
            "'part' has written 'result.txt' under its final name before close(); write beside it "
            "and rename, or use pixweave.Export",
        ),
        (
            {"CLOSE": "p = run.folder / 'a.txt'; p.write_text('x'); return [p]"},
            "'part' ignores 'file': it wrote 'a.txt', not 'result.txt'",
        ),
        (
            {"CLOSE": "p = run.folder / '../mine.txt'; p.write_text('x'); return [p]"},
            "exporter 'part' (tiny.yaml:1, plugin mine) wrote '{folder}/../mine.txt', which is "
            "outside the run folder; write below run.folder",
        ),
        (
            {"WRITE": "(run.folder / 'junk').touch()"},
            "'part' leaves something behind after abort()",
        ),
        ({"CLOSE": "return []"}, "'part' wrote nothing"),
        (
            {"ABORT": "assert not hasattr(self, 'gone'); self.gone = 1"},
            "exporter 'part' (tiny.yaml:1, plugin mine) raised AssertionError (mine.py:21)",
        ),
    ],
)
def test_an_exporter(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    close = "self.path.write_text('x'); return [self.path]"
    body = EXPORTER
    for name, code in {"WRITE": "pass", "CLOSE": close, "ABORT": "pass", **changes}.items():
        body = body.replace(name, code)
    found = fault(tmp_path, "exporter", body)
    if "{folder}" in message:
        start, _, end = message.partition("{folder}")
        assert found.startswith(start)
        assert found.endswith(end)
    else:
        assert found == message


SEARCHER = """
class Part(Component):
    '''A searcher.'''
    def build(self, run):
        vectors = run.matrix.vectors
        class Search:
            def search(self, goal, count, allowed):
                BEFORE
                rows = np.arange(len(vectors)) if allowed is None else allowed
                cosines = vectors[rows] @ goal
                best = np.argsort(-cosines, kind="stable")[:count]
                return RESULT
        return Search()
"""


@pytest.mark.parametrize(
    ("before", "result", "message"),
    [
        ("pass", "rows[best], cosines[best]", ""),
        (
            "pass",
            "list(rows[best]), list(cosines[best])",
            "searcher 'part' gave a list of 5 and a list of 5; it must give two arrays [K]: rows "
            "as int64, and cosines as float32",
        ),
        (
            "count = min(count, 2)",
            "rows[best], cosines[best]",
            "'part' does not find the nearest",
        ),
        ("pass", "rows[best[::-1]], cosines[best[::-1]]", "'part' does not find the nearest"),
        ("pass", "rows[best], cosines[best] * 2", "'part' gives wrong scores"),
        ("allowed = None", "rows[best], cosines[best]", "'part' does not find the nearest"),
        (
            "if count > len(vectors): raise ValueError('too many')",
            "rows[best], cosines[best]",
            "searcher 'part' raised ValueError: too many (mine.py:14)",
        ),
        (
            "vectors[0]",
            "rows[best], cosines[best]",
            "searcher 'part' raised IndexError: index 0 is out of bounds for axis 0 with size 0 "
            "(mine.py:14)",
        ),
    ],
)
def test_a_searcher(tmp_path: Path, before: str, result: str, message: str) -> None:
    body = SEARCHER.replace("BEFORE", before).replace("RESULT", result)
    assert fault(tmp_path, "searcher", body) == message


def test_a_classifier_that_gives_a_tensor(tmp_path: Path) -> None:
    body = (
        "class Part(Component):\n    '''A classifier.'''\n    def build(self, run):\n"
        "        class Judge:\n            labels = ['a', 'b']\n            size = 8\n"
        "            def __call__(self, images):\n                return torch.ones(1, 2)\n"
        "        return Judge()\n"
    )
    found = fault(tmp_path, "classifier", body)
    assert found.endswith(
        "gave [1, 2] float32; it must give pixweave.Scores(values), values [N, L] in 0..1"
    )
