"""The `vqgan` generator: a grid of latents, their nearest codes, and the decoded image."""

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
"""The learning rate after a sampled start, which guidance should keep in shape."""


class LatentImage:
    """Latents `[1,D,h,w]` decoded to an image `[1,3,H,W]` (VQGAN+CLIP: Crowson et al. 2022).

    The parameter is the latents divided by the standard deviation of the codes per channel, so that
    one learning rate suits all models. `average` is its moving average over the steps.
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
        """The image, clamped to 0..1 with a gradient that leads back inside."""
        return self._draw(self.latent)

    def shown(self) -> Tensor | None:
        """The image of the averaged latents; None if `average` is 0."""
        if not self.decay:
            return None
        with torch.no_grad():
            return self._draw(self.average)

    def constrain(self) -> None:
        """Clamp each channel of the latents to the range of the codes; update the average."""
        with torch.no_grad():
            self.latent.copy_(self.latent.clamp(self.low, self.high))
            self.seen += 1
            # the average follows faster at first, so that it soon forgets the start
            decay = min(self.decay, self.seen / (self.seen + 10))
            self.average.lerp_(self.latent, 1 - decay)

    def start_from(self, image: Tensor) -> None:
        """Set the latents by encoding `image`, resized to the size that they decode to."""
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
        """The latents, before the nearest codes are looked up."""
        return self.latent

    def state_dict(self) -> dict[str, Any]:
        """The latents, their average, and the number of steps that it covers."""
        latent, average = (tensor.detach().clone() for tensor in (self.latent, self.average))
        return {"latent": latent, "average": average, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the latents; their shape must be that of this grid."""
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
    """Return a fast decoder of latents `[B,D,h,w]` to images `[B,3,H,W]`, both float32.

    `compiled` uses torch.compile; the first call raises a RunError if that does not work here.
    """
    if not compiled:
        return FastDecoder(model, dtype)
    compile_: Any = torch.compile(FastDecoder(model, dtype, fused=False).__call__)

    def decode(latent: Tensor) -> Tensor:
        try:
            image: Tensor = compile_(latent)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            first = str(error).strip().split("\n", 1)[0]
            raise RunError(
                f"torch cannot compile the decoder here: {first}; "
                "remove 'compile' from the generator"
            ) from None
        return image

    return decode


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `[B,C,H,W]` at `size` (width, height); bicubic, anti-aliased when reduced."""
    width, height = size
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image, size=(height, width), mode="bicubic", antialias=True)


class Inside(torch.autograd.Function):
    """Clamp to 0..1; the gradient is zero only where a step would lead further outside."""

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
    """Return `x` clamped to 0..1; see `Inside`."""
    return Inside.apply(x)
