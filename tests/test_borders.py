"""What parts hand over is checked, and whoever does something wrong is named, with a remedy."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from pixweave import Event, Plugins, generate, open_run
from pixweave.cli import cli
from pixweave.errors import OutOfMemoryError, PartError, PixweaveError, RecipeError, RunError
from pixweave.pipeline.runner import perform
from pixweave.testing import FakePlugin, tiny_recipe

HEAD = """
import os, random, signal, sys
from pathlib import Path
from typing import ClassVar
import numpy as np
import torch
from pixweave import Component, Event, Field, InvalidValue, Scores, hookimpl
"""

GENERATOR = """
class Grid(Component):
    '''A grid of numbers.'''
    can: ClassVar = frozenset({CAN})
    def build(self, run):
        width, height = run.size
        grid = torch.full((1, 3, height, width), 0.5, requires_grad=True)
        class Built:
            calls = 0
            def parameters(self):
                return [grid]
            def image(self):
                image = grid.clamp(0, 1)
                self.calls += 1
                return IMAGE
            def constrain(self):
                pass
            def start_from(self, image):
                pass
            def state_dict(self):
                return {}
            def load_state_dict(self, state):
                pass
        EXTRA
        return BUILT

@hookimpl
def register_generators():
    return {"part": Grid}
"""


def generator_source(
    image: str = "image", extra: str = "pass", built: str = "Built()", can: str = ""
) -> str:
    text = GENERATOR.replace("IMAGE", image).replace("EXTRA", extra).replace("BUILT", built)
    return HEAD + text.replace("CAN", can)


def part_source(kind: str, body: str, before: str = "pass", settings: str = "") -> str:
    """A plugin with one part, whose function has this body."""
    arguments = {
        "loss": "view",
        "augmentation": "crops, rng, moment",
        "filter": "image, moment",
        "stage": "pictures",
    }[kind]
    hook = {"loss": "losses"}.get(kind, kind + "s")
    return HEAD + (
        f"class Part(Component):\n    '''A part.'''\n    {settings or 'pass'}\n"
        f"    def build(self, run):\n        {before}\n"
        f"        def call({arguments}):\n            {body}\n        return call\n\n"
        f"@hookimpl\ndef register_{hook}():\n    return {{'part': Part}}\n"
    )


PERCEPTOR = """
class Colours(Component):
    '''Encodes the mean colour.'''
    def build(self, run):
        class Built:
            size = 16
            def encode_image(self, crops):
                vectors = torch.nn.functional.normalize(crops.mean((2, 3)) + 0.1, dim=1)
                return IMAGE
            def encode_text(self, texts):
                vectors = torch.nn.functional.normalize(torch.ones(len(texts), 3), dim=1)
                return TEXT
        return Built()

@hookimpl
def register_perceptors():
    return {"part": Colours}
"""


def perceptor_source(image: str = "vectors", text: str = "vectors") -> str:
    return HEAD + PERCEPTOR.replace("IMAGE", image).replace("TEXT", text)


EXPORTER = """
class Note(Component):
    '''Writes a text.'''
    suffixes: ClassVar = (".txt",)
    file: str = Field("a.txt", description="where")
    def build(self, run):
        class Built:
            def write(self, frame):
                WRITE
            def close(self):
                path = run.folder / "a.txt"
                path.write_text("done")
                CLOSE
            def abort(self):
                ABORT
        return Built()

@hookimpl
def register_exporters():
    return {"part": Note}
"""


def exporter_source(write: str = "pass", close: str = "return [path]", abort: str = "pass") -> str:
    text = EXPORTER.replace("WRITE", write).replace("CLOSE", close).replace("ABORT", abort)
    return HEAD + text


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    folder = os.getcwd()
    yield
    assert os.getcwd() == folder


def plugins_from(folder: Path, source: str) -> Plugins:
    (folder / "mine.py").write_text(source)
    plugins = Plugins.discover([folder])
    plugins.add(FakePlugin, "pixweave_fake")
    assert plugins.broken == {}
    return plugins


def fault(folder: Path, source: str, **keys: Any) -> str:
    """The message of the error that a plugin's part causes in a run."""
    recipe = tiny_recipe(plugins_from(folder, source), **keys)
    with pytest.raises(PartError) as caught:
        list(generate(open_run(recipe, folder)))
    return str(caught.value)


