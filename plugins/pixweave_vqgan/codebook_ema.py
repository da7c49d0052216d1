"""Updates of a VQGAN's codebook in training, by exponential moving averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Codebook:
    """Moves the codes `[K,D]` of a model, and of its average, towards the latents they encode."""

    DECAY = 0.99

    def __init__(self, codes: Tensor, averaged: Tensor) -> None:
        self.codes, self.averaged = codes, averaged
        self.counts = torch.zeros(len(codes), device=codes.device)
        self.sums = torch.zeros_like(codes)
        self.ready = False

    @torch.no_grad()
    def begin(self, latents: Tensor, rng: torch.Generator, rounds: int = 10) -> None:
        """Initialise the codes with k-means of `latents` `[N,D]`."""
        count = len(self.codes)
        book = latents[torch.randint(len(latents), (count,), generator=rng).to(latents.device)]
        for _ in range(rounds):
            codes = nearest(latents, book)
            hits = torch.bincount(codes, minlength=count).float()
            sums = torch.zeros_like(book).index_add_(0, codes, latents)
            book = torch.where(hits[:, None] > 0, sums / hits.clamp(min=1)[:, None], book)
            empty = (hits == 0).nonzero().flatten()
            if len(empty):
                book[empty] = far_latents(latents, book, codes, len(empty), rng)
        self.codes.copy_(book)
        self.averaged.copy_(book)
        self.counts.fill_(1.0)
        self.sums.copy_(book)
        self.ready = True

    @torch.no_grad()
    def follow(self, latent: Tensor, codes: Tensor) -> None:
        """Update the moving averages with `latent` `[B,D,h,w]` and their codes `[B,h,w]`."""
        flat, codes = latent.permute(0, 2, 3, 1).flatten(0, 2), codes.flatten()
        hits = torch.bincount(codes, minlength=len(self.codes)).float()
        self.counts.lerp_(hits, 1 - self.DECAY)
        self.sums.lerp_(torch.zeros_like(self.sums).index_add_(0, codes, flat), 1 - self.DECAY)
        self.codes.copy_(self.sums / self.counts.clamp(min=1e-6)[:, None])

    @torch.no_grad()
    def restart(self, latent: Tensor, floor: float, rng: torch.Generator) -> int:
        """Move rarely used codes to latents that are badly encoded; return the number moved.

        A code is moved if it is used less than `floor` times the mean.
        """
        dead = (self.counts < floor * self.counts.mean()).nonzero().flatten()
        if not len(dead):
            return 0
        flat = latent.permute(0, 2, 3, 1).flatten(0, 2)
        new = far_latents(flat, self.codes, nearest(flat, self.codes), len(dead), rng)
        start = self.counts.mean() * max(2 * floor, 0.1)
        self.codes[dead], self.averaged[dead] = new, new
        self.counts[dead], self.sums[dead] = start, new * start
        return len(dead)

    def state_dict(self) -> dict[str, Any]:
        """Return the moving averages; the codes are part of the model."""
        return {"counts": self.counts, "sums": self.sums, "ready": self.ready}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a `state_dict`."""
        self.counts.copy_(state["counts"])
        self.sums.copy_(state["sums"])
        self.ready = bool(state["ready"])


def nearest(latents: Tensor, book: Tensor) -> Tensor:
    """Return the index `[N]` of the nearest code of `book` `[K,D]` for `latents` `[N,D]`."""
    return (book.square().sum(1) - 2 * latents @ book.T).argmin(1)


def far_latents(
    latents: Tensor, book: Tensor, codes: Tensor, count: int, rng: torch.Generator
) -> Tensor:
    """Draw `count` of `latents` `[N,D]`, with more weight far from their code (as k-means++)."""
    distance = (latents - book[codes]).square().sum(1).cpu() + 1e-8
    drawn = torch.multinomial(distance, count, replacement=count > len(latents), generator=rng)
    return latents[drawn.to(latents.device)]
