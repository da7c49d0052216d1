"""Checks of generators, losses, augmentations, filters and exporters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.plugins import Plugins
from pixweave.testing.doubles import tiny_recipe

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.engine.run import Run
    from pixweave.recipe import Recipe


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
    check_loss_state(name, recipe)
    check_loss_batch(name, recipe)


def check_loss_state(name: str, recipe: Recipe) -> None:
    """Assert that a loss gives the same for the same view, or has a state that is restored."""
    import torch

    from pixweave.borders.checked_part import is_stateful
    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    run = open_run(recipe)
    view = run.look(0)
    one, two = (float(run.losses[0](view).detach()) for _ in range(2))
    if not is_stateful(run.losses[0].loss):
        assert one == two, (
            f"loss '{name}' gives {one:.4g} and then {two:.4g} for the same view; keep no state "
            "from call to call, or add state_dict() and load_state_dict()"
        )
        return
    whole = list(generate(open_run(recipe)))[-1].losses
    half = open_run(recipe)
    list(zip(range(2), generate(half), strict=False))
    rest = open_run(recipe)
    rest.load_state_dict(half.state_dict())
    resumed = list(generate(rest))[-1].losses
    same = all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert same, f"the state_dict of loss '{name}' is not all of its state"


def check_loss_batch(name: str, recipe: Recipe) -> None:
    """Assert that a loss depends on every image of a batch."""
    import torch

    from pixweave.engine.run import open_run

    run = open_run(recipe)
    channels = run.canvas.picture().shape[1]
    pictures = torch.rand(2, channels, *reversed(recipe.size), generator=run.rng("batch"))
    loss = run.losses[0](run.view(recipe.moment(0), pictures.requires_grad_()))
    if not loss.requires_grad:
        return  # it does not depend on the image that it is shown
    loss.backward()
    gradient = pictures.grad
    if gradient is None or not gradient.abs().sum():
        return
    missing = [i for i, each in enumerate(gradient) if not each.abs().sum()]
    assert not missing, (
        f"loss '{name}' ignores image {missing[0] + 1} of a batch of 2; use every image of "
        "view.image, [B, 3, H, W]"
    )


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
    low, high = float(out.detach().min()), float(out.detach().max())
    assert low > -0.5, f"'{name}' gives crops down to {low:.3g}; crops are in 0..1"
    assert high < 1.5, f"'{name}' gives crops up to {high:.3g}; crops are in 0..1"
    other = crops.detach().clone()
    other[0] = 1 - other[0]
    changed = augment(other, run.rng("test", 1), moment)
    assert torch.allclose(changed[1:], out[1:], atol=1e-5), (
        f"'{name}' mixes crops: a change of the first one changes others"
    )


def check_filter(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that a filter gives its declared size, in range, and the same result each time."""
    import torch

    from pixweave.borders.checked_part import is_stateful
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
        assert torch.equal(image, before), f"'{name}' modifies its input image"
        instance(1 - image, recipe.moment(2))
        again = instance(image, moment)
        remembers = "stateless" in plugins.find("filter", name).component.can or not is_stateful(
            instance
        )
        assert torch.equal(out, again) or not remembers, (
            f"'{name}' gives another result for the same image after another one; keep no state, "
            "or add state_dict() and load_state_dict() and leave 'stateless' out of `can`"
        )


def check_exporter(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that an exporter writes its file whole, beside another one; `abort` leaves nothing."""
    import tempfile

    component = plugins.find("exporter", name).component
    named = "file" in component.model_fields and bool(component.suffixes)
    if named:
        settings.setdefault("file", f"result{component.suffixes[0]}")
    with tempfile.TemporaryDirectory() as folder:
        _check_abort(name, settings, plugins, Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        entries = [{"use": name, **settings}]
        if named:
            entries.append({**entries[0], "id": "second", "file": f"2-{settings['file']}"})
        _check_files(name, entries, plugins, Path(folder))


def _check_abort(name: str, settings: dict[str, Any], plugins: Plugins, folder: Path) -> None:
    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    recipe = tiny_recipe(plugins, export=[{"use": name, **settings}])
    run = open_run(recipe, folder)
    (exporter,) = run.exporters()
    exporter.write(next(generate(run)))
    exporter.abort()
    exporter.abort()  # a second time, as after an error
    assert not list(folder.iterdir()), f"'{name}' leaves something behind after abort()"


def _check_files(name: str, entries: list[dict[str, Any]], plugins: Plugins, folder: Path) -> None:
    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    recipe = tiny_recipe(plugins, export=entries)
    run = open_run(recipe, folder)
    exporters = run.exporters()
    for frame in generate(run):
        for exporter in exporters:
            exporter.write(frame)
    before = {path for path in folder.rglob("*") if path.is_file()}
    for exporter, entry in zip(exporters, entries, strict=True):
        paths = [Path(path) for path in exporter.close()]
        assert paths, f"'{name}' wrote nothing"
        early = [path for path in paths if path in before]
        assert not early, (
            f"'{name}' has written '{early[0].name if early else ''}' under its final name before "
            "close(); write beside it and rename, or use pixweave.Export"
        )
        if "file" in entry:
            wanted = (folder / entry["file"]).resolve()
            assert wanted in [path.resolve() for path in paths], (
                f"'{name}' ignores 'file': it wrote '{paths[0].name}', not '{entry['file']}'"
            )
