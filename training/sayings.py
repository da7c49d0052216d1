"""How a thing is put into a sentence: written templates, a grammar of them, and unknown words.

A text tower that has only met the words of its own world lets every other word push the vector
about. So a part of the captions carries random words of the vocabulary, which mean nothing for the
picture: what is left to do is to ignore them.
"""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

import numpy as np
from words import TEMPLATES, UNSEEN

BPE = Path(__file__).resolve().parent.parent / "plugins" / "pixweave_tiny" / "bpe.txt.gz"

Rng = np.random.Generator

MEDIA = [
    "picture",
    "image",
    "photo",
    "photograph",
    "drawing",
    "painting",
    "sketch",
    "icon",
    "illustration",
    "cartoon",
    "symbol",
    "sticker",
    "poster",
    "rendering",
    "depiction",
    "print",
    "stamp",
    "card",
    "mosaic",
    "graphic",
    "logo",
    "badge",
    "doodle",
    "portrait",
    "study",
    "view",
    "scene",
    "snapshot",
    "render",
    "figure",
    "design",
    "artwork",
    "emblem",
    "sprite",
    "tile",
    "postcard",
    "mural",
    "thumbnail",
    "scan",
    "copy",
    "version",
    "example",
    "collage",
    "stencil",
    "engraving",
    "watercolour",
    "fresco",
    "model",
    "toy",
]
ADJECTIVES = [
    "simple",
    "nice",
    "lovely",
    "beautiful",
    "small",
    "big",
    "tiny",
    "large",
    "old",
    "new",
    "good",
    "bad",
    "fine",
    "clear",
    "bright",
    "dark",
    "colourful",
    "plain",
    "minimalist",
    "detailed",
    "cute",
    "funny",
    "pretty",
    "strange",
    "rough",
    "clean",
    "fresh",
    "soft",
    "sharp",
    "blurry",
    "pixelated",
    "digital",
    "modern",
    "vintage",
    "classic",
    "flat",
    "cheap",
    "famous",
    "perfect",
    "ugly",
    "quick",
    "cosy",
    "glossy",
    "grainy",
    "odd",
    "random",
    "low-resolution",
    "high-quality",
    "hand-made",
    "well-made",
    "crisp",
    "noisy",
    "vivid",
]
SHOWING = (
    "of",
    "of",
    "of",
    "with",
    "showing",
    "that shows",
    "depicting",
    "which shows",
    "containing",
    "made of",
    "for",
    "about",
    "representing",
    "where you see",
)
OPENERS = (
    "here is {}",
    "this is {}",
    "there is {}",
    "it is {}",
    "i see {}",
    "we can see {}",
    "you see {}",
    "show me {}",
    "draw {}",
    "paint {}",
    "make {}",
    "give me {}",
    "i want {}",
    "i would like {}",
    "please draw {}",
    "find {}",
    "can you see {}",
    "do you have {}",
    "this must be {}",
    "that was {}",
    "these are {}",
    "oh, {}",
    "yes, {}",
    "well, {}",
    "and {}",
    "maybe {}",
    "surely {}",
    "only {}",
    "just {}",
    "nothing but {}",
    "still {}",
    "once more {}",
    "imagine {}",
    "think of {}",
    "create {}",
    "generate {}",
    "someone drew {}",
    "they painted {}",
    "my friend made {}",
    "what a nice {}",
)
ENDINGS = (
    "{}.",
    "{}!",
    "{}?",
    "{}, pixel art",
    "{}, icon",
    "{}, illustration",
    "{}, high quality",
    "{}, centred",
    "{}, simple",
    "{}, flat colours",
    "{}, cartoon",
    "{} in the middle",
    "{} by a child",
    "{} on paper",
    "{} from my book",
    "{} for the game",
    "{} today",
    "{} once more",
    "{}, please",
    "{}, very nice",
    "{}, 8-bit",
    "{}, trending",
    "{} in the style of a cartoon",
    "{} as an icon",
    "{} as pixel art",
    "{}, finely drawn",
    "{} made for you",
    "{} up close",
)


@cache
def unknown_words() -> tuple[str, ...]:
    """Return vocabulary words that stand for nothing here; the held-out templates' are left out."""
    from vocabulary import meaning

    lines = gzip.decompress(BPE.read_bytes()).decode().split("\n")
    whole = ["".join(line.split())[:-4] for line in lines[1:] if line.endswith("</w>")]
    kept = meaning() | {word for form in UNSEEN for word in form.replace(",", "").split()}
    return tuple(w for w in whole if w.isascii() and w.isalpha() and len(w) > 1 and w not in kept)


def article(noun: str) -> str:
    """Return `noun` with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def sentence(rng: Rng, a: str, n: str) -> str:
    """Put a thing, `a` with article and `n` without, into a sentence."""
    roll = rng.random()
    if roll < 0.40:
        text = _of(rng, TEMPLATES).format(a=a, n=n)
    else:
        text = a if rng.random() < 0.75 else n
        if rng.random() < 0.6:
            medium = _of(rng, MEDIA)
            if rng.random() < 0.45:
                medium = f"{_of(rng, ADJECTIVES)} {medium}"
            head = _of(rng, (article(medium), f"the {medium}", medium, f"my {medium}"))
            text = f"{head} {_of(rng, SHOWING)} {text}"
        elif rng.random() < 0.3 and a != n:
            text = article(f"{_of(rng, ADJECTIVES)} {n}")
        if rng.random() < 0.3:
            text = _of(rng, OPENERS).format(text)
        if rng.random() < 0.25:
            text = _of(rng, ENDINGS).format(text)
    if rng.random() < 0.4:  # words that say nothing, at either end
        before = [_unknown(rng) for _ in range(int(rng.integers(0, 4)))]
        after = [_unknown(rng) for _ in range(int(rng.integers(0, 3)))]
        joint = ", " if before and rng.random() < 0.2 else " "
        text = joint.join([*([" ".join(before)] if before else []), text])
        text = " ".join([text, *after])
    return text


def _unknown(rng: Rng) -> str:
    word = _of(rng, unknown_words())
    return word + _of(rng, unknown_words()) if rng.random() < 0.3 else word


def _of(rng: Rng, options: tuple[str, ...] | list[str]) -> str:
    return options[int(rng.integers(len(options)))]