WANTED = "it must give [B, 3 or 4, 24, 24] float32 in 0..1"
NO_GRADIENT = (
    "gave an image without a gradient; compute it from the tensors of parameters() without "
    "detach(), .data or no_grad()"
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            generator_source("image.permute(0, 2, 3, 1)"),
            f"gave [1, 24, 24, 3] float32; {WANTED}",
        ),
        (generator_source("image[0]"), f"gave [3, 24, 24] float32; {WANTED}"),
        (
            generator_source("(image * 255).to(torch.uint8)"),
            f"gave [1, 3, 24, 24] uint8; {WANTED}",
        ),
        (generator_source("image.double()"), f"gave [1, 3, 24, 24] float64; {WANTED}"),
        (generator_source("image[:, :1]"), f"gave [1, 1, 24, 24] float32; {WANTED}"),
        (generator_source("None"), f"gave None; {WANTED}"),
        (
            generator_source("image.detach().numpy()"),
            f"gave a numpy array [1, 3, 24, 24] float32; {WANTED}",
        ),
        (generator_source("image[:, :, :12]"), f"gave [1, 3, 12, 24] float32; {WANTED}"),
        (
            generator_source("image[:, :, self.calls:]"),
            f"gave [1, 3, 23, 24] float32; {WANTED}",
        ),
        (
            generator_source("image if self.calls < 3 else image[:, :, 3:]"),
            f"gave [1, 3, 21, 24] float32; {WANTED}",
        ),
        (generator_source("image[:0]"), f"gave [0, 3, 24, 24] float32; {WANTED}"),
        (generator_source("image * 255"), f"gave values in 128..128; {WANTED}"),
        (generator_source("image - 1"), f"gave values in -0.5..-0.5; {WANTED}"),
        (
            generator_source("image / (image - 0.5).detach()"),
            f"gave 1728 infinite values of 1728; {WANTED}",
        ),
        (
            generator_source("image.to('meta')"),
            f"gave a tensor on meta; {WANTED} on cpu, the run's device",
        ),
        (generator_source("image.detach()"), NO_GRADIENT),
        (generator_source("torch.tensor(image.tolist())"), NO_GRADIENT),
        (
            generator_source(extra="Built.parameters = lambda self: []"),
            "gave no parameters to optimise; give leaf tensors, or add advance(moment) if it "
            "updates itself",
        ),
        (
            generator_source(extra="Built.parameters = lambda self: None"),
            "gave None; it must give a list of tensors as its parameters",
        ),
        (
            generator_source(extra="Built.parameters = lambda self: [grid * 1]"),
            "gave a parameter that cannot be optimised; it must be a leaf tensor with "
            "requires_grad, such as torch.zeros(...).requires_grad_()",
        ),
        (
            generator_source(extra="Built.parameters = lambda self: [1.0]"),
            "gave 1.0; it must give float tensors as its parameters",
        ),
        (
            generator_source(built="None"),
            "has a build(run) that returned None; return the object that does the work",
        ),
        (
            generator_source(extra="del Built.constrain"),
            "has no 'constrain'; add it to the object that build(run) returns",
        ),
        (
            generator_source(can="'latent'"),
            "has no 'latents'; add it to the object that build(run) returns",
        ),
        (
            generator_source("image if self.calls < 2 else 1 / 0"),
            "raised ZeroDivisionError: division by zero (mine.py:22)",
        ),
        (
            generator_source(extra="Built.advance = 3"),
            "raised TypeError: 'int' object is not callable",
        ),
        (
            generator_source(extra="Built.info = 3"),
            "has the info 3; it must be a short text",
        ),
        (
            generator_source(extra="Built.info = property(lambda self: 1 / 0)"),
            "has an attribute 'info' that raised ZeroDivisionError: division by zero (mine.py:31)",
        ),
        (
            generator_source(extra="Built.__getattr__ = lambda self, name: 1 / 0"),
            "has an attribute 'advance' that raised ZeroDivisionError: division by zero "
            "(mine.py:31)",
        ),
        (
            generator_source(extra="Built.natural_rate = 'fast'"),
            "has a natural_rate that uses the unknown name 'fast'",
        ),
        (
            generator_source(extra="Built.palette = torch.rand(4, 3)"),
            "has the palette [4, 3] float32; it must be [K, 3] uint8, or None",
        ),
        (
            generator_source(extra="Built.shown = lambda self: torch.zeros(3, 3)"),
            "gave [3, 3] float32; it must give [B, 3 or 4, 24, 24] float32",
        ),
        (
            generator_source(
                extra="Built.svg = lambda self: 3; Built.latents = lambda self: None", can="'svg'"
            ),
            "gave 3; it must give SVG elements as text from svg()",
        ),
        (
            generator_source("image.expand(self.calls, -1, -1, -1)"),
            "gave [2, 3, 24, 24] float32 after [1, 3, 24, 24]; the number of images and of "
            "channels must stay the same",
        ),
        (
            generator_source("torch.cat([image, image[:, : self.calls // 2]], 1)"),
            "gave [1, 4, 24, 24] float32 after [1, 3, 24, 24]; the number of images and of "
            "channels must stay the same",
        ),
        (
            generator_source(extra="Built.advance = lambda self, moment: next(iter([]))"),
            "raised StopIteration (mine.py:31)",
        ),
    ],
)
def test_a_generator(tmp_path: Path, source: str, message: str) -> None:
    export = ["a.svg"] if "svg" in message else ["a.png"]
    keys: dict[str, Any] = {"prompts": [], "losses": ["smoothness"], "export": export}
    recipe = tiny_recipe(plugins_from(tmp_path, source), generator="part", **keys)
    with pytest.raises((PartError, RunError)) as caught:
        list(perform(recipe, tmp_path))
    assert str(caught.value) == f"generator 'part' (tiny.yaml:1, plugin mine) {message}"


