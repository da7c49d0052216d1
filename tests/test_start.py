"""What a recipe starts from, overlays, and the loss that stays near."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixweave import RecipeError, generate, open_run
from pixweave.engine.run import Run
from pixweave.media.compositing import add_noise, lay, lie_over, mix, resize
from pixweave.testing import tiny_recipe

PIXELS = {"use": "pixel", "grid": [24, 24]}


@pytest.fixture
def photo(tmp_path: Path) -> str:
    """A picture of 24 x 24 different pixels."""
    values = np.random.default_rng(3).integers(20, 236, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def bytes_of(image: Tensor) -> Tensor:
    return (image * 255).round().int()[0]


def file_bytes(path: str) -> Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1).int()


def first(**keys: Any) -> Tensor:
    return next(generate(open_run(tiny_recipe(generator=PIXELS, **keys)))).image


def test_the_first_frame_is_the_picture_to_the_byte(photo: str) -> None:
    assert torch.equal(bytes_of(first(start_from=photo)), file_bytes(photo))
    assert torch.equal(bytes_of(first(start_from={"image": photo})), file_bytes(photo))


def test_black_and_white_are_reached_and_can_be_left_again(tmp_path: Path) -> None:
    Image.new("RGB", (24, 24), "black").save(tmp_path / "black.png")
    recipe = tiny_recipe(
        generator=PIXELS, start_from=str(tmp_path / "black.png"), prompts=["white"], steps=60
    )
    frames = [frame.image for frame in generate(open_run(recipe))]
    assert bytes_of(frames[0]).max() == 0
    assert frames[-1].mean() > 0.5


def test_alpha_lays_it_over_the_generators_own_start(photo: str) -> None:
    own, whole, half = (
        first(),
        first(start_from=photo),
        first(start_from={"image": photo, "alpha": 0.5}),
    )
    assert torch.allclose(half, (own + whole) / 2, atol=2e-3)


def test_noise_has_the_deviation_asked_for_and_is_in_every_scale(photo: str) -> None:
    grey = torch.full((1, 3, 128, 128), 0.5)
    rng = torch.Generator().manual_seed(1)
    noise = add_noise(grey, 0.05, rng) - grey
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
    for side, least in ((2, 0.8), (8, 0.5), (32, 0.2)):  # white noise would keep 1 / side
        kept = torch.nn.functional.avg_pool2d(noise, side).std() / noise.std()
        assert kept > least
    plain = first(start_from=photo)
    noisy = first(start_from={"image": photo, "noise": 0.1})
    assert float((noisy - plain).std()) == pytest.approx(0.1, rel=0.15)
    assert torch.equal(noisy, first(start_from={"image": photo, "noise": 0.1}))
    assert not torch.equal(noisy, first(start_from={"image": photo, "noise": 0.1}, seed=5))


def test_fit_modes_place_the_picture() -> None:
    wide = torch.zeros(1, 3, 10, 40)
    wide[..., :20], wide[..., 20:] = 0.2, 0.8
    cover, contain, stretch = (
        lay(wide, (20, 20)),
        lay(wide, (20, 20), "contain"),
        lay(wide, (20, 20), "stretch"),
    )
    assert [tuple(p.shape) for p in (cover, contain, stretch)] == [(1, 4, 20, 20)] * 3
    assert cover[:, 3].min() == 1
    assert float(cover[0, 0, 10, 0]) == pytest.approx(0.2, abs=0.01)  # the ends are cut off
    assert contain[0, 3, :, 10].tolist() == [0.0] * 7 + [1.0] * 5 + [0.0] * 8
    assert stretch[0, 0, 0, [0, -1]].tolist() == pytest.approx([0.2, 0.8], abs=0.02)
    tile = lay(wide, (50, 25), "tile")
    assert torch.equal(tile[0, :3, :10, :40], wide[0])
    assert torch.equal(tile[0, :3, 10:20, 40:], wide[0, :, :, :10])
    centre = lay(wide, (20, 20), "center")
    assert torch.equal(centre[0, :3, 5:15], wide[0, :, :, 10:30])
    assert centre[0, 3].sum() == 20 * 10


def test_a_picture_of_the_very_size_is_not_touched() -> None:
    picture = torch.rand(1, 4, 12, 9, generator=torch.Generator().manual_seed(0))
    for fit in ("cover", "contain", "stretch", "tile", "center"):
        assert torch.equal(lay(picture, (9, 12), fit), picture)


def test_crisp_keeps_pixels_square_and_holes_leak_no_colour() -> None:
    sprite = torch.zeros(1, 4, 2, 2)
    sprite[0, :, 0, 0] = torch.tensor([1.0, 0, 0, 1])
    sprite[0, :, 0, 1] = torch.tensor([0.0, 1, 0, 0])  # a green hole
    crisp = resize(sprite, (8, 8), "crisp")
    assert torch.equal(crisp[0, :, :4, :4], sprite[:, :, :1, :1].expand(1, 4, 4, 4)[0])
    smooth = resize(sprite, (8, 8), "smooth")
    seen = smooth[0, :, smooth[0, 3] > 0.01]
    assert seen[0].min() > 0.99
    assert seen[1].max() < 0.01


def test_transparent_parts_are_white_or_the_background_where_there_is_no_alpha(
    tmp_path: Path,
) -> None:
    Image.new("RGBA", (24, 24), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    clear = str(tmp_path / "clear.png")
    assert bytes_of(first(start_from=clear)).min() == 255
    blue = first(start_from={"image": clear, "background": "#0000ff"})
    assert bytes_of(blue)[:, 3, 3].tolist() == [0, 0, 255]
    alpha = {**PIXELS, "alpha": True}
    kept, filled = (
        next(generate(open_run(tiny_recipe(generator=alpha, start_from=start)))).image
        for start in (clear, {"image": clear, "background": "blue"})
    )
    assert bytes_of(kept)[3].max() == 0
    assert bytes_of(filled)[:, 3, 3].tolist() == [0, 0, 255, 255]


def test_cells_take_the_mean_of_what_is_opaque() -> None:
    for cell in ("square", "hex", "diamond"):
        generator = {"use": "pixel", "grid": [4, 4], "alpha": True, "cell": cell}
        run = open_run(tiny_recipe(generator=generator))
        picture = torch.zeros(1, 4, 24, 24)
        picture[:, 0], picture[:, 3, :, ::2] = 1, 1  # red stripes ...
        picture[:, :3, :, 1::2] = 0  # ... and black holes between them
        run.generator.start_from(picture)
        image = run.generator.image().detach()
        assert image[0, 0].min() > 0.99
        assert float(image[0, 3].mean()) == pytest.approx(0.5, abs=0.02)
        run.generator.start_from(image)
        assert torch.allclose(run.generator.image(), image, atol=1e-3)


def test_an_overlay_comes_every_so_many_steps_until_its_end(photo: str) -> None:
    overlay = {"image": photo, "every": 3, "first": 1, "until": 5, "alpha": 1}
    recipe = tiny_recipe(generator=PIXELS, overlay=overlay, steps=10)
    same = [torch.equal(bytes_of(f.image), file_bytes(photo)) for f in generate(open_run(recipe))]
    assert [step for step, is_same in enumerate(same) if is_same] == [1, 4]
    shares = {"image": photo, "every": 3, "first": "20%", "until": "50%", "alpha": 1}
    recipe = tiny_recipe(generator=PIXELS, overlay=shares, steps=11)
    assert recipe.overlay is not None
    assert [s for s in range(11) if recipe.overlay.due(recipe.moment(s))] == [2, 5]


def test_an_overlay_is_as_opaque_as_its_alpha_over_time_says(photo: str) -> None:
    recipe = tiny_recipe(
        generator=PIXELS, overlay={"image": photo, "every": 1, "alpha": {0: 0.25, 1: 0}}, steps=2
    )
    run, plain = open_run(recipe), open_run(tiny_recipe(generator=PIXELS))
    before = plain.generator.image().detach()
    picture = file_bytes(photo)[None] / 255
    expected = before * 0.75 + picture * 0.25
    assert torch.allclose(next(generate(run)).image, expected, atol=1e-3)
    after = run.generator.image().detach().clone()
    run.canvas.blend_overlay(recipe.moment(1))
    assert torch.equal(run.generator.image(), after)


def test_an_overlay_lies_within_its_mask_and_its_own_alpha(tmp_path: Path) -> None:
    logo = np.zeros((24, 24, 4), dtype=np.uint8)
    logo[:12] = (255, 0, 0, 255)
    Image.fromarray(logo).save(tmp_path / "logo.png")
    overlay = {"image": str(tmp_path / "logo.png"), "alpha": 1, "mask": {"box": [0, 0, 0.5, 1]}}
    laid, plain = first(overlay=overlay), first()
    assert bytes_of(laid)[:, :12, :12].flatten(1).T.unique(dim=0).tolist() == [[255, 0, 0]]
    for part in (laid - plain)[0, :, :, 12:], (laid - plain)[0, :, 12:]:
        assert part.abs().max() < 1e-3


def test_mixing_and_laying_over_keep_what_is_seen() -> None:
    rng = torch.Generator().manual_seed(2)
    a, b = torch.rand(2, 1, 4, 5, 5, generator=rng)
    for share in (0.0, 0.3, 1.0):
        mixed = mix(a, b, torch.full_like(a[:, :1], share))
        seen = [p[:, :3] * p[:, 3:] for p in (a, b, mixed)]
        assert torch.allclose(seen[2], seen[0] * (1 - share) + seen[1] * share, atol=1e-6)
    assert torch.equal(mix(a, b, torch.ones_like(a[:, :1])), b)
    white = torch.ones(1, 3, 5, 5)
    over_both = lie_over(a, lie_over(b, white))
    over_one = lie_over(lie_over(a, b), white)
    assert torch.allclose(over_both, over_one, atol=1e-6)


# ----------------------------------------------------------------------------------------- staying


def distance_after(run: Run, picture: Tensor) -> float:
    image = [frame.image for frame in generate(run)][-1]
    return float(((image[:, :3] - picture) ** 2).mean())


@pytest.mark.parametrize(
    "stay",
    [
        {"weight": 2},
        {"by": "latent", "weight": 100},
        {"by": "perceptual", "weight": 20},
    ],
)
def test_staying_holds_the_picture_near_its_start(tmp_path: Path, stay: dict[str, Any]) -> None:
    Image.new("RGB", (24, 24), (90, 110, 170)).save(tmp_path / "blue.png")
    blue = str(tmp_path / "blue.png")
    keys: dict[str, Any] = {
        "generator": PIXELS,
        "start_from": blue,
        "prompts": ["red"],
        "steps": 30,
    }
    picture = file_bytes(blue)[None] / 255
    free = distance_after(open_run(tiny_recipe(**keys)), picture)
    held = distance_after(open_run(tiny_recipe(**keys, losses=[{"use": "stay", **stay}])), picture)
    assert held < 0.5 * free


def values(run: Run) -> list[float]:
    view = run.look(0)
    return [float(loss(view).detach()) for loss in run.losses]


def test_at_the_start_nothing_has_moved(photo: str) -> None:
    spaces = [{"use": "stay", "by": by} for by in ("pixels", "latent", "perceptual")]
    keys: dict[str, Any] = {"generator": PIXELS, "prompts": [], "losses": spaces}
    assert values(open_run(tiny_recipe(start_from=photo, **keys))) == pytest.approx(
        [0] * 3, abs=1e-5
    )
    noisy = values(open_run(tiny_recipe(start_from={"image": photo, "noise": 0.3}, **keys)))
    assert min(noisy) > 1e-3


@pytest.mark.parametrize(
    "generator",
    [
        {"use": "fft"},
        {"use": "strokes", "count": 20},
        pytest.param({"use": "strokes", "mode": "shapes"}, marks=pytest.mark.slow),
    ],
    ids=["fft", "painting", "shapes"],
)
def test_waves_and_curves_stay_in_their_latents(generator: dict[str, Any], photo: str) -> None:
    keys: dict[str, Any] = {
        "generator": generator,
        "start_from": photo,
        "prompts": ["red"],
        "steps": 20,
    }
    stay = {"use": "stay", "by": "latent"}
    (_, start) = values(open_run(tiny_recipe(**keys, losses=[stay])))
    assert start == 0
    moved = []
    for weight in (0, 100):
        run = open_run(tiny_recipe(**keys, losses=[{**stay, "weight": weight}]))
        list(generate(run))
        moved.append(values(run)[1])
    assert moved[1] < 0.3 * moved[0]


def test_staying_near_a_picture_file_needs_no_start_and_moves_nothing(photo: str) -> None:
    spaces = [{"use": "stay", "by": by, "image": photo} for by in ("pixels", "latent")]
    run = open_run(tiny_recipe(generator=PIXELS, prompts=[], losses=spaces))
    own = open_run(tiny_recipe(generator=PIXELS)).generator
    assert torch.equal(run.generator.image(), own.image())
    picture = file_bytes(photo)[None] / 255
    pixels, latent = values(run)
    gap = (own.image().detach() - picture) * 10
    assert pixels == pytest.approx(float((gap**2).mean()), rel=1e-4)
    before = own.latents().detach().clone()  # type: ignore[attr-defined]
    own.start_from(picture)
    gap = own.latents().detach() - before  # type: ignore[attr-defined]
    assert latent == pytest.approx(float((gap**2).mean()), rel=1e-4)


def test_a_grid_leaves_details_free_and_a_mask_the_rest(photo: str) -> None:
    losses = [
        {"use": "stay"},
        {"use": "stay", "grid": 2},
        {"use": "stay", "mask": {"box": [0, 0, 0.5, 1]}},
    ]
    run = open_run(tiny_recipe(generator=PIXELS, start_from=photo, prompts=[], losses=losses))
    picture = file_bytes(photo)[None] / 255
    checks = (torch.arange(24)[:, None] + torch.arange(24)) % 2 * 0.2 - 0.1
    right = torch.zeros(24, 24)
    right[:, 12:] = 0.1

    def of(change: Tensor) -> list[float]:
        view = run.look(0).of(picture + change)
        return [float(part.loss(view).detach()) for part in run.losses]

    assert of(checks) == pytest.approx([1, 0, 1], abs=1e-4)
    assert of(right) == pytest.approx([0.5, 0.5, 0], abs=1e-4)


def test_the_perceptual_distance_compares_the_same_crops_seen_alike(photo: str) -> None:
    losses = [
        {"use": "stay", "by": "perceptual", "mask": {"box": [0, 0, 0.5, 0.5]}},
        {"use": "stay", "by": "perceptual"},
    ]
    recipe = tiny_recipe(
        generator=PIXELS,
        start_from=photo,
        prompts=[],
        losses=losses,
        augmentations=["noise", "jitter"],
    )
    run = open_run(recipe)
    run.step = 1  # other crops, other noise, still nothing moved
    view = run.look(1)
    found = [float(part.loss(view).detach()) for part in run.losses]
    assert found == pytest.approx([0, 0], abs=1e-5)


# ---------------------------------------------------------------------------- what stays from a run


def test_a_resumed_run_repeats_overlays_masks_and_noise(photo: str) -> None:
    recipe = tiny_recipe(
        generator=PIXELS,
        steps=8,
        augmentations=["noise"],
        start_from={"image": photo, "noise": 0.1, "alpha": 0.7},
        mask={"box": [0, 0, 0.6, 1], "soften": 0.1},
        overlay={"image": photo, "every": 3, "alpha": "0.5 * p"},
        prompts=["red", {"text": "blue", "mask": [0, 0, 0.5, 0.5]}],
        losses=[{"use": "stay", "by": by} for by in ("pixels", "latent", "perceptual")],
    )
    frames = [frame.image for frame in generate(open_run(recipe))]
    half = open_run(recipe)
    for _ in zip(range(4), generate(half), strict=False):
        pass
    rest = open_run(recipe)
    rest.load_state_dict(half.state_dict())
    assert rest.step == 4
    assert torch.equal([frame.image for frame in generate(rest)][-1], frames[-1])


def test_the_resolved_recipe_holds_them_and_loads_to_an_equal_one(photo: str) -> None:
    import yaml

    from pixweave.recipe import load_text
    from pixweave.testing import plugins_of

    recipe = tiny_recipe(
        start_from={"image": photo, "background": "red"},
        mask={"image": photo, "soften": 0.1},
        overlay={"image": photo, "until": "50%", "mask": [0, 0, 1, 0.5]},
        prompts=[{"text": "blue", "mask": [0, 0, 0.5, 0.5]}],
    )
    again = load_text(recipe.resolved_yaml(), "again.yaml", Path("/nowhere"), plugins_of())
    assert again == recipe
    assert yaml.safe_load(recipe.resolved_yaml())["start_from"] == {
        "image": photo,
        "fit": "cover",
        "resample": "smooth",
        "background": [255, 0, 0],
        "alpha": 1.0,
        "noise": 0.0,
    }
    rows = {path: (value, origin) for path, value, origin in recipe.explain("overlay")}
    assert rows["overlay.until"][0] == "50%"
    assert rows["overlay.every"] == (10, "default")


def test_staying_refuses_what_means_nothing(photo: str) -> None:
    def said(**settings: Any) -> str:
        with pytest.raises(RecipeError) as caught:
            tiny_recipe(losses=[{"use": "stay", **settings}])
        return str(caught.value).partition(": ")[2]

    assert said() == (
        "loss 'stay': there is no reference image: the recipe has no start_from; "
        "add 'start_from: photo.png', or set this loss's image"
    )
    assert said(image=photo, by="latent", grid=3) == (
        "'grid' of loss 'stay' has no effect with 'by: latent', only with 'by: pixels'"
    )
    assert said(image=photo, perceptors=["fake"]) == (
        "'perceptors' of loss 'stay' has no effect with 'by: pixels', only with 'by: perceptual'"
    )
    assert said(image=photo, by="latent", mask=[0, 0, 1, 0.5]) == (
        "'mask' of loss 'stay' has no effect with 'by: latent', which has no pixel positions"
    )
    assert said(fit="tile") == "'fit' of loss 'stay' needs an image, and none is set"
    assert said(image=photo, by="perceptual", perceptors=["fkae"]) == (
        "loss 'stay': the recipe has no perceptor with the id 'fkae'; did you mean 'fake'?"
    )


def test_layers_add_to_a_bare_picture_and_another_source_replaces_the_first(photo: str) -> None:
    from pixweave.recipe import load_text
    from pixweave.testing import plugins_of

    folder = Path(photo).parent
    (folder / "base.yaml").write_text(
        "pixweave: 1\nprompts: [red]\nstart_from: photo.png\n"
        "mask: {image: photo.png, soften: 0.1}\n"
    )
    top = "pixweave: 1\nextends: base.yaml\nstart_from: {noise: 0.2}\nmask: [0, 0, 1, 0.5]\n"
    recipe = load_text(top, "top.yaml", folder, plugins_of(), ["start_from.alpha=0.5"])
    assert recipe.start_from is not None
    assert recipe.mask is not None
    start = recipe.start_from
    assert (start.image, start.noise, start.alpha) == (folder / "photo.png", 0.2, 0.5)
    assert (recipe.mask.image, recipe.mask.box, recipe.mask.soften) == (None, (0, 0, 1, 0.5), 0)
    assert load_text(top, "top.yaml", folder, plugins_of(), ["~start_from", "~mask"]) is not None


def test_what_a_generator_cannot_do_is_refused_with_those_that_can(photo: str) -> None:
    from pixweave import Component, hookimpl
    from pixweave.testing import plugins_of

    class Fixed(Component):
        """It cannot start from anything."""

        def build(self, run: Any) -> Any:
            raise NotImplementedError

    class Plugin:
        @staticmethod
        @hookimpl
        def register_generators() -> dict[str, type[Component]]:
            return {"fixed": Fixed}

    plugins = plugins_of(Plugin)
    able = ", ".join(name for name in plugins.offers("generator") if name != "fixed")
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(
            plugins,
            generator="fixed",
            start_from=photo,
            overlay=photo,
            losses=[{"use": "stay", "by": "latent"}],
        )
    said = [line.partition(": ")[2] for line in str(caught.value).splitlines()]
    cannot = f"generator 'fixed' cannot start from an image; use one that can: {able}"
    assert said == [
        "loss 'stay': generator 'fixed' has no latent to compare; use 'by: pixels' or "
        "'by: perceptual'",
        f"'start_from': {cannot}",
        f"'overlay': {cannot}",
    ]


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_text("not a picture")
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(folder=tmp_path, start_from="fox.png")
    assert str(caught.value).partition(": ")[2] == (
        "'start_from.image' names the file 'fox.png', which is not a readable image; "
        "use a PNG, JPEG or WebP"
    )


def test_an_overlay_that_never_comes_is_refused(photo: str) -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(overlay={"image": photo, "first": 10}, steps=5)
    assert str(caught.value).partition(": ")[2] == (
        "'overlay': is never reached: the overlay starts at 10 and ends at end of 5 steps; "
        "set an earlier "
        "'first' or a later 'until'"
    )


def test_the_pictures_of_the_recipes_are_what_the_script_draws(tmp_path: Path) -> None:
    import runpy

    root = Path(__file__).parent.parent
    runpy.run_path(str(root / "scripts" / "pictures.py"))["draw"](tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in (root / "recipes" / "pictures").iterdir())
    for name in names:
        drawn, kept = (
            np.asarray(Image.open(folder / name).convert("RGBA"), dtype=int)
            for folder in (tmp_path, root / "recipes" / "pictures")
        )
        assert np.abs(drawn - kept).max() <= 1, name
