"""Draw the 24 benchmark prompts with a pixel pyramid, ask the judge, and save one sheet to look at.

python training/guide_sheet.py --out sheet.png [--weights work/run/train.safetensors] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from pixweave_tiny.model import TinyClip, contrast_bank, load_tiny_clip
from torch import Tensor
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parent.parent

PROMPTS = (ROOT / "benchmarks" / "prompts.txt").read_text().split("\n")[:-1]


def pyramid(levels: list[Tensor], size: int) -> Tensor:
    """Return pictures [B,3,size,size] in 0..1: the sum of grids of all sizes."""
    total = torch.zeros(())
    for level in levels:
        total = total + F.interpolate(
            level, size=(size, size), mode="bilinear", align_corners=False
        )
    return torch.sigmoid(total * 4)


def crops(images: Tensor, count: int, zoom: float, out: int) -> Tensor:
    """Return [count*B,3,out,out]: each picture slightly moved, and zoomed by up to ``zoom``."""
    total = len(images) * count
    images = F.avg_pool2d(
        F.pad(images, (0, 1, 0, 1), mode="replicate"), 2, stride=1
    )  # against aliasing
    theta = torch.zeros(total, 2, 3)
    scale = 1 - zoom + 1.4 * zoom * torch.rand(total)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = (torch.rand(total, 2) * 2 - 1) * (zoom * 0.7)
    size = [total, 3, out, out]
    grid = F.affine_grid(theta, size, align_corners=False)
    return F.grid_sample(
        images.repeat(count, 1, 1, 1), grid, padding_mode="reflection", align_corners=False
    )


def draw(model: TinyClip, prompts: list[str], args: argparse.Namespace) -> Tensor:
    """Return pictures [B,3,S,S], one per prompt, after ``args.steps`` of Adam."""
    torch.manual_seed(args.seed)
    size, batch = args.size, len(prompts)
    text = model.encode_text([args.template.format(prompt) for prompt in prompts])
    bank = model.encode_text(contrast_bank()) if args.loss == "bank" else text[:0]
    clash = (text @ bank.T) > 0.9  # nearly the prompt itself
    levels = [
        torch.randn(batch, 3, side, side) * (args.start / len(args.grids)) for side in args.grids
    ]
    for level in levels:
        level.requires_grad_(True)
    optimizer = torch.optim.Adam(levels, lr=args.lr, betas=(0.9, 0.99))
    for step in range(args.steps):
        done = step / args.steps
        for group in optimizer.param_groups:
            group["lr"] = args.lr * (1 - 0.9 * done)
        image = pyramid(levels, size)
        seen = crops(image, args.crops, args.zoom, model.image_size)
        seen = (seen + torch.randn_like(seen) * (args.noise * (1 - done))).clamp(0, 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = model.visual(seen)
        features = F.normalize(features.float(), dim=-1)
        own = (features * text.repeat(args.crops, 1)).sum(1)
        loss = -own
        if len(bank):
            others = (features @ bank.T).masked_fill(clash.repeat(args.crops, 1), -1)
            logits = torch.cat([own[:, None], others], 1) * args.temperature
            loss = (
                loss * args.cosine
                + F.cross_entropy(
                    logits, torch.zeros(len(own), dtype=torch.int64), reduction="none"
                )
                / args.temperature
            )
        flat = image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()
        total = loss.view(args.crops, batch).mean(0).sum() + args.smooth * flat * batch
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
    return pyramid(levels, size).detach()


def save_sheet(images: Tensor, path: Path, columns: int = 12, zoom: int = 2) -> None:
    """Save [N,3,S,S] as one PNG."""
    rows = [torch.cat(list(part), 2) for part in images.split(columns)]
    sheet = F.interpolate(torch.cat(rows, 1)[None], scale_factor=zoom)[0]
    Image.fromarray((sheet * 255).byte().permute(1, 2, 0).numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--grids", type=int, nargs="+", default=[3, 6, 12, 24, 48])
    parser.add_argument("--size", type=int, default=64, help="of the picture, px")
    parser.add_argument("--steps", type=int, default=70)
    parser.add_argument("--crops", type=int, default=4)
    parser.add_argument("--zoom", type=float, default=0.15)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--lr", type=float, default=0.03)
    parser.add_argument("--start", type=float, default=0.1)
    parser.add_argument("--smooth", type=float, default=2)
    parser.add_argument("--loss", choices=["cos", "bank"], default="bank")
    parser.add_argument("--cosine", type=float, default=0.3, help="weight of -cos beside the bank")
    parser.add_argument("--temperature", type=float, default=30)
    parser.add_argument("--template", default="{}")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = load_tiny_clip(args.weights)
    started = time.process_time()
    images = draw(model, PROMPTS, args)
    spent = time.process_time() - started
    save_sheet(images, args.out)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from judge import load_judge

    judge = load_judge()
    scores = judge.rank(images, PROMPTS)
    place = (scores > scores.diagonal()[:, None]).sum(1)
    strict = [name == prompt for name, prompt in zip(judge.name(images), PROMPTS, strict=True)]
    print(
        json.dumps(
            {
                "first": int((place == 0).sum()),
                "top3": int((place < 3).sum()),
                "strict": sum(strict),
                "cpu_s": round(spent),
                "missed": [
                    f"{prompt} > {PROMPTS[int(row.argmax())]} / {name}"
                    for prompt, row, rank, name in zip(
                        PROMPTS, scores, place, judge.name(images), strict=True
                    )
                    if rank
                ],
            }
        )
    )


if __name__ == "__main__":
    main()