CROPS = "it must give [4, 3, 16, 16] float32"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return crops[:-1]", f"gave [3, 3, 16, 16] float32; {CROPS}"),
        ("return crops[:, :1]", f"gave [4, 1, 16, 16] float32; {CROPS}"),
        ("return crops[..., ::2, ::2]", f"gave [4, 3, 8, 8] float32; {CROPS}"),
        ("return crops.double()", f"gave [4, 3, 16, 16] float64; {CROPS}"),
        ("return None", f"gave None; {CROPS}"),
        ("return crops * float('nan')", f"gave 3072 nan values of 3072; {CROPS}"),
        ("return crops[: 4 - moment.frame]", f"gave [3, 3, 16, 16] float32; {CROPS}"),
        (
            "return crops.detach()",
            "gave crops without a gradient; compute them without detach(), .data or no_grad()",
        ),
        (
            "return crops.mul_(0.5)",
            "changed crops in place; work on a copy: crops.clone()",
        ),
        (
            "crops.data.zero_(); return crops + 0",
            "changed crops in place; work on a copy: crops.clone()",
        ),
        ("raise KeyError('hue')", "raised KeyError: 'hue' (mine.py:14)"),
    ],
)
def test_an_augmentation(tmp_path: Path, body: str, message: str) -> None:
    found = fault(tmp_path, part_source("augmentation", body), augmentations=["part"])
    assert found == f"augmentation 'part' (tiny.yaml:1, plugin mine) {message}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            perceptor_source("vectors[:-1]"),
            "gave [3, 3] float32; it must give [4, 3] float from encode_image, one vector for each "
            "of the 4 images",
        ),
        (
            perceptor_source("vectors[:, None]"),
            "gave [4, 1, 3] float32; it must give [4, 3] float from encode_image, one vector for "
            "each of the 4 images",
        ),
        (
            perceptor_source("vectors * float('nan')"),
            "gave 12 nan values of 12; it must give [4, 3] float from encode_image, one vector for "
            "each of the 4 images",
        ),
        (
            perceptor_source(text="vectors[:, :2] * 1.5 ** 0.5"),
            "gave [4, 3] float32; it must give [4, 2] float from encode_image, one vector for each "
            "of the 4 images",
        ),
        (
            perceptor_source(text="torch.cat([vectors, vectors])"),
            "gave [2, 3] float32; it must give [1, D] float from encode_text, one vector for each "
            "of the 1 texts",
        ),
        (
            perceptor_source("vectors * 3"),
            "gave a vector of length 3; it must give vectors of length 1",
        ),
        (
            perceptor_source("vectors.detach()"),
            "gave vectors without a gradient; compute them without detach(), .data or no_grad()",
        ),
        (perceptor_source("1 / 0"), "raised ZeroDivisionError: division by zero (mine.py:16)"),
    ],
)
def test_a_perceptor(tmp_path: Path, source: str, message: str) -> None:
    found = fault(tmp_path, source, perceptors=["part"])
    assert found == f"perceptor 'part' (tiny.yaml:1, plugin mine) {message}"


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("bank = 'red'", "has the bank a str; it must be a list of texts"),
        ("bank = ['red', 3]", "has the bank a list of 2; it must be a list of texts"),
        (
            "overflow = lambda self, text: None",
            "gave None; it must give the words that do not fit, or an empty text from overflow()",
        ),
    ],
)
def test_what_a_perceptor_may_have(tmp_path: Path, attribute: str, message: str) -> None:
    source = perceptor_source().replace("size = 16", f"size = 16\n            {attribute}")
    recipe = tiny_recipe(plugins_from(tmp_path, source), perceptors=["part"])
    with pytest.raises(PartError) as caught:
        list(perform(recipe, tmp_path))
    assert str(caught.value) == f"perceptor 'part' (tiny.yaml:1, plugin mine) {message}"


