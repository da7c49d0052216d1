"""CropSettings: one composed warp each, read from the full-resolution picture."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave import Plugins, load
from pixweave.engine import crops
from pixweave.recipe.sections import CropSettings
from pixweave.timeline.values import Moment

MOMENT = Moment(step=0, steps=10, fps=24.0, inputs={})
PLAIN = {"perspective": (0, 0), "shift": 0, "turn": 0, "padding": "reflect"}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(width: int, height: int) -> Tensor:
    """Red grows to the right, green downwards: a pixel tells where it comes from."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    return torch.stack(
        [x.expand(height, width), y[:, None].expand(height, width), 0.5 * torch.ones(height, width)]
    )[None]


def whole(count: int = 1, **settings: object) -> crops.CropPlan:
    wide = CropSettings.model_validate(
        {"count": count, "zoomed": 0, "wide": (1, 1), **PLAIN, **settings}
    )
    return crops.plan_crops(wide, MOMENT, 1.0, rng())


def test_a_wide_crop_of_the_same_size_is_the_picture_itself() -> None:
    image = torch.rand(1, 3, 32, 32, generator=rng())
    assert torch.allclose(crops.cut_crops(image, whole(), 32), image, atol=1e-5)


def test_a_wide_crop_of_half_the_size_is_the_area_mean() -> None:
    image = torch.rand(1, 3, 64, 64, generator=rng())
    expected = F.interpolate(image, (32, 32), mode="area")
    assert torch.allclose(crops.cut_crops(image, whole(), 32), expected, atol=1e-5)


def test_a_crop_that_shrinks_the_picture_does_not_alias() -> None:
    fine = torch.zeros(1, 3, 256, 256)
    fine[:, :, ::2, ::2] = 1
    fine[:, :, 1::2, 1::2] = 1
    out = crops.cut_crops(fine, whole(4, perspective=(0.3, 0.3), turn=15), 32)
    assert (out - 0.5).abs().max() < 0.02


