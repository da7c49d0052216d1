"""Compare ways of training a CLIP as a guide: matched runs, evaluated blind.

    python benchmarks/guides.py train --data work/data --out work/guides --seconds 500 [--init FILE]
    python benchmarks/guides.py judge --out work/guides

Every variant gets the same CPU-seconds, seed and images. `two towers` gives half of the time to
each of two models that guide together. With `--init`, weights that were trained without adversarial
training continue with and without it. Each variant then draws all prompts of prompts.txt from grey
noise, with several seeds, in the same plain loop. All images are shuffled together and ranked by
the evaluation models in `judge/`, which know neither the CLIP models nor which of them drew an
image.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixweave_tiny.clip_model as tiny
import torch
from pixweave_tiny.clip_files import bank as bank_of
from pixweave_tiny.clip_model import TinyClip, load_tiny_clip
from pixweave_tiny.clip_settings import Clip
from pixweave_tiny.clip_training import ClipTraining
from torch import Tensor
from torch.nn import functional as F

from pixweave.train.dataset import open_dataset
from pixweave.train.plan import TrainContext

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from judge import load_panel, prompts  # noqa: E402 - benchmarks is not a package

COMMON = {"image_size": 64, "early_size": 0, "mosaic": 0.15, "spoil": 0.2, "lr": 0.002}
PARTS: dict[str, tuple[dict[str, Any], float]] = {  # settings, share of the budget
    "resnet": ({}, 1.0),
    "resnet, adversarial 1.0": ({"adversarial": 1.0}, 1.0),
    "resnet, aliased": ({}, 1.0),
    "vit": ({"tower": "vit"}, 1.0),
    "vit, slope 15": ({"tower": "vit", "gradient": 15.0}, 1.0),
    "half resnet": ({}, 0.5),
    "half vit, slope 15": ({"tower": "vit", "gradient": 15.0}, 0.5),
    "continued": ({}, 1.0),
    "continued, adversarial 1.0": ({"adversarial": 1.0}, 1.0),
}
PACED = 50
"""Steps timed to estimate how many the budget allows; the learning rate completes its schedule."""
VARIANTS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in PARTS if not name.startswith("half")},
    "two towers (resnet; vit, slope 15)": ("half resnet", "half vit, slope 15"),
}


class Strides:
    """Replaces torch.nn.functional in the model: every second pixel instead of the mean of four."""

    def __getattr__(self, name: str) -> Any:
        return getattr(F, name)

    def avg_pool2d(self, x: Tensor, size: int) -> Tensor:
        return x[:, :, ::size, ::size]


@contextlib.contextmanager
def pooling(name: str) -> Iterator[None]:
    """Context in which the model of that name runs with or without anti-aliasing."""
    if "aliased" in name:
        tiny.F = Strides()  # type: ignore[assignment]
    try:
        yield
    finally:
        tiny.F = F


def file_of(folder: Path, name: str) -> Path:
    return folder / (name.replace(", ", "-").replace(" ", "-") + ".safetensors")


def train(args: argparse.Namespace) -> None:
    """Train the variants that have no weights yet."""
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset([args.data], 64, 0, args.out)
    for name, (settings, share) in PARTS.items():
        if file_of(args.out, name).exists():
            continue
        if name.startswith("continued"):
            if args.init is None:
                continue
            settings = {**settings, "init": str(args.init)}
        budget = args.seconds * share
        clip = Clip(**{**COMMON, **settings})
        with pooling(name):
            pace = steps_within(clip, dataset, args, PACED, None)[0] / PACED
            steps = max(1, round(budget / pace))
            spent, training = steps_within(clip, dataset, args, steps, budget)
            measured = training.measure()
        training.save(file_of(args.out, name))
        print(
            json.dumps({"name": name, "steps": steps, "cpu_s": round(spent), **measured}),
            flush=True,
        )


def steps_within(
    clip: Clip, dataset: Any, args: argparse.Namespace, steps: int, budget: float | None
) -> tuple[float, ClipTraining]:
    """Train for that many steps, or as the budget allows; return CPU-seconds and the training."""
    torch.manual_seed(0)
    device = torch.device("cpu")

    def make(part: Any) -> Any:
        raise RuntimeError(f"this trainer has no parts, but asked for {part.name}")

    run = TrainContext(dataset, device, 0, steps, args.out, args.out / "none", print, make)
    training = ClipTraining(clip, run)
    for _ in range(3):  # the first steps read the data from disk
        training.step(0)
    started = time.process_time()
    for step in range(steps):
        training.step(step)
        if budget is not None and time.process_time() - started > 1.05 * budget:
            break
    return time.process_time() - started, training


def draw(models: list[tuple[str, TinyClip, list[str]]], texts: list[str], seed: int) -> Tensor:
    """Return images [N,3,64,64], one for each text, from 100 steps of Adam on a pixel grid."""
    rng = torch.Generator().manual_seed(seed)
    count, steps, views = len(texts), 100, 4
    grid = (torch.randn(count, 3, 32, 32, generator=rng) * 0.1).requires_grad_()
    optimizer = torch.optim.Adam([grid], lr=0.08, betas=(0.9, 0.99))
    targets = [model.encode_text(texts) for _, model, _ in models]
    banks = [model.encode_text(bank) for _, model, bank in models]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.08 * (1 - 0.9 * step / steps)
        image = picture(grid)
        total = (image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()) * count
        for (name, model, _), target, bank in zip(models, targets, banks, strict=True):
            seen = crops(image, views, model.image_size, rng)
            with torch.autocast("cpu", dtype=torch.bfloat16), pooling(name):
                found = model.visual(seen)
            found = F.normalize(found.float(), dim=-1)
            own = (found * target.repeat(views, 1)).sum(1)
            clash = (target @ bank.T > 0.9).repeat(views, 1)
            others = (found @ bank.T).masked_fill(clash, -1)
            logits = 30 * torch.cat([own[:, None], others], 1)
            apart = F.cross_entropy(
                logits, torch.zeros(len(own), dtype=torch.int64), reduction="none"
            )
            total = total + (apart / 30 - 0.3 * own).sum() / views / len(models)
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
    return picture(grid).detach()


def picture(grid: Tensor) -> Tensor:
    return torch.sigmoid(F.interpolate(grid, size=(64, 64), mode="bilinear") * 4)


def crops(images: Tensor, views: int, side: int, rng: torch.Generator) -> Tensor:
    """Return crops [views * N,3,side,side]: each image slightly shifted and zoomed."""
    total = len(images) * views
    theta = torch.zeros(total, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 0.85 + 0.21 * torch.rand(total, generator=rng)
    theta[:, :, 2] = (torch.rand(total, 2, generator=rng) * 2 - 1) * 0.1
    grid = F.affine_grid(theta, [total, 3, side, side], align_corners=False)
    seen = images.repeat(views, 1, 1, 1)
    return F.grid_sample(seen, grid, padding_mode="reflection", align_corners=False)


def judge(args: argparse.Namespace) -> None:
    """Draw with every variant, shuffle the images, rank them, print a line for each variant."""
    texts = [prompt for part in prompts().values() for prompt in part]
    simple = len(prompts()["simple"])
    made: list[tuple[str, Tensor]] = []
    for variant, names in VARIANTS.items():
        if not all(file_of(args.out, name).exists() for name in names):
            continue
        models = []
        for name in names:
            file = file_of(args.out, name)
            models.append((name, load_tiny_clip(file), bank_of(file)))
        drawn = torch.stack([draw(models, texts, seed) for seed in range(args.seeds)])
        made.append((variant, drawn))
        sheet(drawn[0], args.out / f"{variant.replace(' ', '-')}.png")
    panel = load_panel()
    pictures = torch.cat([drawn.flatten(0, 1) for _, drawn in made])
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(1))
    scores = torch.cat([panel.rank(part, texts) for part in pictures[order].split(128)])
    scores = scores[order.argsort()].view(len(made), args.seeds, len(texts), len(texts))
    right = scores.diagonal(dim1=2, dim2=3)[..., None]
    first = (scores > right).sum(-1) == 0
    for (variant, _), hits in zip(made, first, strict=True):
        line = {
            "simple": hits[:, :simple].sum(1).tolist(),
            "harder": hits[:, simple:].sum(1).tolist(),
        }
        print(
            json.dumps(
                {"variant": variant, **line, "mean of 40": hits.sum(1).float().mean().item()}
            )
        )


def sheet(images: Tensor, path: Path) -> None:
    """Save [N,3,S,S] as one PNG, ten in a row."""
    from PIL import Image

    rows = [torch.cat(list(part), 2) for part in images.split(10)]
    pixels = (torch.cat(rows, 1).permute(1, 2, 0) * 255).byte().numpy()
    Image.fromarray(pixels).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["train", "judge"])
    parser.add_argument("--data", type=Path, help="a packed folder of training/make_data.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=500, help="CPU-seconds for each variant")
    parser.add_argument("--init", type=Path, help="weights for the continued variants")
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    (train if args.what == "train" else judge)(args)


if __name__ == "__main__":
    main()
