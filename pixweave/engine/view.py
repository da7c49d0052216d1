"""Views: what a loss sees of one step. Crops and embeddings are computed on request, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixweave.borders.call_records import is_recording
from pixweave.engine.context import Context
from pixweave.engine.crops import CropPlan, cut_crops, plan_crops
from pixweave.media.region import Region

if TYPE_CHECKING:
    from pixweave.protocols import Augmentation
    from pixweave.recipe import Moment


class PictureView:
    """One image `[B, 3, H, W]` as perceptors see it in one step.

    Views with the same step and `name` use the same crops and the same augmentations.
    """

    def __init__(
        self,
        context: Context,
        augmentations: Mapping[str, Augmentation],
        moment: Moment,
        image: Tensor,
        name: str = "",
    ) -> None:
        self.context, self.augmentations = context, augmentations
        self.moment, self.step, self.name = moment, moment.frame, name
        self.image = image
        self._plan: CropPlan | None = None
        self._crops: dict[int, Tensor] = {}
        self._embeddings: dict[str, Tensor] = {}

    def crops(self, perceptor: str) -> Tensor:
        """The augmented crops `[B * N, 3, S, S]` for the perceptor with that id.

        Perceptors of the same size share them: they are cut and augmented once per step.
        """
        side = self.context.perceptors[perceptor].size
        if side not in self._crops:
            # grid_sample uses one thread per batch entry on the CPU
            threads = torch.get_num_threads() if self.context.device.type == "cpu" else 1
            crops = cut_crops(self.image, self.plan, side, threads)
            for name, augment in self.augmentations.items():
                rng = self.context.rng(f"augmentation/{name}/{side}{self.name}", self.step)
                crops = augment(crops, rng, self.moment)
            self._crops[side] = crops
        return self._crops[side]

    def embedding(self, perceptor: str) -> Tensor:
        """Unit vectors `[B, N, D]` of the crops; encoded once per step and shared by all losses."""
        if perceptor not in self._embeddings:
            encoded = self._encode(perceptor, self.crops(perceptor))
            self._embeddings[perceptor] = encoded.unflatten(0, (len(self.image), -1))
        return self._embeddings[perceptor]

    @property
    def plan(self) -> CropPlan:
        """The positions of this step's crops, the same for every perceptor."""
        if self._plan is None:
            aspect = self.image.shape[3] / self.image.shape[2]
            rng = self.context.rng(f"crops{self.name}", self.step)
            self._plan = plan_crops(self.context.recipe.crops, self.moment, aspect, rng)
        return self._plan

    def _encode(self, perceptor: str, crops: Tensor) -> Tensor:
        encode = self.context.perceptors[perceptor].encode_image
        batch = self.context.recipe.crops.batch
        if batch is None or batch >= len(crops) or is_recording():
            return encode(crops)
        # keep activations of one micro-batch at a time: the backward pass encodes again
        parts = [
            checkpoint(encode, part, use_reentrant=False, preserve_rng_state=False)
            for part in crops.split(batch)
        ]
        return torch.cat(parts)


class StepView(PictureView):
    """One step as losses see it; see `pixweave.protocols.View`."""

    def __init__(
        self,
        context: Context,
        augmentations: Mapping[str, Augmentation],
        moment: Moment,
        raw: Tensor,
    ) -> None:
        self.raw = raw
        self.alpha = raw[:, 3:] if raw.shape[1] == 4 else None
        # a new grey at each step, so that only alpha can hide the background
        rng = context.rng("background", moment.frame)
        self.grey = torch.rand(len(raw), 1, 1, 1, generator=rng).to(raw.device)
        image = raw if self.alpha is None else self._over_grey(raw)
        super().__init__(context, augmentations, moment, image)
        self._parts: dict[tuple[str, float], PictureView] = {}

    def within(self, region: Region, margin: float = 0.0) -> PictureView:
        """A view of a region alone: crops lie within its bounding box.

        The step's grey covers what is outside. With `margin`, a fraction of the region's sides,
        that much of the surroundings is visible, but gets no gradient.
        """
        region = region.fitted(*self.image.shape[-2:])
        key = (region.name, margin)
        if key not in self._parts:
            left, top, right, bottom = region.grown(margin)
            here = (..., slice(top, bottom), slice(left, right))
            inside, mask = self.image[here], region.mask[here]
            outside = inside.detach() if margin else self.grey
            part = inside * mask + outside * (1 - mask)
            name = f"/{region.name}/{margin:g}"
            self._parts[key] = PictureView(
                self.context, self.augmentations, self.moment, part, name
            )
        return self._parts[key]

    def of(self, picture: Tensor) -> StepView:
        """A view of another image, of three or four channels, with the same crops."""
        return StepView(self.context, self.augmentations, self.moment, picture)

    def _over_grey(self, raw: Tensor) -> Tensor:
        return raw[:, :3] * raw[:, 3:] + self.grey * (1 - raw[:, 3:])
