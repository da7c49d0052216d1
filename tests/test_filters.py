"""Filters: what is done to the finished picture, and the two that give it another size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixweave import (
    Component,
    Moment,
    Plugins,
    RecipeError,
    generate,
    hookimpl,
    load_text,
    open_run,
)
from pixweave.pipeline.runner import perform
from pixweave.testing import plugins_of, tiny_recipe


def filtered(image: Tensor, **settings: Any) -> Tensor:
    recipe = tiny_recipe(filters=[settings])
    return open_run(recipe).filtered(image, recipe.moment(0))


def test_crisp_makes_squares_of_the_same_colours() -> None:
    image = torch.rand(1, 3, 4, 5)
    large = filtered(image, use="crisp", scale=3)
    assert large.shape == (1, 3, 12, 15)
    assert torch.equal(large[:, :, ::3, ::3], image)
    assert torch.equal(large[:, :, 2::3, 1::3], image)


@pytest.mark.parametrize("scale", [2, 2.5, 0.4])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lanczos_agrees_with_pillow(scale: float, mode: str) -> None:
    # far from black and white, which Pillow cuts off between its two passes
    array = np.random.default_rng(0).integers(80, 176, (40, 50, len(mode)), dtype=np.uint8)
    size = round(50 * scale), round(40 * scale)
    theirs = np.asarray(Image.fromarray(array).resize(size, Image.Resampling.LANCZOS)) / 255
    image = torch.from_numpy(array / 255).float().permute(2, 0, 1)[None]
    ours = filtered(image, use="lanczos", scale=scale)[0].permute(1, 2, 0).numpy()
    assert ours.shape == theirs.shape
    alpha = theirs[..., 3:] if mode == "RGBA" else 1.0
    assert np.abs((ours - theirs)[..., :3] * alpha).max() < 2.5 / 255
    assert np.abs(ours - theirs)[..., -1].max() < 2.5 / 255


def test_what_is_transparent_lends_no_colour() -> None:
    image = torch.zeros(1, 4, 8, 8)
    image[:, 0], image[:, 1, :, :4], image[:, 3, :, 4:] = 1, 1, 1  # clear yellow beside red
    large = filtered(image, use="lanczos", scale=3)
    seen = large[:, 3:] > 0.01
    assert float((large[:, 1:2] * seen).max()) < 1e-6


def test_filters_change_what_is_exported_and_no_loss(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"export": ["a.png"], "steps": 2}
    plain = list(generate(open_run(tiny_recipe(**keys))))
    recipe = tiny_recipe(
        filters=[{"use": "crisp", "scale": 2}, {"use": "lanczos", "scale": 0.5}, "crisp"], **keys
    )
    assert recipe.shown_size == (48, 48)
    (saved,) = [e for e in perform(recipe, tmp_path) if e.kind == "saved"]
    with Image.open(saved.data["path"]) as written:
        assert written.size == (48, 48)
    frames = list(generate(open_run(recipe)))
    assert frames[-1].image.shape == (1, 3, 48, 48)
    assert all(torch.equal(a.raw, b.raw) for a, b in zip(plain, frames, strict=True))
    assert all(a.losses == b.losses for a, b in zip(plain, frames, strict=True))


@pytest.mark.parametrize(("can", "steps"), [(frozenset(), [0, 1, 2]), ({"stateless"}, [0, 2])])
def test_a_filter_sees_every_frame_unless_it_is_stateless(
    can: frozenset[str], steps: list[int]
) -> None:
    calls = []

    class Counting(Component):
        """Counts."""

        def build(self, run: Any) -> Any:
            def count(image: Tensor, moment: Moment) -> Tensor:
                calls.append(moment.frame)
                return image

            return count

    class Plugin:
        @staticmethod
        @hookimpl
        def register_filters() -> dict[str, type[Component]]:
            return {"counting": Counting}

    Counting.can = can
    recipe = tiny_recipe(plugins_of(Plugin), filters=["counting"])
    frames = list(generate(open_run(recipe)))
    assert frames[-1].image is frames[-1].image
    assert calls == steps  # the first is always filtered, to check the filter


def test_a_size_that_no_file_can_have_is_told() -> None:
    text = (
        "pixweave: 1\nsize: 256\nprompts: [a fox]\nfilters: [{use: crisp, scale: 40}]\n"
        "export: [a.png, {file: a.webp, scale: 2}]\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_text(text, "r.yaml", Path(), Plugins.discover())
    assert str(caught.value).splitlines() == [
        "r.yaml:4:31: filter 'crisp': 10240x10240 pixels are too many; set a smaller scale",
        "r.yaml:5:39: exporter 'webp': 20480x20480 pixels are too large for this format, "
        "whose maximum side is 16383; set a smaller scale",
    ]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("[crips]", "r.yaml:3:11: filter 'crips' is not known; did you mean 'crisp'?"),
        (
            "[{use: crisp, scale: 2, weight: 2}]",
            "r.yaml:3:34: a filter has no 'weight'; only losses and perceptors have one",
        ),
        (
            "crisp",
            "r.yaml:3:10: 'filters' must be a list; write 'filters: [...]', or one "
            "'- item' per line",
        ),
        (
            "[{use: crisp, scale: 1.5}]",
            "r.yaml:3:31: 'scale' of filter 'crisp' must be a whole number, not 1.5",
        ),
        (
            "[jitter]",
            "r.yaml:3:11: filter 'jitter' is not known; it is an augmentation, not a filter",
        ),
    ],
)
def test_a_wrong_filter_is_told(filters: str, message: str) -> None:
    text = f"pixweave: 1\nprompts: [a fox]\nfilters: {filters}\n"
    with pytest.raises(RecipeError) as caught:
        load_text(text, "r.yaml", Path(), Plugins.discover())
    assert str(caught.value) == message


def test_explain_and_the_resolved_recipe_name_them() -> None:
    recipe = tiny_recipe(filters=[{"use": "lanczos", "scale": 4}])
    assert recipe.resolved()["filters"] == [{"use": "lanczos", "id": "lanczos", "scale": 4.0}]
    rows = {path: value for path, value, _ in recipe.explain("filters.lanczos")}
    assert rows == {"filters.0.use": "lanczos", "filters.0.id": "lanczos", "filters.0.scale": 4.0}