SIZE = "it must give [1, 3 or 4, 24, 24] float32"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return image[..., ::2, ::2]", f"gave [1, 3, 12, 12] float32; {SIZE}"),
        ("return None", f"gave None; {SIZE}"),
        ("return image[0]", f"gave [3, 24, 24] float32; {SIZE}"),
        ("return image.half()", f"gave [1, 3, 24, 24] float16; {SIZE}"),
        ("return image / 0", f"gave 1728 infinite values of 1728; {SIZE}"),
        (
            "image.data.fill_(0); return image + 0",
            "changed image in place; work on a copy: image.clone()",
        ),
        ("raise OSError('no font')", "raised OSError: no font (mine.py:14)"),
    ],
)
def test_a_filter_and_not_the_exporter(tmp_path: Path, body: str, message: str) -> None:
    plugins = plugins_from(tmp_path, part_source("filter", body))
    with pytest.raises(PartError) as caught:
        list(perform(tiny_recipe(plugins, filters=["part"], export=["a.png"]), tmp_path))
    assert str(caught.value) == f"filter 'part' (tiny.yaml:1, plugin mine) {message}"


SCALAR = "it must give a scalar tensor, [] float32, such as x.mean()"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return view.image.mean((2, 3))", f"gave [1, 3] float32; {SCALAR}"),
        ("return view.image.mean().item() * 0", f"gave 0.0; {SCALAR}"),
        ("return None", f"gave None; {SCALAR}"),
        ("return view.image.mean() * float('nan')", "gave nan; it must give a finite number"),
        (
            "return view.image.detach().mean()",
            "gave a number without a gradient; compute it from view.image or view.embedding(...) "
            "without detach(), .item() or no_grad()",
        ),
        (
            "view.image.data.zero_(); return view.image.mean()",
            "changed view.image in place; work on a copy: view.image.clone()",
        ),
        ("return next(iter([]))", "raised StopIteration (mine.py:14)"),
        ("sys.exit(0)", "called sys.exit(0) (mine.py:14)"),
        ("sys.exit()", "called sys.exit() (mine.py:14)"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt (mine.py:14)"),
        ("raise GeneratorExit", "raised GeneratorExit (mine.py:14)"),
        ("raise BaseException('no')", "raised BaseException: no (mine.py:14)"),
        ("raise type('E', (Exception,), {'__str__': None})", "raised E (mine.py:14)"),
        ("raise ValueError('one\\ntwo')", "raised ValueError: one (mine.py:14)"),
        ("return view.image.mean().to_sparse()", f"gave [] float32; {SCALAR}"),
        (
            "sys.stdout = None; return view.image.mean()",
            "changed sys.stdout; leave it as it is, and print to sys.stderr",
        ),
        (
            "return view.image.mean() if view.step < 2 else view.image.mean() * float('inf')",
            "gave inf at step 2; if its formula is right, lower optimizer.rate",
        ),
        (
            "return ((view.image - view.image.detach()) ** 2).sum().sqrt()",
            "gave a gradient that is nan or infinite at step 0, although its value is finite; "
            "sqrt, norm and log have one at 0: add a small number first",
        ),
        (
            "return (view.image.mean() - 0.5).abs() if view.step < 2 else "
            "(view.image - view.image.detach()).norm() + (view.image * 0).sum().sqrt()",
            "gave a gradient that is nan or infinite at step 2, although its value is finite; "
            "sqrt, norm and log have one at 0: add a small number first",
        ),
    ],
)
def test_a_loss(tmp_path: Path, body: str, message: str) -> None:
    grey = {"use": "pixel", "grid": [12, 12]}
    losses = ["smoothness", "part"]
    found = fault(tmp_path, part_source("loss", body), generator=grey, losses=losses)
    assert found == f"loss 'part' (tiny.yaml:1, plugin mine) {message}"


