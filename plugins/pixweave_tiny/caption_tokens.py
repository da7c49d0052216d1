"""Training texts of a CLIP: captions as tokens, the facts they claim, and the bank of names."""

from __future__ import annotations

import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from pixweave.train import Dataset
    from pixweave_tiny.clip_model import TinyClip

FACTS, CLAIMS = 20, 4  # maximum number of facts per image and of claims per caption


class CaptionTokens:
    """Captions as tokens, which captions are true of which images, and the bank of names."""

    def __init__(self, dataset: Dataset, model: TinyClip, folder: Path) -> None:
        counts = Counter(dataset.labels)
        self.bank = [name for name, times in counts.most_common(4096) if times >= 5 and name]
        if len(self.bank) < 8:
            self.bank = []
        cache = folder / "words.npz"
        if not cache.exists():
            table: Any = tabulate(dataset, model)
            np.savez(cache, **table)
        table = np.load(cache)
        self.tokens, self.first = table["tokens"], table["first"]
        self.claims, self.facts = table["claims"], table["facts"]
        self.bank_tokens = trim(model.tokenize(self.bank)) if self.bank else torch.zeros(0, 2)
        ids = np.array([fact_id(name) for name in self.bank], dtype=np.int32)
        self.order = np.argsort(ids)
        self.bank_ids = ids[self.order]

    def batch(
        self, rows: np.ndarray, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tokens and targets of B images, each with one of its captions.

        Tokens [B,L]; which captions (columns) are true of which images (rows) [B,B]; which names of
        the bank are true of the images [B,K]; which are claimed by the captions [B,K]. The targets
        are 0.0 or 1.0.
        """
        counts = self.first[rows + 1] - self.first[rows]
        picks = self.first[rows] + rng.integers(counts)
        if len(rows) < 300 and rng.random() < 0.8:  # one long caption makes the whole batch slow
            long = (self.tokens[picks] != 0).sum(1) > 14
            redrawn = self.first[rows] + rng.integers(counts)
            picks = np.where(long, redrawn, picks)
        claims, facts = self.claims[picks], self.facts[rows]
        names, index = np.unique(
            np.concatenate([facts.ravel(), claims.ravel()]), return_inverse=True
        )
        true = np.zeros((len(rows), len(names)), dtype=np.float32)
        claimed = np.zeros_like(true)
        true[np.arange(len(rows))[:, None], index[: facts.size].reshape(facts.shape)] = 1
        claimed[np.arange(len(rows))[:, None], index[facts.size :].reshape(claims.shape)] = 1
        true[:, names == 0] = claimed[:, names == 0] = 0
        hits = torch.from_numpy(true) @ torch.from_numpy(claimed).T
        truth = (hits >= torch.from_numpy(claimed).sum(1) - 0.5).float()
        truth.fill_diagonal_(1.0)  # an image's own caption, even if its facts were truncated
        tokens = trim(torch.from_numpy(self.tokens[picks].astype(np.int64)))
        return tokens, truth, self._in_bank(facts), self._in_bank(claims)

    def _in_bank(self, ids: np.ndarray) -> Tensor:
        hits = torch.zeros(len(ids), len(self.bank))
        if self.bank:
            place = np.searchsorted(self.bank_ids, ids).clip(max=len(self.bank) - 1)
            row, column = np.nonzero((self.bank_ids[place] == ids) & (ids != 0))
            hits[row, self.order[place[row, column]]] = 1
        return hits


def tabulate(dataset: Dataset, model: TinyClip) -> dict[str, np.ndarray]:
    """Return all captions as tokens, each image's first caption, and facts and claims as ids."""
    first = np.cumsum([0, *(len(captions) for captions in dataset.captions)])
    tokens = np.zeros((first[-1], model.context_length), dtype=np.int32)
    claims = np.zeros((first[-1], CLAIMS), dtype=np.int32)
    facts = np.zeros((len(first) - 1, FACTS), dtype=np.int32)
    for start in range(0, len(first) - 1, 10_000):
        part = dataset.captions[start : start + 10_000]
        texts = [text for captions in part for text in captions]
        tokens[first[start] :][: len(texts)] = model.tokenize(texts).numpy()
    for row, captions in enumerate(dataset.captions):
        claimed = dataset.claims[row] if dataset.claims else [[text] for text in captions]
        true = dataset.facts[row] if dataset.facts else captions
        ids = [fact_id(fact) for fact in true][:FACTS]
        facts[row, : len(ids)] = ids
        for index, claims_of_caption in enumerate(claimed):
            ids = [fact_id(fact) for fact in claims_of_caption][:CLAIMS]
            claims[first[row] + index, : len(ids)] = ids
    return {"first": first, "tokens": tokens, "claims": claims, "facts": facts}


def fact_id(fact: str) -> int:
    """Return a stable id above 0."""
    return zlib.crc32(fact.encode()) & 0x7FFFFFFF | 1


def trim(tokens: Tensor) -> Tensor:
    """Cut tokens [P,L] to the length of the longest text."""
    return tokens[:, : int((tokens != 0).sum(1).max())] if len(tokens) else tokens
