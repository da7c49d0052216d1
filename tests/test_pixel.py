"""Generator `pixel`: cells, palettes, transparency."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pixweave_pixel.cells import SHAPES, Shape, cell_map, outlines, pitch
from pixweave_pixel.pixel_settings import Pixel
from torch import Tensor

from pixweave import RecipeError, generate, open_run
from pixweave.media.palettes import SETS, read_palette
from pixweave.testing import tiny_recipe


def final(**keys: Any) -> Tensor:
    return [frame.image for frame in generate(open_run(tiny_recipe(**keys)))][-1]


def test_square_cells_are_crisp_and_all_of_one_size() -> None:
    image = final(size=[48, 36], generator={"use": "pixel", "grid": [8, 6]})
    cells = image.unfold(2, 6, 6).unfold(3, 6, 6).flatten(4)
    assert cells.shape[2:4] == (6, 8)
    assert torch.equal(cells.amin(4), cells.amax(4))
    assert len(cells[..., 0].flatten(2)[0].T.unique(dim=0)) > 20


def test_a_size_that_the_grid_does_not_divide_is_rounded_and_said() -> None:
    recipe = tiny_recipe(size=[100, 70], generator={"use": "pixel", "grid": [12, 8]})
    assert recipe.size == (96, 64)
    assert [str(w) for w in recipe.warnings] == [
        "tiny.yaml:1:25: size 100x70 becomes 96x64, the nearest size that generator 'pixel' "
        "supports"
    ]


def test_without_a_grid_there_are_about_32_cells_on_the_long_side() -> None:
    assert Pixel().cells((256, 256)) == (32, 32)
    assert Pixel().cells((640, 360)) == (32, 18)
    assert Pixel().cells((40, 24)) == (40, 24)


@pytest.mark.parametrize("cell", SHAPES)
def test_without_a_grid_cells_are_regular_and_about_as_many(cell: Shape) -> None:
    columns, rows = Pixel(cell=cell).cells((512, 512))
    assert 900 < columns * rows < 1100
    across, down = pitch(cell, columns, rows, (512, 512))
    regular = {"brick": 2, "hex": 1.1547, "diamond": 2, "triangle": 0.577, "knit": 1.4}
    assert across / down == pytest.approx(regular.get(cell, 1), rel=0.08)


def test_a_grid_that_does_not_fit_is_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(generator={"use": "pixel", "grid": [40, 12]})
    assert str(caught.value).partition(": ")[2] == (
        "generator 'pixel': a grid of 40x12 cells does not fit in 24x24 pixels; "
        "set size to at least [40, 12]"
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_lies_within_the_outline_of_its_cell(shape: Shape) -> None:
    columns, rows, size = 9, 8, (171, 117)
    index = cell_map(shape, columns, rows, size)
    assert sorted(index.unique().tolist()) == list(range(columns * rows))
    corners = outlines(shape, columns, rows, size)[index]
    y, x = torch.meshgrid(torch.arange(size[1]) + 0.5, torch.arange(size[0]) + 0.5, indexing="ij")
    here = torch.stack([x.flatten(), y.flatten()], 1).double()
    there = corners.roll(-1, 1)
    between = (corners[..., 1] > here[:, 1:]) != (there[..., 1] > here[:, 1:])
    share = (here[:, 1:] - corners[..., 1]) / (there[..., 1] - corners[..., 1])
    left = here[:, :1] < corners[..., 0] + share * (there[..., 0] - corners[..., 0])
    inside = (between & left).sum(1) % 2 == 1
    assert inside.float().mean() > 0.995  # the rest lie on a line between two cells


@pytest.mark.parametrize("shape", ["hex", "diamond"])
def test_cells_tile_the_picture_in_shifted_rows(shape: Shape) -> None:
    columns, rows, size = 9, 8, (180, 120)
    index = cell_map(shape, columns, rows, size).view(size[1], size[0])
    counts = torch.bincount(index.flatten(), minlength=columns * rows).view(rows, columns)
    assert counts.min() > 0
    inner = counts[1:-1, 1:-1].float()
    assert inner.max() / inner.min() < 1.15  # all whole cells are of one size
    assert counts.sum() == size[0] * size[1]
    middle = [(index // columns == r).nonzero().float().mean(0)[0] for r in range(rows)]
    assert middle == sorted(middle)
    first = [(index == row * columns + 4).nonzero().float()[:, 1].mean() for row in (2, 3)]
    pitch = size[0] / (columns - 0.5)
    assert first[1] - first[0] == pytest.approx(pitch / 2, abs=1)


def test_hexagons_and_bricks_have_six_neighbours_diamonds_four_triangles_three() -> None:
    counts: list[tuple[Shape, int]] = [("hex", 6), ("diamond", 4), ("triangle", 3), ("brick", 6)]
    for shape, sides in counts:
        index = cell_map(shape, 7, 7, (210, 210)).view(210, 210)
        centre = 3 * 7 + 3
        edge_pairs = torch.cat(
            [
                torch.stack([index[:, :-1].flatten(), index[:, 1:].flatten()]),
                torch.stack([index[:-1].flatten(), index[1:].flatten()]),
            ],
            1,
        )
        touching = edge_pairs[:, (edge_pairs == centre).any(0) & (edge_pairs[0] != edge_pairs[1])]
        names, lengths = touching.flatten().unique(return_counts=True)
        neighbours = {int(n) for n, c in zip(names, lengths, strict=True) if n != centre and c > 3}
        assert len(neighbours) == sides, shape


def test_with_a_palette_every_pixel_is_one_of_its_colours() -> None:
    image = final(generator={"use": "pixel", "grid": [12, 12], "palette": "pico-8", "start": 0.5})
    found = {tuple(c) for c in (image * 255).round().int().flatten(2)[0].T.tolist()}
    assert found <= set(SETS["pico-8"])
    assert len(found) > 2


def test_the_gradient_passes_the_palette_straight_through() -> None:
    run = open_run(tiny_recipe(generator={"use": "pixel", "grid": [12, 12], "palette": "1bit"}))
    run.generator.image().sum().backward()
    finest = list(run.generator.parameters())[-1]
    assert finest.grad is not None
    # 2 x 2 pixels a cell, and the slope of the sigmoid near grey is 1
    assert torch.allclose(finest.grad, torch.full_like(finest, 4.0), rtol=0.05)


def test_alpha_gives_four_channels_and_is_seen_over_a_changing_grey() -> None:
    run = open_run(tiny_recipe(generator={"use": "pixel", "grid": [12, 12], "alpha": True}))
    run.generator.start_from(torch.cat([torch.ones(1, 3, 24, 24), torch.zeros(1, 1, 24, 24)], 1))
    first, second = run.look(0), run.look(1)
    assert first.raw.shape == (1, 4, 24, 24)
    assert first.alpha is not None
    assert first.alpha.max() < 1e-3
    assert first.image.std() < 1e-4
    assert abs(float((first.image.mean() - second.image.mean()).detach())) > 1e-3


def test_the_pyramid_runs_from_coarse_to_the_grid() -> None:
    run = open_run(tiny_recipe(generator={"use": "pixel", "grid": [24, 16]}))
    assert [tuple(p.shape[2:]) for p in run.generator.parameters()] == [(8, 12), (16, 24)]
    flat = open_run(tiny_recipe(generator={"use": "pixel", "grid": [24, 16], "coarsest": 16}))
    assert [tuple(p.shape[2:]) for p in flat.generator.parameters()] == [(16, 24)]


def test_start_from_gives_each_cell_its_mean_colour() -> None:
    run = open_run(tiny_recipe(generator={"use": "pixel", "grid": [12, 12]}))
    image = torch.rand(1, 3, 24, 24, generator=run.rng("test"))
    run.generator.start_from(image)
    means = torch.nn.functional.avg_pool2d(image, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(run.generator.image(), means, atol=1e-6)


def test_start_from_gives_cells_of_any_shape_their_mean_and_heeds_alpha() -> None:
    generator = {"use": "pixel", "grid": [6, 5], "cell": "triangle", "alpha": True}
    run = open_run(tiny_recipe(size=[60, 50], generator=generator))
    index = cell_map("triangle", 6, 5, (60, 50))
    wanted = torch.rand(4, 30, generator=run.rng("test")) * 0.9 + 0.05
    image = wanted[:, index].view(1, 4, 50, 60)
    run.generator.start_from(image)
    assert torch.allclose(run.generator.image(), image, atol=1e-4)
    mixed = image.clone()
    mixed[..., ::2] = torch.tensor([1.0, 0, 1, 0])[:, None, None]  # clear magenta between
    run.generator.start_from(mixed)
    shown = run.generator.image().detach()
    assert torch.allclose(shown[:, :3], image[:, :3], atol=0.02)
    assert float((shown[:, 3] - image[:, 3] / 2).abs().mean()) < 0.05


def test_palettes_are_read_from_lists_and_files(tmp_path: Path) -> None:
    assert read_palette(["#f00", "00ff00", "blue", [1, 2, 3]]) == (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (1, 2, 3),
    )
    (tmp_path / "two.hex").write_text("ff0000\n0000ff\nff0000\n")
    assert read_palette(str(tmp_path / "two.hex")) == ((255, 0, 0), (0, 0, 255))
    (tmp_path / "a.gpl").write_text("GIMP Palette\nName: x\n# c\n  1   2   3 Ink\n255 255 255\n")
    assert read_palette(str(tmp_path / "a.gpl")) == ((1, 2, 3), (255, 255, 255))
    picture = Image.new("RGB", (4, 4), (9, 8, 7))
    picture.putpixel((0, 0), (200, 100, 0))
    picture.save(tmp_path / "p.png")
    assert read_palette(str(tmp_path / "p.png")) == ((9, 8, 7), (200, 100, 0))
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    Image.merge(
        "RGB",
        [noise.getchannel(0), noise.getchannel(1).rotate(90), noise.getchannel(2).rotate(180)],
    ).save(tmp_path / "n.png")
    assert 2 <= len(read_palette(str(tmp_path / "n.png"))) <= 16


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "pico8",
            "palette 'pico8' is not known; did you mean 'pico-8'?; or name a file that ends in "
            ".gpl, .hex, .png, .gif, .jpg, .jpeg, .webp, .bmp, or list colours",
        ),
        (["#ff0000"], "a palette has 2 to 256 different colours; the list has 1"),
        (
            ["#ff0000", "bleu"],
            "'bleu' is not a valid colour; write '#rrggbb', '#rgb' or a CSS name; did you "
            "mean 'blue'?",
        ),
        (
            ["#ff0000", [1, 2, 300]],
            "[1, 2, 300] is not a valid colour; write '#rrggbb' in quotes, a CSS name "
            "or [r, g, b] in 0..255",
        ),
        (
            ["#ff0000", None],
            "None is not a valid colour; write '#rrggbb' in quotes, a CSS name or [r, g, b] "
            "in 0..255",
        ),
        ("none.gpl", "palette file 'none.gpl' not found"),
        (7, "a palette is a name, a file or a list of colours"),
    ],
)
def test_a_bad_palette_says_what_is_wrong(written: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is below
        read_palette(written)
    assert str(caught.value) == message
