"""SVG: another renderer draws from it the picture that we drew ourselves."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import resvg_py
from PIL import Image

from pixweave import RecipeError, load_text
from pixweave.media import metadata, svg
from pixweave.pipeline.runner import perform
from pixweave.testing import plugins_of, tiny_recipe

PIXELS: list[dict[str, Any]] = [
    *[
        {"use": "pixel", "grid": [9, 6], "cell": cell, "start": 0.5}
        for cell in ("square", "rect", "brick", "hex", "triangle", "diamond", "knit")
    ],
    {"use": "pixel", "grid": [9, 7], "cell": "hex", "start": 0.5, "alpha": True},
    {
        "use": "pixel",
        "grid": [9, 7],
        "cell": "knit",
        "start": 0.5,
        "alpha": True,
        "palette": "pico-8",
    },
]

STROKES: list[dict[str, Any]] = [
    {"use": "strokes", "mode": "sketch"},
    *[
        {"use": "strokes", "mode": mode, "paper": paper}
        for mode in ("painting", "shapes")
        for paper in ("auto", "none", "#336699")
    ],
]


def seen(array: Any) -> Any:
    """Bytes `[H, W, 3 or 4]` as floats with the colours premultiplied, 0..255."""
    picture = np.asarray(array, dtype=float)
    if picture.shape[2] == 3:
        picture = np.concatenate([picture, np.full_like(picture[..., :1], 255)], 2)
    return np.concatenate([picture[..., :3] * picture[..., 3:] / 255, picture[..., 3:]], 2)


@pytest.mark.parametrize(
    "generator", PIXELS + STROKES, ids=lambda g: "-".join(map(str, g.values()))
)
def test_another_renderer_draws_the_same(generator: dict[str, Any], tmp_path: Path) -> None:
    recipe = tiny_recipe(
        size=[180, 120],
        generator=generator,
        steps=8,
        optimizer={"rate": 0.1},
        export=["a.png", "a.svg"],
    )
    assert list(perform(recipe, tmp_path))[-1].data["ok"]
    with Image.open(tmp_path / "a.png") as ours:
        expected = seen(ours.convert("RGBA"))
    text = (tmp_path / "a.svg").read_text("utf-8")
    with Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text)))) as theirs:
        found = seen(theirs.convert("RGBA"))
    assert found.shape == expected.shape
    # of 255; a crowd of lines a pixel wide comes near it, since resvg samples edges coarsely
    assert np.abs(found - expected)[..., :3].mean() < (3 if generator["use"] == "strokes" else 1)
    assert expected.std() > 10


def test_it_is_shown_as_large_as_scale_says_and_carries_the_recipe(tmp_path: Path) -> None:
    recipe = tiny_recipe(title="a < b & c", export=[{"file": "a.svg", "scale": 3}])
    assert list(perform(recipe, tmp_path))[-1].data["ok"]
    text = (tmp_path / "a.svg").read_text("utf-8")
    with Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text)))) as theirs:
        assert theirs.size == (72, 72)
    stamp = metadata.read_metadata(tmp_path / "a.svg")["pixweave"]
    assert load_text(stamp, "stamp", tmp_path, plugins_of()).title == "a < b & c"


def test_numbers_and_colours_are_short() -> None:
    assert [svg.number(v) for v in (1.0, -0.0001, 2.5, 1 / 3)] == ["1", "0", "2.5", "0.333"]
    assert svg.colour((0, 1, 1.2)) == "#00ffff"
    assert svg.opacity("opacity", 1.0) == ""
    assert svg.opacity("opacity", 0.25) == ' opacity="0.25"'


def test_a_generator_without_shapes_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(generator={"use": "vqgan"}, export=["a.svg"])
    assert str(caught.value).partition(": ")[2] == (
        "exporter 'svg': generator 'vqgan' draws no shapes; use strokes or pixel, or export a .png"
    )


def test_filters_are_said_to_be_left_out() -> None:
    recipe = tiny_recipe(filters=["crisp"], export=["a.svg"])
    assert [str(w).partition(": ")[2] for w in recipe.warnings] == [
        "exporter 'svg': an SVG contains the image before the filters; remove the filters, "
        "or set scale"
    ]


def test_a_mask_of_the_recipe_is_refused() -> None:
    ghost = str(Path(__file__).parent.parent / "recipes" / "pictures" / "ghost.png")
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(start_from=ghost, mask=[0, 0, 0.5, 1], export=["a.svg"])
    assert str(caught.value).partition(": ")[2] == (
        "exporter 'svg': an SVG contains only shapes, not the pixels that the recipe's mask "
        "keeps; remove the mask, or export a .png"
    )
