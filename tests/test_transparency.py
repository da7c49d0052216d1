"""Transparency from the generator to every file that can hold it, and what perceptors see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixweave import Plugins, generate, load, open_run
from pixweave.pipeline.runner import perform
from pixweave.testing import tiny_recipe

ROOT = Path(__file__).parent.parent
FILES = ["a.png", "a.apng", "a.webp", "a.gif", "steps/"]


@pytest.fixture
def hole(tmp_path: Path) -> str:
    """Orange, with a transparent square of 8 x 8 in the middle."""
    values = np.full((24, 24, 4), (240, 120, 40, 255), dtype=np.uint8)
    values[8:16, 8:16] = 0
    Image.fromarray(values).save(tmp_path / "hole.png")
    return str(tmp_path / "hole.png")


def shots(path: Path) -> list[np.ndarray[Any, Any]]:
    """Every frame of a file as bytes `[H, W, 4]`."""
    if path.is_dir():
        return [shots(file)[0] for file in sorted(path.iterdir())]
    found = []
    with Image.open(path) as opened:
        for index in range(getattr(opened, "n_frames", 1)):
            opened.seek(index)
            found.append(np.asarray(opened.convert("RGBA"), dtype=int))
    return found


@pytest.mark.parametrize("palette", [None, "pico-8"])
def test_a_hole_stays_a_hole_in_every_file(hole: str, tmp_path: Path, palette: str | None) -> None:
    generator = {"use": "pixel", "grid": [12, 12], "alpha": True, "palette": palette}
    recipe = tiny_recipe(generator=generator, start_from=hole, mask=[0, 0, 1, 0.2], export=FILES)
    list(perform(recipe, tmp_path))
    start = shots(Path(hole))[0][16:, :, :3]
    for name in FILES:
        last = shots(tmp_path / name)[-1]
        assert last.shape == (24, 24, 4), name
        assert last[8:16, 8:16, 3].max() == 0, name
        assert last[16:, :, 3].min() == 255, name
        off = np.abs(last[16:, :, :3] - start).mean()
        assert off <= (6 if name == "a.webp" and palette is None else 0), name


def test_the_frames_of_a_film_show_no_ghost_of_the_one_before(tmp_path: Path) -> None:
    sprite = {"use": "pixel", "grid": [12, 12], "alpha": True, "palette": "pico-8"}
    recipe = tiny_recipe(
        generator=sprite,
        steps=25,
        prompts=[],
        export=["a.gif", "a.apng", "steps/"],
        losses=[{"use": "coverage", "amount": 0.1, "weight": 4}],
        optimizer={"rate": 0.1},
    )
    list(perform(recipe, tmp_path))
    single = shots(tmp_path / "steps")
    assert single[-1][..., 3].mean() < 0.6 * single[0][..., 3].mean()
    for name in ("a.gif", "a.apng"):
        film = shots(tmp_path / name)
        shown = [frame[..., 3] for frame in film]
        # equal steps are one longer shot
        wanted = [
            frame
            for i, frame in enumerate(single)
            if i == 0 or not np.array_equal(frame, single[i - 1])
        ]
        assert len(shown) == len(wanted), name
        assert all(np.array_equal(a, b[..., 3]) for a, b in zip(shown, wanted, strict=True)), name


def test_perceptors_see_another_grey_through_the_holes_at_each_step(hole: str) -> None:
    generator = {"use": "pixel", "grid": [12, 12], "alpha": True}
    run = open_run(tiny_recipe(generator=generator, start_from=hole))
    greys = [float(run.look(step).image[0, 0, 12, 12].detach()) for step in range(20)]
    assert len(set(greys)) == 20
    assert min(greys) < 0.25
    assert max(greys) > 0.75
    orange = torch.tensor([240, 120, 40]) / 255
    assert torch.allclose(run.look(0).image[0, :, 0, 0].detach(), orange, atol=3e-3)


def test_alpha_has_a_gradient_from_what_perceptors_see() -> None:
    generator = {"use": "pixel", "grid": [12, 12], "alpha": True, "coarsest": 12}
    recipe = tiny_recipe(generator=generator, steps=40, crops={"count": 8})
    run = open_run(recipe)
    before = run.generator.image()[:, 3].detach()
    frames = [frame.image for frame in generate(run)]
    # a hole shows any grey, and grey is not red: what is to look red becomes opaque
    assert frames[-1][:, 3].mean() > before.mean() + 0.1
    assert frames[-1][:, 0].mean() > frames[-1][:, 2].mean() + 0.3


def test_the_recipe_ghost_keeps_the_holes_of_its_sprite(tmp_path: Path) -> None:
    path = ROOT / "recipes" / "ghost.yaml"
    recipe = load([path], Plugins.discover(), ["steps=2", "crops.count=4", "device=cpu"])
    list(perform(recipe, tmp_path))
    with Image.open(ROOT / "recipes" / "pictures" / "ghost.png") as opened:
        sprite = np.asarray(opened.resize((128, 128), Image.Resampling.NEAREST), dtype=int)
    for name in ("ghost.png", "ghost.apng", "ghost.gif", "ghost.webp"):
        first = shots(tmp_path / name)[0]
        if name != "ghost.png":  # the film begins as the sprite, and has its colours exactly
            assert np.array_equal(first[..., 3], sprite[..., 3]), name
            seen = sprite[..., 3] > 0
            assert np.array_equal(first[seen], sprite[seen]), name
        assert set(np.unique(first[..., 3]).tolist()) == {0, 255}