def test_a_gradient_that_breaks_inside_an_augmentation_or_a_perceptor(tmp_path: Path) -> None:
    bad = (
        "gave a gradient that is nan or infinite at step 0, although its value is finite; sqrt, "
        "norm and log have one at 0: add a small number first"
    )
    body = "return crops + (crops - crops.detach()).pow(2).sqrt()"
    found = fault(tmp_path, part_source("augmentation", body), augmentations=["jitter", "part"])
    assert found == f"augmentation 'part' (tiny.yaml:1, plugin mine) {bad}"
    source = perceptor_source("vectors + (vectors - vectors.detach()).pow(2).sqrt()")
    found = fault(tmp_path, source, perceptors=["fake", "part"], crops={"count": 4, "batch": 2})
    assert found == f"perceptor 'part' (tiny.yaml:1, plugin mine) {bad}"
    root = "Built.image = lambda self: 0.5 + (grid - 0.5).pow(2).sqrt()"
    found = fault(tmp_path, generator_source(extra=root), generator="part")
    assert found == f"generator 'part' (tiny.yaml:1, plugin mine) {bad}"


def test_a_rate_that_is_too_high_is_not_a_part_s_fault(tmp_path: Path) -> None:
    source = generator_source("image * 1")
    recipe = tiny_recipe(
        plugins_from(tmp_path, source),
        generator="part",
        steps=9,
        prompts=[],
        losses=["smoothness"],
    )
    run = open_run(recipe)
    frames = generate(run)
    next(frames)
    with torch.no_grad():
        run.parameters[0].fill_(float("nan"))
    with pytest.raises(RunError) as caught:
        list(frames)
    assert str(caught.value) == (
        "the parameters of generator 'part' (tiny.yaml:1, plugin mine) became nan or infinite "
        "before step 1; lower optimizer.rate or the weights of the losses"
    )


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "os.chdir('/')",
            "the working directory; use absolute paths; run.folder is the run folder",
        ),
        (
            "torch.set_default_dtype(torch.float64)",
            "torch's default dtype; pass dtype= to each tensor",
        ),
        (
            "torch.set_default_device('meta')",
            "torch's default device; pass device=run.device to each tensor",
        ),
        (
            "torch.use_deterministic_algorithms(True)",
            "torch's deterministic mode; leave it to the user",
        ),
        (
            "np.random.seed(0)",
            "numpy's global random state; draw from run.rng(name, step) instead",
        ),
        ("os.environ.clear()", "the environment; pass env= to the subprocess that needs it"),
        ("os.environ['NEW'] = '1'", "the environment; pass env= to the subprocess that needs it"),
        ("os.umask(0o123)", "the umask; use os.chmod on the file"),
        (
            "sys.setrecursionlimit(999)",
            "Python's recursion limit; write a loop instead of a deep recursion",
        ),
        (
            "signal.signal(signal.SIGINT, signal.SIG_IGN)",
            "a signal handler; stages ask run.stop() instead",
        ),
        ("random.random()", "Python's global random state; draw from run.rng(name, step) instead"),
        ("torch.rand(1)", "torch's global random state; draw from run.rng(name, step) instead"),
        (
            "torch.set_grad_enabled(False)",
            "torch's grad mode; use `with torch.no_grad():` around the code that needs it",
        ),
    ],
)
@pytest.mark.parametrize("place", ["build", "call"])
def test_what_belongs_to_the_process_is_restored_and_refused(
    tmp_path: Path, code: str, what: str, place: str
) -> None:
    before = (os.environ.copy(), torch.get_rng_state(), signal.getsignal(signal.SIGINT))
    body = "return view.image.mean()"
    if place == "build":
        # a build has a random stream of torch of its own, for initial weights
        if "torch.rand" in code:
            pytest.skip("drawing from torch's stream is allowed in build")
        source = part_source("loss", body, before=code)
    else:
        source = part_source("loss", f"{code}; {body}")
    found = fault(tmp_path, source, losses=["part"])
    assert found == f"loss 'part' (tiny.yaml:1, plugin mine) changed {what}"
    assert before[0].items() <= os.environ.copy().items()  # torch adds one when it imports more
    assert "NEW" not in os.environ
    assert torch.equal(torch.get_rng_state(), before[1])
    assert signal.getsignal(signal.SIGINT) is before[2]
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.umask(mask := os.umask(0o077)) == 0o077
    assert mask != 0o123


