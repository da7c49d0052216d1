"""Checks of generators, losses, augmentations, filters and exporters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.plugins import Plugins
from pixweave.testing.doubles import tiny_recipe

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.engine.run import Run


def check_loss(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a loss decreases when it is optimised."""
    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    entry = {"use": name, **settings}
    recipe = tiny_recipe(plugins, prompts=[], losses=[entry], steps=40)
    values = [float(frame.losses[recipe.losses[0].id]) for frame in generate(open_run(recipe))]
    assert values == values, f"loss '{name}' became NaN"
    first, last = sum(values[:5]) / 5, sum(values[-5:]) / 5
    assert last < first, f"loss '{name}' does not decrease: {first:.4g} -> {last:.4g}"


def check_generator(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert the contract of a generator, including what it declares in `can`."""
    import torch

    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    recipe = tiny_recipe(plugins, generator={"use": name, **settings})
    run = open_run(recipe)
    image = run.generator.image()
    width, height = recipe.size
    assert image.shape[1] in (3, 4), f"'{name}' gives {image.shape[1]} channels, not 3 or 4"
    assert image.shape[-2:] == (height, width), f"'{name}' gives an image of the wrong size"
    assert image.dtype == torch.float32, f"'{name}' gives {image.dtype}, not float32"
    assert image.min() >= 0, f"'{name}' goes below 0"
    assert image.max() <= 1, f"'{name}' goes above 1"
    image.sum().backward()
    grads = [p.grad for p in run.generator.parameters()]
    assert any(g is not None and g.abs().sum() > 0 for g in grads), f"'{name}' has no gradient"
    frames = [frame.image for frame in generate(open_run(recipe))]
    again = [frame.image for frame in generate(open_run(recipe))]
    same = all(torch.equal(a, b) for a, b in zip(frames, again, strict=True))
    assert same, f"'{name}' gives different images for the same seed"
    half = open_run(recipe)
    list(zip(range(2), generate(half), strict=False))
    rest = open_run(recipe)
    rest.load_state_dict(half.state_dict())
    assert rest.step < recipe.steps
    resumed = [frame.image for frame in generate(rest)]
    assert torch.equal(resumed[-1], frames[-1]), f"'{name}' does not restore its state exactly"
    if "start_from" in recipe.generator.settings.can:
        check_start(name, run, image.shape[1])
    if "latent" in recipe.generator.settings.can:
        check_latents(name, run)


def check_start(name: str, run: Run, channels: int) -> None:
    """Assert that a generator starts from an image in place, with alpha if it has alpha."""
    import torch

    width, height = run.size
    leaves = list(run.generator.parameters())
    dark = torch.full((1, 3, height, width), 0.25)
    run.generator.start_from(dark)
    near = (run.generator.image()[:, :3] - dark).abs().mean()
    assert near < 0.25, f"'{name}' does not start from an image: off by {near:.3f}"
    if channels == 4:
        clear = torch.cat([dark, torch.zeros_like(dark[:, :1])], 1)
        run.generator.start_from(clear)
        alpha = run.generator.image()[:, 3].mean()
        assert alpha < 0.1, f"'{name}' does not start from a transparent image: {alpha:.3f}"
    same = all(a is b for a, b in zip(leaves, run.generator.parameters(), strict=True))
    assert same, f"'{name}' replaces its parameters in start_from; it must set them in place"


def check_latents(name: str, run: Run) -> None:
    """Assert that the latents have a gradient, and differ for different images."""
    import torch

    width, height = run.size
    results = []
    for grey in (0.2, 0.8):
        run.generator.start_from(torch.full((1, 3, height, width), grey))
        latents: Tensor = run.generator.latents()  # type: ignore[attr-defined]
        assert latents.requires_grad, f"the latents of '{name}' have no gradient"
        results.append(latents.detach().clone())
    equal = torch.allclose(results[0], results[1])
    assert not equal, f"the latents of '{name}' are equal for different images"


def check_augmentation(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that an augmentation keeps the shape, passes gradients and only draws from `rng`."""
    import torch

    from pixweave.engine.run import open_run

    run = open_run(tiny_recipe(plugins, augmentations=[{"use": name, **settings}]))
    (augment,) = run.augmentations.values()
    moment = run.recipe.moment(1)
    crops = torch.rand(8, 3, 16, 16, generator=run.rng("test"), requires_grad=True)
    out = augment(crops, run.rng("test", 1), moment)
    assert out.shape == crops.shape, f"'{name}' changes the shape of the crops"
    out.sum().backward()
    assert crops.grad is not None, f"'{name}' passes no gradient"
    assert torch.equal(out, augment(crops, run.rng("test", 1), moment)), (
        f"'{name}' is not reproducible"
    )
    assert not torch.equal(out, crops), f"'{name}' does nothing"


def check_filter(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a filter gives its declared size, in range, and the same result each time."""
    import torch

    from pixweave.engine.run import open_run

    recipe = tiny_recipe(plugins, filters=[{"use": name, **settings}])
    run = open_run(recipe)
    (instance,) = run.filters.values()
    moment = recipe.moment(1)
    width, height = recipe.shown_size
    for channels in (3, 4):
        image = torch.rand(2, channels, 24, 24, generator=run.rng("test"))
        before = image.clone()
        out = instance(image, moment)
        assert out.shape == (2, channels, height, width), f"'{name}' gives {tuple(out.shape)}"
        assert out.dtype == torch.float32, f"'{name}' gives {out.dtype}, not float32"
        assert out.min() >= 0, f"'{name}' goes below 0"
        assert out.max() <= 1, f"'{name}' goes above 1"
        assert torch.equal(out, instance(image, moment)), f"'{name}' is not reproducible"
        assert torch.equal(image, before), f"'{name}' modifies its input image"


def check_exporter(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that an exporter writes its files, and leaves none after `abort`."""
    import tempfile

    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    component = plugins.find("exporter", name).component
    if "file" in component.model_fields and component.suffixes:
        settings.setdefault("file", f"result{component.suffixes[0]}")
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
        assert all(Path(path).exists() for path in paths), f"'{name}' returns a path without a file"
