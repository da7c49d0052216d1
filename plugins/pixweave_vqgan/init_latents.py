"""Initial latents: the names of the setting `start`, and the functions that make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave.engine.sample_start import sample_picture

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave_vqgan.vqgan_model import VQModel

Start = Callable[["BuildContext", "VQModel", int, int], Tensor]
"""`start(run, model, rows, columns)` returns latents `[1,D,rows,columns]` on the run's device."""

STREAM = "generator/start"


def codes(run: BuildContext, model: VQModel, rows: int, columns: int) -> Tensor:
    """A random code at each position."""
    drawn = torch.randint(len(model.codebook), (1, rows, columns), generator=run.rng(STREAM))
    return model.look_up(drawn.to(run.device))


def one(run: BuildContext, model: VQModel, rows: int, columns: int) -> Tensor:
    """One random code everywhere."""
    drawn = torch.randint(len(model.codebook), (1, 1, 1), generator=run.rng(STREAM))
    return model.look_up(drawn.expand(1, rows, columns).to(run.device))


def noise(run: BuildContext, model: VQModel, rows: int, columns: int) -> Tensor:
    """Gaussian noise with the mean and standard deviation of the codes."""
    book = model.codebook
    drawn = torch.randn((1, book.shape[1], rows, columns), generator=run.rng(STREAM))
    mean, spread = (values[:, None, None] for values in (book.mean(0), book.std(0)))
    return mean + drawn.to(run.device) * spread


def sampled(
    prompts: list[tuple[str, float]], run: BuildContext, model: VQModel, rows: int, columns: int
) -> Tensor:
    """The codes of an image that the sampler draws for texts with weights."""
    picture = sample_picture(run, prompts, run.rng(STREAM))
    size = rows * model.factor, columns * model.factor
    picture = F.interpolate(picture, size=size, mode="bicubic", antialias=True)
    with torch.no_grad():
        return model.snap(model.encode(picture.clamp(0, 1)))


def encoded(picture: Callable[[int, int, torch.Generator], Tensor]) -> Start:
    """A start that encodes a random image `[1,3,height,width]`, 0..1."""

    def start(run: BuildContext, model: VQModel, rows: int, columns: int) -> Tensor:
        height, width = rows * model.factor, columns * model.factor
        drawn = picture(height, width, run.rng(STREAM))
        with torch.no_grad():
            return model.encode(drawn.to(run.device))

    return start


def snow(height: int, width: int, rng: torch.Generator) -> Tensor:
    """A random colour at every pixel."""
    return torch.rand((1, 3, height, width), generator=rng)


def gradient(height: int, width: int, rng: torch.Generator) -> Tensor:
    """A gradient between four random colours in the corners."""
    corners = torch.rand((1, 3, 2, 2), generator=rng)
    return F.interpolate(corners, (height, width), mode="bilinear", align_corners=True)


def clouds(height: int, width: int, rng: torch.Generator) -> Tensor:
    """Coloured fractal noise: each octave is twice as fine and half as strong."""
    total, strength, side = torch.full((1, 3, height, width), 0.5), 0.5, 2
    while side <= min(height, width) // 4:
        grid = torch.rand((1, 3, side, side), generator=rng) - 0.5
        total += strength * F.interpolate(grid, (height, width), mode="bicubic")
        strength, side = strength / 2, side * 2
    return total.clamp(0, 1)


STARTS: dict[str, Start] = {
    "codes": codes,
    "one": one,
    "noise": noise,
    "snow": encoded(snow),
    "gradient": encoded(gradient),
    "clouds": encoded(clouds),
}
