"""The training of `pixweave train clip`: contrastive learning, a bank of names, optional losses.

- Every caption of the batch against every image of it (CLIP, Radford et al. 2021). A pair counts as
  a match if everything that the caption claims is true of the image.
- Every image and every caption against the bank, the short names of all things in the data: a
  batch alone contains few negatives, the bank contains all of them. The bank's vectors are renewed
  at intervals; a few of them are encoded with gradient in every step.
- `gradient`: the gradient of the similarity with respect to the pixels should point from a
  corrupted image to the clean one: denoising score matching with the similarity as negative energy
  (Vincent 2011; perceptually aligned gradients, Ganz et al. 2023). A generator later follows that
  gradient. It needs smooth activations: with ReLU the second derivative does not predict how the
  loss changes.
- `adversarial`: images are moved by one step of at most that L2 length (per 64 px) that increases
  the loss (Madry et al. 2018, single-step).
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from pixweave_tiny import image_corruption
from pixweave_tiny.caption_tokens import CaptionTokens, trim
from pixweave_tiny.clip_model import HERE, TinyClip, load_tiny_clip
from pixweave_tiny.clip_weight_init import architecture, initialise
from pixweave_tiny.objectives import alignment, contrast, name_loss

if TYPE_CHECKING:
    from pixweave.train import TrainContext
    from pixweave_tiny.clip_settings import Clip

RENEW = 25  # steps between renewals of the bank's vectors


class ClipTraining:
    """The training of a CLIP; see `pixweave.protocols.Training`."""

    def __init__(self, settings: Clip, run: TrainContext) -> None:
        self.settings, self.run, self.device = settings, run, run.device
        torch.manual_seed(run.seed)
        if settings.init:
            self.model = load_tiny_clip(Path(settings.init)).requires_grad_(True)
            self.config = self.model.config
        else:
            self.config = architecture(settings)
            self.model = TinyClip(self.config)
            initialise(self.model)
        self.model.to(self.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            [
                {
                    "params": [p for p in self.model.parameters() if p.ndim >= 2],
                    "weight_decay": 0.05,
                },
                {"params": [p for p in self.model.parameters() if p.ndim < 2], "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        )
        self.captions = CaptionTokens(run.dataset, self.model, run.folder)
        self.bank = torch.zeros(len(self.captions.bank), self.model.embed_dim, device=self.device)
        self.renewed = -1

    def step(self, step: int) -> Mapping[str, float]:
        """Do one update; `top1` is how often the nearest caption of the batch is a match."""
        settings = self.settings
        torch.manual_seed(self.run.seed * 1_000_003 + step)
        rng = np.random.default_rng((self.run.seed, step))
        done = step / max(self.run.steps, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * self.run.cosine(step)
        self._renew(step)
        rows = np.sort(rng.choice(self.run.dataset.train, settings.batch))
        images = self.run.dataset.images(rows).to(self.device).contiguous()
        tokens, truth, of_image, of_caption = self.captions.batch(rows, rng)
        tokens, truth = tokens.to(self.device), truth.to(self.device)
        of_image, of_caption = of_image.to(self.device), of_caption.to(self.device)

        early = settings.early_size and done < settings.early
        clean = image_corruption.shift(
            images, settings.early_size if early else self.model.image_size
        )
        some = torch.rand(len(clean), 1, 1, 1, device=self.device) < settings.mosaic
        clean = torch.where(some, image_corruption.mosaic(clean), clean)
        corrupted, off = self._corrupt(clean)
        with self._autocast():
            text = self.model.encode_tokens(tokens).float()
            bank = self._bank(rng)
        if settings.adversarial:
            corrupted = self._attack(corrupted, text.detach(), truth)
        slopes = off > 0 if settings.gradient else torch.zeros_like(off, dtype=torch.bool)
        corrupted.requires_grad_(bool(slopes.any()))
        with self._autocast():
            image = self.model.visual(corrupted)
        image = F.normalize(image.float(), dim=-1)
        weight = (1.15 - 1.3 * off).clamp(0.0, 1.0)
        scale = self.model.log_scale.exp()
        loss = contrast(image, text, truth, scale, weight)
        metrics = {}
        if len(bank):
            image_loss = name_loss(scale * image @ bank.T, of_image, weight)
            text_loss = name_loss(scale * text @ bank.T, of_caption, torch.ones_like(weight))
            loss = loss + settings.names * (image_loss + 0.5 * text_loss)
            metrics["named"] = image_loss.item()
        if corrupted.requires_grad:
            (slope,) = torch.autograd.grad((image * text).sum(), corrupted, create_graph=True)
            wanted = (clean - corrupted.detach())[slopes]
            aligned = alignment(slope[slopes], wanted)
            loss = loss + settings.gradient * (1 - aligned).mean()
            metrics["aligned"] = aligned.mean().item()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(settings.scale))
            decay = min(0.999, (step + 1) / (step + 20))
            kept, new = self.average.state_dict(), self.model.state_dict()
            for key, value in kept.items():
                if value.is_floating_point():
                    value.lerp_(new[key], 1 - decay)
            clear = off < 0.3
            right = truth[torch.arange(len(image)), (image @ text.T).argmax(1)][clear].mean()
        return {"loss": loss.item(), "top1": right.item(), **metrics, "scale": scale.item()}

    def measure(self) -> Mapping[str, float]:
        """Top-1 accuracy on held-out images: search by caption, and classification by name."""
        held = self.run.dataset.held
        tokens, truth, of_image, _ = self.captions.batch(held, np.random.default_rng(0))
        model = self.average
        with torch.no_grad():
            image = self._encode(model, held)
            texts = torch.cat(
                [model.encode_tokens(part.to(self.device)) for part in tokens.split(512)]
            )
            found = (texts @ image.T).argmax(1).cpu()
            result = {"search@1": truth[found, torch.arange(len(found))].mean().item()}
            if len(self.bank):
                names = [part.to(self.device) for part in self.captions.bank_tokens.split(512)]
                bank = torch.cat([model.encode_tokens(part) for part in names])
                known = of_image.sum(1) > 0
                best = (image @ bank.T).argmax(1).cpu()
                result["name@1"] = of_image[torch.arange(len(best)), best][known].mean().item()
        return result

    def samples(self) -> Tensor:
        """Corrupted images as the training uses them, [16,3,S,S]."""
        torch.manual_seed(self.run.seed)
        rows = self.run.dataset.train[:16]
        clean = image_corruption.shift(self.run.dataset.images(rows), self.model.image_size)
        return self._corrupt(clean.to(self.device))[0].cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights, their average and the optimizer."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "bank": self.bank,
            "renewed": self.renewed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.bank, self.renewed = state["bank"].to(self.device), state["renewed"]

    def save(self, path: Path) -> None:
        """Write the averaged weights (float16), and beside them the config and the merge list."""
        weights = {
            key.replace("log_scale", "logit_scale"): _half(value).contiguous().cpu()
            for key, value in self.average.state_dict().items()
        }
        save_file(weights, path)
        merges = path.with_name("bpe.txt.gz")
        if not merges.exists():
            shutil.copy(HERE / "bpe.txt.gz", merges)
        described = {
            "model_cfg": self.config,
            "preprocess_cfg": {
                "mean": [0, 0, 0],
                "std": [1, 1, 1],
                "interpolation": "bilinear",
                "resize_mode": "squash",
            },
            "bank": self.captions.bank[:400],
        }
        path.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _corrupt(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Return corrupted images [N,3,S,S], and how much each is corrupted, [N] of 0..1."""
        grain = torch.randn_like(clean) * image_corruption.uniform(clean, 0, 0.15)
        light = (image_corruption.tone(clean) + grain).clamp(0, 1)
        off = torch.zeros(len(clean), device=clean.device)
        hard = (
            torch.nonzero(torch.rand(len(clean)) < self.settings.spoil).flatten().to(clean.device)
        )
        if len(hard):
            light[hard], off[hard] = image_corruption.unfinished(clean[hard])
        return light, off

    def _attack(self, images: Tensor, text: Tensor, truth: Tensor) -> Tensor:
        """Return the images after one adversarial step against their captions."""
        images = images.detach().requires_grad_()
        with self._autocast():
            found = self.model.visual(images)
        found = F.normalize(found.float(), dim=-1)
        logits = self.model.log_scale.exp().detach() * found @ text.T
        wrong = -(F.log_softmax(logits, dim=1) * truth / truth.sum(1, keepdim=True)).sum()
        (slope,) = torch.autograd.grad(wrong, images)
        longest = self.settings.adversarial * images.shape[-1] / 64
        length = longest * image_corruption.uniform(images, 0, 1)
        size = slope.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-8)
        return (images.detach() + slope / size * length).clamp(0, 1)

    def _renew(self, step: int) -> None:
        """Encode the bank again, without gradient, every RENEW steps."""
        due = step - step % RENEW
        if len(self.bank) and due != self.renewed:
            with torch.no_grad(), self._autocast():
                parts = [part.to(self.device) for part in self.captions.bank_tokens.split(512)]
                self.bank = torch.cat([self.model.encode_tokens(part).float() for part in parts])
            self.renewed = due

    def _bank(self, rng: np.random.Generator) -> Tensor:
        """The bank's vectors [K,D], some of them newly encoded with gradient."""
        if not len(self.bank):
            return self.bank
        count = min(self.settings.fresh, len(self.bank))
        chosen = torch.from_numpy(rng.choice(len(self.bank), count, replace=False))
        fresh = self.model.encode_tokens(
            trim(self.captions.bank_tokens[chosen]).to(self.device)
        ).float()
        return self.bank.index_copy(0, chosen.to(self.device), fresh)

    def _encode(self, model: TinyClip, rows: np.ndarray) -> Tensor:
        """Unit vectors [N,D] of the dataset's images, resized to the model's input size."""
        parts = []
        for part in np.array_split(rows, max(len(rows) // 256, 1)):
            images = self.run.dataset.images(part).to(self.device)
            images = F.interpolate(
                images, size=(model.image_size,) * 2, mode="bilinear", antialias=True
            )
            parts.append(model.encode_image(images))
        return torch.cat(parts)


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value
