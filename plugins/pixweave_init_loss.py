"""Loss `stay`: keep near what the picture started from, or near a picture of your own."""

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
"""Settings that mean something with one value of `by` alone."""


UNIT = 0.1
"""The difference of two pixels, of 0..1, that costs 1."""


class Stay(Component):
    """Keep the picture near what it started from, or near a picture file.

    By `pixels`: the mean squared difference in tenths, so that 0.1 (of 0..1) everywhere costs 1.
    In the `latent` of the generator (Pixray's init_weight): the mean squared difference. Or
    `perceptual`: half the squared angle between what the perceptors see of the same crop of both,
    which lets go of pixels and holds on to what is where.
    """

    by: Literal["pixels", "latent", "perceptual"] = Field(
        "pixels", description="in which space the distance is taken"
    )
    image: PictureFile | None = Field(
        None, description="a picture to stay near; by default what the recipe starts from"
    )
    fit: Fit | None = Field(None, description=f"how the image is laid; by default cover. {FITS}")
    mask: Mask | None = Field(None, description="the part that stays; by default all of it")
    grid: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="long side to which both are shrunk first: details below are free (pixels)",
    )
    perceptors: tuple[str, ...] | None = Field(
        None, description="ids of the perceptors that compare; by default all (perceptual)"
    )

    @model_validator(mode="after")
    def _fitting(self) -> Stay:
        for name, by in ONLY.items():
            if getattr(self, name) is not None and self.by != by:
                raise ValueError(f"{name} means nothing with 'by: {self.by}', only with 'by: {by}'")
        if self.mask is not None and self.by == "latent":
            raise ValueError("mask means nothing with 'by: latent', which has no places")
        if self.fit is not None and self.image is None:
            raise ValueError("fit belongs to an image, and there is none")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """There must be something to stay near, and what measures it."""
        from pixweave.errors import did_you_mean

        generator = recipe.generator
        if self.image is None and recipe.start_from is None:
            yield Issue(
                "use",
                "there is nothing to stay near: the recipe starts from no picture",
                "add 'start_from: photo.png', or give this loss an image",
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
        """The picture to stay near, with as many channels as the generator's."""
        from pixweave.media import images
        from pixweave.media.compositing import flatten, lay

        if self.image is None:
            assert run.canvas.start is not None
            return run.canvas.start
        picture = images.from_file(self.image).to(run.device)
        laid = lay(picture, run.size, self.fit or "cover")
        return flatten(laid, None, run.generator.image().shape[1] == 4)

    def _pixels(self, run: BuildContext) -> Callable[[View], Tensor]:
        from pixweave.engine.masks import draw_mask

        reference = _premultiplied(self._reference(run))
        region = draw_mask(self.mask, run.size, run.device) if self.mask else None

        def loss(view: View) -> Tensor:
            shape = view.raw.shape[-2:]
            there = reference if reference.shape[-2:] == shape else _shrink(reference, max(shape))
            gap = _premultiplied(view.raw) - there
            part = region.fitted(*shape).mask if region else None
            if part is not None:
                gap = gap * part
            if self.grid is not None and self.grid < max(shape):
                gap = _shrink(gap, self.grid)
                part = part if part is None else _shrink(part, self.grid)
            squares = (gap / UNIT) ** 2
            if part is None:
                return squares.mean()
            return squares.mean(1).sum() / (part.sum() * len(gap))

        return loss

    def _latent(self, run: BuildContext) -> Callable[[View], Tensor]:
        import torch

        generator: Any = run.generator
        held = {name: _copied(value) for name, value in generator.state_dict().items()}
        reference = self._reference(run)  # without the noise and the alpha of the start
        generator.start_from(reference)
        with torch.no_grad():
            there = generator.latents().clone()
        generator.load_state_dict(held)

        def loss(view: View) -> Tensor:
            return ((generator.latents() - there) ** 2).mean()

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
    """Colours as they are seen, so that those of transparent pixels do not count."""
    import torch

    if picture.shape[1] == 3:
        return picture
    return torch.cat([picture[:, :3] * picture[:, 3:], picture[:, 3:]], 1)


def _shrink(picture: Tensor, longest: int) -> Tensor:
    """The picture with a long side of `longest` pixels, by area."""
    import torch.nn.functional as F

    scale = longest / max(picture.shape[-2:])
    shape = [max(1, round(side * scale)) for side in picture.shape[-2:]]
    return F.interpolate(picture, shape, mode="area")


def _copied(value: Any) -> Any:
    import torch

    return value.detach().clone() if isinstance(value, torch.Tensor) else value


@hookimpl
def register_losses() -> dict[str, type[Component]]:
    """Offer `stay`."""
    return {"stay": Stay}
