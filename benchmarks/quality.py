"""Evaluate the images that the default settings give, with models never used in a loss.

    python benchmarks/quality.py                                    # every generator, its defaults
    python benchmarks/quality.py --generator vqgan --set steps=100 --sheet sheet.png

For each of the 40 prompts of prompts.txt (24 simple, 16 harder), a recipe with nothing but the
prompt and the generator is run. Two evaluation models ("judges") of other architectures, trained on
other drawings (judge/CARD.md), rank the 40 prompts by how well they match each image. The output
shows how many prompts are ranked first among all 40 and first within their class, for both models
together and for each alone, and how many the two name correctly when 133 other labels compete
("strict"). Images of uniform noise are evaluated in the same way, to show the level of chance.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixweave import Plugins, generate, load_text, open_run

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from judge import Panel, load_panel, prompts  # noqa: E402 - benchmarks is not a package

CLASSES = prompts()
TEXTS = [prompt for part in CLASSES.values() for prompt in part]


def draw(prompt: str, generator: str, sets: list[str], plugins: Plugins) -> Tensor:
    """Return the last image `[3, H, W]` of a recipe with only the prompt and the generator."""
    text = json.dumps({"pixweave": 1, "prompts": [prompt], "generator": generator})
    run = open_run(load_text(text, "quality.yaml", HERE, plugins, sets))
    frame = None
    for frame in generate(run):  # noqa: B007 - only the last frame is used
        pass
    assert frame is not None
    image = frame.image[0].cpu()
    return image[:3] if len(image) == 3 else image[:3] * image[3:] + 1 - image[3:]


def judged(panel: Panel, images: Sequence[Tensor]) -> dict[str, Any]:
    """Return how many images, one for each prompt, are ranked first, by class of prompt."""
    scores = torch.cat([panel.rank(image[None], TEXTS) for image in images])
    rank = (scores > scores.diagonal()[:, None]).sum(1) + 1
    strict = [panel.name(image[None])[0] for image in images]
    result: dict[str, Any] = {}
    start = 0
    for name, texts in CLASSES.items():
        rows = slice(start, start + len(texts))
        start = rows.stop
        own = scores[rows, rows]
        result[name] = {
            "of": len(texts),
            "first of all": int((rank[rows] == 1).sum()),
            "first of its class": int((own >= own.diagonal()[:, None]).sum(1).eq(1).sum()),
            "strict": sum(map(str.__eq__, strict[rows], texts)),
        }
    result["ranks"] = dict(zip(TEXTS, rank.tolist(), strict=True))
    return result


def measure(images: Sequence[Tensor]) -> dict[str, Any]:
    """Return the result of both judges together, and the first ranks of each alone."""
    panel = load_panel()
    result = judged(panel, images)
    for judge in panel.judges:
        alone = judged(Panel([judge]), images)
        name = type(judge).__name__.lower()
        result[name] = {part: alone[part]["first of all"] for part in CLASSES}
    return result


def report(name: str, found: dict[str, Any]) -> None:
    """Print two lines for a generator, one for each class of prompt."""
    for part in CLASSES:
        row = found[part]
        alone = ", ".join(f"{judge} alone {found[judge][part]}" for judge in ("patches", "stages"))
        print(
            f"{name:>10}  {part:>6}  first of {len(TEXTS)}: {row['first of all']} of {row['of']}"
            f" ({alone}); first of its class: {row['first of its class']}; strict: {row['strict']}",
            flush=True,
        )


def main() -> None:
    """Draw and evaluate the images, and print the results."""
    plugins = Plugins.discover()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", action="append", choices=sorted(plugins.offers("generator")))
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="PATH=VALUE")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet here, NAME-GENERATOR.png")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    noise = torch.rand(len(TEXTS), 3, 256, 256, generator=torch.Generator().manual_seed(0))
    results = {"noise": measure(list(noise))}
    if not args.json:
        report("noise", results["noise"])
    for name in args.generator or sorted(plugins.offers("generator")):
        began = time.process_time()
        images = [draw(prompt, name, args.sets, plugins) for prompt in TEXTS]
        seconds = (time.process_time() - began) / len(TEXTS)
        results[name] = {"cpu_seconds_each": round(seconds, 2), **measure(images)}
        if args.sheet:
            write_sheet(
                images, results[name]["ranks"], args.sheet.with_stem(f"{args.sheet.stem}-{name}")
            )
        if not args.json:
            report(name, results[name])
            missed = [
                f"{prompt} ({rank})" for prompt, rank in results[name]["ranks"].items() if rank > 1
            ]
            print(
                f"{name:>10}  {seconds:.1f} CPU-seconds a picture; not first: {', '.join(missed)}"
            )
    if args.json:
        print(json.dumps(results))


def write_sheet(images: Sequence[Tensor], ranks: dict[str, int], path: Path) -> None:
    """Write a contact sheet: eight images in a row, each with its prompt and rank."""
    from PIL import Image, ImageDraw, ImageFont

    side, label, columns = 144, 30, 8
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + label)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, (image, (prompt, rank)) in enumerate(zip(images, ranks.items(), strict=True)):
        array = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        x, y = i % columns * side, i // columns * (side + label)
        sheet.paste(
            Image.fromarray(array).resize((side - 4, side - 4), Image.Resampling.LANCZOS),
            (x + 2, y + 2),
        )
        words = prompt.removeprefix("a ").removeprefix("an ")
        for break_at in (" on a ", " above a ", " beside a "):
            words = words.replace(break_at, f"\n{break_at.strip()} ")
        pen.multiline_text((x + 4, y + side), f"{words} ({rank})", "black", font, spacing=1)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
