"""Train a judge (an evaluation model) from scratch on random drawings.

python -m judge.train_judge patches --icons DIR/*/icons.json       (in benchmarks/)
python -m judge.train_judge stages --icons DIR/*/icons.json --seed 777
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from . import drawings as art
from .labelled import ALL, Drawer, labels
from .model import HERE, JUDGES, Judge


def roughen(images: Tensor) -> Tensor:
    """Blur, pixelate, shift colours and add noise to parts of a batch [N,3,64,64]."""
    count = len(images)
    chunks = []
    for part in images.chunk(8):
        roll = float(torch.rand(()))
        if roll < 0.3:
            side = int(torch.tensor([10, 12, 16, 24, 32])[torch.randint(5, ())])
            small = F.interpolate(part, size=(side, side), mode="area")
            part = F.interpolate(
                small, size=(64, 64), mode="nearest" if roll < 0.12 else "bilinear"
            )
        elif roll < 0.55:
            part = F.avg_pool2d(F.pad(part, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
            part = F.avg_pool2d(F.pad(part, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        chunks.append(part)
    images = torch.cat(chunks)
    gain = 1 + torch.randn(count, 3, 1, 1) * 0.06
    contrast = 0.65 + 0.45 * torch.rand(count, 1, 1, 1)
    images = (images - 0.5) * contrast * gain + 0.5 + torch.randn(count, 1, 1, 1) * 0.05
    mottle = F.interpolate(torch.randn(count, 3, 12, 12), size=(64, 64), mode="bilinear")
    images = images + mottle * torch.rand(count, 1, 1, 1) ** 2 * 0.25
    images = images + torch.randn_like(images) * torch.rand(count, 1, 1, 1) ** 2 * 0.25
    return images.clamp(0, 1)


def tumble(images: Tensor) -> Tensor:
    """Zoom, rotate, stretch and partly cover images [N,3,64,64]; soften some, change gamma."""
    count = len(images)
    turn = torch.randn(count) * 0.12
    zoom = 1 + torch.rand(count, 2) * 0.4 - 0.22
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() * zoom[:, 0], -turn.sin() * zoom[:, 1]
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin() * zoom[:, 0], turn.cos() * zoom[:, 1]
    theta[:, :, 2] = (torch.rand(count, 2) - 0.5) * 0.24
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    images = images.clamp(0.001, 1) ** torch.exp(torch.randn(count, 1, 1, 1) * 0.25)
    hidden = torch.rand(count, 1, 6, 6) < torch.rand(count, 1, 1, 1) ** 3 * 0.5
    shade = F.interpolate(hidden.float(), size=images.shape[-2:])
    images = images * (1 - shade) + torch.rand(count, 3, 1, 1) * shade
    soft = F.interpolate(F.avg_pool2d(images, 4), size=images.shape[-2:], mode="bilinear")
    mix = torch.rand(count, 1, 1, 1) ** 2
    return images * (1 - mix) + soft * mix


DISTURB = {"patches": roughen, "stages": tumble}


class Pool:
    """Drawings in memory; the last twentieth is held out."""

    def __init__(self, drawer: Drawer, count: int, seed: int, place: dict[str, int]) -> None:
        rng = np.random.default_rng(seed)
        self.pixels = np.zeros((count, 64, 64, 3), dtype=np.uint8)
        self.targets = torch.zeros(count, dtype=torch.int64)
        for index in range(count):
            picture, label = drawer(rng)
            self.pixels[index] = (picture.clip(0, 1) * 255).astype(np.uint8)
            self.targets[index] = place[label]
        self.trained = count - count // 20

    def images(self, rows: slice | Tensor) -> Tensor:
        """Return [N,3,64,64] of 0..1."""
        chosen = self.pixels[rows if isinstance(rows, slice) else rows.numpy()]
        return torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255


def train(judge: Judge, pool: Pool, steps: int, name: str) -> None:
    """Train with AdamW and a cosine schedule; print a line every 100 steps."""
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.05)
    started, right = time.process_time(), 0.0
    for step in range(steps):
        for group in optimizer.param_groups:
            fall = (1 + math.cos(math.pi * step / steps)) / 2
            group["lr"] = 1.2e-3 * min(1, (step + 1) / 150) * fall
        rows = torch.randint(pool.trained, (128,))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = judge(DISTURB[name](pool.images(rows))).float()
        loss = F.cross_entropy(logits, pool.targets[rows], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimizer.step()
        right += (logits.argmax(1) == pool.targets[rows]).float().mean().item() / 100
        if (step + 1) % 100 == 0:
            line = {"step": step + 1, "loss": round(loss.item(), 3), "top1": round(right, 3)}
            print(json.dumps(line | {"cpu_s": round(time.process_time() - started)}), flush=True)
            right = 0.0


@torch.no_grad()
def measure(judge: Judge, pool: Pool) -> None:
    """Print the accuracy on the held-out drawings."""
    tail = pool.images(slice(pool.trained, None))
    mine = pool.targets[pool.trained :]
    asked = mine < len(ALL)
    for said, views in (
        ("as drawn", tail),
        ("roughened", roughen(tail)),
        ("tumbled", tumble(tail)),
    ):
        guess = torch.cat([judge(part) for part in views.split(500)])
        right = guess.argmax(1) == mine
        among = guess[asked, : len(ALL)].argmax(1) == mine[asked]
        line = {
            "held out": said,
            "all labels": round(right.float().mean().item(), 3),
            "prompts, strict": round(right[asked].float().mean().item(), 3),
            f"prompts among the {len(ALL)}": round(among.float().mean().item(), 3),
        }
        print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=JUDGES)
    parser.add_argument("--icons", type=Path, nargs="+", required=True, help="iconify icons.json")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--pool", type=int, default=60_000, help="drawings kept in memory")
    parser.add_argument("--seed", type=int, default=4242)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.backends.cuda.enable_flash_sdp(False)  # on the CPU too: its backward is 8x slower here
    known = labels()
    judge = JUDGES[args.name](known).to(memory_format=torch.channels_last)
    (HERE / "labels.json").write_text(json.dumps(known, indent=0) + "\n")
    pool = Pool(Drawer(art.Icons(args.icons)), args.pool, args.seed, judge.place)
    print(f"{args.pool} drawings, {len(known)} labels", flush=True)
    train(judge, pool, args.steps, args.name)
    measure(judge.eval(), pool)
    weights = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in judge.state_dict().items()
    }
    save_file(weights, HERE / f"{args.name}.safetensors")


if __name__ == "__main__":
    main()
