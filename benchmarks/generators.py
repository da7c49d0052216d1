"""Draw the same prompts with every generator, and lay the pictures out as one sheet.

python benchmarks/generators.py docs/generators.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pixweave import Plugins, generate, images, load_text, open_run

PROMPTS = (
    "a sunset over the sea", "a red heart on a white background", "a smiling face", "a sunflower"
)  # fmt: skip
ROWS = {
    "pixel": "{use: pixel}",
    "pixel, hex": "{use: pixel, cell: hex}",
    "vqgan": "{use: vqgan}",
    "fft": "{use: fft}",
    "strokes,\npainting": "{use: strokes, mode: painting}",
    "strokes,\nshapes": "{use: strokes, mode: shapes}",
    "strokes,\nsketch": "{use: strokes, mode: sketch, ink: auto, count: 96}",
}
SIDE, LABEL = 132, 60


def draw(prompt: str, generator: str, plugins: Plugins) -> Image.Image:
    """The last picture of 100 steps with default settings; losses only from the prompt."""
    text = f'pixweave: 1\nsteps: 100\nprompts: ["{prompt}"]\ngenerator: {generator}\n'
    for frame in generate(open_run(load_text(text, "sheet", Path(), plugins))):
        last = frame
    picture = images.to_pillow(images.to_uint8(last.image[0])).convert("RGB")
    return picture.resize((SIDE - 4, SIDE - 4), Image.Resampling.BOX)


def main() -> None:
    """Draw, lay out, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    plugins = Plugins.discover()
    sheet = Image.new("RGB", (LABEL + len(PROMPTS) * SIDE, 20 + len(ROWS) * SIDE), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, prompt in enumerate(PROMPTS):
        words = prompt.removeprefix("a ").removesuffix(" background")
        pen.text((LABEL + column * SIDE + 4, 3), words, "black", font)
    for row, (name, generator) in enumerate(ROWS.items()):
        pen.multiline_text((3, 20 + row * SIDE + SIDE // 2 - 12), name, "black", font)
        for column, prompt in enumerate(PROMPTS):
            place = LABEL + column * SIDE + 2, 20 + row * SIDE + 2
            sheet.paste(draw(prompt, generator, plugins), place)
    with images.whole(path) as part:
        sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(part, "PNG", optimize=True)


if __name__ == "__main__":
    main()
