"""Render the training pictures once, to arrays that training reads by memory map."""

from __future__ import annotations

import argparse
import time
import zlib
from pathlib import Path

import numpy as np
from emoji import load_emoji
from pixweave_tiny.model import Tokenizer
from render import SIDE, Renderer

FACTS, CLAIMS = 20, 4  # at most so many facts of a picture, and claims of a caption


def fact_id(fact: str) -> int:
    """Return a stable id > 0."""
    return zlib.crc32(fact.encode()) & 0x7FFFFFFF | 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--font", type=Path, required=True, help="NotoColorEmoji.ttf")
    parser.add_argument("--emojibase", type=Path, required=True, help="emojibase-data/en/data.json")
    parser.add_argument("--bpe", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=150_000)
    parser.add_argument("--captions", type=int, default=6)
    parser.add_argument("--context", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    renderer = Renderer(load_emoji(args.font, args.emojibase))
    tokenizer = Tokenizer(args.bpe)
    args.out.mkdir(parents=True, exist_ok=True)
    shape = (args.count, args.captions)
    pixels = np.lib.format.open_memmap(
        args.out / "pixels.npy", "w+", np.uint8, (args.count, SIDE, SIDE, 3)
    )
    tokens = np.zeros((*shape, args.context), dtype=np.int16)
    claims = np.zeros((*shape, CLAIMS), dtype=np.int32)
    facts = np.zeros((args.count, FACTS), dtype=np.int32)
    started = time.time()
    for index in range(args.count):
        picture = renderer.render(args.seed, index, args.captions)
        pixels[index] = picture.pixels
        true = [fact_id(fact) for fact in dict.fromkeys(picture.facts)][:FACTS]
        facts[index, : len(true)] = true
        tokens[index] = tokenizer([text for text, _ in picture.captions], args.context).numpy()
        for row, (_, said) in enumerate(picture.captions):
            ids = [fact_id(fact) for fact in dict.fromkeys(said)][:CLAIMS]
            claims[index, row, : len(ids)] = ids
    pixels.flush()
    for name, array in (("tokens", tokens), ("claims", claims), ("facts", facts)):
        np.save(args.out / f"{name}.npy", array)
    print(f"{args.count} pictures in {time.time() - started:.0f} s")


if __name__ == "__main__":
    main()
