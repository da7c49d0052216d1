"""Pictures of the small world with their captions: the same seed and index, the same picture.

``Renderer(emoji).render(seed, index)`` gives a 64 px picture and several captions. Facts are short
strings; a caption is true of a picture when all its facts are among the picture's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import backdrops
import numpy as np
import sayings
import scenes
import styles
from emoji import Emoji
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from shapes import draw_mask
from words import BACKDROPS, COLOURS, PLACES, SHAPES, SIZES, UNSEEN_PAIRS

SIDE = 64
Rng = np.random.Generator
Caption = tuple[str, tuple[str, ...]]  # text, facts


@dataclass
class Picture:
    """A finished drawing: pixels [64,64,3] uint8, what is true of it, what may be said of it."""

    pixels: NDArray[np.uint8]
    facts: list[str] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)
    label: str = ""  # its name in few words, '' when it has no single one


@dataclass
class Phrase:
    """A thing named in words, without article, and the facts that the words claim."""

    noun: str
    facts: tuple[str, ...]
    bare: bool = False  # takes no article ("noise", "two trees")

    def article(self) -> str:
        if self.bare or self.noun.startswith(("a ", "an ", "the ")):
            return self.noun
        return sayings.article(self.noun)


def pick(rng: Rng, options: tuple[str, ...] | list[str]) -> str:
    return options[int(rng.integers(len(options)))]


def colour_word(rng: Rng, colour: str) -> str:
    others = COLOURS[colour][1]
    return pick(rng, others) if others and rng.random() < 0.25 else colour


def say(rng: Rng, phrase: Phrase, plain: float = 0.35) -> str:
    """Put ``phrase`` into a sentence; with chance ``plain`` it stays (nearly) bare."""
    if rng.random() < plain:
        return phrase.article() if rng.random() < 0.65 else phrase.noun
    return sayings.sentence(rng, phrase.article(), phrase.noun)


class Renderer:
    """Draws pictures of every kind; ``easy`` is the share of plain, large, centred ones.

    Compositions kept for evaluation (some colours of some shapes, some patterns behind things) are
    drawn only with ``held_out``. ``close``: things fill the picture, in the middle of one colour,
    mostly white.
    """

    def __init__(
        self,
        emoji: list[Emoji],
        easy: float = 0.6,
        held_out: bool = False,
        close: bool = False,
    ) -> None:
        self.emoji = emoji
        self.easy = 1.0 if close else easy
        self.held_out = held_out
        self.close = close
        weights = np.array([one.weight for one in emoji])
        self.chances = np.cumsum(weights / weights.sum())

    def render(self, seed: int, index: int, captions: int = 6) -> Picture:
        """Return picture number ``index`` of the endless series ``seed``."""
        rng = np.random.default_rng((seed, index))
        kind = rng.choice(5, p=[0.24, 0.55, 0.08, 0.11, 0.02])
        make = (self.one_shape, self.one_emoji, self.two_things, self.layout, self.junk)[kind]
        return make(rng, captions)

    def ground(self, rng: Rng, easy: bool, avoid: str) -> tuple[NDArray[np.uint8], list[str]]:
        """Return a background and its fact."""
        if self.close and avoid != "white" and rng.random() < 0.75:
            return backdrops.flat(backdrops.tint(rng, "white")), ["on white"]
        return backdrops.choose(rng, easy, avoid, self.held_out)

    def choose_emoji(self, rng: Rng) -> Emoji:
        return self.emoji[int(np.searchsorted(self.chances, rng.random()))]

    def one_shape(self, rng: Rng, captions: int) -> Picture:
        shape, colour = pick(rng, list(SHAPES)), pick(rng, list(COLOURS))
        if rng.random() < 0.35:  # the everyday ones more often
            shape = pick(rng, ["heart", "star", "circle", "square", "triangle", "diamond"])
        while (colour, shape) in UNSEEN_PAIRS and not self.held_out:
            colour = pick(rng, list(COLOURS))
        return self.shape_picture(rng, shape, colour, captions)

    def shape_picture(self, rng: Rng, shape: str, colour: str, captions: int) -> Picture:
        easy = bool(rng.random() < self.easy)
        ground, behind = self.ground(rng, easy, colour)
        canvas = Image.fromarray(ground)
        place, size, centre, radius = self.placing(rng, easy)
        draw_shape(rng, canvas, shape, colour, centre, radius, easy)
        facts = [shape, f"{colour} {shape}", colour, *behind, *place, *size]
        phrases = []
        for _ in range(captions):
            word = shape if rng.random() < 0.7 else pick(rng, SHAPES[shape])
            tint = colour_word(rng, colour)
            roll = rng.random()
            if roll < 0.86:
                phrase = Phrase(f"{tint} {word}", (shape, f"{colour} {shape}"))
            elif roll < 0.95:
                phrase = Phrase(word, (shape,))
            else:
                phrase = Phrase(f"something {tint}", (colour,), bare=True)
            phrases.append(decorate(rng, phrase, behind, place, size))
        return finish(rng, canvas, facts, phrases, f"{colour} {shape}", not self.close)

    def one_emoji(self, rng: Rng, captions: int) -> Picture:
        return self.emoji_picture(rng, self.choose_emoji(rng), captions)

    def emoji_picture(self, rng: Rng, one: Emoji, captions: int) -> Picture:
        easy = bool(rng.random() < self.easy)
        ground, behind = self.ground(rng, easy, "")
        canvas = Image.fromarray(ground)
        place, size, centre, radius = self.placing(rng, easy)
        dark = ""
        if not self.close and rng.random() < 0.06:
            dark = pick(rng, [c for c in COLOURS if f"on {c}" not in behind])
            if rng.random() < 0.6 and behind != ["on black"]:
                dark = "black"
        paste_emoji(rng, canvas, one, centre, radius, easy, dark)
        facts = [*one.names, one.code, *(f"tag {tag}" for tag in one.tags), *behind, *place, *size]
        if one.coloured_shape and not dark:
            colour, shape = one.coloured_shape
            facts += [shape, f"{colour} {shape}", colour]
        if dark:
            facts += ["silhouette", f"{dark} silhouette"]
        phrases = []
        for _ in range(captions):
            roll = rng.random()
            if one.tags and roll < 0.1:
                tag = pick(rng, list(one.tags))
                phrase = Phrase(tag, (f"tag {tag}",))
            else:
                name = one.names[0] if roll < 0.6 else pick(rng, list(one.names))
                phrase = Phrase(name, (name,))
            if dark and rng.random() < 0.7:
                form = pick(rng, styles.SILHOUETTE)
                text = form.format(a=phrase.article(), n=phrase.noun, c=dark)
                said = f"{dark} silhouette" if "{c}" in form else "silhouette"
                phrase = Phrase(text, (*phrase.facts, said), text.startswith("the "))
            phrases.append(decorate(rng, phrase, behind, place, size))
        return finish(
            rng, canvas, facts, phrases, "" if dark else one.names[0], not dark and not self.close
        )

    def two_things(self, rng: Rng, captions: int) -> Picture:
        ground, behind = self.ground(rng, True, "")
        canvas = Image.fromarray(ground)
        upright = rng.random() < 0.5
        nouns: list[Phrase] = []
        facts: list[str] = [*behind]
        for shift in (-0.24, 0.24):
            centre = (0.5, 0.5 + shift) if upright else (0.5 + shift, 0.5)
            if rng.random() < 0.6:
                shape, colour = pick(rng, list(SHAPES)), pick(rng, list(COLOURS))
                draw_shape(rng, canvas, shape, colour, centre, rng.uniform(0.17, 0.23), True)
                nouns.append(Phrase(f"{colour} {shape}", (shape, f"{colour} {shape}")))
            else:
                one = self.choose_emoji(rng)
                paste_emoji(rng, canvas, one, centre, rng.uniform(0.18, 0.24), True)
                nouns.append(Phrase(one.names[0], (one.names[0],)))
            facts += nouns[-1].facts
        words, turned = RELATIONS["above" if upright else "left of"]
        relation = f"{nouns[0].noun} {'above' if upright else 'left of'} {nouns[1].noun}"
        facts.append(relation)
        phrases = []
        for _ in range(captions):
            roll = rng.random()
            first, second = nouns if rng.random() < 0.5 else nouns[::-1]
            claims = (*first.facts, *second.facts)
            if roll < 0.35:
                joint = pick(rng, (" and ", " and ", " with ", " beside ", " next to "))
            elif roll < 0.85:
                joint = f" {pick(rng, words if first is nouns[0] else turned)} "
                claims = (*claims, relation)
            else:
                phrases.append(decorate(rng, first, behind, [], []))
                continue
            phrase = Phrase(first.article() + joint + second.article(), claims, True)
            phrases.append(decorate(rng, phrase, behind, [], []))
        return finish(rng, canvas, facts, phrases, styled=not self.close)

    def layout(self, rng: Rng, captions: int) -> Picture:
        pixels, names, facts = scenes.scene(rng) if rng.random() < 0.6 else backdrops.pattern(rng)
        phrases = []
        for _ in range(captions):
            name = names[0] if rng.random() < 0.4 else pick(rng, names)
            phrases.append(Phrase(name, (name,), bare=True))
        return finish(
            rng, Image.fromarray(pixels), [*names, *facts], phrases, names[0], not self.close
        )

    def junk(self, rng: Rng, captions: int) -> Picture:
        base = self.render(int(rng.integers(2**31)), 0, 1).pixels
        pixels, names = backdrops.junk(rng, base)
        phrases = [Phrase(pick(rng, names), ("junk",), bare=True) for _ in range(captions)]
        return finish(rng, Image.fromarray(pixels), ["junk"], phrases, styled=False)

    def placing(
        self, rng: Rng, easy: bool
    ) -> tuple[list[str], list[str], tuple[float, float], float]:
        """Return place facts, size facts, the centre 0..1, and the half size as a fraction."""
        if self.close:
            x, y = 0.5 + rng.normal(0, 0.008, 2)
            return [], [], (x, y), rng.uniform(0.41, 0.45)
        if easy or rng.random() < 0.5:
            x, y = 0.5 + rng.normal(0, 0.025, 2)
            return [], [], (x, y), rng.uniform(0.30, 0.46)
        radius = rng.uniform(0.14, 0.24)
        x, y = rng.uniform(radius, 1 - radius, 2)
        place = []
        if abs(x - 0.5) > max(0.14, abs(y - 0.5)):
            place = ["at left" if x < 0.5 else "at right"]
        elif abs(y - 0.5) > 0.14:
            place = ["at top" if y < 0.5 else "at bottom"]
        return place, ["small"] if radius < 0.2 else [], (x, y), radius


def decorate(
    rng: Rng, phrase: Phrase, behind: list[str], place: list[str], size: list[str]
) -> Phrase:
    """Add background, place and size to a phrase, each by chance, when they are known."""
    noun, facts = phrase.noun, phrase.facts
    if size and not phrase.bare and rng.random() < 0.25:
        noun, facts = f"{pick(rng, SIZES[size[0]])} {noun}", (*facts, size[0])
    said = Phrase(noun, facts, phrase.bare)
    if behind and rng.random() < 0.45:
        colour = behind[0].removeprefix("on ")
        form = pick(rng, BACKDROPS) if rng.random() < 0.5 else BACKDROPS[0]
        text = form.format(said.article() if rng.random() < 0.7 else noun, colour)
        said = Phrase(text, (*facts, behind[0]), text.startswith(noun))
    if place and rng.random() < 0.4:
        text = pick(rng, PLACES[place[0].removeprefix("at ")]).format(said.article())
        said = Phrase(text, (*said.facts, place[0]), True)
    return said


def tint_of(rng: Rng, colour: str) -> NDArray[np.float64]:
    """Return an RGB near the colour's typical one, 0..255."""
    return np.clip(np.array(COLOURS[colour][0]) + rng.normal(0, 9, 3), 0, 255)


