"""Measure how well `--unknown-below` separates images of the labels from unknown images.

    python benchmarks/unknown.py --font NotoColorEmoji.ttf --emojibase en/data.json

Uses tiny and its own emoji, drawn as training/evaluate.py draws new compositions. For each random
list of labels, all of its images are classified, and as many images of emoji that are not in the
list. `known` is the classifier's score with `unknown_below`; AUROC is the probability that an image
of a label has a higher `known` than an unknown image. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pixweave

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))
from emoji import load_emoji
from evaluate import article, encode_pictures
from pixweave_tiny.clip_model import load_tiny_clip
from render import Renderer


def main() -> None:
    """Print the measurements."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--font", type=Path, required=True)
    options.add_argument("--emojibase", type=Path, required=True)
    options.add_argument("--seed", type=int, default=990)
    options.add_argument("--lists", type=int, default=5, help="lists of each length")
    asked = options.parse_args()
    torch.set_grad_enabled(False)
    emoji = load_emoji(asked.font, asked.emojibase)
    drawn = [
        Renderer(emoji).emoji_picture(np.random.default_rng((asked.seed, i)), one, 1)
        for i, one in enumerate(emoji)
    ]
    vectors = encode_pictures(load_tiny_clip(), drawn)
    found: dict[str, Any] = {}
    for length in (10, 100, 500):
        rows = [
            one_list(emoji, vectors, length, (asked.seed, length, i)) for i in range(asked.lists)
        ]
        found[f"{length} labels"] = {
            key: round(float(np.mean([row[key] for row in rows])), 3) for key in rows[0]
        }
    print(json.dumps({"seed": asked.seed, "lists": asked.lists, **found}, indent=1))


def one_list(emoji: Any, vectors: torch.Tensor, length: int, seed: Any) -> dict[str, float]:
    """Return AUROC and the accuracy at several thresholds, for one random list of labels."""
    order = np.random.default_rng(seed).permutation(len(emoji))
    inside = order[:length]
    names = {name for i in inside for name in emoji[i].names}
    outside = [i for i in order[length:] if not names & set(emoji[i].names)][:length]
    labels = list(dict.fromkeys(article(emoji[i].names[0]) for i in inside))
    classifier: Any = pixweave.zero_shot(labels, device="cpu", unknown_below=0.5).classifier
    yes, no = (
        classifier.judge(vectors[torch.as_tensor(np.array(part))]).known.numpy()
        for part in (inside, outside)
    )
    pairs = yes[:, None] - no[None, :]
    row = {"AUROC": float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())}
    for bound in (0.5, 0.9, 0.99):
        row[f"right at {bound}"] = float(((yes >= bound).mean() + (no < bound).mean()) / 2)
        row[f"labels called unknown at {bound}"] = float((yes < bound).mean())
    every = np.concatenate([yes, no])
    row["right at the best bound"] = max(
        float(((yes >= bound).mean() + (no < bound).mean()) / 2) for bound in every
    )
    row["the best bound"] = max(
        every, key=lambda bound: float((yes >= bound).mean() + (no < bound).mean())
    )
    return row


if __name__ == "__main__":
    main()
