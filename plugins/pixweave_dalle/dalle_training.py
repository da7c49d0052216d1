"""The training of `pixweave train dalle`: cross-entropy of image codes, given the caption."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from pixweave.models.bpe_tokenizer import BpeTokenizer
from pixweave_dalle.dalle_model import MERGES
from pixweave_dalle.dalle_model import Dalle as Model

if TYPE_CHECKING:
    from pixweave.protocols import Codec
    from pixweave.train import TrainContext
    from pixweave_dalle.dalle_settings import Dalle

SHOWN = 16  # images in a grid of samples


class DalleTraining:
    """The training of a DALL-E; see `pixweave.protocols.Training`."""

    def __init__(self, settings: Dalle, run: TrainContext) -> None:
        self.settings, self.run, self.device = settings, run, run.device
        self.codec: Codec = run.make(settings.codec)
        side = settings.size // self.codec.factor
        config = {
            "width": settings.width,
            "layers": settings.layers,
            "heads": settings.width // 32,
            "text_width": settings.text_width,
            "text_length": settings.text_length,
            "vocab": 0,
            "codes": len(self.codec.codebook),
            "rows": side,
            "columns": side,
        }
        config["vocab"] = len(BpeTokenizer(MERGES).ids)
        self.model = Model(config).to(run.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.codes = self._codes(run.folder / "codes.npy")
        self.tokens, self.first = self._tokens(run.folder / "tokens.npz")
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in self.model.parameters() if p.ndim == 2],
                    "weight_decay": 0.05,
                },
                {
                    "params": [p for p in self.model.parameters() if p.ndim != 2],
                    "weight_decay": 0.0,
                },
            ],
            betas=(0.9, 0.98),
        )

    def step(self, step: int) -> Mapping[str, float]:
        """Do one update; the loss is in nats per code, `right` the share of codes predicted."""
        rng = np.random.default_rng((self.run.seed, step))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * self.run.cosine(step, warm=200)
        rows = np.sort(rng.choice(self.run.dataset.train, self.settings.batch))
        tokens, codes = self._batch(rows, rng, self.settings.wordless)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            logits = self.model(tokens, codes).float()
        loss = F.cross_entropy(logits.flatten(0, 1), codes.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        decay = min(0.999, (step + 1) / (step + 20))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        right = (logits.argmax(-1) == codes).float().mean()
        return {"loss": loss.item(), "right": right.item()}

    @torch.no_grad()
    def measure(self) -> Mapping[str, float]:
        """Loss in nats per code on held-out images, with their caption and without."""
        rows = self.run.dataset.held
        tokens, codes = self._batch(rows, np.random.default_rng(0), 0.0)
        blank = self.model.tokenize([""] * len(rows)).to(self.device)[:, :2]
        losses = []
        for texts in (tokens, blank):
            parts = zip(texts.split(128), codes.split(128), strict=True)
            sums = [
                F.cross_entropy(self.average(t, c).flatten(0, 1), c.flatten(), reduction="sum")
                for t, c in parts
            ]
            losses.append((torch.stack(sums).sum() / codes.numel()).item())
        return {"held": losses[0], "held_wordless": losses[1]}

    @torch.no_grad()
    def samples(self) -> Tensor:
        """Images [16,3,S,S] sampled for the first captions of held-out images."""
        rows = [*self.run.dataset.held, *self.run.dataset.train][:SHOWN]
        texts = [self.run.dataset.captions[row][0] for row in rows]
        rng = torch.Generator().manual_seed(self.run.seed)
        codes = self.average.sample(texts, rng)
        return self.codec.decode(self.codec.look_up(codes)).clamp(0, 1).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, their average and the optimizer."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])

    def save(self, path: Path) -> None:
        """Write the averaged weights (float16) with the config in the header."""
        weights = {
            key: value.half().contiguous().cpu() for key, value in self.average.state_dict().items()
        }
        save_file(weights, path, {"config": json.dumps(self.model.config)})

    def _batch(
        self, rows: np.ndarray, rng: np.random.Generator, wordless: float
    ) -> tuple[Tensor, Tensor]:
        """Return the tokens [N,L] of one caption per image, and the images' codes [N,P]."""
        counts = self.first[rows + 1] - self.first[rows]
        picks = self.first[rows] + rng.integers(counts)
        tokens = torch.from_numpy(self.tokens[picks].astype(np.int64))
        if wordless:
            blank = torch.from_numpy(rng.random(len(rows)) < wordless)
            tokens[blank] = self.model.tokenize([""])
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        codes = torch.from_numpy(self.codes[rows].astype(np.int64))
        return tokens.to(self.device), codes.to(self.device)

    @torch.no_grad()
    def _codes(self, cache: Path) -> np.ndarray:
        """Return the codes [N,P] of all images, row by row; cached in a file."""
        if not cache.exists():
            rows = np.arange(len(self.run.dataset))
            parts = np.array_split(rows, max(1, len(rows) // 64))
            found = []
            for part in parts:
                images = self.run.dataset.images(part).to(self.device)
                with torch.autocast(self.device.type, dtype=torch.bfloat16):
                    latents = self.codec.encode(images)
                found.append(self.codec.nearest(latents).flatten(1).cpu().numpy().astype(np.int32))
            np.save(cache, np.concatenate(found))
        return np.load(cache)

    def _tokens(self, cache: Path) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of all captions, and each image's first row in them; cached."""
        if not cache.exists():
            captions = self.run.dataset.captions
            first = np.cumsum([0, *(len(texts) for texts in captions)])
            tokens = np.zeros((first[-1], self.settings.text_length), dtype=np.int32)
            for row, texts in enumerate(captions):
                tokens[first[row] : first[row + 1]] = self.model.tokenize(texts).numpy()
            np.savez(cache, tokens=tokens, first=first)
        table = np.load(cache)
        return table["tokens"], table["first"]
