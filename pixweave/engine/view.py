"""View: what a loss sees of one step. The picture is made once, crops and embeddings when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixweave.engine.canvas import Region
from pixweave.engine.crops import Plan, cut, plan

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.timeline.values import Moment


class Gaze:
    """One picture `image` `[B, 3, H, W]` as perceptors look at it in one step.

    Two gazes of the same step and `name` look at the same places through the same augmentations.
    """

    def __init__(self, run: Run, step: int, image: Tensor, name: str = "") -> None:
        self.run = run
        self.step = step
        self.name = name
        self.moment: Moment = run.recipe.moment(step)
        self.image = image
        self._plan: Plan | None = None
        self._crops: dict[int, Tensor] = {}
        self._embeddings: dict[str, Tensor] = {}

    def crops(self, perceptor: str) -> Tensor:
        """The augmented crops `[B * N, 3, S, S]` that the perceptor of that id looks at.

        Perceptors of the same size share them: they are cut and augmented once per step.
        """
        side = self.run.perceptors[perceptor].size
        if side not in self._crops:
            found = cut(self.image, self.plan, side, self.run.lanes)
            for part in self.run.recipe.augmentations:
                rng = self.run.rng(f"augmentation/{part.id}/{side}{self.name}", self.step)
                with self.run.blame(part):
                    found = self.run.augmentations[part.id](found, rng)
            self._crops[side] = found
        return self._crops[side]

    def embedding(self, perceptor: str) -> Tensor:
        """Unit vectors `[B, N, D]` of the crops; encoded once per step whoever asks."""
        if perceptor not in self._embeddings:
            encoded = self._encode(perceptor, self.crops(perceptor))
            self._embeddings[perceptor] = encoded.unflatten(0, (len(self.image), -1))
        return self._embeddings[perceptor]

    @property
    def plan(self) -> Plan:
        """Where the crops of this step lie, the same for every perceptor."""
        if self._plan is None:
            aspect = self.image.shape[3] / self.image.shape[2]
            rng = self.run.rng(f"crops{self.name}", self.step)
            self._plan = plan(self.run.recipe.crops, self.moment, aspect, rng)
        return self._plan

    def _encode(self, perceptor: str, crops: Tensor) -> Tensor:
        encode = self.run.perceptors[perceptor].encode_image
        batch = self.run.recipe.crops.batch
        if batch is None or batch >= len(crops):
            return encode(crops)
        # activations of one micro-batch at a time: encoded again on the way back
        parts = [
            checkpoint(encode, part, use_reentrant=False, preserve_rng_state=False)
            for part in crops.split(batch)
        ]
        return torch.cat(parts)


class View(Gaze):
    """One step, seen by losses.

    `image` `[B, 3, H, W]` is the picture (over a random grey where it has alpha); `raw` has the
    alpha still in it; `alpha` is `[B, 1, H, W]` or None; `moment` tells the time.
    """

    def __init__(self, run: Run, step: int, raw: Tensor) -> None:
        self.raw = raw
        self.alpha = raw[:, 3:] if raw.shape[1] == 4 else None
        # drawn anew each step, so that nothing but alpha can hide the background
        rng = run.rng("background", step)
        self.grey = torch.rand(len(raw), 1, 1, 1, generator=rng).to(raw.device)
        super().__init__(run, step, raw if self.alpha is None else self._over_grey(raw))
        self._parts: dict[tuple[str, float], Gaze] = {}

    def within(self, region: Region, around: float = 0.0) -> Gaze:
        """What is inside of a region, as if there were nothing else: crops lie within its box.

        What is outside is hidden by the grey of the step; with `around`, a share of the region's
        sides, so much of the surroundings is seen, but gets no gradient.
        """
        region = region.fitted(*self.image.shape[-2:])
        key = (region.name, around)
        if key not in self._parts:
            left, top, right, bottom = region.grown(around)
            here = (..., slice(top, bottom), slice(left, right))
            seen, mask = self.image[here], region.mask[here]
            hidden = seen.detach() if around else self.grey
            part = seen * mask + hidden * (1 - mask)
            self._parts[key] = Gaze(self.run, self.step, part, f"/{region.name}/{around:g}")
        return self._parts[key]

    def of(self, picture: Tensor) -> View:
        """Another picture of three or four channels in the place of this one: looked at alike."""
        return View(self.run, self.step, picture)

    def _over_grey(self, raw: Tensor) -> Tensor:
        return raw[:, :3] * raw[:, 3:] + self.grey * (1 - raw[:, 3:])
