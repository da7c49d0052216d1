"""The canvas: combines the generator's image with the recipe's start, mask and overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixweave.engine.context import Context
from pixweave.engine.masks import draw_mask
from pixweave.media.compositing import add_noise, flatten, lay, lie_over, mix
from pixweave.media.images import read_image

if TYPE_CHECKING:
    from pixweave.protocols import Generator
    from pixweave.recipe import Moment
    from pixweave.recipe.image_inputs import PlacedImage, StartFrom


class Canvas:
    """The start, the mask and the overlay of a run; sets the generator to the start.

    `start` is the image that the recipe starts from, placed on the canvas, without noise:
    `[1, 3, H, W]`, or `[1, 4, H, W]` if the generator has alpha; None if there is none.
    """

    def __init__(self, context: Context, generator: Generator) -> None:
        self.context, self.generator = context, generator
        recipe, size, device = context.recipe, context.size, context.device
        self.start: Tensor | None = None
        self.region = draw_mask(recipe.mask, size, device) if recipe.mask else None
        self._overlay: Tensor | None = None
        if recipe.start_from is not None:
            self._set_start(recipe.start_from)
        if recipe.overlay is not None:
            self._overlay = self._place(recipe.overlay)
            if recipe.overlay.mask is not None:
                self._overlay[:, 3:] *= draw_mask(recipe.overlay.mask, size, device).mask

    def picture(self) -> Tensor:
        """The generator's image; outside the recipe's mask, exactly the start."""
        return self.masked(self.generator.image())

    def masked(self, image: Tensor) -> Tensor:
        """`image`, an image of the generator; outside the recipe's mask, exactly the start."""
        if self.region is None or self.start is None:
            return image
        mask = self.region.mask
        return torch.where(mask > 0, mix(self.start, image, mask), self.start)

    def blend_overlay(self, moment: Moment) -> None:
        """Blend the overlay over the generator's image, if it is due at this moment."""
        settings = self.context.recipe.overlay
        if settings is None or self._overlay is None or not settings.due(moment):
            return
        opacity = settings.alpha.at(moment)
        if not opacity:
            return
        with torch.no_grad():
            below = self.generator.image()
            top = torch.cat([self._overlay[:, :3], self._overlay[:, 3:] * opacity], 1)
            blend = lie_over(top, below)
        self.generator.start_from(blend)

    def _set_start(self, settings: StartFrom) -> None:
        placed = self._place(settings)
        with torch.no_grad():
            current = self.generator.image()
            keep_alpha = current.shape[1] == 4
            self.start = flatten(placed, settings.background, keep_alpha=keep_alpha)
            start = self.start
            if settings.noise:
                start = add_noise(start, settings.noise, self.context.rng("start/noise"))
            if settings.alpha < 1:
                start = mix(current, start, torch.full_like(current[:, :1], settings.alpha))
        self.generator.start_from(start)

    def _place(self, settings: PlacedImage) -> Tensor:
        """The file, placed on the canvas: straight alpha `[1, 4, H, W]`."""
        assert settings.image is not None
        image = read_image(settings.image).to(self.context.device)
        return lay(image, self.context.size, settings.fit, settings.resample)
