"""View: what a loss sees of one step. The picture is made once, crops and embeddings when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pixweave.crops import Plan, cut, plan

if TYPE_CHECKING:
    from pixweave.recipe.values import Moment
    from pixweave.run import Run


class View:
    """One step, seen by losses.

    `image` `[B, 3, H, W]` is the picture (over a random grey where it has alpha); `raw` has the
    alpha still in it; `alpha` is `[B, 1, H, W]` or None; `moment` tells the time.
    """

    def __init__(self, run: Run, step: int) -> None:
        self.run = run
        self.step = step
        self.moment: Moment = run.recipe.moment(step)
        self.raw = run.generator.image()
        self.alpha = self.raw[:, 3:] if self.raw.shape[1] == 4 else None
        self.image = self._over_grey() if self.alpha is not None else self.raw
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
                rng = self.run.rng(f"augmentation/{part.id}/{side}", self.step)
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
            rng = self.run.rng("crops", self.step)
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

    def _over_grey(self) -> Tensor:
        """Over a grey drawn anew each step, so that nothing but alpha can hide the background."""
        assert self.alpha is not None
        rng = self.run.rng("background", self.step)
        grey = torch.rand(len(self.raw), 1, 1, 1, generator=rng).to(self.raw.device)
        return self.raw[:, :3] * self.alpha + grey * (1 - self.alpha)
