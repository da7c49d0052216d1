"""Generator `fft`: waves, their decay and their colours."""

from __future__ import annotations

import pytest
import torch
from pixweave_fft.spectrum import falloff

from pixweave import open_run
from pixweave.testing import tiny_recipe


@pytest.mark.parametrize("size", [(24, 24), (33, 20), (16, 47)])
@pytest.mark.parametrize("alpha", [False, True])
def test_start_from_gives_the_very_picture(size: tuple[int, int], alpha: bool) -> None:
    recipe = tiny_recipe(size=list(size), generator={"use": "fft", "alpha": alpha})
    run = open_run(recipe)
    image = torch.rand(1, 4 if alpha else 3, size[1], size[0], generator=run.rng("test"))
    run.generator.start_from(image)
    assert torch.allclose(run.generator.image(), image, atol=0.003)


@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_waves_of_variance_one_give_pixels_of_about_variance_one(decay: float) -> None:
    weights = falloff(48, 40, decay)
    waves = torch.randn(200, *weights.shape, 2, generator=torch.Generator().manual_seed(1))
    planes = torch.fft.irfft2(torch.view_as_complex(waves) * weights, s=(40, 48), norm="ortho")
    assert float(planes.std()) == pytest.approx(1, rel=0.15)


def test_more_decay_is_smoother() -> None:
    roughness = []
    for decay in (0.5, 1.0, 2.0):
        recipe = tiny_recipe(size=[64, 64], generator={"use": "fft", "decay": decay, "start": 1})
        image = open_run(recipe).generator.image().detach()
        roughness.append(float(image.diff(dim=3).abs().mean() / image.std()))
    assert roughness == sorted(roughness, reverse=True)
    assert roughness[0] > 2 * roughness[2]


def test_without_saturation_it_is_nearly_grey() -> None:
    spread = []
    for saturation in (0, 1, 3):
        settings = {"use": "fft", "saturation": saturation, "start": 1}
        image = open_run(tiny_recipe(generator=settings)).generator.image().detach()
        spread.append(float(image.std(1).mean()))
    assert spread == sorted(spread)
    assert spread[0] < 0.05 < spread[2]


def test_alpha_begins_mostly_opaque() -> None:
    recipe = tiny_recipe(generator={"use": "fft", "alpha": True})
    image = open_run(recipe).generator.image().detach()
    assert image.shape == (1, 4, 24, 24)
    assert float(image[:, 3].mean()) == pytest.approx(0.88, abs=0.03)