def draw_shape(
    rng: Rng,
    canvas: Image.Image,
    shape: str,
    colour: str,
    centre: tuple[float, float],
    radius: float,
    easy: bool,
) -> None:
    """Draw one filled shape; rarely shaded or with a dark rim."""
    turn = rng.normal(0, 0.05) if easy or rng.random() < 0.6 else rng.uniform(-0.6, 0.6)
    state = rng.bit_generator.state
    mask = draw_mask(shape, rng, SIDE, centre, radius, turn)
    tint = tint_of(rng, colour)
    style = rng.random()
    if style < 0.12:  # a dark or white rim
        rng.bit_generator.state = state
        rim = draw_mask(shape, rng, SIDE, centre, radius * 1.13, turn)
        canvas.paste((25, 25, 28) if rng.random() < 0.7 else (245, 245, 245), (0, 0), rim)
    if style > 0.85:  # shaded from the top
        ramp = np.linspace(rng.uniform(1.05, 1.3), rng.uniform(0.65, 0.95), SIDE)[:, None, None]
        fill = np.clip(np.broadcast_to(tint * ramp, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        canvas.paste(Image.fromarray(fill), (0, 0), mask)
    else:
        canvas.paste(tuple(int(c) for c in tint), (0, 0), mask)


def paste_emoji(
    rng: Rng,
    canvas: Image.Image,
    one: Emoji,
    centre: tuple[float, float],
    radius: float,
    easy: bool,
    dark: str = "",
) -> None:
    """Paste one emoji at its place; ``dark``: only its shadow, in that colour."""
    side = max(8, round(radius * 2 * SIDE))
    sprite = one.sprite
    if not easy and rng.random() < 0.3:
        sprite = sprite.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR)
    sprite = sprite.resize((side, side), Image.Resampling.BOX)
    corner = (round(centre[0] * SIDE - side / 2), round(centre[1] * SIDE - side / 2))
    fill = tuple(int(c) for c in tint_of(rng, dark)) if dark else sprite
    canvas.paste(fill, (*corner, corner[0] + side, corner[1] + side), sprite.getchannel("A"))


def finish(
    rng: Rng,
    canvas: Image.Image,
    facts: list[str],
    phrases: list[Phrase],
    label: str = "",
    styled: bool = True,
) -> Picture:
    """Turn phrases into sentences; a few pictures are blurred or redrawn in a style."""
    if styled and rng.random() < 0.04:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.5)))
    if styled and rng.random() < 0.14:
        style = pick(rng, list(styles.STYLES))
        redraw, forms = styles.STYLES[style]
        canvas = redraw(rng, canvas)
        facts = [*facts, f"style {style}"]
        for index, phrase in enumerate(phrases):
            if rng.random() < 0.5:
                text = pick(rng, forms).format(a=phrase.article(), n=phrase.noun)
                said = (*phrase.facts, f"style {style}")
                phrases[index] = Phrase(text, said, text[:2] not in ("a ", "an"))
    captions = [(say(rng, phrase), phrase.facts) for phrase in phrases]
    return Picture(np.asarray(canvas, dtype=np.uint8), facts, captions, label)


RELATIONS = {  # the words, and those for the things the other way round
    "above": (("above", "on top of", "over"), ("below", "under", "beneath")),
    "left of": (("left of", "to the left of"), ("right of", "to the right of")),
}
