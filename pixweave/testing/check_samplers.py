"""Checks of codecs, samplers and stages."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from pixweave.plugins import Plugins
from pixweave.testing.doubles import tiny_recipe


def check_codec(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert the shapes of a codec, and that its codes survive `look_up` and `nearest`."""
    import torch

    codec = _build("codec", name, settings, plugins)
    side = 4 * codec.factor
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = codec.encode(images)
        codes = codec.nearest(latents)
        looked_up = codec.look_up(codes)
    dim = codec.codebook.shape[1]
    assert latents.shape == (2, dim, 4, 4), f"'{name}' encodes {tuple(latents.shape)}"
    assert codes.shape == (2, 4, 4), f"'{name}' gives codes of shape {tuple(codes.shape)}"
    assert codes.dtype == torch.int64, f"'{name}' gives codes of type {codes.dtype}"
    assert looked_up.shape == latents.shape, f"'{name}' looks up {tuple(looked_up.shape)}"
    assert torch.equal(codec.nearest(looked_up), codes), f"'{name}' changes its own codes"
    decoded = codec.decode(looked_up.requires_grad_())
    assert decoded.shape == images.shape, f"'{name}' decodes {tuple(decoded.shape)}"
    (gradient,) = torch.autograd.grad(decoded.sum(), looked_up)
    assert gradient.abs().sum() > 0, f"'{name}' passes no gradient"


def check_sampler(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert an image in range that only the random generator decides, and that texts matter."""
    import torch

    sampler = _build("sampler", name, settings, plugins)

    def sample(text: str, seed: int) -> torch.Tensor:
        drawn: torch.Tensor = sampler.sample([(text, 1.0)], torch.Generator().manual_seed(seed))
        return drawn

    first = sample("a red square", 1)
    assert first.shape == (1, 3, first.shape[2], first.shape[2]), (
        f"'{name}' gives {tuple(first.shape)}, not one square image"
    )
    assert bool(((first >= 0) & (first <= 1)).all()), f"'{name}' leaves 0..1"
    assert torch.equal(first, sample("a red square", 1)), f"'{name}' is not reproducible"
    assert not torch.equal(first, sample("a red square", 2)), f"'{name}' ignores the generator"
    assert not torch.equal(first, sample("a blue circle", 1)), f"'{name}' ignores the text"


def _build(kind: str, name: str, settings: dict[str, Any], plugins: Plugins) -> Any:
    from pixweave.engine.context import Context
    from pixweave.errors import Mark, RecipeError
    from pixweave.recipe.nodes import parse_value
    from pixweave.recipe.part_reader import PartReader
    from pixweave.recipe.validation import Validator

    text = json.dumps({"use": name, **settings})
    validator = Validator(plugins)
    part = PartReader(plugins, validator).one(kind, parse_value(text, Mark("check"), Path()))
    if part is None:
        raise RecipeError(validator.issues)
    return Context(tiny_recipe(plugins)).build(part)


def check_stage(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a stage runs after another, or first with `input`; its events are plain data."""
    from PIL import Image

    from pixweave.pipeline.runner import perform
    from pixweave.recipe import load_text

    component = plugins.find("stage", name).component
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "input").mkdir()
        for color in ("red", "blue"):
            Image.new("RGB", (24, 24), color).save(folder / "input" / f"{color}.png")
        stage = {"do": name, **settings}
        if "draw" in component.can:
            recipes = [tiny_recipe(plugins, folder, stages=[stage], export=["image.png"])]
        else:
            both = [{"do": "generate", "seeds": 2}, stage]
            recipes = [tiny_recipe(plugins, folder, stages=both, export=["image.png"])]
            if "input" in component.model_fields:
                body = {
                    "pixweave": 1,
                    "device": "cpu",
                    "perceptors": ["fake"],
                    "stages": [{**stage, "input": [str(folder / "input")]}],
                }
                recipes.append(load_text(json.dumps(body), "stage.yaml", folder, plugins))
        for number, recipe in enumerate(recipes):
            run_folder = folder / f"run{number}"
            run_folder.mkdir()
            events = list(perform(recipe, run_folder))
            for event in events:
                json.dumps(event.data)
            result = events[-1]
            assert result.kind == "result", f"'{name}' ends with the event '{result.kind}'"
            assert result.data["status"] == "done", f"'{name}' ends as {result.data['status']}"
