"""Measure the embedded CLIP on pictures it was not trained on (other seeds, other compositions).

python training/evaluate.py --font NotoColorEmoji.ttf --emojibase en/data.json [--weights FILE]
Prints one JSON line; the figures in MODEL_CARD.md come from it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from emoji import load_emoji
from pixweave_tiny.model import TinyClip, load_tiny_clip
from render import Picture, Renderer
from torch import Tensor
from torch.nn import functional as F
from words import COLOURS, SHAPES, UNSEEN


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def encode_pictures(model: TinyClip, pictures: list[Picture]) -> Tensor:
    """Return unit vectors [N,D] of drawn pictures, reduced to the model's size."""
    vectors = []
    for start in range(0, len(pictures), 256):
        pixels = np.stack([picture.pixels for picture in pictures[start : start + 256]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        images = F.interpolate(
            images, size=(model.image_size,) * 2, mode="bilinear", antialias=True
        )
        vectors.append(model.encode_image(images))
    return torch.cat(vectors)


def top(scores: Tensor, truth: Tensor, count: int) -> float:
    """Return how often one of the true columns is among the best ``count`` of a row."""
    best = scores.topk(count, dim=1).indices
    return round(truth.gather(1, best).any(1).float().mean().item(), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", type=Path, required=True)
    parser.add_argument("--emojibase", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seed", type=int, default=990)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    model = load_tiny_clip(args.weights)
    emoji = load_emoji(args.font, args.emojibase)
    result: dict[str, float] = {}

    hard, easy = Renderer(emoji, easy=0.0), Renderer(emoji, easy=1.0)
    names = [one.names[0] for one in emoji]
    same = torch.tensor([[name in one.names for name in names] for one in emoji])
    for label, renderer in (("easy", easy), ("hard", hard)):
        drawn = [
            renderer.emoji_picture(np.random.default_rng((args.seed, i)), one, 1)
            for i, one in enumerate(emoji)
        ]
        images = encode_pictures(model, drawn)
        for form, text in (("", "{a}"), (" unseen template", UNSEEN[0])):
            scores = images @ model.encode_text([text.format(a=article(name)) for name in names]).T
            result[f"emoji {len(names)} {label}{form} top1"] = top(scores, same, 1)
            result[f"emoji {len(names)} {label}{form} top5"] = top(scores, same, 5)
        common = torch.tensor([one.weight >= 10 for one in emoji])
        scores = images[common] @ model.encode_text([article(name) for name in names]).T
        result[f"common {int(common.sum())} of {len(names)} {label} top1"] = top(
            scores, same[common], 1
        )

    pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    for label, renderer in (("easy", easy), ("hard", hard)):
        drawn = [
            renderer.shape_picture(np.random.default_rng((args.seed, 5, i)), shape, colour, 1)
            for i, (colour, shape) in enumerate(pairs)
        ]
        images = encode_pictures(model, drawn)
        for form, text in (("", "{a}"), (" unseen template", UNSEEN[0])):
            scores = (
                images @ model.encode_text([text.format(a=article(" ".join(p))) for p in pairs]).T
            )
            best = [pairs[index] for index in scores.argmax(1).tolist()]
            result[f"colour x shape {len(pairs)} {label}{form} top1"] = top(
                scores, torch.eye(len(pairs)) > 0, 1
            )
            if not form:
                for part, word in ((0, "colour"), (1, "shape")):
                    hits = np.mean(
                        [guess[part] == pair[part] for guess, pair in zip(best, pairs, strict=True)]
                    )
                    result[f"{word} of these, {label}"] = round(float(hits), 3)

    mixed = [Renderer(emoji).render(args.seed, index, 1) for index in range(2000)]
    texts = [picture.captions[0] for picture in mixed]
    truth = torch.tensor(
        [
            [set(said) <= facts for facts in ({*picture.facts} for picture in mixed)]
            for _, said in texts
        ]
    )
    scores = model.encode_text([text for text, _ in texts]) @ encode_pictures(model, mixed).T
    exact = torch.eye(2000) > 0
    for count in (1, 5):
        result[f"text to image R@{count} of 2000, its own"] = top(scores, exact, count)
        result[f"text to image R@{count} of 2000, any it is true of"] = top(scores, truth, count)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