def test_what_a_part_prints_goes_to_stderr_and_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = plugins_from(
        tmp_path, part_source("loss", "print('hello'); return view.image.mean()")
    )
    events = list(perform(tiny_recipe(plugins, losses=["part"]), tmp_path))
    warnings = [event.data["message"] for event in events if event.kind == "warning"]
    assert warnings == [
        "loss 'part' (tiny.yaml:1, plugin mine) printed to stdout, which is for results; its text "
        "went to stderr"
    ]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello\n" * 3


def test_ctrl_c_is_no_fault_of_the_part_that_it_meets(tmp_path: Path) -> None:
    body = "os.kill(os.getpid(), signal.SIGINT); return view.image.mean()"
    recipe = tiny_recipe(plugins_from(tmp_path, part_source("loss", body)), losses=["part"])
    with pytest.raises(KeyboardInterrupt):
        list(generate(open_run(recipe)))


@pytest.mark.parametrize("code", ["torch.empty(1 << 46)", "bytearray(1 << 60)"])
def test_memory_that_a_part_asks_for_names_it(tmp_path: Path, code: str) -> None:
    plugins = plugins_from(tmp_path, part_source("loss", f"{code}; return view.image.mean()"))
    with pytest.raises(OutOfMemoryError) as caught:
        list(perform(tiny_recipe(plugins, losses=["part"]), tmp_path))
    assert str(caught.value).startswith(
        "loss 'part' (tiny.yaml:1, plugin mine) ran out of memory ("
    )
    assert str(caught.value).endswith(
        "try a smaller crops.batch (say 4), fewer crops.count, or a smaller size"
    )


def _collect(events: Iterator[Event], found: list[Event]) -> None:
    for event in events:
        found.append(event)


