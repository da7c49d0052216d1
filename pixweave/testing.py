"""For tests of plugins, ours and yours: small doubles, tiny runs, and `check_component`.

from pixweave.testing import check_component, plugins_of

def test_my_loss():
    check_component("loss", "vivid", plugins=plugins_of(my_plugin))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.component import Component, Field
from pixweave.hookspecs import hookimpl
from pixweave.plugins import Plugins

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pixweave.perform import Event
    from pixweave.recipe import Recipe
    from pixweave.run import Run


class FakePerceptor(Component):
    """Sees the mean colour and contrast of a picture; a text is the colour that it names."""

    side: int = Field(16, ge=4, description="side of the pictures that it looks at")

    def build(self, run: Run) -> Any:
        """The live double."""
        return _ColourPerceptor(self.side, run.device)


class _ColourPerceptor:
    def __init__(self, size: int, device: torch.device) -> None:
        self.size, self.device = size, device
        self.logit_scale = 20.0
        self.templates = ("{}",)
        self.bank = ["red", "green", "blue", "yellow", "black", "white"]
        self.encoded = 0

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, 3]` in the direction of the mean colour away from grey."""
        from torch.nn.functional import normalize

        self.encoded += len(crops)
        return normalize(crops.mean((2, 3)) - 0.5 + 1e-4, dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of the last colour that each text names, else of its letters."""
        import torch
        from PIL import ImageColor
        from torch.nn.functional import normalize

        rows = []
        for text in texts:
            named = [word for word in text.lower().split() if word in ImageColor.colormap]
            code = sum(text.encode())
            rgb = (
                ImageColor.getrgb(named[-1])[:3] if named else [code * k % 255 for k in (3, 7, 11)]
            )
            rows.append([channel / 255 - 0.5 + 1e-4 for channel in rgb])
        return normalize(torch.tensor(rows, device=self.device), dim=-1)

    def overflow(self, text: str) -> str:
        """It holds eight words."""
        return " ".join(text.split()[8:])


class FakePlugin:
    """Offers the perceptor `fake`."""

    @staticmethod
    @hookimpl
    def register_perceptors() -> dict[str, type[Component]]:
        """Offer `fake`."""
        return {"fake": FakePerceptor}


def plugins_of(*modules: Any, installed: bool = True) -> Plugins:
    """The installed plugins, the double `fake`, and the given modules or objects with hooks."""
    plugins = Plugins.discover(entry_points=installed)
    plugins.add(FakePlugin, "pixweave_fake")
    for index, module in enumerate(modules):
        plugins.add(module, getattr(module, "__name__", f"plugin{index}"))
    return plugins


def tiny_recipe(plugins: Plugins | None = None, folder: Path | None = None, **keys: Any) -> Recipe:
    """A recipe that runs in milliseconds: 3 steps of 24x24 pixels, judged by `fake`."""
    from pixweave.recipe import load_text

    body = {
        "pixweave": 1,
        "size": [24, 24],
        "steps": 3,
        "device": "cpu",
        "generator": {"use": "pixel", "grid": [12, 12]},
        "perceptors": ["fake"],
        "prompts": ["a red square"],
        "losses": [],
        "augmentations": [],
        "crops": {"count": 4},
        "export": [],
        **keys,
    }
    return load_text(json.dumps(body), "tiny.yaml", folder or Path(), plugins or plugins_of())


def check_component(
    kind: str, name: str, settings: Mapping[str, Any] | None = None, plugins: Plugins | None = None
) -> None:
    """Assert what every component must hold; AssertionError names what does not.

    Settings are described and the example validates. A loss has a gradient and descends; a
    generator has gradients, stays in range, gives the same bytes for the same seed, its state
    round-trips, and it does what it says that it `can`; an augmentation keeps the shape, passes
    gradients and is reproducible; a filter gives the size that it says, in range and always the
    same; a perceptor gives unit vectors with gradients; a classifier gives scores in 0..1 that do
    not depend on the batch; a searcher finds the nearest of a few
    vectors; an executor does units, says what fails and why, and tries again what a worker died of;
    a trainer, given settings with which a step is quick, repeats its steps when it is
    resumed and writes its file.
    """
    plugins = plugins or plugins_of()
    offer = plugins.find(kind, name)
    for setting, info in offer.component.model_fields.items():
        assert info.description, f"setting '{setting}' of {kind} '{name}' has no description"
    _CHECKS[kind](name, dict(settings or {}), plugins)


def _check_loss(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    from pixweave.loop import generate
    from pixweave.run import open_run

    entry = {"use": name, **settings}
    recipe = tiny_recipe(plugins, prompts=[], losses=[entry], steps=40)
    values = [float(frame.losses[recipe.losses[0].id]) for frame in generate(open_run(recipe))]
    assert values == values, f"loss '{name}' became NaN"
    first, last = sum(values[:5]) / 5, sum(values[-5:]) / 5
    assert last < first, f"loss '{name}' does not descend: {first:.4g} -> {last:.4g}"


def _check_generator(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import torch

    from pixweave.loop import generate
    from pixweave.run import open_run

    recipe = tiny_recipe(plugins, generator={"use": name, **settings})
    run = open_run(recipe)
    image = run.generator.image()
    width, height = recipe.size
    assert image.shape[1] in (3, 4), f"'{name}' gives {image.shape[1]} channels, not 3 or 4"
    assert image.shape[-2:] == (height, width), f"'{name}' gives a picture of the wrong size"
    assert image.dtype == torch.float32, f"'{name}' gives {image.dtype}, not float32"
    assert image.min() >= 0, f"'{name}' goes below 0"
    assert image.max() <= 1, f"'{name}' goes above 1"
    image.sum().backward()
    grads = [p.grad for p in run.generator.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in grads), f"'{name}' has no gradient"
    frames = [frame.image for frame in generate(open_run(recipe))]
    again = [frame.image for frame in generate(open_run(recipe))]
    same = all(torch.equal(a, b) for a, b in zip(frames, again, strict=True))
    assert same, f"'{name}' gives another picture for the same seed"
    half = open_run(recipe)
    list(zip(range(2), generate(half), strict=False))
    rest = open_run(recipe)
    rest.load_state_dict(half.state_dict())
    assert rest.step < recipe.steps
    resumed = [frame.image for frame in generate(rest)]
    assert torch.equal(resumed[-1], frames[-1]), f"the state of '{name}' does not round-trip"
    if "start_from" in recipe.generator.settings.can:
        _check_start(name, run, image.shape[1])
    if "latent" in recipe.generator.settings.can:
        _check_latents(name, run)


def _check_start(name: str, run: Run, channels: int) -> None:
    """The generator takes a picture up, in place; with alpha, one that has alpha too."""
    import torch

    width, height = run.size
    leaves = list(run.generator.parameters())
    dark = torch.full((1, 3, height, width), 0.25)
    run.generator.start_from(dark)
    near = (run.generator.image()[:, :3] - dark).abs().mean()
    assert near < 0.25, f"'{name}' does not start from a picture: off by {near:.3f}"
    if channels == 4:
        clear = torch.cat([dark, torch.zeros_like(dark[:, :1])], 1)
        run.generator.start_from(clear)
        alpha = run.generator.image()[:, 3].mean()
        assert alpha < 0.1, f"'{name}' does not start from a transparent picture: {alpha:.3f}"
    same = all(a is b for a, b in zip(leaves, run.generator.parameters(), strict=True))
    assert same, f"'{name}' has other parameters after start_from: the optimiser loses them"


def _check_latents(name: str, run: Run) -> None:
    """The latents have a gradient, and another picture has others."""
    import torch

    width, height = run.size
    found = []
    for grey in (0.2, 0.8):
        run.generator.start_from(torch.full((1, 3, height, width), grey))
        latents: Tensor = run.generator.latents()  # type: ignore[attr-defined]
        assert latents.requires_grad, f"the latents of '{name}' have no gradient"
        found.append(latents.detach().clone())
    alike = torch.allclose(found[0], found[1])
    assert not alike, f"the latents of '{name}' do not tell pictures apart"


def _check_augmentation(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import torch

    from pixweave.run import open_run

    run = open_run(tiny_recipe(plugins, augmentations=[{"use": name, **settings}]))
    (augment,) = run.augmentations.values()
    crops = torch.rand(8, 3, 16, 16, generator=run.rng("test"), requires_grad=True)
    out = augment(crops, run.rng("test", 1))
    assert out.shape == crops.shape, f"'{name}' changes the shape of the crops"
    out.sum().backward()
    assert crops.grad is not None, f"'{name}' passes no gradient"
    assert torch.equal(out, augment(crops, run.rng("test", 1))), f"'{name}' is not reproducible"
    assert not torch.equal(out, crops), f"'{name}' does nothing"


def _check_filter(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import torch

    from pixweave.run import open_run

    recipe = tiny_recipe(plugins, filters=[{"use": name, **settings}])
    run = open_run(recipe)
    (live,) = run.filters.values()
    width, height = recipe.shown_size
    for channels in (3, 4):
        image = torch.rand(2, channels, 24, 24, generator=run.rng("test"))
        before = image.clone()
        out = live(image)
        assert out.shape == (2, channels, height, width), f"'{name}' gives {tuple(out.shape)}"
        assert out.dtype == torch.float32, f"'{name}' gives {out.dtype}, not float32"
        assert out.min() >= 0, f"'{name}' goes below 0"
        assert out.max() <= 1, f"'{name}' goes above 1"
        assert torch.equal(out, live(image)), f"'{name}' is not reproducible"
        assert torch.equal(image, before), f"'{name}' writes into the picture that it is given"


def _check_perceptor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import torch

    from pixweave.run import open_run

    run = open_run(tiny_recipe(plugins, perceptors=[{"use": name, **settings}]))
    (perceptor,) = run.perceptors.values()
    crops = torch.rand(2, 3, perceptor.size, perceptor.size, generator=run.rng("test"))
    image = perceptor.encode_image(crops.requires_grad_())
    text = perceptor.encode_text(["a red square", "a blue circle", "green"])
    assert image.shape == (2, text.shape[1]), f"'{name}' has two spaces, not one"
    assert text.shape[0] == 3
    for vectors in (image, text):
        norms = vectors.float().norm(dim=1)
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-2), f"'{name}' is not unit"
    image.float().sum().backward()
    assert crops.grad is not None, f"'{name}' passes no gradient"
    assert crops.grad.abs().sum() > 0, f"'{name}' passes no gradient"


def _check_classifier(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import torch

    from pixweave.bench import open_bench
    from pixweave.recipe import load_text

    body = {"pixweave": 1, "do": "classify", "input": ".", "device": "cpu", "precision": "float32",
            "perceptors": ["fake"], "classifier": {"use": name, **settings}}  # fmt: skip
    recipe = load_text(json.dumps(body), "tiny.yaml", Path(), plugins)
    bench = open_bench(recipe)
    live = bench.build(recipe.stages[0].parts["classifier"][0])
    assert len(set(live.labels)) == len(live.labels) > 0, f"'{name}' has no labels, or one twice"
    images = torch.rand(3, 3, live.size, live.size, generator=bench.rng("test"))
    found = live(images.requires_grad_())
    shape = (3, len(live.labels))
    assert found.values.shape == shape, f"'{name}' gives {tuple(found.values.shape)}, not {shape}"
    assert not found.values.requires_grad, f"'{name}' keeps a gradient"
    for values in (found.values, found.known):
        inside = values is None or bool(((values >= 0) & (values <= 1)).all())
        assert inside, f"'{name}' gives scores outside 0..1"
    alone = torch.cat([live(image[None]).values for image in images])
    assert torch.allclose(found.values, alone, atol=1e-4), f"'{name}' depends on its batch"
    if judge := getattr(live, "judge", None):
        vectors = bench.perceptors[live.perceptor].encode_image(images)
        assert torch.allclose(judge(vectors).values, alone, atol=1e-4), (
            f"'{name}' judges vectors otherwise than pictures"
        )


def _check_exporter(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import tempfile

    from pixweave.loop import generate
    from pixweave.run import open_run

    with tempfile.TemporaryDirectory() as folder:
        recipe = tiny_recipe(plugins, export=[{"use": name, **settings}])
        run = open_run(recipe, folder)
        (aborted,) = run.exporters()
        aborted.write(next(generate(run)))
        aborted.abort()
        assert not list(Path(folder).iterdir()), f"'{name}' leaves something behind after abort()"
        (exporter,) = run.exporters()
        for frame in generate(open_run(recipe, folder)):
            exporter.write(frame)
        paths = exporter.close()
        assert paths, f"'{name}' wrote nothing"
        assert all(Path(path).exists() for path in paths), (
            f"'{name}' names a file that is not there"
        )


def _check_trainer(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import tempfile

    import torch
    from PIL import Image

    from pixweave.train.loop import train
    from pixweave.train.plan import make_plan

    with tempfile.TemporaryDirectory() as root:
        data = Path(root, "data")
        data.mkdir()
        for number, colour in enumerate(("red", "green", "blue", "white") * 3):
            Image.new("RGB", (80, 80), colour).save(data / f"{colour}_{number}.png")
        suffix = getattr(plugins.find("trainer", name).component, "suffix", "")
        sets = [f"{key}={json.dumps(value)}" for key, value in {**settings, "steps": 2}.items()]
        states = []
        for folder, ends in (("whole", [2]), ("halves", [1, 2])):
            out = Path(root, folder, f"made{suffix}")
            plan = make_plan(plugins, name, [data], out, sets=sets, device="cpu")
            for end in ends:
                until = _Until(end)
                train(plan, until.tell, until.stop)
            assert out.is_file(), f"'{name}' writes no file"
            state = torch.load(plan.work / "checkpoint.pt", weights_only=True)
            states.append(state["training"])
        assert _same(*states), f"'{name}' does not repeat its steps when it is resumed"


class _Until:
    """Stops a training after a step."""

    def __init__(self, end: int) -> None:
        self.end, self.step = end, 0

    def tell(self, event: Event) -> None:
        self.step = max(self.step, event.data.get("step", 0))

    def stop(self) -> bool:
        return self.step >= self.end


def _same(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit."""
    import torch

    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _check_searcher(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import numpy as np

    from pixweave.search import SearchRun
    from pixweave.search.matrix import Matrix

    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    run: Any = SearchRun(Matrix(vectors, np.arange(400), "memory", None, "test"))
    searcher = plugins.find("searcher", name).component(**settings).build(run)
    for allowed in (None, np.arange(5, 9), np.arange(0, 400, 2), np.empty(0, np.int64)):
        rows, scores = searcher.search(vectors[7], 5, allowed)
        there = np.arange(400) if allowed is None else allowed
        best = there[np.argsort(-(vectors[there] @ vectors[7]), kind="stable")][:5]
        assert list(rows[:5]) == list(best), f"'{name}' does not find the nearest"
        assert np.allclose(scores, vectors[rows] @ vectors[7], atol=1e-5), f"'{name}' errs"


def labour(what: Mapping[str, Any]) -> Any:
    """What the units of `check_executor`'s kind do: square `number`, after a mishap if asked.

    `mishap`: `raise` an error, `die`, or with a `mark`, a path, die only where that is not there.
    """
    import os
    import signal

    mishap, mark = what.get("mishap"), what.get("mark")
    if mishap == "raise":
        raise ValueError("no number")
    if mishap == "die" and not (mark and os.path.exists(mark)):
        if mark:
            Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return what["number"] ** 2


def _check_executor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    import tempfile

    from pixweave.work import ExecutorRun, Unit

    run: Any = ExecutorRun()
    executor = plugins.find("executor", name).component(**settings).build(run)
    assert isinstance(executor.info, str), f"'{name}' has no line about who works"
    assert list(executor.run([], lambda: False)) == [], f"'{name}' makes something out of nothing"
    with tempfile.TemporaryDirectory() as folder:
        odd = {3: {"mishap": "raise"}, 5: {"mishap": "die"},
               6: {"mishap": "die", "mark": str(Path(folder, "mark"))}}  # fmt: skip
        units = [Unit(str(n), "pixweave.testing:labour", {"number": n, **odd.get(n, {})})
                 for n in range(12)]  # fmt: skip
        got = {int(done.unit.name): done for done in executor.run(iter(units), lambda: False)}
    assert sorted(got) == list(range(12)), f"'{name}' gives other units back: {sorted(got)}"
    for n, done in got.items():
        if n == 3:
            assert done.fault.startswith("ValueError: no number"), f"'{name}' says {done.fault!r}"
        elif n == 5:
            assert done.tries > 1, f"'{name}' does not try again what a worker died of"
            said = f"its worker died {done.tries} times ("
            assert done.fault.startswith(said), f"'{name}' says {done.fault!r}"
        else:
            assert (done.value, done.fault) == (n * n, ""), f"'{name}' gives {done} for {n}"
    assert got[6].tries > 1, f"'{name}' does not count the tries of a unit whose worker died"
    stopped: list[int] = []
    for done in executor.run(iter(units[:3] * 99), lambda: bool(stopped)):
        stopped.append(done.value)
    assert len(stopped) < 297, f"'{name}' does not stop"


_CHECKS = {
    "executor": _check_executor,
    "searcher": _check_searcher,
    "trainer": _check_trainer,
    "loss": _check_loss,
    "generator": _check_generator,
    "augmentation": _check_augmentation,
    "filter": _check_filter,
    "perceptor": _check_perceptor,
    "classifier": _check_classifier,
    "exporter": _check_exporter,
}
