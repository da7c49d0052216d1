"""Ask the judge about drawings of another hand: the Noto font, and the shapes of ``training/``.

PYTHONPATH=../training python -m judge.check_noto --font NotoColorEmoji.ttf   (in benchmarks/)
"""

from __future__ import annotations

import argparse
import json

import backdrops
import numpy as np
import render
import scenes
import torch
from PIL import Image, ImageDraw, ImageFont

from .model import HERE, load_judge

EMOJI = {
    "a green apple": "🍏",
    "a smiling face": "😀🙂😊😃",
    "a sunflower": "🌻",
    "a cat face": "🐱",
    "a strawberry": "🍓",
    "an evergreen tree": "🌲",
    "a crescent moon": "🌙",
    "a mushroom": "🍄",
    "a house": "🏠",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", required=True, help="NotoColorEmoji.ttf")
    args = parser.parse_args()
    font = ImageFont.truetype(args.font, 109)
    rng = np.random.default_rng(77)
    prompts = (HERE.parent / "prompts.txt").read_text().split("\n")[:-1]
    judge, row = load_judge(), {}
    for prompt in prompts:
        images = []
        for _ in range(40):
            colour = (
                "blue"
                if "blue background" in prompt
                else "black"
                if "black background" in prompt
                else "white"
            )
            canvas = Image.fromarray(backdrops.flat(backdrops.tint(rng, colour)))
            if prompt in EMOJI:
                side = int(rng.integers(40, 62))
                icon = Image.new("RGBA", (136, 128), (0, 0, 0, 0))
                ImageDraw.Draw(icon).text(
                    (0, 0), str(rng.choice(list(EMOJI[prompt]))), font=font, embedded_color=True
                )
                icon = icon.resize((side, side))
                canvas.paste(icon, ((64 - side) // 2, (64 - side) // 2), icon)
            elif prompt == "a sunset over the sea":
                canvas = Image.fromarray(scenes.sunset(rng)[0])
            elif prompt == "red and white stripes":
                mask = backdrops.stripes(str(rng.choice(["v", "h", "d"])))(rng)
                canvas = Image.fromarray(
                    backdrops.mix(backdrops.tint(rng, "white"), backdrops.tint(rng, "red"), mask)
                )
            else:
                colour, shape = prompt.split()[1:3]
                render.draw_shape(
                    rng, canvas, shape, colour, (0.5, 0.5), rng.uniform(0.3, 0.46), True
                )
            images.append(np.asarray(canvas, np.float32) / 255)
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        best = judge.rank(batch, prompts).argmax(1)
        strict = [name == prompt for name in judge.name(batch)]
        row[prompt] = [
            round((best == prompts.index(prompt)).float().mean().item(), 2),
            round(float(np.mean(strict)), 2),
        ]
    print(json.dumps(row, indent=1))
    print("mean of 24-way and strict:", np.mean(list(row.values()), 0).round(3))


if __name__ == "__main__":
    main()
