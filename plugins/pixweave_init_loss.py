"""Loss `stay`: keep the result close to the start image or to another image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from pixweave import Component, Field, Issue, hookimpl
from pixweave.media.fit_modes import FITS, Fit
from pixweave.recipe import PictureFile
from pixweave.recipe.image_inputs import Mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from pixweave.component import BuildContext, RecipeInfo
    from pixweave.protocols import View

ONLY = {"grid": "pixels", "perceptors": "perceptual"}
"""Settings that apply to one value of `by` only."""


UNIT = 0.1
"""Difference between two pixels (0..1) at which the loss is 1."""


class Stay(Component):
    """Keep the result close to the start image or to an image file (init loss).

    `pixels`: the mean squared difference in units of 0.1, so that a difference of 0.1 (of 0..1)
    everywhere gives 1. `latent`: the mean squared difference in the generator's latent space
    (Pixray's init_weight). `perceptual`: half the squared angle between the perceptors' embeddings
    of the same crops of both, which keeps the content and layout but not the exact pixels.
    """

    by: Literal["pixels", "latent", "perceptual"] = Field(
        "pixels", description="space in which the distance is computed"
    )
    image: PictureFile | None = Field(
        None, description="reference image; by default the recipe's start image"
    )
    fit: Fit | None = Field(
        None, description=f"how the image is fitted to the size; by default cover. {FITS}"
    )
    mask: Mask | None = Field(None, description="region to preserve; by default the whole image")
    grid: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="long side in pixels to which both images are reduced first, so that smaller "
        "details may change (only with by: pixels)",
    )
    perceptors: tuple[str, ...] | None = Field(
        None,
        description="ids of the perceptors to compare with; by default all (only with by: "
        "perceptual)",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Stay:
        for name, by in ONLY.items():
            if getattr(self, name) is not None and self.by != by:
                raise ValueError(f"{name} has no effect with 'by: {self.by}', only with 'by: {by}'")
        if self.mask is not None and self.by == "latent":
            raise ValueError("mask has no effect with 'by: latent', which has no pixel positions")
        if self.fit is not None and self.image is None:
            raise ValueError("fit needs an image, and none is set")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """There must be a reference, and a way to compare with it."""
        from pixweave.errors import did_you_mean

        generator = recipe.generator
        if self.image is None and recipe.start_from is None:
            yield Issue(
                "use",
                "there is no reference image: the recipe has no start_from",
                "add 'start_from: photo.png', or set this loss's image",
            )
        if self.by == "latent" and not {"latent", "start_from"} <= generator.settings.can:
            message = f"generator '{generator.use}' has no latent to compare"
            yield Issue("by", message, "use 'by: pixels' or 'by: perceptual'")
        known = [part.id for part in recipe.perceptors]
        for name in self.perceptors or ():
            if name not in known:
                message = f"the recipe has no perceptor with the id '{name}'"
                yield Issue("perceptors", message, did_you_mean(name, known))

    def build(self, run: BuildContext) -> Any:
        """A function of the view."""
        return {"pixels": self._pixels, "latent": self._latent, "perceptual": self._perceptual}[
            self.by
        ](run)

    def _reference(self, run: BuildContext) -> Tensor:
        """The reference image, with as many channels as the generator's."""
        from pixweave.media import images
        from pixweave.media.compositing import flatten, lay

        if self.image is None:
            assert run.canvas.start is not None
            return run.canvas.start
        picture = images.read_image(self.image).to(run.device)
        laid = lay(picture, run.size, self.fit or "cover")
        return flatten(laid, None, run.generator.image().shape[1] == 4)

    def _pixels(self, run: BuildContext) -> Callable[[View], Tensor]:
        from pixweave.engine.masks import draw_mask

        reference = _premultiplied(self._reference(run))
        region = draw_mask(self.mask, run.size, run.device) if self.mask else None

        def loss(view: View) -> Tensor:
            shape = view.raw.shape[-2:]
            target = reference if reference.shape[-2:] == shape else _shrink(reference, max(shape))
            difference = _premultiplied(view.raw) - target
            part = region.fitted(*shape).mask if region else None
            if part is not None:
                difference = difference * part
            if self.grid is not None and self.grid < max(shape):
                difference = _shrink(difference, self.grid)
                part = part if part is None else _shrink(part, self.grid)
            squares = (difference / UNIT) ** 2
            if part is None:
                return squares.mean()
            return squares.mean(1).sum() / (part.sum() * len(difference))

        return loss

    def _latent(self, run: BuildContext) -> Callable[[View], Tensor]:
        import torch

        generator: Any = run.generator
        before = {name: _copy(value) for name, value in generator.state_dict().items()}
        reference = self._reference(run)  # without the noise and alpha of the start
        generator.start_from(reference)
        with torch.no_grad():
            target = generator.latents().clone()
        generator.load_state_dict(before)

        def loss(view: View) -> Tensor:
            return ((generator.latents() - target) ** 2).mean()

        return loss

    def _perceptual(self, run: BuildContext) -> Callable[[View], Tensor]:
        import torch

        from pixweave.embedding.similarity import distance, shares
        from pixweave.engine.masks import draw_mask

        reference = self._reference(run)
        region = draw_mask(self.mask, run.size, run.device) if self.mask else None
        names = self.perceptors or tuple(run.perceptors)

        def loss(view: View) -> Tensor:
            other = view.of(reference)
            here, there = (v.within(region) if region else v for v in (view, other))
            total = view.image.new_zeros(())
            for name, share in shares(run.recipe.perceptors, names, view.moment).items():
                with torch.no_grad():
                    target = there.embedding(name).float()
                total = total + share * distance(here.embedding(name), target).mean()
            return total

        return loss


def _premultiplied(picture: Tensor) -> Tensor:
    """Colours multiplied by alpha, so that those of transparent pixels do not count."""
    import torch

    if picture.shape[1] == 3:
        return picture
    return torch.cat([picture[:, :3] * picture[:, 3:], picture[:, 3:]], 1)


def _shrink(picture: Tensor, longest: int) -> Tensor:
    """The image reduced to a long side of `longest` pixels, by area averaging."""
    import torch.nn.functional as F

    scale = longest / max(picture.shape[-2:])
    shape = [max(1, round(side * scale)) for side in picture.shape[-2:]]
    return F.interpolate(picture, shape, mode="area")


def _copy(value: Any) -> Any:
    import torch

    return value.detach().clone() if isinstance(value, torch.Tensor) else value


@hookimpl
def register_losses() -> dict[str, type[Component]]:
    """Register `stay`."""
    return {"stay": Stay}
