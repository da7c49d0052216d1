"""Masks: where a prompt looks, and what may change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixweave import RunError, generate, open_run
from pixweave.engine.masks import draw_mask, soften
from pixweave.media.region import Region, region_of
from pixweave.pipeline.runner import perform
from pixweave.recipe.image_inputs import Mask
from pixweave.testing import tiny_recipe

PIXELS = {"use": "pixel", "grid": [24, 24]}
CPU = torch.device("cpu")


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """A picture of 24 x 24 different pixels."""
    values = np.random.default_rng(4).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def drawn(size: tuple[int, int] = (24, 24), **settings: Any) -> Region:
    return draw_mask(Mask.model_validate(settings), size, CPU)


def disc(tmp_path: Path, mode: str = "L") -> str:
    y, x = np.mgrid[0:24, 0:24] - 11.5
    inside = np.where(x**2 + y**2 < 64, 255, 0).astype(np.uint8)
    picture = Image.fromarray(inside)
    if mode == "RGBA":
        picture = Image.merge("RGBA", [picture.point(lambda v: 255 - v)] * 3 + [picture])
    picture.save(tmp_path / f"{mode}.png")
    return str(tmp_path / f"{mode}.png")


def test_a_box_is_whole_pixels_in_shares_of_the_picture() -> None:
    region = drawn((40, 20), box=[0.25, 0.1, 0.5, 1])
    assert region.box == (10, 2, 20, 20)
    assert region.mask.sum() == 10 * 18
    assert drawn((40, 20), box=[0.25, 0, 1, 1], invert=True).box == (0, 0, 10, 20)


def test_a_file_counts_by_brightness_or_by_its_alpha(tmp_path: Path) -> None:
    grey, clear = disc(tmp_path), disc(tmp_path, "RGBA")
    assert torch.equal(drawn(image=grey).mask, drawn(image=clear).mask)
    by_light = drawn(image=clear, channel="grey")
    assert torch.equal(by_light.mask, drawn(image=grey, invert=True).mask)
    assert drawn(image=grey, channel="alpha").mask.min() == 1  # it is opaque everywhere
    assert drawn((48, 24), image=grey, fit="contain").box == (16, 4, 32, 20)
    assert drawn(image=grey).box == (4, 4, 20, 20)


def test_a_soft_edge_fades_inwards() -> None:
    mask = drawn((40, 40), box=[0.2, 0.2, 0.8, 0.8]).mask
    soft = soften(mask, 6)
    assert soft[mask == 0].max() == 0
    row = soft[0, 0, 20, 8:20]
    assert torch.equal(row, row.sort().values)
    assert row[0] < 0.2
    assert row[-1] == pytest.approx(1.0, abs=1e-5)


def test_a_mask_with_nothing_inside_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 0).save(tmp_path / "black.png")
    with pytest.raises(RunError) as caught:
        drawn(image=str(tmp_path / "black.png"))
    assert str(caught.value) == (
        "mask 'black.png' is empty at 24x24 pixels; white is inside; 'invert: true' inverts it"
    )
    with pytest.raises(RunError) as caught:
        drawn(box=[0.5, 0.5, 0.51, 0.51])
    assert str(caught.value) == (
        "mask [0.5, 0.5, 0.51, 0.51] is empty at 24x24 pixels; it must cover at least one pixel; "
        "'invert: true' inverts it"
    )


# --------------------------------------------------------------------------------- what may change


@pytest.mark.parametrize(
    "generator",
    [
        PIXELS,
        {"use": "pixel", "grid": [6, 6], "cell": "hex"},
        {**PIXELS, "alpha": True},
        {"use": "vqgan", "grid": 3},
        {"use": "vqgan", "grid": 3, "average": 0.9},
        {"use": "fft"},
        {"use": "strokes", "count": 8},
    ],
    ids=lambda g: "-".join(map(str, g.values())),
)
@pytest.mark.parametrize("soft", [0.0, 0.1])
def test_outside_of_the_mask_the_file_is_the_start_bit_for_bit(
    photo: str, tmp_path: Path, generator: dict[str, Any], soft: float
) -> None:
    mask = {"image": disc(tmp_path), "soften": soft}
    recipe = tiny_recipe(
        generator=generator,
        start_from=photo,
        mask=mask,
        steps=4,
        export=["out.png"],
        losses=[{"use": "smoothness", "weight": 5}],
    )
    list(perform(recipe, tmp_path))
    there, start = (
        np.asarray(Image.open(p).convert("RGBA"), dtype=int) for p in (tmp_path / "out.png", photo)
    )
    outside = np.asarray(Image.open(disc(tmp_path))) == 0
    assert np.array_equal(there[outside], start[outside])
    inside = ~outside
    assert (there[inside] != start[inside]).any(axis=1).mean() > 0.7


def test_transparent_pixels_outside_of_the_mask_keep_even_their_hidden_colour(
    tmp_path: Path,
) -> None:
    hidden = np.zeros((24, 24, 4), dtype=np.uint8)
    hidden[..., 0], hidden[:12, :, 3] = 200, 100
    Image.fromarray(hidden).save(tmp_path / "hidden.png")
    recipe = tiny_recipe(
        generator={**PIXELS, "alpha": True},
        start_from=str(tmp_path / "hidden.png"),
        mask=[0.5, 0, 1, 1],
        export=["out.png"],
    )
    list(perform(recipe, tmp_path))
    there = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(there[:, :12], hidden[:, :12])


def test_outside_of_the_mask_no_parameter_moves(photo: str) -> None:
    recipe = tiny_recipe(
        generator={"use": "pixel", "grid": [24, 24], "coarsest": 24},
        start_from=photo,
        mask=[0, 0, 0.5, 1],
    )
    run = open_run(recipe)
    (level,) = run.generator.parameters()
    before = level.detach().clone()
    list(generate(run))
    moved = (level - before).abs().amax(1)[0] > 0
    assert moved[:, :12].all()
    assert not moved[:, 12:].any()


# ----------------------------------------------------------------------------- where a prompt looks


def gradient_of(prompt: dict[str, Any], **keys: Any) -> Tensor:
    """Which pixels a prompt pulls at `[24, 24]`."""
    recipe = tiny_recipe(
        generator={"use": "pixel", "grid": [24, 24], "coarsest": 24, "start": 0.3},
        prompts=[prompt],
        **keys,
    )
    run = open_run(recipe)
    pulled = torch.zeros(24, 24)
    for step in range(6):
        view = run.look(step)
        (grad,) = torch.autograd.grad(run.losses[0](view), list(run.generator.parameters()))
        pulled += grad.abs().sum((0, 1))
    return pulled


def test_a_masked_prompt_pulls_at_nothing_outside(tmp_path: Path) -> None:
    box = gradient_of({"text": "red", "mask": [0, 0, 0.5, 1]})
    assert (box[:, 12:] == 0).all()
    assert (box[:, :12] > 0).all()
    inside = np.asarray(Image.open(disc(tmp_path))) > 0
    shape = gradient_of({"text": "red", "mask": disc(tmp_path)}).numpy()
    assert (shape[~inside] == 0).all()
    assert (shape[inside] > 0).all()
    around = gradient_of({"text": "red", "mask": [0, 0, 0.5, 1], "around": 0.5})
    assert (around[:, 12:] == 0).all()
    assert (around[:, :12] > 0).all()


def test_crops_lie_within_the_region_and_see_nothing_else() -> None:
    recipe = tiny_recipe(generator=PIXELS, crops={"count": 32}, prompts=["red"])
    run = open_run(recipe)
    view = run.look(0)
    view.image = torch.zeros(1, 3, 24, 24)
    view.image[:, 0, 6:18, 6:18] = 1  # a red square on black
    region = region_of((view.image[:, :1] > 0).float())
    crops = view.within(region).crops("fake")
    assert crops.shape == (32, 3, 16, 16)
    assert crops[:, 0].min() > 0.999
    assert view.crops("fake")[:, 0].min() < 0.01
    seen = view.within(region, margin=0.5).crops("fake")
    assert seen[:, 0].min() < 0.01
    half = torch.zeros(1, 1, 24, 24)
    half[..., 6:18, 6:12] = 1
    assert view.within(region_of(half)).crops("fake")[:, 0].min() > 0.999


def test_two_prompts_share_the_crops_of_one_mask_and_each_mask_has_its_own() -> None:
    left, right = {"box": [0, 0, 0.5, 1]}, {"box": [0.5, 0, 1, 1]}
    run = open_run(
        tiny_recipe(
            prompts=[
                {"text": "red", "mask": left},
                {"text": "blue", "mask": left},
                {"text": "green", "mask": right},
            ]
        )
    )
    view = run.look(0)
    for loss in run.losses:
        loss(view)
    assert run.perceptors["fake"].encoded == 2 * 4  # type: ignore[attr-defined]


def test_a_masked_prompt_changes_no_draw_of_the_others() -> None:
    masked = {"text": "red", "mask": [0, 0, 0.5, 1], "weight": 0}
    plain, more = (
        [f.image for f in generate(open_run(tiny_recipe(augmentations=["noise"], prompts=p)))][-1]
        for p in (["blue"], ["blue", masked])
    )
    assert torch.equal(plain, more)


def test_each_half_becomes_what_its_prompt_says() -> None:
    recipe = tiny_recipe(
        generator={"use": "pixel", "grid": [12, 12]},
        steps=60,
        crops={"count": 8},
        prompts=[{"text": "red", "mask": [0, 0, 0.5, 1]}, {"text": "blue", "mask": [0.5, 0, 1, 1]}],
    )
    image = [frame.image for frame in generate(open_run(recipe))][-1][0]
    left, right = image[..., :12].mean((1, 2)), image[..., 12:].mean((1, 2))
    assert left[0] > left[2] + 0.3
    assert right[2] > right[0] + 0.3
