"""How `pixweave train clip` trains: contrastive learning, a bank of names, and optional extras.

- Every caption of the batch against every picture of it (CLIP, Radford et al. 2021), where a pair
  counts as right when all that the caption claims is true of the picture.
- Every picture, and every caption, against the short names of all things in the data: a batch alone
  holds few rivals, the bank holds all of them. Its vectors are renewed now and then; some of them
  take part with their gradient.
- `gradient`: the slope of the match with respect to the pixels is asked to point from a spoiled
  picture to the right one: denoising score matching with the match as (negative) energy (Vincent
  2011; perceptually aligned gradients, Ganz et al. 2023). That slope is what a generator later
  follows. It needs smooth activations: a small step along the gradient of the slope of a ReLU
  network changes the loss by something unrelated to what was predicted.
- `adversarial`: pictures moved by one step of L2 length up to that many (per 64 px) uphill
  (Madry et al. 2018, single-step).
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from pixweave_tiny import corrupt
from pixweave_tiny.model import HERE, Layers, TinyClip, load_tiny_clip

if TYPE_CHECKING:
    from pixweave.train import Dataset, TrainRun
    from pixweave_tiny import Clip

FACTS, CLAIMS = 20, 4  # at most so many facts of a picture, and claims of a caption
RENEW = 25  # steps between two renewals of the bank's vectors


class ClipTraining:
    """A CLIP under training; see `pixweave.protocols.Training`."""

    def __init__(self, settings: Clip, run: TrainRun) -> None:
        self.set, self.run, self.device = settings, run, run.device
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
        self.words = Words(run.dataset, self.model, run.folder)
        self.bank = torch.zeros(len(self.words.bank), self.model.embed_dim, device=self.device)
        self.renewed = -1

    def step(self, step: int) -> Mapping[str, float]:
        """Do one update; top1: how often the nearest caption of the batch is a right one."""
        wish = self.set
        torch.manual_seed(self.run.seed * 1_000_003 + step)
        rng = np.random.default_rng((self.run.seed, step))
        done = step / max(self.run.steps, 1)
        warm = min(1.0, (step + 1) / 100)
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = wish.lr * warm * fall
        self._renew(step)
        rows = np.sort(rng.choice(self.run.dataset.train, wish.batch))
        images = self.run.dataset.images(rows).to(self.device).contiguous()
        tokens, truth, of_picture, of_caption = self.words.batch(rows, rng)
        tokens, truth = tokens.to(self.device), truth.to(self.device)
        of_picture, of_caption = of_picture.to(self.device), of_caption.to(self.device)

        early = wish.early_size and done < wish.early
        clean = corrupt.shift(images, wish.early_size if early else self.model.image_size)
        some = torch.rand(len(clean), 1, 1, 1, device=self.device) < wish.mosaic
        clean = torch.where(some, corrupt.mosaic(clean), clean)
        spoiled, off = self._spoil(clean)
        with self._autocast():
            text = self.model.encode_tokens(tokens).float()
            bank = self._bank(rng)
        if wish.adversarial:
            spoiled = self._attack(spoiled, text.detach(), truth)
        slopes = off > 0 if wish.gradient else torch.zeros_like(off, dtype=torch.bool)
        spoiled.requires_grad_(bool(slopes.any()))
        with self._autocast():
            image = self.model.visual(spoiled)
        image = F.normalize(image.float(), dim=-1)
        weight = (1.15 - 1.3 * off).clamp(0.0, 1.0)
        scale = self.model.log_scale.exp()
        loss = contrast(image, text, truth, scale, weight)
        metrics = {}
        if len(bank):
            named, said = name_loss(scale * image @ bank.T, of_picture, weight), None
            said = name_loss(scale * text @ bank.T, of_caption, torch.ones_like(weight))
            loss = loss + wish.names * (named + 0.5 * said)
            metrics["named"] = named.item()
        if spoiled.requires_grad:
            (slope,) = torch.autograd.grad((image * text).sum(), spoiled, create_graph=True)
            wanted = (clean - spoiled.detach())[slopes]
            aligned = alignment(slope[slopes], wanted)
            loss = loss + wish.gradient * (1 - aligned).mean()
            metrics["aligned"] = aligned.mean().item()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.log_scale.clamp_(max=math.log(wish.scale))
            decay = min(0.999, (step + 1) / (step + 20))
            kept, new = self.average.state_dict(), self.model.state_dict()
            for key, value in kept.items():
                if value.is_floating_point():
                    value.lerp_(new[key], 1 - decay)
            clear = off < 0.3
            right = truth[torch.arange(len(image)), (image @ text.T).argmax(1)][clear].mean()
        return {"loss": loss.item(), "top1": right.item(), **metrics, "scale": scale.item()}

    def measure(self) -> Mapping[str, float]:
        """Top-1 of held-out pictures among all names, and of their captions among all of theirs."""
        held = self.run.dataset.held
        tokens, truth, of_picture, _ = self.words.batch(held, np.random.default_rng(0))
        model = self.average
        with torch.no_grad():
            image = self._encode(model, held)
            texts = torch.cat(
                [model.encode_tokens(part.to(self.device)) for part in tokens.split(512)]
            )
            found = (texts @ image.T).argmax(1).cpu()
            result = {"search@1": truth[found, torch.arange(len(found))].mean().item()}
            if len(self.bank):
                names = [part.to(self.device) for part in self.words.bank_tokens.split(512)]
                bank = torch.cat([model.encode_tokens(part) for part in names])
                known = of_picture.sum(1) > 0
                best = (image @ bank.T).argmax(1).cpu()
                result["name@1"] = of_picture[torch.arange(len(best)), best][known].mean().item()
        return result

    def samples(self) -> Tensor:
        """Spoiled pictures as the training sees them, [16,3,S,S]."""
        torch.manual_seed(self.run.seed)
        rows = self.run.dataset.train[:16]
        clean = corrupt.shift(self.run.dataset.images(rows), self.model.image_size)
        return self._spoil(clean.to(self.device))[0].cpu()

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
        """Take up where `state_dict` was."""
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
            "bank": self.words.bank[:400],
        }
        path.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n", "utf-8")

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _spoil(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Return [N,3,S,S] spoiled a little or much, and how far each is off, [N] of 0..1."""
        grain = torch.randn_like(clean) * corrupt.uniform(clean, 0, 0.15)
        light = (corrupt.tone(clean) + grain).clamp(0, 1)
        off = torch.zeros(len(clean), device=clean.device)
        hard = torch.nonzero(torch.rand(len(clean)) < self.set.spoil).flatten().to(clean.device)
        if len(hard):
            light[hard], off[hard] = corrupt.unfinished(clean[hard])
        return light, off

    def _attack(self, images: Tensor, text: Tensor, truth: Tensor) -> Tensor:
        """Return the pictures after one step that makes them match their captions less."""
        images = images.detach().requires_grad_()
        with self._autocast():
            found = self.model.visual(images)
        found = F.normalize(found.float(), dim=-1)
        logits = self.model.log_scale.exp().detach() * found @ text.T
        wrong = -(F.log_softmax(logits, dim=1) * truth / truth.sum(1, keepdim=True)).sum()
        (slope,) = torch.autograd.grad(wrong, images)
        length = self.set.adversarial * images.shape[-1] / 64 * corrupt.uniform(images, 0, 1)
        size = slope.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-8)
        return (images.detach() + slope / size * length).clamp(0, 1)

    def _renew(self, step: int) -> None:
        """Encode the bank anew, without gradient, every so often."""
        due = step - step % RENEW
        if len(self.bank) and due != self.renewed:
            with torch.no_grad(), self._autocast():
                parts = [part.to(self.device) for part in self.words.bank_tokens.split(512)]
                self.bank = torch.cat([self.model.encode_tokens(part).float() for part in parts])
            self.renewed = due

    def _bank(self, rng: np.random.Generator) -> Tensor:
        """The bank's vectors [K,D], some of them fresh, with their gradient."""
        if not len(self.bank):
            return self.bank
        count = min(self.set.fresh, len(self.bank))
        chosen = torch.from_numpy(rng.choice(len(self.bank), count, replace=False))
        fresh = self.model.encode_tokens(
            trim(self.words.bank_tokens[chosen]).to(self.device)
        ).float()
        return self.bank.index_copy(0, chosen.to(self.device), fresh)

    def _encode(self, model: TinyClip, rows: np.ndarray) -> Tensor:
        """Unit vectors [N,D] of the data's pictures, reduced to the model's side."""
        parts = []
        for part in np.array_split(rows, max(len(rows) // 256, 1)):
            images = self.run.dataset.images(part).to(self.device)
            images = F.interpolate(
                images, size=(model.image_size,) * 2, mode="bilinear", antialias=True
            )
            parts.append(model.encode_image(images))
        return torch.cat(parts)


class Words:
    """Captions as tokens, which captions are true of which pictures, and the bank of names."""

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
        """Return for B pictures, each with one of its captions, what is right.

        Tokens [B,L]; which caption is true of which picture [B,B]; which names of the bank are
        true of the pictures [B,K], and are said by the captions [B,K]. All but tokens 0.0 or 1.0.
        """
        counts = self.first[rows + 1] - self.first[rows]
        picks = self.first[rows] + rng.integers(counts)
        if len(rows) < 300 and rng.random() < 0.8:  # one long caption makes the whole batch slow
            long = (self.tokens[picks] != 0).sum(1) > 14
            again = self.first[rows] + rng.integers(counts)
            picks = np.where(long, again, picks)
        claims, facts = self.claims[picks], self.facts[rows]
        names, index = np.unique(
            np.concatenate([facts.ravel(), claims.ravel()]), return_inverse=True
        )
        true = np.zeros((len(rows), len(names)), dtype=np.float32)
        said = np.zeros_like(true)
        true[np.arange(len(rows))[:, None], index[: facts.size].reshape(facts.shape)] = 1
        said[np.arange(len(rows))[:, None], index[facts.size :].reshape(claims.shape)] = 1
        true[:, names == 0] = said[:, names == 0] = 0
        hits = torch.from_numpy(true) @ torch.from_numpy(said).T
        truth = (hits >= torch.from_numpy(said).sum(1) - 0.5).float()
        truth.fill_diagonal_(1.0)  # a picture's own caption, were its facts cut short
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
    """Return captions as tokens, where each picture's begin, and facts and claims as numbers."""
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
        for index, said in enumerate(claimed):
            ids = [fact_id(fact) for fact in said][:CLAIMS]
            claims[first[row] + index, : len(ids)] = ids
    return {"first": first, "tokens": tokens, "claims": claims, "facts": facts}


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def fact_id(fact: str) -> int:
    """Return a stable id > 0."""
    return zlib.crc32(fact.encode()) & 0x7FFFFFFF | 1


def trim(tokens: Tensor) -> Tensor:
    """Cut [P,L] to the longest that is there."""
    return tokens[:, : int((tokens != 0).sum(1).max())] if len(tokens) else tokens


def architecture(settings: Clip) -> dict[str, Any]:
    """Return open_clip's `model_cfg` of the wished model."""
    size = settings.image_size
    vision: dict[str, Any] = {
        "image_size": size,
        "layers": [2, 2, 2, 2],
        "width": 24,
        "head_width": 128,
    }
    if settings.tower == "vit":
        vision = {
            "image_size": size,
            "patch_size": 8,
            "layers": 4,
            "width": 160,
            "head_width": 32,
            "mlp_ratio": 3.0,
            "pool_type": "avg",
        }
    text = {
        "context_length": 24,
        "vocab_size": 3514,
        "width": 128,
        "heads": 4,
        "layers": 2,
        "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"},
    }
    return {"embed_dim": 192, "vision_cfg": vision, "text_cfg": text}


def initialise(model: TinyClip) -> None:
    """Start weights as CLIP does: small embeddings, blocks that add little."""
    with torch.no_grad():
        model.token_embedding.weight.normal_(0, 0.02)
        model.positional_embedding.normal_(0, 0.01)
        model.text_projection.normal_(0, model.text_projection.shape[0] ** -0.5)
        for stack in model.modules():
            if isinstance(stack, Layers):
                for linear in stack.last():
                    linear.weight.normal_(
                        0, (linear.in_features * 2 * len(stack.resblocks)) ** -0.5
                    )
        for name, weight in model.visual.named_parameters():
            if name.endswith("bn3.weight") and "layer" in name:
                weight.zero_()  # every residual block begins as nothing


def contrast(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return the two-way contrastive loss where a row may have several right answers."""
    logits = scale * image @ text.T
    to_text = -(F.log_softmax(logits, dim=1) * truth / truth.sum(1, keepdim=True)).sum(1)
    columns = truth * weight[:, None]
    total = columns.sum(0).clamp(min=1e-6)
    hidden = logits + weight.clamp(min=1e-6).log()[:, None]  # a spoiled picture is a weak candidate
    to_image = -(F.log_softmax(hidden, dim=0) * columns).sum(0) / total
    return ((to_text * weight).sum() / weight.sum() + to_image[columns.sum(0) > 0.2].mean()) / 2


def name_loss(logits: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """Return the cross-entropy of [N,K] against the right columns, over the rows that have one."""
    count = right.sum(1)
    weight = weight * (count > 0)
    each = -(F.log_softmax(logits, dim=1) * right).sum(1) / count.clamp(min=1)
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def alignment(slope: Tensor, wanted: Tensor) -> Tensor:
    """Return [N], about the cosine of two fields [N,3,S,S].

    The mean over four scales, so that layout counts and not only grain. Softened: where the slope
    is nearly flat, a plain cosine has a gradient without bound, and those pictures steer all.
    """
    total = torch.zeros(len(slope), device=slope.device)
    for side in (1, 2, 4, 8):
        made, asked = (F.avg_pool2d(field, side).flatten(1) for field in (slope, wanted))
        floor = made.detach().square().sum(1).mean() * 0.5
        length = (made.square().sum(1) + floor).sqrt()
        size = asked.norm(dim=1)
        total = total + (made * asked).sum(1) / (length * (size + 0.3 * size.mean()))
    return total / 4
