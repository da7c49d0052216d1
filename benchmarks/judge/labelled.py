"""Random drawings with labels, the training data of the judges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import drawings as art
from .prompts import prompts

Labelled = tuple[art.Pixels, str]

ALL = tuple(prompt for part in prompts().values() for prompt in part)
BARE = tuple(p for p in ALL if len(p.split()) == 3 and p.split()[-1] in art.FORMS)
SIDES = {"left": (-0.46, 0.0), "right": (0.46, 0.0), "top": (0.0, -0.46), "bottom": (0.0, 0.46)}


def labels() -> list[str]:
    """Return all labels: the prompts first, then the distractors."""
    coloured = [named(colour, form) for form in art.FORMS for colour in art.HUES]
    others = [*art.OTHER_FORMS, *art.OTHER_ICONS, "two things", "stripes"]
    scenes = [f"scene: {name}" for name in ("meadow", "day sea", "desert", "mountains")]
    rest = [label for label in coloured if label not in ALL]
    return [*ALL, *rest, *(f"other: {name}" for name in others), *scenes, "lump", "noise", "plain"]


def named(colour: str, form: str) -> str:
    """Return `a red heart`."""
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {form}"


class Drawer:
    """Draws a random image [64,64,3], 0..1, with its label."""

    def __init__(self, icons: art.Icons) -> None:
        self.icons = icons
        kinds: tuple[tuple[float, Callable[[art.Rng], Labelled]], ...] = (
            (0.24, self.form),
            (0.04, self.other_form),
            (0.04, self.on_ground),
            (0.28, self.icon),
            (0.13, self.other_icon),
            (0.05, self.asked_pair),
            (0.05, self.other_pair),
            (0.025, lambda rng: (art.sunset(rng), "a sunset over the sea")),
            (0.025, lambda rng: (art.night(rng), "a night sky")),
            (0.015, lambda rng: (art.rainbow(rng), "a rainbow")),
            (0.025, art.landscape),
            (0.03, self.stripes),
            (0.03, lambda rng: (art.lump(rng, art.backdrop(rng, "")), "lump")),
            (0.01, self.noise),
            (0.01, lambda rng: (art.backdrop(rng, ""), "plain")),
        )
        self.makers = [make for _, make in kinds]
        self.chances = np.cumsum([chance for chance, _ in kinds])
        self.chances /= self.chances[-1]

    def __call__(self, rng: art.Rng) -> Labelled:
        return self.makers[int(np.searchsorted(self.chances, rng.random()))](rng)

    def form(self, rng: art.Rng) -> Labelled:
        """Draw a coloured shape; those of the prompts more often."""
        colour, form = pick(rng, list(art.HUES)), pick(rng, art.FORMS)
        if rng.random() < 0.5:
            _, colour, form = pick(rng, BARE).split()
        ground = art.backdrop(rng, colour)
        label = named(colour, form)
        if label == "a yellow star" and is_blue(ground):
            label = "a yellow star on a blue background"
        if label == "a white circle" and ground.mean() < 0.2:
            label = "a white circle on a black background"
        return art.shape(rng, form, colour, ground), label

    def other_form(self, rng: art.Rng) -> Labelled:
        form, colour = pick(rng, art.OTHER_FORMS), pick(rng, list(art.HUES))
        return art.shape(rng, form, colour, art.backdrop(rng, colour)), f"other: {form}"

    def on_ground(self, rng: art.Rng) -> Labelled:
        """Draw one of the two prompts that name a background."""
        label = pick(rng, [prompt for prompt in ALL if prompt.endswith("background")])
        _, colour, form, *_, ground, _ = label.split()
        flat = np.broadcast_to(art.hsv(rng, ground), (art.SIZE, art.SIZE, 3)).astype(np.float32)
        return art.shape(rng, form, colour, flat), label

    def icon(self, rng: art.Rng) -> Labelled:
        label = pick(rng, list(art.ICONS))
        return self.icons.draw(rng, pick(rng, art.ICONS[label]), art.backdrop(rng, "")), label

    def other_icon(self, rng: art.Rng) -> Labelled:
        name = pick(rng, art.OTHER_ICONS)
        return self.icons.draw(rng, name, art.backdrop(rng, "")), f"other: {name}"

    def asked_pair(self, rng: art.Rng) -> Labelled:
        """Draw two objects as one of the prompts asks; side by side, they are in either order."""
        label = pick(rng, [prompt for prompt in ALL if is_pair(prompt)])
        words = label.split()
        if "above" in words:
            return self.two(rng, "red circle", "blue square", ("top", "bottom")), label
        first, second = (
            ("yellow star", "green heart") if "beside" in words else ("banana", "strawberry")
        )
        sides = ("left", "right") if "beside" in words or rng.random() < 0.7 else ("top", "bottom")
        return self.two(rng, first, second, sides if rng.random() < 0.5 else sides[::-1]), label

    def other_pair(self, rng: art.Rng) -> Labelled:
        """Draw two objects that no prompt asks for; often those of a prompt, swapped or mixed."""
        things = [
            *BARE,
            *BARE,
            *art.ICONS,
            "blue circle",
            "red square",
            "green star",
            "yellow heart",
        ]
        first, second = (
            str(t).removeprefix("a ").removeprefix("an ") for t in rng.choice(things, 2)
        )
        sides = ("left", "right") if rng.random() < 0.5 else ("top", "bottom")
        if rng.random() < 0.3:
            first, second, sides = [
                ("blue square", "red circle", ("top", "bottom")),
                ("blue circle", "red square", ("top", "bottom")),
                ("green star", "yellow heart", ("left", "right")),
                ("yellow star", "yellow star", ("left", "right")),
                ("banana", "banana", ("left", "right")),
                ("strawberry", "strawberry", ("left", "right")),
            ][int(rng.integers(6))]
        made = self.two(rng, first, second, sides)
        pair = {first, second}
        if pair == {"yellow star", "green heart"} and sides[0] == "left":
            return made, "a yellow star beside a green heart"
        if pair == {"banana", "strawberry"}:
            return made, "a banana and a strawberry"
        if (first, second, sides[0]) == ("red circle", "blue square", "top"):
            return made, "a red circle above a blue square"
        return made, "other: two things"

    def two(self, rng: art.Rng, first: str, second: str, sides: tuple[str, ...]) -> art.Pixels:
        """Draw two objects, each on its side of the image."""
        picture = art.backdrop(rng, first.split()[0])
        for thing, side in zip((first, second), sides, strict=True):
            x, y = SIDES[side]
            if thing.split()[-1] in art.FORMS:
                colour, form = thing.split()
                picture = art.shape(rng, form, colour, picture, (x, y), 0.55)
            else:
                names = art.ICONS.get(f"a {thing}") or art.ICONS[f"an {thing}"]
                picture = self.icons.draw(rng, pick(rng, names), picture, (x, y), 0.58)
        return picture

    def stripes(self, rng: art.Rng) -> Labelled:
        first, second = (str(name) for name in rng.choice(list(art.HUES), 2, replace=False))
        if rng.random() < 0.6:
            first, second = "red", "white"
        asked = {first, second} == {"red", "white"}
        label = "red and white stripes" if asked else "other: stripes"
        return art.stripes(rng, first, second), label

    def noise(self, rng: art.Rng) -> Labelled:
        cells = int(rng.choice([3, 5, 8, 16, 32]))
        return np.stack([art.coarse(rng, cells) for _ in range(3)], -1) * 0.5 + 0.5, "noise"


def is_pair(prompt: str) -> bool:
    """Return whether a prompt asks for two objects."""
    return any(word in prompt.split() for word in ("above", "beside")) or "and a" in prompt


def is_blue(ground: art.Pixels) -> bool:
    """Return whether a background looks blue."""
    red, green, blue = ground.mean((0, 1))
    return bool(blue > 0.45 and blue > red * 1.6 and blue > green * 1.25)


def pick(rng: art.Rng, options: tuple[str, ...] | list[str]) -> str:
    """Return a random one of the options."""
    return options[int(rng.integers(len(options)))]