def exported(folder: Path, source: str) -> tuple[list[str], list[str], str]:
    """The paths that a run says it saved, the files, and its error, with a PNG beside the part."""
    run = folder / "run"
    run.mkdir()
    recipe = tiny_recipe(plugins_from(folder, source), export=["a.txt", "b.png"])
    events: list[Event] = []
    with pytest.raises(RunError) as caught:
        _collect(perform(recipe, run), events)
    (result,) = (event for event in events if event.kind == "result")
    assert result.data["ok"] is False
    saved = [Path(event.data["path"]).name for event in events if event.kind == "saved"]
    return saved, sorted(path.name for path in run.glob("*.*")), str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            exporter_source(close="return 'a.txt'"),
            "gave a str; it must give the list of the paths that it wrote from close()",
        ),
        (
            exporter_source(close="return None"),
            "gave None; it must give the list of the paths that it wrote from close()",
        ),
        (
            exporter_source(close="return [path, 3]"),
            "gave a list of 2; it must give the list of the paths that it wrote from close()",
        ),
        (
            exporter_source(close="return [run.folder / 'b.txt']"),
            "gave '{run}/b.txt' from close(), which does not exist; give what it wrote",
        ),
        (
            exporter_source(close="return [Path(__file__)]"),
            "wrote '{folder}/mine.py', which is outside the run folder; write below run.folder",
        ),
        (
            exporter_source(write="1 / 0", abort="raise OSError('cannot clean up')"),
            "raised ZeroDivisionError: division by zero (mine.py:16)\n"
            "exporter 'part' (tiny.yaml:1, plugin mine) raised OSError: cannot clean up "
            "(mine.py:22)",
        ),
        (exporter_source(close="sys.exit(3)"), "called sys.exit(3) (mine.py:20)"),
        (
            exporter_source(write="frame.raw.data.zero_()"),
            "changed frame.raw in place; work on a copy: frame.raw.clone()",
        ),
        (
            exporter_source(write="os.chdir('/')"),
            "changed the working directory; use absolute paths; run.folder is the run folder",
        ),
    ],
)
def test_an_exporter_costs_nobody_else_a_file(tmp_path: Path, source: str, message: str) -> None:
    saved, files, error = exported(tmp_path, source)
    text = message.format(run=tmp_path / "run", folder=tmp_path)
    assert error == f"exporter 'part' (tiny.yaml:1, plugin mine) {text}"
    assert saved == ["b.png"]
    assert "b.png" in files


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return pictures",
            "gave a tuple of 1; it must give events: it must be a generator function, with yield",
        ),
        ("yield 'hello'", "gave a str; it must give pixweave.Event objects"),
        (
            "run.output('../a.csv'); yield Event('x')",
            "wants to write a file, but '../a.csv' is outside the run folder; use a plain file "
            "name; --out chooses the folder",
        ),
        (
            "run.save_table('run.json', [], ['a']); yield Event('x')",
            "wants to write a file, but 'run.json' is a name that the run itself uses",
        ),
        (
            "yield Event('x'); return 'a.png'",
            "returned a str; it must return the paths of its images",
        ),
        (
            "yield Event('x'); return [Path('a.png')]",
            "returned a PosixPath as a path; it must return texts: str(path)",
        ),
        ("yield Event('x'); sys.exit(0)", "called sys.exit(0) (mine.py:14)"),
        (
            "yield Event('x'); raise StopIteration",
            "raised RuntimeError: generator raised StopIteration",
        ),
    ],
)
def test_a_stage(tmp_path: Path, body: str, message: str) -> None:
    plugins = plugins_from(tmp_path, part_source("stage", body))
    recipe = tiny_recipe(plugins, stages=["generate", "part"], export=["a.png"])
    with pytest.raises(PartError) as caught:
        list(perform(recipe, tmp_path))
    assert str(caught.value) == f"stage 'part' (tiny.yaml:1, plugin mine) {message}"
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("where", "code", "message"),
    [
        ("check", "sys.exit(0)", "check() of loss 'part' called sys.exit(0) (mine.py:12)"),
        ("check", "return [1]", "check() of loss 'part' gave 1; it must give Issue objects"),
        (
            "check",
            "os.chdir('/')",
            "check() of loss 'part' changed the working directory; use "
            "absolute paths; run.folder is the run folder",
        ),
        (
            "check",
            "raise KeyboardInterrupt",
            "check() of loss 'part' raised KeyboardInterrupt (mine.py:12)",
        ),
    ],
)
def test_what_runs_in_validate(tmp_path: Path, where: str, code: str, message: str) -> None:
    source = part_source("loss", "return view.image.mean()").replace(
        "    pass\n    def build",
        f"    pass\n    def {where}(self, recipe):\n        {code}\n        return []\n"
        "    def build",
    )
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(plugins_from(tmp_path, source), losses=["part"])
    (issue,) = caught.value.issues
    assert f"{issue.message}; {issue.hint}" == f"{message}; this is a bug in the plugin mine"


