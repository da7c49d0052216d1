"""The live generator: a grid of latents, the codes nearest to them, and the decoder's picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave.errors import MissingError, RunError
from pixweave_vqgan.model import WEIGHTS, VqganError, load_vqgan

if TYPE_CHECKING:
    from pixweave.run import Run
    from pixweave_vqgan import Vqgan


class VqganPicture:
    """Latents `[1,D,h,w]` decoded to a picture `[1,3,H,W]` (VQGAN+CLIP: Crowson et al. 2022).

    The parameter is the latents divided by the deviation of the codes, channel by channel, so that
    one learning rate fits all weights.
    """

    def __init__(self, settings: Vqgan, run: Run) -> None:
        weights = settings.weights or WEIGHTS
        try:
            self.model = load_vqgan(weights, settings.config).to(run.device)
        except FileNotFoundError as error:
            raise MissingError(f"the weights of 'vqgan' are not there: {error.filename}") from None
        except VqganError as error:
            raise RunError(str(error)) from None
        self.size, self.codes, self.dtype = run.size, settings.codes, run.dtype
        columns, rows = settings.latents(run.size)
        book = self.model.codebook
        self.unit = book.std(0)[:, None, None].clamp(min=1e-6)
        self.low, self.high = (edge[:, None, None] / self.unit for edge in book.aminmax(dim=0))
        rng = run.rng("generator/start")
        places = (1, rows, columns)
        if settings.start == "codes":
            codes = torch.randint(len(book), places, generator=rng)
        else:
            codes = torch.randint(len(book), (1, 1, 1), generator=rng).expand(places)
        start = self.model.look_up(codes.to(run.device)) / self.unit
        if settings.start == "noise":
            middle = book.mean(0)[:, None, None] / self.unit
            start = middle + torch.randn(start.shape, generator=rng).to(run.device)
        self.latent = start.contiguous().requires_grad_()
        self.info = f"{columns}x{rows} codes of {len(book)}, {columns * self.model.factor}x"
        self.info += f"{rows * self.model.factor} px"

    def parameters(self) -> list[Tensor]:
        """The latents."""
        return [self.latent]

    def image(self) -> Tensor:
        """The picture; values outside of 0..1 are cut, with a gradient that leads back inside."""
        latent = self.latent * self.unit
        if self.codes:
            latent = self.model.snap(latent)
        with torch.autocast(latent.device.type, self.dtype, enabled=self.dtype != torch.float32):
            picture = self.model.decode(latent)
        return inside(resize(picture.float(), self.size))

    def constrain(self) -> None:
        """Keep each channel of the latents between its least and greatest code."""
        with torch.no_grad():
            self.latent.copy_(self.latent.clamp(self.low, self.high))

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

    def latents(self) -> Tensor:
        """The latents, before codes are looked up."""
        return self.latent

    def state_dict(self) -> dict[str, Tensor]:
        """The latents."""
        return {"latent": self.latent.detach().clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the latents; the shape must be that of this grid."""
        with torch.no_grad():
            self.latent.copy_(state["latent"])


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
