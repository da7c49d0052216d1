"""What the losses and augmentations do, beyond their contract."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pixweave import RecipeError, generate, open_run
from pixweave.embedding.similarity import contrast, distance, unlike
from pixweave.engine.run import Run
from pixweave.testing import tiny_recipe


def mean_colour(**keys: Any) -> list[float]:
    recipe = tiny_recipe(**{"steps": 40, **keys})
    image = [frame.image for frame in generate(open_run(recipe))][-1]
    return image.mean((0, 2, 3)).tolist()


def test_a_prompt_pulls_and_a_negative_weight_pushes() -> None:
    red, green, blue = mean_colour(prompts=["a red square"])
    assert red > green + 0.2
    assert red > blue + 0.2
    red, green, blue = mean_colour(prompts=[{"text": "a red square", "weight": -1}])
    assert red < 0.45
    assert red < green


def test_an_image_prompt_pulls_towards_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "blue").save(tmp_path / "blue.png")
    red, _, blue = mean_colour(prompts=[{"image": str(tmp_path / "blue.png")}])
    assert blue > red + 0.2


def gradient(run: Run) -> float:
    loss = run.losses[0]
    loss(run.look(0)).backward()
    return float(sum(p.grad.abs().sum() for p in run.generator.parameters() if p.grad is not None))


@pytest.mark.parametrize(
    ("weight", "stop", "moves"),
    [
        (1, 5, False),
        (1, 0.0, True),
        (-1, 5, True),
        (-1, 0.0, False),
    ],
)
def test_stop_ends_the_pull_when_near_and_the_push_when_far(
    weight: float, stop: float, moves: bool
) -> None:
    run = open_run(tiny_recipe(prompts=[{"text": "a red square", "weight": weight, "stop": stop}]))
    assert (gradient(run) > 0) is moves


def test_a_prompt_can_be_judged_by_one_of_several_perceptors() -> None:
    two = [{"use": "fake", "id": "big", "side": 24}, {"use": "fake", "id": "small", "side": 8}]
    run = open_run(
        tiny_recipe(perceptors=two, prompts=[{"text": "a red square", "perceptors": ["small"]}])
    )
    run.losses[0](run.look(0))
    assert [p.encoded for p in run.perceptors.values()] == [0, 4]  # type: ignore[attr-defined]
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(perceptors=two, prompts=[{"text": "a red square", "perceptors": ["smal"]}])
    assert str(caught.value).endswith(
        "the recipe has no perceptor with the id 'smal'; did you mean 'small'?"
    )


def test_perceptor_weights_share_one_loss() -> None:
    def value(**weights: float) -> float:
        two = [
            {"use": "fake", "id": name, "side": 8 if name == "a" else 24, "weight": weight}
            for name, weight in weights.items()
        ]
        run = open_run(tiny_recipe(perceptors=two))
        return float(run.losses[0](run.look(0)).detach())

    only_a, only_b = value(a=1, b=0), value(a=0, b=1)
    assert value(a=3, b=1) == pytest.approx(0.75 * only_a + 0.25 * only_b, rel=1e-5)


def test_distance_is_half_the_squared_angle() -> None:
    north = torch.tensor([[0.0, 1.0]])
    for degrees in (0, 30, 90, 170):
        angle = math.radians(degrees)
        other = torch.tensor([[math.sin(angle), math.cos(angle)]])
        assert float(distance(other, north)) == pytest.approx(angle**2 / 2, abs=1e-5)


def test_contrast_is_one_at_chance_and_leaves_synonyms_out() -> None:
    target = torch.tensor([[1.0, 0, 0, 0]])
    bank = torch.eye(4)[1:]
    neutral = torch.nn.functional.normalize(torch.ones(1, 4), dim=1)
    assert float(contrast(neutral, target, bank)) == pytest.approx(1.0, abs=1e-5)
    assert float(contrast(target, target, bank)) < 1e-3
    assert torch.equal(unlike(torch.cat([bank, target]), target), bank)


def test_saturation_brings_the_colourfulness_to_the_amount() -> None:
    for amount in (0.1, 0.5):
        recipe = tiny_recipe(
            prompts=[],
            losses=[{"use": "saturation", "amount": amount}],
            steps=300,
            optimizer={"rate": 0.02},
        )
        image = [frame.image for frame in generate(open_run(recipe))][-1]
        red, green, blue = image.unbind(1)
        first, second = red - green, (red + green) / 2 - blue
        spread = math.hypot(float(first.std(correction=0)), float(second.std(correction=0)))
        offset = math.hypot(float(first.mean()), float(second.mean()))
        assert spread + 0.3 * offset == pytest.approx(amount, abs=0.05)


def test_symmetry_makes_the_mirror_image_equal() -> None:
    recipe = tiny_recipe(prompts=[], losses=[{"use": "symmetry", "axis": "y"}], steps=150)
    frames = [frame.image for frame in generate(open_run(recipe))]
    before, after = ((f - f.flip(2)).abs().mean() for f in (frames[0], frames[-1]))
    assert after < 0.2 * before


def test_the_palette_loss_draws_pixels_to_its_colours() -> None:
    recipe = tiny_recipe(
        prompts=[],
        losses=[{"use": "palette", "colors": ["red", "#0000ff"]}],
        steps=200,
        optimizer={"rate": 0.05},
    )
    image = [frame.image for frame in generate(open_run(recipe))][-1].flatten(2)[0].T
    colours = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    assert torch.cdist(image, colours).amin(1).mean() < 0.1


def test_smoothness_counts_edges_or_squares() -> None:
    run = open_run(
        tiny_recipe(
            prompts=[],
            losses=[{"use": "smoothness", "kind": "edges"}, {"use": "smoothness", "kind": "even"}],
        )
    )
    step, ramp = torch.zeros(1, 3, 24, 24), torch.zeros(1, 3, 24, 24)
    step[..., 12:] = 1
    ramp[:] = torch.linspace(0, 1, 24)
    edges, even = (part.loss for part in run.losses)

    def of(loss: Any, image: torch.Tensor) -> float:
        view = run.look(0)
        view.image = image
        return float(loss(view))

    assert of(edges, step) == pytest.approx(of(edges, ramp), rel=0.05)  # same total variation
    assert of(even, step) > 10 * of(even, ramp)  # many small steps are better than a large one


def test_hue_jitter_keeps_greys_and_turns_colours() -> None:
    run = open_run(tiny_recipe(augmentations=[{"use": "jitter", "hue": 0.5, "chance": 1}]))
    augment = run.augmentations["jitter"]
    grey = torch.full((16, 3, 4, 4), 0.4)
    assert torch.allclose(augment(grey, run.rng("x"), run.recipe.moment(0)), grey, atol=1e-5)
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1).expand(16, 3, 4, 4)
    turned = augment(red, run.rng("x"), run.recipe.moment(0))
    assert torch.allclose(turned.mean(1), red.mean(1), atol=1e-5)  # brightness stays
    assert (turned - red).abs().amax((1, 2, 3)).max() > 0.3


def test_erase_paints_one_rectangle_of_the_stated_area() -> None:
    run = open_run(tiny_recipe(augmentations=[{"use": "erase", "area": [0.1, 0.3], "chance": 1}]))
    crops = torch.full((64, 3, 32, 32), -1.0)
    share = (
        (run.augmentations["erase"](crops, run.rng("x"), run.recipe.moment(0)) >= 0)[:, 0]
        .float()
        .mean((1, 2))
    )
    assert share.min() > 0.07
    assert share.max() < 0.36


def test_chance_leaves_some_crops_alone() -> None:
    for settings in ({"use": "erase"}, {"use": "blur", "sigma": [1, 2]}, {"use": "jitter"}):
        run = open_run(tiny_recipe(augmentations=[{**settings, "chance": 0.5}]))
        (augment,) = run.augmentations.values()
        crops = torch.rand(400, 3, 8, 8, generator=run.rng("x"))
        changed = (
            (augment(crops, run.rng("y"), run.recipe.moment(0)) - crops).abs().amax((1, 2, 3))
            > 1e-5
        ).float()
        assert float(changed.mean()) == pytest.approx(0.5, abs=0.09), settings


def test_coverage_makes_room_around_a_sprite() -> None:
    sprite = {"use": "pixel", "grid": [12, 12], "alpha": True}
    loss = {"use": "coverage", "amount": 0.3}
    recipe = tiny_recipe(prompts=[], losses=[loss], generator=sprite, steps=120)
    frames = [frame.image[:, 3] for frame in generate(open_run(recipe))]
    assert frames[0].mean() > 0.6
    assert float(frames[-1].mean()) == pytest.approx(0.3, abs=0.05)


def test_coverage_needs_transparency() -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(losses=["coverage"])
    assert str(caught.value).partition(": ")[2] == (
        "loss 'coverage': generator 'pixel' makes no transparency here; "
        "set generator.alpha to true, or remove this loss"
    )


def test_a_sprite_with_a_palette_is_there_or_not() -> None:
    sprite = {"use": "pixel", "grid": [12, 12], "alpha": True, "palette": "pico-8", "start": 0.5}
    image = [frame.image for frame in generate(open_run(tiny_recipe(generator=sprite)))][-1]
    assert set(image[:, 3].unique().tolist()) == {0.0, 1.0}
