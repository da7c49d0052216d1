"""Reproduce the figures in tiny's model card with pixweave's commands and the card's own script.

    python benchmarks/figures.py --font NotoColorEmoji.ttf --emojibase en/data.json [--folder DIR]

Writes the images that training/evaluate.py draws (new compositions, seed 990) to PNG files and runs
`pixweave classify`, `pixweave index` and `pixweave search --queries` on them. Both methods use
the installed weights, in the same run. Prints one JSON object: each figure as computed by
evaluate.py from tensors, and by the commands.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))
from emoji import load_emoji
from evaluate import Context, article, encode_pictures, top
from pixweave_tiny.clip_model import load_tiny_clip
from words import COLOURS, SHAPES


def main() -> None:
    """Print the measurements."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--font", type=Path, required=True)
    options.add_argument("--emojibase", type=Path, required=True)
    options.add_argument("--folder", type=Path, help="keep the pictures here")
    options.add_argument("--seed", type=int, default=990)
    options.add_argument("--count", type=int, default=2000, help="pictures to search")
    asked = options.parse_args()
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        os.environ["PIXWEAVE_HOME"] = str(folder / "home")
        bench = Context(load_tiny_clip(), load_emoji(asked.font, asked.emojibase), asked.seed)
        found = {
            **emoji_names(bench, folder),
            **coloured_shapes(bench, folder),
            **retrieval(bench, folder, asked.count),
        }
    print(json.dumps({"seed": asked.seed, **found}, indent=1))


def emoji_names(bench: Context, folder: Path) -> dict[str, Any]:
    """Classify each emoji once, among the names of all emoji."""
    pictures = [
        bench.sets["seen"].emoji_picture(np.random.default_rng((bench.seed, i)), one, 1)
        for i, one in enumerate(bench.emoji)
    ]
    scores = encode_pictures(bench.model, pictures) @ bench.texts(bench.names).T
    right = [{article(name) for name in one.names} for one in bench.emoji]
    labels = list(dict.fromkeys(article(name) for name in bench.names))
    return named("emoji names", folder / "emoji", pictures, labels, right, scores, bench.same)


def coloured_shapes(bench: Context, folder: Path) -> dict[str, Any]:
    """Classify each colour of each shape once, among all combinations."""
    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    rngs = [np.random.default_rng((bench.seed, 5, i)) for i in range(len(pairs))]
    pictures = [
        bench.sets["seen"].shape_picture(rng, shape, colour, 1)
        for rng, (colour, shape) in zip(rngs, pairs, strict=True)
    ]
    nouns = [" ".join(pair) for pair in pairs]
    scores = encode_pictures(bench.model, pictures) @ bench.texts(nouns).T
    labels = [article(noun) for noun in nouns]
    truth = torch.eye(len(pairs)) > 0
    return named(
        "colour x shape", folder / "shapes", pictures, labels, [{x} for x in labels], scores, truth
    )


def named(
    key: str,
    folder: Path,
    pictures: Sequence[Any],
    labels: list[str],
    right: list[set[str]],
    scores: torch.Tensor,
    truth: torch.Tensor,
) -> dict[str, Any]:
    """Top-1 and top-5 accuracy of both methods."""
    paths = drawn(pictures, folder)
    (folder / "labels.txt").write_text("\n".join(labels), "utf-8")
    words = ["classify", folder, "--labels-file", folder / "labels.txt", "-k", "5", "-q"]
    rows = {
        Path(row["path"]).name: [one["label"] for one in row["top"]]
        for row in command(*words, "--format", "jsonl")
    }
    best = [rows[path.name] for path in paths]
    made: dict[str, Any] = {}
    for count in (1, 5):
        hits = [bool(set(mine[:count]) & ok) for mine, ok in zip(best, right, strict=True)]
        made[f"{key} top{count}, {len(pictures)} of {len(labels)}"] = {
            "evaluate.py": top(scores, truth, count),
            "commands": round(float(np.mean(hits)), 3),
        }
    return made


def retrieval(bench: Context, folder: Path, count: int) -> dict[str, Any]:
    """Search for an image by its own caption, and for any image that the caption is true of."""
    pictures = [bench.sets["seen"].render(bench.seed, i, 1) for i in range(count)]
    said = [picture.captions[0] for picture in pictures]
    texts = [text for text, _ in said]
    facts = [{*picture.facts} for picture in pictures]
    true = torch.tensor([[set(one) <= all_ for all_ in facts] for _, one in said])
    scores = bench.model.encode_text(texts) @ encode_pictures(bench.model, pictures).T
    paths = drawn(pictures, folder / "search")
    (folder / "queries.txt").write_text("\n".join(texts), "utf-8")
    at = ["--index", folder / "index"]
    command("index", folder / "search", *at, "-q")
    order = {str(path): i for i, path in enumerate(paths)}
    found: dict[str, list[int]] = {}
    for row in command("search", "--queries", folder / "queries.txt", *at, "-n", "5"):
        places = found.setdefault(row["query"], [])
        if len(places) < 5:  # a caption of two images is queried twice
            places.append(order[row["path"]])
    made: dict[str, Any] = {}
    for what, truth in (("its own", torch.eye(count) > 0), ("any it is true of", true)):
        for rank in (1, 5):
            hits = [
                bool(truth[i, found[" ".join(text.split())][:rank]].any())
                for i, text in enumerate(texts)
            ]
            made[f"text to image R@{rank} of {count}, {what}"] = {
                "evaluate.py": top(scores, truth, rank),
                "commands": round(float(np.mean(hits)), 3),
            }
    return made


def drawn(pictures: Sequence[Any], folder: Path) -> list[Path]:
    """Write the images as PNG files and return their paths, in the same order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [(folder / f"{i:05}.png").absolute() for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture.pixels).save(path)
    return paths


def command(*words: Any) -> list[dict[str, Any]]:
    """Run a pixweave command and return the rows that it prints."""
    whole = [sys.executable, "-m", "pixweave", *map(str, words)]
    done = subprocess.run(whole, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
