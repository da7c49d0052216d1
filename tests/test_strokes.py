"""Generator `strokes`: curves, the soft rasteriser, and starting from a picture."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pixweave_strokes.curves import beziers, path, segments
from pixweave_strokes.raster import Over, Shapes, _share, render
from torch import Tensor

from pixweave import RecipeError, open_run
from pixweave.testing import tiny_recipe


def line(*corners: tuple[float, float], closed: bool = False, half: float = 2.0) -> Shapes:
    """One white shape along straight lines."""
    points = torch.tensor([corners])
    starts, ends = points[:, :-1], points[:, 1:]
    return Shapes(starts, ends, torch.tensor([half]), torch.ones(1, 3), torch.ones(1), closed)


BLACK = torch.zeros(3)


def test_a_straight_line_covers_its_length_times_its_width_and_two_half_discs() -> None:
    image = render(line((10, 20), (50, 20), half=3), BLACK, (64, 40))
    assert image.shape == (1, 3, 40, 64)
    assert float(image[0, 0].sum()) == pytest.approx(40 * 6 + 3.1416 * 9, rel=0.01)
    assert float(image[0, 0, 20, 30]) == 1
    assert float(image[0, 0, 25, 30]) == 0


def test_an_edge_covers_what_it_covers_at_any_angle() -> None:
    inside = torch.linspace(-0.4995, 0.4995, 1000)
    y, x = torch.meshgrid(inside, inside, indexing="ij")
    for angle in (0.0, 0.3, 0.785, 1.2, 1.5708):
        normal = torch.tensor([[math.cos(angle), math.sin(angle)]])
        for depth in (-0.65, -0.3, -0.05, 0.0, 0.2, 0.55):
            exact = float((x * normal[0, 0] + y * normal[0, 1] < depth).float().mean())
            found = float(_share(torch.tensor([depth]), normal.abs()))
            assert found == pytest.approx(exact, abs=0.003)


def test_a_square_is_filled_and_a_star_by_the_even_odd_rule() -> None:
    square = line((8, 8), (40, 8), (40, 40), (8, 40), (8, 8), closed=True)
    image = render(square, BLACK, (64, 48))
    assert float(image[0, 0].sum()) == pytest.approx(32 * 32, rel=0.001)
    twice = line(
        (8, 8),
        (40, 8),
        (40, 40),
        (8, 40),
        (8, 8),
        (16, 16),
        (32, 16),
        (32, 32),
        (16, 32),
        (16, 16),
        (8, 8),
        closed=True,
    )
    holed = render(twice, BLACK, (64, 48))
    assert float(holed[0, 0].sum()) == pytest.approx(32 * 32 - 16 * 16, rel=0.01)
    assert float(holed[0, 0, 24, 24]) == 0


def test_a_crossing_of_strokes_is_painted_once_and_later_ones_lie_above() -> None:
    cross = line((8, 8), (40, 40), (40, 8), (8, 40))
    faint = Shapes(cross.starts, cross.ends, cross.half, cross.colours, torch.tensor([0.5]), False)
    assert float(render(faint, BLACK, (48, 48)).detach().max()) == 0.5
    both = Shapes(
        torch.tensor([[[4.0, 16]], [[16.0, 4]]]),
        torch.tensor([[[28.0, 16]], [[16.0, 28]]]),
        torch.tensor([3.0, 3.0]),
        torch.tensor([[1.0, 0, 0], [0, 0, 1]]),
        torch.tensor([1.0, 0.25]),
        False,
    )
    image = render(both, BLACK, (32, 32))
    assert image[0, :, 16, 16].tolist() == [0.75, 0, 0.25]


@pytest.mark.parametrize("closed", [False, True])
def test_gradients_agree_with_differences(closed: bool) -> None:
    rng = torch.Generator().manual_seed(3)
    points = torch.rand(5, 4, 2, generator=rng) * 30 + 1
    half = torch.rand(5, generator=rng) * 3 + 1
    colours, opacity = torch.rand(5, 3, generator=rng), torch.rand(5, generator=rng)
    paper, weights = torch.rand(3, generator=rng), torch.rand(1, 3, 32, 32, generator=rng)
    leaves = [points, half, colours, opacity, paper]

    def value(points: Tensor, half: Tensor, colours: Tensor, opacity: Tensor, paper: Tensor) -> Any:
        shapes = Shapes(*segments(beziers(points, closed)), half, colours, opacity, closed)
        return (render(shapes, paper, (32, 32)) * weights).double().sum()

    value(*(leaf.requires_grad_() for leaf in leaves)).backward()
    for number, leaf in enumerate(leaves):
        if closed and leaf is half:
            assert leaf.grad is None
            continue
        step = torch.randn(leaf.shape, generator=rng) * 0.003
        ends = []
        for sign in (-1, 1):
            moved = [x.detach() for x in leaves]
            moved[number] = moved[number] + sign * step
            ends.append(float(value(*moved)))
        assert leaf.grad is not None
        expected = (ends[1] - ends[0]) / 2
        assert float((leaf.grad * step).sum()) == pytest.approx(expected, rel=0.05, abs=2e-3)


def test_painting_by_layers_is_the_over_operator() -> None:
    rng = torch.Generator().manual_seed(1)
    alpha, colours = torch.rand(5, 4, generator=rng), torch.rand(5, 3, generator=rng)
    paper = torch.rand(3, generator=rng)
    inputs = [x.double().requires_grad_() for x in (alpha, colours, paper)]
    assert torch.autograd.gradcheck(lambda a, c, p: Over.apply(a, c, p, [3, 2], 4), inputs)


def test_curves_run_through_their_points_and_are_smooth() -> None:
    points = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(0)) * 20
    for closed in (False, True):
        pieces = beziers(points, closed)
        assert pieces.shape == (3, 5 if closed else 4, 4, 2)
        assert torch.equal(pieces[:, :, 0], points if closed else points[:, :-1])
        assert torch.equal(pieces[:, :-1, 3], pieces[:, 1:, 0])
        assert torch.allclose(
            pieces[:, :-1, 3] - pieces[:, :-1, 2], pieces[:, 1:, 1] - pieces[:, 1:, 0], atol=1e-5
        )
    assert path(torch.tensor([[[0, 1], [2, 3], [4, 5.5], [6, 7]]]), True) == "M0 1C2 3 4 5.5 6 7z"


def test_a_picture_without_a_shape_in_it_is_paper() -> None:
    image = render(line((900, 900), (910, 900)), torch.tensor([0.2, 0.4, 0.6]), (20, 12))
    assert torch.equal(image, torch.tensor([0.2, 0.4, 0.6])[:, None, None].expand(1, 3, 12, 20))


@pytest.mark.parametrize("mode", ["painting", pytest.param("shapes", marks=pytest.mark.slow)])
def test_start_from_takes_up_a_picture(mode: str) -> None:
    generator = {"use": "strokes", "mode": mode, "count": 60}
    run = open_run(tiny_recipe(size=[48, 48], generator=generator))
    image = torch.zeros(1, 3, 48, 48)
    image[:, 0, :24], image[:, 2, 24:] = 0.9, 0.8
    run.generator.start_from(image)
    assert float((run.generator.image().detach() - image).abs().mean()) < 0.05


def test_a_picture_taken_up_once_is_not_fitted_again_and_one_near_it_shortly() -> None:
    run = open_run(tiny_recipe(size=[48, 48], generator={"use": "strokes", "count": 60}))
    image = torch.zeros(1, 3, 48, 48)
    image[:, 0, :24], image[:, 2, 24:] = 0.9, 0.8
    run.generator.start_from(image)
    first = run.generator.state_dict()
    run.generator.start_from(image.clone())
    for name, value in run.generator.state_dict().items():
        assert torch.equal(value, first[name])
    blend = 0.85 * image + 0.15 * torch.tensor([0.2, 0.9, 0.2])[:, None, None]
    before = float((run.generator.image().detach() - blend).square().mean())
    run.generator.start_from(blend)
    after = float((run.generator.image().detach() - blend).square().mean())
    assert after < 0.6 * before
    again = run.generator.state_dict()
    assert float((again["points"] - first["points"]).abs().max()) < 20 * 0.1
    with torch.no_grad():
        run.generator.parameters()[0].add_(0.3)  # type: ignore[index]
    run.generator.start_from(blend)
    assert not torch.equal(run.generator.state_dict()["points"], again["points"] + 0.3)


def test_a_sketch_starts_with_its_lines_where_a_picture_is_dark() -> None:
    run = open_run(tiny_recipe(size=[64, 64], generator={"use": "strokes", "mode": "sketch"}))
    image = torch.ones(1, 3, 64, 64)
    image[..., 20:44] = 0
    run.generator.start_from(image)
    ours = run.generator.image().detach()
    assert float(ours[..., 20:44].mean()) < 0.6 * float(ours[..., :16].mean())


def test_without_paper_it_has_alpha_and_takes_up_a_cut_out() -> None:
    run = open_run(tiny_recipe(size=[48, 48], generator={"use": "strokes", "paper": "none"}))
    assert run.generator.image().shape == (1, 4, 48, 48)
    image = torch.zeros(1, 4, 48, 48)
    image[:, 1, :, :24], image[:, 3, :, :24] = 0.8, 1
    run.generator.start_from(image)
    ours = run.generator.image().detach()
    assert float(ours[:, 3, :, :20].mean()) > 0.8
    assert float(ours[:, 3, :, 28:].mean()) < 0.2


def test_a_sketch_keeps_its_ink_and_paper_and_moves_points_and_widths() -> None:
    run = open_run(tiny_recipe(generator={"use": "strokes", "mode": "sketch", "ink": "#ff0000"}))
    assert set(run.generator.state_dict()) == {"points", "widths"}
    image = run.generator.image().detach()
    assert float(image[:, 0].min()) > 0.96


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": [5, 2]}, "[5, 2] is not a valid range in %; write [minimum, maximum]"),
        ({"mode": "shapes", "width": [1, 2]}, "filled shapes have no width; remove it"),
        (
            {"mode": "shapes", "points": 2},
            "a filled shape needs at least 3 points; set points to 3 or more",
        ),
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(generator={"use": "strokes", **settings})
    assert str(caught.value).partition(": ")[2] == f"generator 'strokes': {message}"
