"""Measure a CLIP on pictures it was not trained on; the figures in MODEL_CARD.md come from it.

python training/evaluate.py --font NotoColorEmoji.ttf --emojibase en/data.json [--weights FILE]
    [--icons twemoji/icons.json]      # a second drawing style: an iconify set, by name

`seen` mixes compositions as the training does, with other seeds. `unseen` has every thing before a
pattern that was never behind a thing in training, and shapes in colours they never had there.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import sayings
import torch
from emoji import Emoji, load_emoji
from PIL import Image
from pixweave_tiny.clip_model import TinyClip, load_tiny_clip
from render import SIDE, Picture, Renderer
from torch import Tensor
from torch.nn import functional as F
from words import COLOURS, SHAPES, TEMPLATES, UNSEEN, UNSEEN_PAIRS

article = sayings.article


def to_tensor(pictures: Sequence[Picture], side: int) -> Tensor:
    """Return [N,3,side,side] of 0..1."""
    pixels = np.stack([picture.pixels for picture in pictures])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)


def encode_pictures(model: TinyClip, pictures: Sequence[Picture]) -> Tensor:
    """Return unit vectors [N,D] of drawn pictures, reduced to the model's size."""
    images = to_tensor(pictures, model.image_size)
    return torch.cat([model.encode_image(part) for part in images.split(256)])


def top(scores: Tensor, truth: Tensor, count: int) -> float:
    """Return how often one of the true columns is among the best ``count`` of a row."""
    best = scores.topk(count, dim=1).indices
    return round(truth.gather(1, best).any(1).float().mean().item(), 3)