def run_cli(folder: Path, source: str, *arguments: str) -> Any:
    (folder / "mine.py").write_text(source)
    (folder / "r.yaml").write_text(
        "pixweave: 1\nsize: [24, 24]\nsteps: 3\ngenerator: {use: pixel, grid: [12, 12]}\n"
        "losses: [part]\naugmentations: []\nexport: [a.png]\n"
    )
    command = ["run", str(folder / "r.yaml"), "--plugins-dir", str(folder), "-o"]
    return CliRunner().invoke(cli, [*command, str(folder / "out"), "-q", *arguments])


def test_the_command_line_shows_a_traceback_only_with_debug(tmp_path: Path) -> None:
    source = part_source("loss", "raise ValueError('too dark')")
    message = (
        f"loss 'part' ({tmp_path}/r.yaml:5, plugin mine) raised ValueError: too dark (mine.py:14)"
    )
    plain = run_cli(tmp_path, source)
    assert plain.exit_code == 1
    assert plain.stderr == f"pixweave: {message}\n"
    debug = run_cli(tmp_path, source, "--debug", "-o", str(tmp_path / "second"))
    assert debug.stderr.startswith("Traceback (most recent call last):\n")
    assert 'mine.py", line 14, in call' in debug.stderr
    assert debug.stderr.endswith(f"\npixweave: {message}\n")


@pytest.mark.parametrize("code", ["sys.exit(0)", "raise KeyboardInterrupt", "raise ValueError"])
@pytest.mark.parametrize("place", ["build", "call"])
def test_json_ends_with_its_result(tmp_path: Path, code: str, place: str) -> None:
    before = code if place == "build" else "pass"
    body = code if place == "call" else "return view.image.mean()"
    done = run_cli(tmp_path, part_source("loss", body, before=before), "--json")
    assert done.exit_code == 1
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["event"], last["ok"], last["error"]["code"]) == ("result", False, "plugin")
    assert last["error"]["message"].startswith(f"loss 'part' ({tmp_path}/r.yaml:5, plugin mine) ")


def test_an_error_of_pixweave_itself_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixweave.engine import loop

    def broken(run: Any) -> Any:
        raise TypeError("a bug")

    monkeypatch.setattr(loop, "generate", broken)
    done = run_cli(tmp_path, part_source("loss", "return view.image.mean()"))
    assert done.exit_code == 1
    assert done.stderr.startswith("pixweave: unexpected error: TypeError: a bug (")
    assert done.stderr.endswith("; run the command again with --debug to see the traceback\n")


NESTED = (
    HEAD
    + """
from pixweave import Part, PartOf

class Outer(Component):
    '''A generator that shows another one.'''
    inner: Part = PartOf("generator", description="what it shows")
    def build(self, run):
        return run.make(self.inner)

class Inner(Component):
    '''A generator of a wrong size.'''
    def build(self, run):
        from pixweave import TensorGenerator
        return TensorGenerator(lambda t: t["x"], x=torch.zeros(1, 3, 8, 8))

@hookimpl
def register_generators():
    return {"outer": Outer, "inner": Inner}
"""
)


def test_a_nested_part_is_named_and_not_the_one_around_it(tmp_path: Path) -> None:
    outer = {"use": "outer", "inner": {"use": "inner"}}
    found = fault(tmp_path, NESTED, generator=outer)
    assert found == (
        "generator 'inner' (tiny.yaml:1, plugin mine) gave [1, 3, 8, 8] float32; it must give "
        "[B, 3 or 4, 24, 24] float32 in 0..1"
    )


def test_the_errors_of_a_plugin_s_own_choice_keep_their_kind(tmp_path: Path) -> None:
    body = "from pixweave import MissingError; raise MissingError('no weights')"
    recipe = tiny_recipe(plugins_from(tmp_path, part_source("loss", body)), losses=["part"])
    with pytest.raises(PixweaveError) as caught:
        list(generate(open_run(recipe)))
    assert (str(caught.value), caught.value.exit_code) == ("no weights", 4)
    assert caught.value.__notes__ == ["in loss 'part' (tiny.yaml:1, plugin mine)"]