@pytest.mark.parametrize("size", [(96, 96), (160, 90), (90, 160)])
def test_zoomed_crops_lie_in_the_picture_and_keep_the_stated_area_and_ratio(
    size: tuple[int, int],
) -> None:
    width, height = size
    settings = CropSettings.model_validate(
        {"count": 400, "zoomed": 1, "area": (0.25, 0.6), **PLAIN}
    )
    plan = crops.plan_crops(settings, MOMENT, width / height, rng())
    sx, sy, tx, ty = (plan.warps[:, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    assert ((tx.abs() + sx) <= 1 + 1e-5).all()
    assert ((ty.abs() + sy) <= 1 + 1e-5).all()
    ratio = sx * width / (sy * height)
    assert ratio.min() >= 0.85 - 1e-4
    assert ratio.max() <= 1.2 + 1e-4
    if width == height:  # elsewhere a crop that does not fit is shrunk
        area = sx * sy
        assert area.min() >= 0.25 - 1e-4
        assert area.max() <= 0.6 + 1e-4
        assert area.mean() == pytest.approx(0.425, abs=0.002)  # stratified: hardly any variance


@pytest.mark.parametrize(("width", "height"), [(160, 90), (90, 160)])
def test_a_wide_crop_shows_all_of_a_picture_that_is_not_square(width: int, height: int) -> None:
    settings = CropSettings.model_validate(
        {
            "count": 50,
            "zoomed": 0,
            "wide": (0.9, 1),
            "padding": "grey",
            "perspective": (0, 0),
            "shift": 0,
        }
    )
    plan = crops.plan_crops(settings, MOMENT, width / height, rng())
    out = crops.cut_crops(torch.ones(1, 3, height, width) * 2, plan, 64)
    covered = (out[:, 0] > 1).float().mean((1, 2))
    short = min(width, height) / max(width, height)
    assert covered.min() > 0.9**2 * short - 0.03
    assert covered.max() < short + 0.03


def test_perspective_moves_the_corners_inward_by_at_most_the_depth() -> None:
    plan = whole(200, perspective=(0, 0.4), chance=1, padding="grey")
    corners = torch.tensor([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    shown = torch.linalg.inv(plan.warps) @ corners.T  # where the picture's corners appear
    shown = shown[:, :2] / shown[:, 2:]
    inward = 1 - shown.abs()
    assert inward.min() >= -1e-4
    assert inward.max() <= 0.4 + 1e-4
    assert inward.mean() == pytest.approx(0.2, abs=0.01)


def test_chance_is_the_share_of_crops_with_perspective() -> None:
    plan = whole(1000, perspective=(0, 0.4), chance=0.7)
    tilted = (plan.warps[:, 2, :2].abs().sum(1) > 1e-9).float().mean()
    assert float(tilted) == pytest.approx(0.7, abs=0.04)


def test_flips_and_turns_happen_as_often_and_as_far_as_stated() -> None:
    plan = whole(1000, flip=0.25, turn=30)
    rotation = plan.warps[:, :2, :2]
    assert float((torch.linalg.det(rotation) < 0).float().mean()) == pytest.approx(0.25, abs=0.04)
    angle = torch.rad2deg(torch.atan2(-rotation[:, 0, 1], rotation[:, 1, 1]))
    assert angle.abs().max() <= 30.001
    assert angle.std() == pytest.approx(60 / math.sqrt(12), abs=1)


def far_shift(outside: int, by: float = 0.5) -> crops.CropPlan:
    warps = torch.eye(3)[None].clone()
    warps[0, 0, 2] = by  # half the picture to the left of the crop, half beyond its right edge
    return crops.CropPlan(warps, torch.tensor([outside]), 0.25, torch.tensor([False]))


def test_what_lies_outside_is_reflected_repeated_tiled_or_grey() -> None:
    image = picture(64, 64)
    red = {
        name: crops.cut_crops(image, far_shift(code), 64)[0, 0, 30]
        for name, code in {
            "reflect": crops.REFLECT,
            "border": crops.BORDER,
            "fill": crops.FILL,
            "tile": crops.TILE,
        }.items()
    }
    seen = image[0, 0, 30, 16:]
    for name, row in red.items():
        assert torch.allclose(row[:48], seen, atol=1e-5), name
    assert torch.allclose(red["reflect"][48:], image[0, 0, 30].flip(0)[:16], atol=1e-5)
    assert torch.allclose(red["border"][48:], image[0, 0, 30, -1].expand(16), atol=1e-5)
    assert torch.equal(red["fill"][48:], torch.full((16,), 0.25))
    assert torch.allclose(red["tile"][48:], image[0, 0, 30, :16], atol=1e-5)


def test_tiled_crops_join_left_and_right_without_a_seam() -> None:
    image = torch.rand(1, 3, 32, 32, generator=rng())
    half = crops.cut_crops(image, far_shift(crops.TILE, 1.0), 32)
    assert torch.allclose(half, image.roll(-16, 3), atol=1e-5)
    between = crops.cut_crops(
        image, far_shift(crops.TILE, 1.0 + 1 / 32), 32
    )  # half a pixel further
    assert torch.allclose(between[..., 15], (image[..., 31] + image[..., 0]) / 2, atol=1e-5)


def test_levels_of_the_atlas_do_not_bleed_into_each_other() -> None:
    image = torch.zeros(1, 3, 64, 64)
    image[:, :, -8:] = 1  # white bottom edge lies next to the black top of the next level
    settings = CropSettings.model_validate(
        {"count": 40, "padding": "border", "turn": 10, "area": (0.02, 1)}
    )
    out = crops.cut_crops(image, crops.plan_crops(settings, MOMENT, 1.0, rng()), 16)
    assert out.min() >= 0
    top_only = crops.CropPlan(
        torch.diag(torch.tensor([1.0, 0.2, 1.0]))[None]
        + torch.tensor([[0.0, 0, 0], [0, 0, -0.8], [0, 0, 0]]),
        torch.tensor([crops.BORDER]),
        0,
        torch.tensor([True]),
    )
    assert crops.cut_crops(image, top_only, 8).abs().max() < 1e-6


def test_lanes_and_batches_change_nothing() -> None:
    images = torch.rand(2, 3, 40, 60, generator=rng())
    plan = crops.plan_crops(
        CropSettings.model_validate({"count": 6, "padding": "mixed"}), MOMENT, 1.5, rng(5)
    )
    together = crops.cut_crops(images, plan, 24)
    assert torch.equal(together, crops.cut_crops(images, plan, 24, threads=3))
    apart = torch.cat(
        [crops.cut_crops(images[:1], plan, 24), crops.cut_crops(images[1:], plan, 24)]
    )
    assert torch.equal(together, apart)


def test_gradients_reach_every_pixel_that_a_wide_crop_shows() -> None:
    image = torch.rand(1, 3, 96, 96, generator=rng(), requires_grad=True)
    crops.cut_crops(image, whole(), 24).sum().backward()
    assert image.grad is not None
    assert (image.grad > 0).all()  # bilinear sampling without the atlas would leave most at 0


def test_the_same_stream_gives_the_same_crops() -> None:
    settings = CropSettings.model_validate({"count": 9, "turn": 5, "flip": 0.5})
    first, again, other = (crops.plan_crops(settings, MOMENT, 1.0, rng(s)).warps for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mixed_padding_alternates_by_step_and_fills_wide_crops_with_one_grey() -> None:
    settings = CropSettings.model_validate({"count": 10, "zoomed": 0.6, "padding": "mixed"})
    even = crops.plan_crops(settings, MOMENT, 1.0, rng())
    odd = crops.plan_crops(settings, Moment(step=1, steps=10, fps=24.0, inputs={}), 1.0, rng())
    assert even.outside.tolist() == [crops.REFLECT] * 6 + [crops.FILL] * 4
    assert odd.outside.tolist() == [crops.BORDER] * 6 + [crops.FILL] * 4
    assert 0 <= even.grey <= 1


def test_the_preset_pixray_has_its_statistics() -> None:
    recipe = load(["hello"], Plugins.discover(), ["presets=[pixray]"])
    zoomed_area, shrunk, tilted = [], [], []
    for step in range(30):
        plan = crops.plan_crops(recipe.crops, recipe.moment(step), 1.0, rng(step))
        assert (int(plan.zoomed.sum()), len(plan.warps)) == (18, 30)
        edge = crops.BORDER if step % 2 else crops.REFLECT
        assert plan.outside.tolist() == [edge] * 18 + [crops.FILL] * 12
        flat = plan.warps[:, 2, :2].abs().sum(1) < 1e-9  # no perspective: the warp tells the zoom
        scale = plan.warps[:, 0, 0] * plan.warps[:, 1, 1]
        zoomed_area += scale[flat & plan.zoomed].tolist()
        shrunk += scale[flat & ~plan.zoomed].sqrt().tolist()
        tilted.append(float((~flat).float().mean()))
    assert 0.25 <= min(zoomed_area) < 0.35
    assert 0.85 < max(zoomed_area) <= 0.95
    assert shrunk == pytest.approx([1 / 0.95] * len(shrunk), rel=1e-4)
    assert sum(tilted) / len(tilted) == pytest.approx(0.7, abs=0.05)
    jitter, noise = recipe.augmentations
    assert jitter.settings.model_dump() == {
        "hue": 0.1,
        "saturation": 0.1,
        "brightness": 0.0,
        "contrast": 0.0,
        "chance": 0.8,
    }
    assert noise.settings.model_dump() == {"amount": 0.1}