class Context:
    """The figures of one model, collected in ``result``."""

    def __init__(self, model: TinyClip, emoji: list[Emoji], seed: int) -> None:
        self.model, self.emoji, self.seed = model, emoji, seed
        self.result: dict[str, float] = {}
        self.names = [one.names[0] for one in emoji]
        self.same = torch.tensor([[name in one.names for name in self.names] for one in emoji])
        self.sets = {
            "seen": Renderer(emoji),
            "unseen": Renderer(emoji, held_out=True),
            "plain large": Renderer(emoji, easy=1.0),
        }

    def texts(self, nouns: Sequence[str], template: str = "{a}") -> Tensor:
        """Return unit vectors [P,D] of the nouns in a template."""
        return self.model.encode_text([template.format(a=article(n), n=n) for n in nouns])

    def both(self, key: str, scores: Tensor, truth: Tensor) -> None:
        """Note top-1 and top-5."""
        self.result[f"{key} top1"] = top(scores, truth, 1)
        self.result[f"{key} top5"] = top(scores, truth, 5)

    def emoji_names(self) -> None:
        """Every emoji once per set, against the names of all."""
        several = torch.tensor([len(one.names) > 1 for one in self.emoji])
        other = [one.names[-1] for one in self.emoji]
        same_other = torch.tensor([[name in one.names for name in other] for one in self.emoji])
        for label, renderer in self.sets.items():
            drawn = [
                renderer.emoji_picture(np.random.default_rng((self.seed, i)), one, 1)
                for i, one in enumerate(self.emoji)
            ]
            images = encode_pictures(self.model, drawn)
            key = f"emoji {len(self.names)} {label}"
            plain = images @ self.texts(self.names).T
            self.both(key, plain, self.same)
            if label == "seen":
                self.forms(
                    key, lambda t, i=images: top(i @ self.texts(self.names, t).T, self.same, 1)
                )
                key = f"emoji with several names ({int(several.sum())})"
                self.result[f"{key}, first name top1"] = top(plain[several], self.same[several], 1)
                scores = images[several] @ self.texts(other).T
                self.result[f"{key}, last name top1"] = top(scores, same_other[several], 1)

    def forms(self, key: str, score: Callable[[str], float]) -> None:
        """Note the mean over seen templates and over the unseen ones."""
        seen = [score(template) for template in TEMPLATES[::8]]
        unseen = [score(template) for template in UNSEEN]
        self.result[f"{key} top1, {len(seen)} seen templates"] = round(float(np.mean(seen)), 3)
        self.result[f"{key} top1, {len(unseen)} unseen templates"] = round(
            float(np.mean(unseen)), 3
        )
        self.result[f"{key} top1, worst unseen template"] = min(unseen)

    def coloured_shapes(self) -> None:
        """Every colour of every shape once per set."""
        pairs = [(colour, shape) for colour in COLOURS for shape in SHAPES]
        nouns = [" ".join(pair) for pair in pairs]
        truth = torch.eye(len(pairs)) > 0
        new = torch.tensor([pair in UNSEEN_PAIRS for pair in pairs])
        others = [f"{COLOURS[c][1][0]} {SHAPES[s][0]}" for c, s in pairs]
        for label, renderer in self.sets.items():
            drawn = [
                renderer.shape_picture(np.random.default_rng((self.seed, 5, i)), shape, colour, 1)
                for i, (colour, shape) in enumerate(pairs)
            ]
            images = encode_pictures(self.model, drawn)
            key = f"colour x shape {len(pairs)} {label}"
            scores = images @ self.texts(nouns).T
            self.both(key, scores, truth)
            best = [pairs[index] for index in scores.argmax(1).tolist()]
            for part, word in ((0, "colour"), (1, "shape")):
                hits = [guess[part] == pair[part] for guess, pair in zip(best, pairs, strict=True)]
                self.result[f"{key}, {word} right"] = round(float(np.mean(hits)), 3)
            self.result[f"{key}, {int(new.sum())} pairs never shown top1"] = top(
                scores[new], truth[new], 1
            )
            if label == "seen":
                self.forms(key, lambda t, i=images: top(i @ self.texts(nouns, t).T, truth, 1))
                self.result[f"{key}, synonyms for both words top1"] = top(
                    images @ self.texts(others).T, truth, 1
                )

    def retrieval(self, count: int = 2000) -> None:
        """Find a picture by a caption of it."""
        pictures = [self.sets["seen"].render(self.seed, index, 1) for index in range(count)]
        texts = [picture.captions[0] for picture in pictures]
        facts = [{*picture.facts} for picture in pictures]
        truth = torch.tensor([[set(said) <= true for true in facts] for _, said in texts])
        vectors = encode_pictures(self.model, pictures)
        scores = self.model.encode_text([text for text, _ in texts]) @ vectors.T
        for rank in (1, 5):
            key = f"text to image R@{rank} of {count}"
            self.result[f"{key}, any it is true of"] = top(scores, truth, rank)
            self.result[f"{key}, its own"] = top(scores, torch.eye(count) > 0, rank)

    def relations(self, count: int = 400) -> None:
        """Tell two things from the same two things the other way round (chance 0.5)."""
        right = []
        for index in range(count):
            rng = np.random.default_rng((self.seed, 9, index))
            picture = self.sets["seen"].two_things(rng, 1)
            relation = next(f for f in picture.facts if re.search(r" (above|left of) ", f))
            first, joint, second = re.split(r" (above|left of) ", relation)
            said = [
                f"{article(first)} {joint} {article(second)}",
                f"{article(second)} {joint} {article(first)}",
            ]
            scores = encode_pictures(self.model, [picture]) @ self.model.encode_text(said).T
            right.append(bool(scores[0, 0] > scores[0, 1]))
        self.result["relation told from its reverse"] = round(float(np.mean(right)), 3)

    def icons(self, file: Path) -> None:
        """Emoji as another set draws them, on white, against all names."""
        table = json.loads(file.read_text(encoding="utf-8"))
        rows, pictures = [], []
        for row, name in enumerate(self.names):
            icon = table["icons"].get(re.sub(r"[^a-z0-9]+", "-", name).strip("-"))
            if icon is None:
                continue
            side = icon.get("width", table.get("width", 16))
            svg = (
                '<svg xmlns="http://www.w3.org/2000/svg" '
                'xmlns:xlink="http://www.w3.org/1999/xlink" '
                f'viewBox="0 0 {side} {side}">{icon["body"]}</svg>'
            )
            png = subprocess.run(
                ["rsvg-convert", "-w", "52", "-h", "52"],
                input=svg.encode(),
                capture_output=True,
                check=True,
            ).stdout
            canvas = Image.new("RGB", (SIDE, SIDE), "white")
            sprite = Image.open(io.BytesIO(png)).convert("RGBA")
            canvas.paste(sprite, (6, 6), sprite)
            rows.append(row)
            pictures.append(Picture(np.asarray(canvas)))
        scores = encode_pictures(self.model, pictures) @ self.texts(self.names).T
        key = f"{table['prefix']} {len(rows)} against {len(self.names)} names"
        self.both(key, scores, self.same[torch.tensor(rows)])

    def attacked(self, count: int = 400, steps: int = 10) -> None:
        """Top-1 among all names after projected gradient attacks of an L2 length (64 px, 0..1)."""
        rows = np.linspace(0, len(self.emoji) - 1, count).astype(int)
        pictures = [
            self.sets["plain large"].emoji_picture(
                np.random.default_rng((self.seed, 7, i)), self.emoji[i], 1
            )
            for i in rows
        ]
        clean = to_tensor(pictures, self.model.image_size)
        names, truth = self.texts(self.names), self.same[torch.from_numpy(rows)]
        for length in (0.0, 0.25, 0.5, 1.0, 2.0):
            radius = length * self.model.image_size / SIDE
            moved = clean.clone()
            for _ in range(steps if length else 0):
                with torch.enable_grad():
                    moved.requires_grad_()
                    logits = 40 * self.model.encode_image(moved) @ names.T
                    wrong = -torch.where(truth, logits, -torch.inf).logsumexp(1) + logits.logsumexp(
                        1
                    )
                    (slope,) = torch.autograd.grad(wrong.sum(), moved)
                size = slope.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-9)
                step = moved.detach() + slope / size * radius / 4 - clean
                size = step.flatten(1).norm(dim=1)[:, None, None, None].clamp(min=1e-9)
                moved = (clean + step * (radius / size).clamp(max=1)).clamp(0, 1)
            scores = self.model.encode_image(moved) @ names.T
            self.result[f"emoji of {len(self.names)}, L2 attack {length} top1"] = top(
                scores, truth, 1
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--font", type=Path, required=True)
    parser.add_argument("--emojibase", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--icons", type=Path, help="icons.json of an iconify set (rsvg-convert)")
    parser.add_argument("--seed", type=int, default=990)
    parser.add_argument("--only", help="regular expression: which parts to measure")
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    bench = Context(load_tiny_clip(args.weights), load_emoji(args.font, args.emojibase), args.seed)
    parts = ["emoji_names", "coloured_shapes", "retrieval", "relations", "attacked"]
    for part in parts:
        if re.search(args.only or "", part):
            getattr(bench, part)()
    if args.icons:
        bench.icons(args.icons)
    about = {"date": time.strftime("%Y-%m-%d"), "seed": args.seed}
    print(json.dumps({**about, **bench.result}, indent=1))


if __name__ == "__main__":
    main()
