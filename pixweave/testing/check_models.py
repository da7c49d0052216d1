"""Checks of perceptors, classifiers, searchers and trainers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.plugins import Plugins
from pixweave.testing.doubles import tiny_recipe

FITS = ("crop", "squash", "pad")
METHODS = ("bicubic", "bilinear")

if TYPE_CHECKING:
    from pixweave.events import Event


def check_perceptor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert unit vectors of one size for images and texts, with gradients for images."""
    import torch

    from pixweave.engine.run import open_run

    run = open_run(tiny_recipe(plugins, perceptors=[{"use": name, **settings}]))
    (perceptor,) = run.perceptors.values()
    crops = torch.rand(2, 3, perceptor.size, perceptor.size, generator=run.rng("test"))
    image = perceptor.encode_image(crops.requires_grad_())
    text = perceptor.encode_text(["a red square", "a blue circle", "green"])
    assert image.shape == (2, text.shape[1]), (
        f"'{name}': vectors of images and texts differ in size"
    )
    assert text.shape[0] == 3
    for vectors in (image, text):
        norms = vectors.float().norm(dim=1)
        assert torch.allclose(norms, torch.ones_like(norms), atol=1e-2), (
            f"'{name}' gives vectors whose length is not 1"
        )
    image.float().sum().backward()
    assert crops.grad is not None, f"'{name}' passes no gradient"
    assert crops.grad.abs().sum() > 0, f"'{name}' passes no gradient"
    with torch.no_grad():
        alone = perceptor.encode_image(crops[:1])
        words = perceptor.encode_text(["a blue circle"])
    assert _near(alone[0], image[0]), f"'{name}' gives an image another vector in another batch"
    assert _near(words[0], text[1]), f"'{name}' gives a text another vector among other texts"
    _check_identity(name, run.recipe.perceptors[0].settings)
    _check_optional(name, perceptor)


def _near(one: Any, other: Any) -> bool:
    """Whether two unit vectors agree, also in half precision."""
    return float(one.float() @ other.detach().float()) > 0.999


def _check_identity(name: str, settings: Any) -> None:
    identity = settings.identity()
    again = type(settings).model_validate(settings.model_dump()).identity()
    assert identity is None or isinstance(identity, str), (
        f"identity() of '{name}' gives {identity!r}; it must give a text or None"
    )
    assert identity == again, (
        f"identity() of '{name}' differs for equal settings; it must depend on what the vectors "
        "depend on, and on nothing else"
    )


def _check_optional(name: str, perceptor: Any) -> None:
    """The optional attributes of a perceptor, if it has them."""
    _ = getattr(perceptor, "bank", None)  # checked when it is read
    overflow = getattr(perceptor, "overflow", None)
    if overflow is not None:
        overflow(" ".join(f"word{i}" for i in range(400)))
        rest = overflow("red")
        assert rest == "", (
            f"overflow('red') of '{name}' gives {rest!r}; it must give '' if all fits"
        )
    for attribute, allowed in (("fit", FITS), ("method", METHODS)):
        value = getattr(perceptor, attribute, allowed[0])
        assert value in allowed, (
            f"'{attribute}' of '{name}' is {value!r}; it must be one of {', '.join(allowed)}"
        )


def check_classifier(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a classifier gives scores in 0..1 that do not depend on the batch."""
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
    context = open_context(recipe)
    instance = context.build(stage_classifier(recipe))
    labels = instance.labels
    assert len(set(labels)) == len(labels) > 0, f"'{name}' has no labels, or a repeated one"
    images = torch.rand(3, 3, instance.size, instance.size, generator=context.rng("test"))
    scores = instance(images.requires_grad_())
    shape = (3, len(labels))
    assert scores.values.shape == shape, f"'{name}' gives {tuple(scores.values.shape)}, not {shape}"
    assert not scores.values.requires_grad, f"'{name}' keeps a gradient"
    for values in (scores.values, scores.known):
        inside = values is None or bool(((values >= 0) & (values <= 1)).all())
        assert inside, f"'{name}' gives scores outside 0..1"
    single = torch.cat([instance(image[None]).values for image in images])
    assert torch.allclose(scores.values, single, atol=1e-4), f"'{name}' depends on its batch"
    if judge := getattr(instance, "judge", None):
        vectors = context.perceptors[instance.perceptor].encode_image(images)
        assert torch.allclose(judge(vectors).values, single, atol=1e-4), (
            f"'{name}' scores vectors differently from images"
        )


def check_trainer(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a resumed training equals an uninterrupted one, and that it writes its file."""
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
                stopper = _StopAfter(end)
                train(plan, stopper.listen, stopper.stop)
            assert out.is_file(), f"'{name}' writes no file"
            state = torch.load(plan.work / "checkpoint.pt", weights_only=True)
            states.append(state["training"])
        assert _same(*states), f"'{name}' does not repeat its steps when it is resumed"


class _StopAfter:
    """Stops a training after a step."""

    def __init__(self, end: int) -> None:
        self.end, self.step = end, 0

    def listen(self, event: Event) -> None:
        self.step = max(self.step, event.data.get("step", 0))

    def stop(self) -> bool:
        return self.step >= self.end


def _same(one: Any, other: Any) -> bool:
    """Whether two states are bit-identical."""
    import torch

    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def check_searcher(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a searcher finds the nearest of a few vectors, also among allowed rows only."""
    import numpy as np

    from pixweave.search import SearchContext
    from pixweave.search.checked_searcher import CheckedSearcher
    from pixweave.search.matrix import Matrix

    vectors = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    component = plugins.find("searcher", name).component(**settings)

    def searcher_of(vectors: Any) -> CheckedSearcher:
        ids = np.arange(len(vectors))
        run: Any = SearchContext(Matrix(vectors, ids, "memory", None, "test"))
        return CheckedSearcher(f"searcher '{name}'", component.build(run), len(vectors))

    searcher = searcher_of(vectors)
    for allowed in (None, np.arange(5, 9), np.arange(0, 400, 2), np.empty(0, np.int64)):
        rows, scores = searcher.search(vectors[7], 5, allowed)
        candidates = np.arange(400) if allowed is None else allowed
        order = np.argsort(-(vectors[candidates] @ vectors[7]), kind="stable")
        best = candidates[order][:5]
        assert list(rows[:5]) == list(best), f"'{name}' does not find the nearest"
        assert np.allclose(scores, vectors[rows] @ vectors[7], atol=1e-5), (
            f"'{name}' gives wrong scores"
        )
        assert np.isin(rows, candidates).all(), f"'{name}' finds rows that are not allowed"
    rows, _ = searcher_of(vectors[:3]).search(vectors[0], 10, None)
    assert sorted(rows) == [0, 1, 2], f"'{name}' does not find all of 3 vectors if asked for 10"
    rows, _ = searcher_of(vectors[:0]).search(vectors[0], 10, None)
    assert len(rows) == 0, f"'{name}' finds something in an empty index"
