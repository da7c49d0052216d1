"""Draw the same prompts with every generator, as one contact sheet.

    python benchmarks/generators.py docs/generators.png

All images start from the image that tiny-dalle samples for the prompt and are optimised for 60
steps; this takes about four minutes on one CPU thread.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pixweave import Plugins, generate, load_text, open_run
from pixweave.media import atomic_write, images

PROMPTS = ("a sunset over the sea", "a red heart", "a green apple", "a mushroom")
GENERATORS = {
    "pixel": "{use: pixel, sample: true}",
    "pixel, hex": "{use: pixel, sample: true, cell: hex}",
    "pixel, knit": "{use: pixel, sample: true, cell: knit}",
    "pixel, triangle": "{use: pixel, sample: true, cell: triangle}",
    "vqgan": "{use: vqgan}",
    "fft": "{use: fft, sample: true}",
    "strokes, painting": "{use: strokes, sample: true}",
    "strokes, shapes": "{use: strokes, mode: shapes, sample: true}",
    "strokes, sketch": "{use: strokes, mode: sketch, ink: auto, count: 96, sample: true}",
}
SIDE, LEFT, TOP = 132, 60, 20


def draw(prompt: str, generator: str, plugins: Plugins) -> Image.Image:
    """Return the last image of 60 steps, with no loss but the prompt."""
    text = f'pixweave: 1\nsteps: 60\nprompts: ["{prompt}"]\ngenerator: {generator}\n'
    for frame in generate(open_run(load_text(text, "sheet", Path(), plugins))):
        last = frame
    picture = images.to_pillow(images.to_uint8(last.image[0])).convert("RGB")
    return picture.resize((SIDE - 4, SIDE - 4), Image.Resampling.BOX)


def lay_out(pictures: dict[tuple[str, str], Image.Image]) -> Image.Image:
    """Return a contact sheet with a row for each prompt and a column for each generator."""
    size = LEFT + len(GENERATORS) * SIDE, TOP + len(PROMPTS) * SIDE
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, name in enumerate(GENERATORS):
        pen.text((LEFT + column * SIDE + 4, 3), name, "black", font)
        for row, prompt in enumerate(PROMPTS):
            place = LEFT + column * SIDE + 2, TOP + row * SIDE + 2
            sheet.paste(pictures[prompt, name], place)
    for row, prompt in enumerate(PROMPTS):
        words = prompt.removeprefix("a ").replace(" ", "\n")
        pen.multiline_text((3, TOP + row * SIDE + SIDE // 3), words, "black", font)
    return sheet


def main() -> None:
    """Draw the images and save the contact sheet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    plugins = Plugins.discover()
    pictures = {
        (prompt, name): draw(prompt, generator, plugins)
        for name, generator in GENERATORS.items()
        for prompt in PROMPTS
    }
    with atomic_write.whole(path) as part:
        sheet = lay_out(pictures).quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
        sheet.save(part, "PNG", optimize=True)


if __name__ == "__main__":
    main()
