"""Train the judge from scratch on its own drawings; about ten minutes on one core.

python -m judge.train_judge --icons DIR/*/icons.json --steps 2200   (in benchmarks/)
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
from .model import HERE, SIZE, Judge

PROMPTS = tuple((HERE.parent / "prompts.txt").read_text().split("\n")[:-1])
BARE = tuple(
    prompt for prompt in PROMPTS if prompt.split()[-1] in art.FORMS and "background" not in prompt
)


def label_list() -> list[str]:
    """Return the prompts, then everything that a picture could show instead."""
    coloured = [f"{article(colour)} {colour} {form}" for form in art.FORMS for colour in art.HUES]
    rest = [label for label in coloured if label not in PROMPTS]
    rest += [f"other: {form}" for form in art.OTHER_FORMS] + [
        f"other: {name}" for name in art.OTHER_ICONS
    ]
    rest += ["lump", "noise", "plain", "other stripes"]
    return [
        *PROMPTS,
        *rest,
        *(f"scene: {name}" for name in ("night", "meadow", "day sea", "desert")),
    ]


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def draw(rng: art.Rng, icons: art.Icons) -> tuple[art.Pixels, str]:
    """Return one picture [64,64,3] and its label."""
    roll = rng.random()
    colours = list(art.HUES)
    if roll < 0.26:  # a coloured form; the asked ones more often
        if rng.random() < 0.5:
            _, colour, form = str(rng.choice(BARE)).split()
        else:
            colour, form = str(rng.choice(colours)), str(rng.choice(art.FORMS))
        label = f"{article(colour)} {colour} {form}"
        ground = art.backdrop(rng, colour)
        if (label == "a yellow star" and rng.random() < 0.4) or label == "a white circle":
            ground = np.broadcast_to(
                art.hsv(rng, "blue" if form == "star" else "black"), ground.shape
            ).copy()
            label = (
                "a yellow star on a blue background"
                if form == "star"
                else "a white circle on a black background"
            )
        elif label == "a yellow star" and is_blue(ground):
            label = "a yellow star on a blue background"
        return art.shape(rng, form, colour, ground), label
    if roll < 0.31:
        form, colour = str(rng.choice(art.OTHER_FORMS)), str(rng.choice(colours))
        return art.shape(rng, form, colour, art.backdrop(rng, colour)), f"other: {form}"
    if roll < 0.35:
        label = str(
            rng.choice(
                ["a yellow star on a blue background", "a white circle on a black background"]
            )
        )
        colour, form = ("yellow", "star") if "star" in label else ("white", "circle")
        ground = np.broadcast_to(art.hsv(rng, label.split()[-2]), (64, 64, 3)).astype(np.float32)
        return art.shape(rng, form, colour, ground), label
    if roll < 0.60:
        label = str(rng.choice(list(art.ICONS)))
        return icons.draw(rng, str(rng.choice(art.ICONS[label])), art.backdrop(rng, "")), label
    if roll < 0.78:
        name = str(rng.choice(art.OTHER_ICONS))
        return icons.draw(rng, name, art.backdrop(rng, "")), f"other: {name}"
    if roll < 0.82:
        return art.sunset(rng), "a sunset over the sea"
    if roll < 0.86:
        return art.landscape(rng)
    if roll < 0.90:
        if rng.random() < 0.6:
            return art.stripes(rng, "red", "white"), "red and white stripes"
        first, second = (str(name) for name in rng.choice(colours, 2, replace=False))
        same = {first, second} == {"red", "white"}
        return art.stripes(rng, first, second), "red and white stripes" if same else "other stripes"
    if roll < 0.96:
        return art.lump(rng, art.backdrop(rng, "")), "lump"
    if roll < 0.98:
        cells = int(rng.choice([3, 5, 8, 16, 32]))
        return np.stack([art.coarse(rng, cells) for _ in range(3)], -1) * 0.5 + 0.5, "noise"
    return art.backdrop(rng, ""), "plain"


def is_blue(ground: art.Pixels) -> bool:
    red, green, blue = ground.mean((0, 1))
    return bool(blue > 0.45 and blue > red * 1.6 and blue > green * 1.25)


def roughen(images: Tensor) -> Tensor:
    """Blur, mosaic, shift colours and add noise to [N,3,H,W], each to a part of them; to 48 px."""
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
    images = torch.cat(chunks)[torch.arange(count)]
    gain = 1 + torch.randn(count, 3, 1, 1) * 0.06
    contrast = 0.65 + 0.45 * torch.rand(count, 1, 1, 1)
    images = (images - 0.5) * contrast * gain + 0.5 + torch.randn(count, 1, 1, 1) * 0.05
    mottle = F.interpolate(torch.randn(count, 3, 12, 12), size=(64, 64), mode="bilinear")
    images = images + mottle * torch.rand(count, 1, 1, 1) ** 2 * 0.25
    images = images + torch.randn_like(images) * torch.rand(count, 1, 1, 1) ** 2 * 0.25
    return F.interpolate(images.clamp(0, 1), size=(SIZE, SIZE), mode="bilinear", antialias=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--icons", type=Path, nargs="+", required=True, help="iconify icons.json files"
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pool", type=int, default=60_000, help="drawings kept in memory")
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--out", type=Path, default=HERE / "judge.safetensors")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.backends.cuda.enable_flash_sdp(False)  # also the CPU's: its backward is 8x slower here
    rng = np.random.default_rng(args.seed)
    labels = label_list()
    (HERE / "labels.json").write_text(json.dumps(labels, indent=0) + "\n")
    place = {label: index for index, label in enumerate(labels)}
    icons = art.Icons(args.icons)
    started = time.process_time()
    pixels = np.zeros((args.pool, 64, 64, 3), dtype=np.uint8)
    targets = torch.zeros(args.pool, dtype=torch.int64)
    for index in range(args.pool):
        picture, label = draw(rng, icons)
        pixels[index] = (picture.clip(0, 1) * 255).astype(np.uint8)
        targets[index] = place[label]
    print(
        f"{args.pool} drawings, {len(labels)} labels, {time.process_time() - started:.0f} cpu-s",
        flush=True,
    )
    held = args.pool // 20  # the last twentieth is never trained on
    judge = Judge(labels)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.05)
    right = 0.0
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = (
                1.2e-3 * min(1, (step + 1) / 150) * (1 + math.cos(math.pi * step / args.steps)) / 2
            )
        rows = torch.randint(args.pool - held, (128,))
        images = torch.from_numpy(pixels[rows.numpy()]).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = judge(roughen(images)).float()
        loss = F.cross_entropy(logits, targets[rows], label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimizer.step()
        right += (logits.argmax(1) == targets[rows]).float().mean().item() / 100
        if (step + 1) % 100 == 0:
            print(
                json.dumps(
                    {
                        "step": step + 1,
                        "loss": round(loss.item(), 3),
                        "train_top1": round(right, 3),
                        "cpu_s": round(time.process_time() - started),
                    }
                ),
                flush=True,
            )
            right = 0.0
        if (step + 1) % 500 == 0:
            save_file(
                {key: value.half().contiguous() for key, value in judge.state_dict().items()},
                args.out,
            )
    judge.eval()
    tail = torch.from_numpy(pixels[-held:]).permute(0, 3, 1, 2).float() / 255
    for name, views in (("as drawn", tail), ("roughened", roughen(tail))):
        with torch.no_grad():
            guess = torch.cat([judge(part) for part in views.split(500)])
        mine, asked = targets[-held:], targets[-held:] < len(PROMPTS)
        print(
            json.dumps(
                {
                    "held out": name,
                    "top1_all_labels": round((guess.argmax(1) == mine).float().mean().item(), 3),
                    "top1_of_prompts_strict": round(
                        (guess.argmax(1) == mine)[asked].float().mean().item(), 3
                    ),
                    "top1_of_24": round(
                        (guess[asked, : len(PROMPTS)].argmax(1) == mine[asked])
                        .float()
                        .mean()
                        .item(),
                        3,
                    ),
                }
            )
        )


if __name__ == "__main__":
    main()
