"""Measure a VQGAN on pictures it was not trained on; the figures in its MODEL_CARD.md come from it.

python training/evaluate_vqgan.py --font NotoColorEmoji.ttf --emojibase en/data.json
    [--weights FILE.ckpt] [--count 600] [--sheet sheet.png]

Pictures are drawn as for the training, with another seed. The judge of `benchmarks/` (never part of
a training) names those whose label it knows: the originals, then their reconstructions.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from emoji import load_emoji
from PIL import Image
from pixweave_vqgan.vqgan_model import WEIGHTS, VQModel, load_vqgan
from render import Renderer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from judge import Panel, load_panel  # the benchmarks are no package

SEED, MOST = 2_000_003, 30_000  # no seed of the training; pictures tried, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", type=Path, required=True, help="NotoColorEmoji.ttf")
    parser.add_argument("--emojibase", type=Path, required=True, help="emojibase-data/en/data.json")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=600, help="pictures of each kind")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--sheet", type=Path, help="write pictures beside reconstructions here")
    args = parser.parse_args()
    renderer = Renderer(load_emoji(args.font, args.emojibase))
    model, judge = load_vqgan(args.weights), load_panel()
    started = time.process_time()
    images = stack([renderer.render(args.seed, index, 1).pixels for index in range(args.count)])
    result: dict[str, object] = {"pictures": args.count, **measure(model, images)}
    known, labels = named_pictures(renderer, judge, args.seed + 1, args.count)
    result |= recognised(model, judge, known, labels)
    result["decode_ms_64px"] = round(decoding_time(model), 1)
    print(json.dumps({**result, "cpu_s": round(time.process_time() - started)}, indent=1))
    if args.sheet:
        write_sheet(args.sheet, model, torch.cat([images[:48], known[:48]]))


@torch.no_grad()
def rebuild(model: VQModel, images: Tensor) -> tuple[Tensor, Tensor]:
    """Reconstructions `[N,3,64,64]` and codes `[N,h,w]`."""
    made, codes = [], []
    for part in images.split(64):
        codes.append(model.nearest(model.encode(part)))
        made.append(model.decode(model.look_up(codes[-1])).clamp(0, 1))
    return torch.cat(made), torch.cat(codes)


def measure(model: VQModel, images: Tensor) -> dict[str, float]:
    """PSNR in dB, L1 of 0..1, the share of the codes that occur, and their perplexity."""
    made, codes = rebuild(model, images)
    noise = (made - images).square().mean((1, 2, 3)).clamp(min=1e-10)
    counts = torch.bincount(codes.flatten(), minlength=len(model.codebook))
    share = counts / counts.sum()
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    return {
        "psnr": round((-10 * noise.log10()).mean().item(), 2),
        "l1": round((made - images).abs().mean().item(), 4),
        "codes_used": round((counts > 0).float().mean().item(), 3),
        "perplexity": round(entropy.exp().item(), 1),
    }


def named_pictures(
    renderer: Renderer, judge: Panel, seed: int, count: int
) -> tuple[Tensor, list[str]]:
    """Pictures that the judge has a label for, and those labels; as many of each as can be."""
    known = {bare(label): label for label in judge.labels}
    share: dict[str, int] = {}
    pixels, labels = [], []
    for index in range(MOST):
        picture = renderer.render(seed, index, 1)
        label = known.get(bare(picture.label), "")
        if label and share.get(label, 0) < max(2 * count // len(known), 4):
            share[label] = share.get(label, 0) + 1
            pixels.append(picture.pixels)
            labels.append(label)
        if len(pixels) == count:
            break
    return stack(pixels), labels


def bare(label: str) -> str:
    """The label without its article."""
    first, _, rest = label.lower().partition(" ")
    return rest if first in ("a", "an", "the") else label.lower()


def recognised(
    model: VQModel, judge: Panel, images: Tensor, labels: Sequence[str]
) -> dict[str, object]:
    """How often the judge's first name is right, for originals and for reconstructions."""
    made, _ = rebuild(model, images)

    def right(pictures: Tensor) -> float:
        names = [name for part in pictures.split(128) for name in judge.name(part)]
        return float(np.mean([name == label for name, label in zip(names, labels, strict=True)]))

    before, after = right(images), right(made)
    return {
        "judged": len(labels),
        "labels": len(set(labels)),
        "judge_originals": round(before, 3),
        "judge_reconstructions": round(after, 3),
        "judge_kept": round(after / max(before, 1e-9), 3),
    }


def decoding_time(model: VQModel) -> float:
    """Milliseconds to decode 8x8 codes forward and backward, the best of five."""
    latent = model.look_up(torch.zeros(1, 8, 8, dtype=torch.int64)).requires_grad_()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        model.decode(model.snap(latent)).square().mean().backward()
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def write_sheet(path: Path, model: VQModel, images: Tensor, columns: int = 6) -> None:
    """Write originals beside reconstructions, twice as large."""
    made, _ = rebuild(model, images)
    pairs = torch.cat([images, made], 3)
    pairs = pairs[: len(pairs) // columns * columns]
    rows = [torch.cat(list(row), 2) for row in pairs.split(columns)]
    pixels = (torch.cat(rows, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    sheet = Image.fromarray(pixels)
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(path)


def stack(pixels: Sequence[np.ndarray]) -> Tensor:
    """uint8 pictures [64,64,3] as [N,3,64,64] of 0..1."""
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


if __name__ == "__main__":
    main()
