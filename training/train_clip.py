"""Train the embedded CLIP; resumes from its own checkpoint.

Two losses on pictures that were spoiled on purpose. One is contrastive: name the picture all the
same. The other asks that the *gradient* of the match with respect to the pixels points from the
spoiled picture to the right one: denoising score matching with the match as (negative) energy
(Vincent 2011; perceptually aligned gradients, Ganz et al. 2023). That gradient is exactly what a
generator later follows.

It needs a network with smooth activations (GELU here). In a ReLU network the second derivative does
not see that the kinks move: a small step along it changed the loss by something unrelated to what
it predicted, and little was learnt (0.05 -> 0.16 in 700 steps; with GELU 0.05 -> 0.5 in 2500).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path

import corrupt
import numpy as np
import torch
from make_data import fact_id
from pixweave_tiny.model import CONFIG, TinyClip
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F


class Pictures:
    """The rendered pictures in batches: images, tokens, which caption is true of which image."""

    def __init__(self, folder: Path) -> None:
        self.pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.tokens, self.claims, self.facts = (
            np.load(folder / f"{name}.npy") for name in ("tokens", "claims", "facts")
        )
        self.white = np.nonzero((self.facts == fact_id("on white")).any(1))[0]

    def batch(
        self, rng: np.random.Generator, count: int, captions: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return images [B,3,S,S] 0..1, tokens [B*captions,L], truth [B,B*captions] of 0/1."""
        rows = rng.integers(len(self.pixels), size=count)
        rows[::2] = rng.choice(self.white, len(rows[::2]))  # unasked, a background should be white
        rows.sort()
        images = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255
        picks = np.stack([rng.choice(self.tokens.shape[1], captions, replace=False) for _ in rows])
        if rng.random() < 0.8:  # one long caption makes the whole batch slow
            lengths = (self.tokens[rows] != 0).sum(2)
            long = np.take_along_axis(lengths, picks, 1) > 14
            picks = np.where(long, lengths.argmin(1)[:, None], picks)
        tokens = torch.from_numpy(
            self.tokens[rows[:, None], picks].reshape(count * captions, -1).astype(np.int64)
        )
        claims = self.claims[rows[:, None], picks].reshape(count * captions, -1)
        names, index = np.unique(
            np.concatenate([self.facts[rows].ravel(), claims.ravel()]), return_inverse=True
        )
        facts = np.zeros((count, len(names)), dtype=np.float32)
        said = np.zeros((count * captions, len(names)), dtype=np.float32)
        split = count * self.facts.shape[1]
        facts[np.arange(count)[:, None], index[:split].reshape(count, -1)] = 1
        said[np.arange(len(said))[:, None], index[split:].reshape(len(said), -1)] = 1
        facts[:, names == 0] = said[:, names == 0] = 0
        truth = (
            torch.from_numpy(facts) @ torch.from_numpy(said).T
            >= torch.from_numpy(said).sum(1) - 0.5
        )
        return images, tokens[:, : int((tokens != 0).sum(1).max())], truth.float()


def initialise(model: TinyClip) -> None:
    """Start weights as CLIP does: small embeddings, blocks that add little."""
    with torch.no_grad():
        model.token_embedding.weight.normal_(0, 0.02)
        model.positional_embedding.normal_(0, 0.01)
        width = model.text_projection.shape[0]
        model.text_projection.normal_(0, width**-0.5)
        for block in [*model.visual.transformer.resblocks, *model.transformer.resblocks]:
            depth = 2 * len(model.visual.transformer.resblocks)
            for linear in (block.attn.out_proj, block.mlp["c_proj"]):
                linear.weight.normal_(0, (linear.in_features * depth) ** -0.5)


