"""Render the training pictures once, as the packed folder that `pixweave train` reads.

`pixels.npy` is uint8 [N,64,64,3]; `captions.jsonl` has one line per picture: captions, the facts
that each claims, the facts that are true of the picture, and its label.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from emoji import load_emoji
from render import SIDE, Renderer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", type=Path, required=True, help="NotoColorEmoji.ttf")
    parser.add_argument("--emojibase", type=Path, required=True, help="emojibase-data/en/data.json")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300_000)
    parser.add_argument("--captions", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--close", action="store_true", help="things fill the picture, before one colour"
    )
    args = parser.parse_args()
    renderer = Renderer(load_emoji(args.font, args.emojibase), close=args.close)
    args.out.mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(
        args.out / "pixels.npy", "w+", np.uint8, (args.count, SIDE, SIDE, 3)
    )
    started = time.process_time()
    with (args.out / "captions.jsonl").open("w", encoding="utf-8") as file:
        for index in range(args.count):
            picture = renderer.render(args.seed, index, args.captions)
            pixels[index] = picture.pixels
            line = {
                "captions": [text for text, _ in picture.captions],
                "claims": [list(dict.fromkeys(said)) for _, said in picture.captions],
                "facts": list(dict.fromkeys(picture.facts)),
            }
            if picture.label:
                line["label"] = picture.label
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
    pixels.flush()
    print(f"{args.count} pictures in {time.process_time() - started:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
