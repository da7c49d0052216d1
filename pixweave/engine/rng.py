"""Random streams: one generator per named purpose, all derived from the recipe's seed."""

from __future__ import annotations

import hashlib

import torch


def seed_of(seed: int, name: str, step: int | None = None) -> int:
    """A 63-bit seed for a purpose at a step; other names and steps give unrelated seeds."""
    text = f"{seed}/{name}/{step}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def random_stream(seed: int, name: str, step: int | None = None) -> torch.Generator:
    """A fresh CPU generator for a purpose at a step."""
    return torch.Generator().manual_seed(seed_of(seed, name, step))