def contrast(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return the two-way contrastive loss where a row may have several right answers."""
    logits = scale * image @ text.T
    to_text = -(F.log_softmax(logits, dim=1) * truth / truth.sum(1, keepdim=True)).sum(1)
    columns = truth * weight[:, None]
    total = columns.sum(0).clamp(min=1e-6)
    hidden = logits + weight.clamp(min=1e-6).log()[:, None]  # a spoiled picture is a weak candidate
    to_image = -(F.log_softmax(hidden, dim=0) * columns).sum(0) / total
    return ((to_text * weight).sum() / weight.sum() + to_image[columns.sum(0) > 0.2].mean()) / 2


def alignment(slope: Tensor, wanted: Tensor) -> Tensor:
    """Return [N], about the cosine of two fields [N,3,S,S].

    The mean over four scales, so that layout counts and not only grain. Softened: where the slope
    is nearly flat, a plain cosine has a gradient without bound, and those pictures steer all.
    """
    total = torch.zeros(len(slope))
    for side in (1, 2, 4, 8):
        made, asked = (F.avg_pool2d(field, side).flatten(1) for field in (slope, wanted))
        floor = made.detach().square().sum(1).mean() * 0.5
        length = (made.square().sum(1) + floor).sqrt()
        size = asked.norm(dim=1)
        total = total + (made * asked).sum(1) / (length * (size + 0.3 * size.mean()))
    return total / 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder made by make_data.py")
    parser.add_argument("--work", type=Path, required=True, help="checkpoints and the log")
    parser.add_argument("--steps", type=int, required=True, help="where the cosine schedule ends")
    parser.add_argument("--text-from", type=Path, help="checkpoint whose text tower to begin with")
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--last-lr", type=float, default=0.02, help="as a fraction of --lr")
    parser.add_argument("--gradient", type=float, default=25.0, help="weight of the second loss")
    parser.add_argument("--tidy", type=float, default=0.25, help="share of nearly clean pictures")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    checkpoint, log = args.work / "train.pt", args.work / "train.jsonl"
    model = TinyClip(json.loads(CONFIG.read_text())["model_cfg"])
    initialise(model)
    step = 0
    if args.text_from:
        before = torch.load(args.text_from, weights_only=True)["average"]
        model.load_state_dict({k: v for k, v in before.items() if "visual" not in k}, strict=False)
    average = copy.deepcopy(model)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.98),
    )
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
        torch.manual_seed(args.seed + step)
    rng = np.random.default_rng((args.seed, step, 7))
    data = Pictures(args.data)
    started, sums = time.process_time(), np.zeros(4)
    while step < args.steps:
        warm = min(1.0, (step + 1) / 100)
        fall = 0.5 * (1 + math.cos(math.pi * step / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * warm * (args.last_lr + (1 - args.last_lr) * fall)
        sums += train_step(model, data, rng, args, optimizer)
        step += 1
        decay = min(0.999, step / (step + 20))
        for kept, new in zip(
            average.state_dict().values(), model.state_dict().values(), strict=True
        ):
            kept.lerp_(new, 1 - decay)
        if step % 50 == 0:
            entry = {
                "step": step,
                "loss": sums[0] / 50,
                "top1": sums[1] / 50,
                "direction": sums[2] / 50,
                "scale": sums[3] / 50,
                "cpu_s": round(time.process_time() - started),
                "lr": optimizer.param_groups[0]["lr"],
            }
            with log.open("a") as file:
                file.write(json.dumps({k: round(float(v), 6) for k, v in entry.items()}) + "\n")
            sums[:] = 0
        if step % 500 == 0 or step == args.steps:
            save(checkpoint, model, average, optimizer, step)


def train_step(
    model: TinyClip,
    data: Pictures,
    rng: np.random.Generator,
    args: argparse.Namespace,
    optimizer: torch.optim.Optimizer,
) -> list[float]:
    """Do one update; return loss, top-1 of the batch, cosine of the gradient's direction, scale."""
    images, tokens, truth = data.batch(rng, args.batch, 1)
    clean = corrupt.shift(images, model.image_size)
    some = torch.rand(args.batch) < 0.35
    clean = torch.where(some[:, None, None, None], corrupt.mosaic(clean), clean)
    spoiled, off = corrupt.unfinished(clean)
    tidy = torch.rand(args.batch) < args.tidy  # so that names are learnt from clear pictures too
    grain = torch.randn_like(clean) * corrupt.uniform(len(clean), 0, 0.15)
    light = (corrupt.tone(clean) + grain).clamp(0, 1)
    spoiled = torch.where(tidy[:, None, None, None], light, spoiled)
    off = torch.where(tidy, 0, off)
    weight = (1.15 - 1.3 * off).clamp(0.0, 1.0)
    spoiled = spoiled.detach().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, text = model.visual(spoiled), model.encode_tokens(tokens)
    image, text = F.normalize(features.float(), dim=-1), F.normalize(text.float(), dim=-1)
    loss = contrast(image, text, truth, model.log_scale.exp(), weight)
    (slope,) = torch.autograd.grad((image * text).sum(), spoiled, create_graph=True)
    wanted = clean - spoiled.detach()
    loss = loss + args.gradient * (1 - alignment(slope, wanted)).mean()
    made, asked = (F.avg_pool2d(field.detach(), 4).flatten(1) for field in (slope, wanted))
    direction = F.cosine_similarity(made, asked, dim=1)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.log_scale.clamp_(max=math.log(40))
        right = truth[torch.arange(args.batch), (image @ text.T).argmax(1)][off < 0.3].mean()
    return [loss.item(), right.item(), direction.mean().item(), model.logit_scale]


def save(
    path: Path, model: TinyClip, average: TinyClip, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Write the checkpoint whole, and the averaged weights beside it as open_clip names them."""
    beside = path.with_suffix(".new")
    torch.save(
        {
            "model": model.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
        },
        beside,
    )
    beside.rename(path)
    weights = {
        key.replace("log_scale", "logit_scale"): value.half().contiguous()
        for key, value in average.state_dict().items()
    }
    save_file(weights, path.with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
