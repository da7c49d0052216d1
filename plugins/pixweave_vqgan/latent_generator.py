"""The live generator: a grid of latents, the codes nearest to them, and the decoder's picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave.errors import RunError
from pixweave_vqgan.fast_decoder import FastDecoder
from pixweave_vqgan.init_latents import STARTS, sampled
from pixweave_vqgan.vqgan_model import shared_vqgan

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave_vqgan.vqgan_settings import Vqgan


GENTLE = {"0": 0.006, "end": 0.002}
"""The learning rate after a sampled start, which has a form already: guidance is to keep it."""


class VqganPicture:
    """Latents `[1,D,h,w]` decoded to a picture `[1,3,H,W]` (VQGAN+CLIP: Crowson et al. 2022).

    The parameter is the latents divided by the deviation of the codes, channel by channel, so that
    one learning rate fits all weights. `average` follows it from step to step.
    """

    def __init__(self, settings: Vqgan, run: BuildContext) -> None:
        weights, config = settings.files(fetch=True)
        self.model = shared_vqgan(weights, config, run.device)
        self.decode = decoder(self.model, run.dtype, settings.compile)
        self.size, self.codes, self.decay = run.size, settings.codes, settings.average
        columns, rows = settings.latents(run.size, self.model.factor)
        book = self.model.codebook
        self.unit = book.std(0)[:, None, None].clamp(min=1e-6)
        self.low, self.high = (edge[:, None, None] / self.unit for edge in book.aminmax(dim=0))
        prompts = settings.prompts_to_sample(run.recipe)
        named = settings.start if settings.start not in ("auto", "sample") else "codes"
        if prompts:
            self.natural_rate = GENTLE
            start = sampled(prompts, run, self.model, rows, columns) / self.unit
        else:
            start = STARTS[named](run, self.model, rows, columns) / self.unit
        self.latent = start.contiguous().requires_grad_()
        self.average, self.seen = self.latent.detach().clone(), 0
        self.info = f"{columns}x{rows} codes of {len(book)}, {columns * self.model.factor}x"
        self.info += f"{rows * self.model.factor} px"

    def parameters(self) -> list[Tensor]:
        """The latents."""
        return [self.latent]

    def image(self) -> Tensor:
        """The picture; values outside of 0..1 are cut, with a gradient that leads back inside."""
        return self._draw(self.latent)

    def shown(self) -> Tensor | None:
        """The picture of the averaged latents; None where there is no average."""
        if not self.decay:
            return None
        with torch.no_grad():
            return self._draw(self.average)

    def constrain(self) -> None:
        """Keep each channel of the latents between its least and greatest code; follow them."""
        with torch.no_grad():
            self.latent.copy_(self.latent.clamp(self.low, self.high))
            self.seen += 1
            # a young average follows faster, so that the start is soon forgotten
            decay = min(self.decay, self.seen / (self.seen + 10))
            self.average.lerp_(self.latent, 1 - decay)

    def start_from(self, image: Tensor) -> None:
        """Encode `image`, reduced or enlarged to the pixels that the latents stand for."""
        rows, columns = self.latent.shape[-2:]
        side = self.model.factor
        with torch.no_grad():
            small = resize(image[:, :3], (columns * side, rows * side)).clamp(0, 1)
            latent = self.model.encode(small)
            if self.codes:
                latent = self.model.snap(latent)
            self.latent.copy_(latent / self.unit)
            self.average.copy_(self.latent)
            self.seen = 0

    def latents(self) -> Tensor:
        """The latents, before codes are looked up."""
        return self.latent

    def state_dict(self) -> dict[str, Any]:
        """The latents, their average, and of how many steps it is."""
        latent, average = (each.detach().clone() for each in (self.latent, self.average))
        return {"latent": latent, "average": average, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the latents; the shape must be that of this grid."""
        with torch.no_grad():
            self.latent.copy_(state["latent"])
            self.average.copy_(state["average"])
            self.seen = int(state["seen"])

    def _draw(self, latent: Tensor) -> Tensor:
        latent = latent * self.unit
        if self.codes:
            latent = self.model.snap(latent)
        return inside(resize(self.decode(latent), self.size))


def decoder(
    model: Any, dtype: torch.dtype = torch.float32, compiled: bool = False
) -> Callable[[Tensor], Tensor]:
    """Return a fast way from latents `[B,D,h,w]` to pictures `[B,3,H,W]`, both float32.

    `compiled`: through torch.compile; RunError at the first picture if it is not able to here.
    """
    if not compiled:
        return FastDecoder(model, dtype)
    compile_: Any = torch.compile(FastDecoder(model, dtype, fused=False).__call__)

    def decode(latent: Tensor) -> Tensor:
        try:
            made: Tensor = compile_(latent)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            first = str(error).strip().split("\n", 1)[0]
            raise RunError(
                f"torch cannot compile the decoder here: {first}; "
                "remove 'compile' from the generator"
            ) from None
        return made

    return decode


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `[B,C,H,W]` at `size` (width, height); bicubic, smoothed where it is reduced."""
    width, height = size
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image, size=(height, width), mode="bicubic", antialias=True)


class Inside(torch.autograd.Function):
    """Clamp to 0..1; the gradient is dropped only where a step along it would lead further out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        # a step goes against the gradient
        outwards = ((x > 1) & (grad < 0)) | ((x < 0) & (grad > 0))
        return grad.masked_fill(outwards, 0.0)


def inside(x: Tensor) -> Tensor:
    """Return `x` cut to 0..1; see `Inside`."""
    return Inside.apply(x)
