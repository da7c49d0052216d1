"""How good are the pictures of the defaults? A judge that was never in a loss ranks them.

    python benchmarks/quality.py                      # 24 prompts, `pixel`, the default settings
    python benchmarks/quality.py --set steps=100 --sheet sheet.png

For each prompt of prompts.txt a recipe that holds nothing but the prompt is run; the judge (another
architecture, other data, another seed: judge/CARD.md) ranks the 24 prompts for each picture.
Printed are the rank of the right prompt for each picture, how many are ranked first and in the
first three, and how many the judge names rightly when 139 other labels compete ("strictly"). The
first count is also given for pictures of uniform noise, which shows what chance would give.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from pixweave import Plugins, generate, load_text, open_run

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from judge import load_judge  # noqa: E402 - the benchmarks are no package


def draw(prompt: str, sets: list[str], plugins: Plugins) -> Tensor:
    """The last picture `[3, H, W]` of a recipe that holds only the prompt."""
    text = json.dumps({"pixweave": 1, "prompts": [prompt]})
    run = open_run(load_text(text, "quality.yaml", HERE, plugins, sets))
    frame = None
    for frame in generate(run):  # noqa: B007 - the last one counts
        pass
    assert frame is not None
    return frame.image[0, :3].cpu()


def ranks(images: Tensor, prompts: list[str]) -> list[int]:
    """For picture i, the place (1 is best) that the judge gives prompt i among all prompts."""
    scores = load_judge().rank(images, prompts)
    right = scores.diagonal()[:, None]
    return ((scores > right).sum(1) + 1).tolist()


def main() -> None:
    """Draw, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", action="append", default=[], dest="sets", metavar="PATH=VALUE")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the pictures here")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    prompts = [line for line in (HERE / "prompts.txt").read_text("utf-8").splitlines() if line]
    plugins = Plugins.discover()
    began = time.monotonic()
    images = torch.stack([draw(prompt, args.sets, plugins) for prompt in prompts])
    seconds = (time.monotonic() - began) / len(prompts)
    found = ranks(images, prompts)
    noise = ranks(torch.rand(images.shape, generator=torch.Generator().manual_seed(0)), prompts)
    result = {
        "first": sum(r == 1 for r in found),
        "first_three": sum(r <= 3 for r in found),
        "strict": sum(map(str.__eq__, load_judge().name(images), prompts)),
        "of": len(prompts),
        "seconds_each": round(seconds, 2),
        "noise_first": sum(r == 1 for r in noise),
        "ranks": dict(zip(prompts, found, strict=True)),
    }
    if args.sheet:
        write_sheet(images, found, prompts, args.sheet)
    if args.json:
        print(json.dumps(result))
        return
    for prompt, rank in result["ranks"].items():
        print(f"{rank:>3}  {prompt}")
    print(
        f"ranked first {result['first']} of {result['of']}, in the first three "
        f"{result['first_three']}, strictly (163 labels) {result['strict']}; "
        f"noise: {result['noise_first']}; {seconds:.1f} s a picture"
    )


def write_sheet(images: Tensor, found: list[int], prompts: list[str], path: Path) -> None:
    """A contact sheet: eight in a row, each with its prompt and the judge's rank."""
    from PIL import Image, ImageDraw, ImageFont

    side, label, columns = 144, 30, 8
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + label)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for i, image in enumerate(images):
        array = (image.permute(1, 2, 0) * 255).round().byte().numpy()
        x, y = i % columns * side, i // columns * (side + label)
        sheet.paste(
            Image.fromarray(array).resize((side - 4, side - 4), Image.Resampling.NEAREST),
            (x + 2, y + 2),
        )
        words = prompts[i].removeprefix("a ").removeprefix("an ").replace(" on a ", "\non ")
        pen.multiline_text((x + 4, y + side), f"{words} ({found[i]})", "black", font, spacing=1)
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
