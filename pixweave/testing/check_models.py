"""Checks of what sees, names, finds and learns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.plugins import Plugins
from pixweave.testing.doubles import tiny_recipe

if TYPE_CHECKING:
    from pixweave.events import Event


def check_perceptor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert unit vectors with gradients, and texts and pictures in one space."""
    import torch

    from pixweave.engine.run import open_run

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


def check_classifier(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert scores in 0..1 that do not depend on the batch."""
    import torch

    from pixweave.classification.zero_shot import stage_classifier
    from pixweave.engine.context import open_context
    from pixweave.recipe import load_text

    body = {
        "pixweave": 1,
        "do": "classify",
        "input": ".",
        "device": "cpu",
        "precision": "float32",
        "perceptors": ["fake"],
        "classifier": {"use": name, **settings},
    }
    recipe = load_text(json.dumps(body), "tiny.yaml", Path(), plugins)
    bench = open_context(recipe)
    live = bench.build(stage_classifier(recipe))
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


def check_trainer(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a resumed training repeats an unbroken one and writes its file."""
    import tempfile

    import torch
    from PIL import Image

    from pixweave.train.plan import make_plan
    from pixweave.train.training_loop import train

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


def check_searcher(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that the nearest of a few vectors are found, under filters too."""
    import numpy as np

    from pixweave.search import SearchContext
    from pixweave.search.matrix import Matrix

    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    run: Any = SearchContext(Matrix(vectors, np.arange(400), "memory", None, "test"))
    searcher = plugins.find("searcher", name).component(**settings).build(run)
    for allowed in (None, np.arange(5, 9), np.arange(0, 400, 2), np.empty(0, np.int64)):
        rows, scores = searcher.search(vectors[7], 5, allowed)
        there = np.arange(400) if allowed is None else allowed
        best = there[np.argsort(-(vectors[there] @ vectors[7]), kind="stable")][:5]
        assert list(rows[:5]) == list(best), f"'{name}' does not find the nearest"
        assert np.allclose(scores, vectors[rows] @ vectors[7], atol=1e-5), f"'{name}' errs"
