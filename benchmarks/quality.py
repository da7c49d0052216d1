"""How good are the pictures of the defaults? Judges that were never in a loss rank them.

    python benchmarks/quality.py                                    # every generator, its defaults
    python benchmarks/quality.py --generator vqgan --set steps=100 --sheet sheet.png

For each of the 40 prompts of prompts.txt (24 simple, 16 harder) a recipe that holds nothing but the
prompt and the generator is run. Two judges of other architectures, trained on other drawings
(judge/CARD.md), say together which of the 40 prompts each picture resembles most. Printed are how
many are ranked first among all 40 and first within their class, for both judges together and for
each alone, and how many they name rightly when 133 other labels compete ("strictly"). The same
is given for pictures of uniform noise, which shows what chance would give.
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

from judge import Panel, load_panel, prompts  # noqa: E402 - the benchmarks are no package

CLASSES = prompts()
TEXTS = [prompt for part in CLASSES.values() for prompt in part]


def draw(prompt: str, generator: str, sets: list[str], plugins: Plugins) -> Tensor:
    """The last picture `[3, H, W]` of a recipe that holds only the prompt and the generator."""
    text = json.dumps({"pixweave": 1, "prompts": [prompt], "generator": generator})
    run = open_run(load_text(text, "quality.yaml", HERE, plugins, sets))
    frame = None
    for frame in generate(run):  # noqa: B007 - the last one counts
        pass
    assert frame is not None
    image = frame.image[0].cpu()
    return image[:3] if len(image) == 3 else image[:3] * image[3:] + 1 - image[3:]


def judged(panel: Panel, images: Sequence[Tensor]) -> dict[str, Any]:
    """Return how many pictures, one for each prompt, are ranked first, by class."""
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
    """Return the opinion of the panel, and each judge's own count of firsts."""
    panel = load_panel()
    result = judged(panel, images)
    for judge in panel.judges:
        alone = judged(Panel([judge]), images)
        name = type(judge).__name__.lower()
        result[name] = {part: alone[part]["first of all"] for part in CLASSES}
    return result


def report(name: str, found: dict[str, Any]) -> None:
    """Print two lines for a generator."""
    for part in CLASSES:
        row = found[part]
        alone = ", ".join(f"{judge} alone {found[judge][part]}" for judge in ("patches", "stages"))
        print(
            f"{name:>10}  {part:>6}  first of {len(TEXTS)}: {row['first of all']} of {row['of']}"
            f" ({alone}); first of its class: {row['first of its class']}; strict: {row['strict']}",
            flush=True,
        )


def main() -> None:
    """Draw, judge, print."""
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
    """A contact sheet: eight in a row, each with its prompt and the judges' rank."""
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
