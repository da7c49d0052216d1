"""The VQGAN: taming's layout, the generator on its latents, and its training."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pixweave_tiny.tiny_perceptor import TinyPerceptor
from pixweave_vqgan.codebook_ema import Codebook
from pixweave_vqgan.init_latents import STARTS
from pixweave_vqgan.latent_generator import inside
from pixweave_vqgan.training_forward import norm_silu, walk_decoder, walk_encoder
from pixweave_vqgan.vqgan_model import VQModel, load_vqgan
from pixweave_vqgan.vqgan_settings import VqganTrainer
from pixweave_vqgan.vqgan_training import VqganTraining
from pixweave_vqgan.weight_init import architecture

from pixweave import MissingError, RecipeError, generate, open_run
from pixweave.testing import check_component, plugins_of, tiny_recipe
from pixweave.train.plan import TrainContext

SMALL: dict[str, Any] = {
    "size": 32,
    "steps": 8,
    "batch": 4,
    "channels": 32,
    "multiples": (1, 2),
    "blocks": 0,
    "dim": 4,
    "codes": 16,
    "warm": 0.25,
    "adversarial_start": 0.5,
}


@pytest.fixture(scope="module")
def tiny() -> VQModel:
    """The embedded model."""
    return load_vqgan()


def pictures(count: int = 64, side: int = 32) -> Any:
    """A data set of plain pictures with a square, as `pixweave train` hands it over."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (count, 1, 1, 3)), side, 1).repeat(side, 2)
    for picture in pixels:
        top, left = rng.integers(0, side // 2, 2)
        picture[top : top + side // 2, left : left + side // 2] = rng.integers(0, 256, 3)

    def images(rows: Any) -> torch.Tensor:
        return torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2).float() / 255

    rows = np.arange(count)
    return SimpleNamespace(images=images, train=rows[8:], held=rows[:8])


def perceptor(_: object) -> TinyPerceptor:
    run: Any = SimpleNamespace(device=torch.device("cpu"), text_only=False)
    return TinyPerceptor(None, run)


def training(folder: Path, **changes: Any) -> VqganTraining:
    settings = VqganTrainer(**{**SMALL, **changes})
    device, out = torch.device("cpu"), folder / "small.ckpt"
    run = TrainContext(pictures(), device, 3, settings.steps, folder, out, print, perceptor)
    made: VqganTraining = settings.build(run)
    return made


def test_the_file_fits_the_modules_of_taming_key_for_key(tiny: VQModel) -> None:
    from pixweave_vqgan.vqgan_model import WEIGHTS
    from taming.modules.vqvae.quantize import VectorQuantizer

    state = torch.load(WEIGHTS, weights_only=True)["state_dict"]
    quantizer = VectorQuantizer(tiny.params["n_embed"], tiny.params["embed_dim"], beta=0.25)
    assert quantizer.state_dict().keys() == {"embedding.weight"}
    assert set(state) == set(tiny.state_dict())
    quantizer.load_state_dict({"embedding.weight": state["quantize.embedding.weight"].float()})
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # the way of taming's VQModel, in its own range of -1..1
        latent = tiny.quant_conv(tiny.encoder(images * 2 - 1))
        quant, _, _ = quantizer(latent)
        theirs = tiny.decoder(tiny.post_quant_conv(quant))
        ours = tiny.decode(tiny.snap(tiny.encode(images)))
    assert torch.allclose(tiny.encode(images), latent, atol=1e-4)
    assert torch.allclose(ours, theirs * 0.5 + 0.5, atol=1e-3)


def test_the_faster_walk_gives_the_numbers_and_gradients_of_taming() -> None:
    settings = VqganTrainer(**{**SMALL, "blocks": 1, "multiples": (1, 2, 2)})
    torch.manual_seed(0)
    params = architecture(settings)
    params["ddconfig"]["attn_resolutions"] = [16]
    model = VQModel(params).double().to(memory_format=torch.channels_last)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    images = torch.rand(2, 3, 32, 32, dtype=torch.double)
    images = images.contiguous(memory_format=torch.channels_last)
    theirs = model.decoder(model.encoder(images))
    wanted = torch.autograd.grad(theirs.square().mean(), list(model.encoder.parameters()))
    ours = walk_decoder(model.decoder, walk_encoder(model.encoder, images))
    found = torch.autograd.grad(ours.square().mean(), list(model.encoder.parameters()))
    assert torch.allclose(ours, theirs, atol=1e-10)
    for new, old in zip(found, wanted, strict=True):
        assert torch.allclose(new, old, atol=1e-10)


def test_the_norm_in_half_precision_is_near_that_in_full() -> None:
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(32, 64)
    images = (torch.randn(2, 64, 16, 16) + torch.randn(1, 64, 1, 1)).requires_grad_()
    exact = torch.nn.functional.silu(norm(images))
    (slope,) = torch.autograd.grad(exact.square().sum(), images)
    half = images.detach().bfloat16().requires_grad_()
    rough = norm_silu(norm, half)
    (near,) = torch.autograd.grad(rough.float().square().sum(), half)
    assert (rough - exact).abs().max() < 0.1
    assert torch.cosine_similarity(near.float().flatten(), slope.flatten(), dim=0) > 0.995


def test_the_gradient_passes_straight_through_the_codes(tiny: VQModel) -> None:
    latent = torch.randn(1, tiny.params["embed_dim"], 2, 2).requires_grad_()
    snapped = tiny.snap(latent)
    codes = tiny.nearest(latent)
    assert torch.allclose(snapped, tiny.look_up(codes), atol=1e-5)
    distance = torch.cdist(latent.detach().flatten(2).transpose(1, 2), tiny.codebook[None])
    assert torch.equal(codes.flatten(), distance.argmin(2).flatten())
    weight = torch.randn_like(snapped)
    (slope,) = torch.autograd.grad((snapped * weight).sum(), latent)
    assert torch.equal(slope, weight)


def test_a_gradient_leads_back_into_the_range_but_never_further_out() -> None:
    values = torch.tensor([-0.5, -0.5, 0.5, 1.5, 1.5], requires_grad=True)
    cut = inside(values)
    assert cut.tolist() == [0, 0, 0.5, 1, 1]
    cut.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert values.grad is not None
    assert values.grad.tolist() == [0, -1, 1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("codes", [True, False])
def test_the_generator_holds_what_every_generator_must(codes: bool) -> None:
    check_component("generator", "vqgan", {"grid": 3, "codes": codes})


def test_it_starts_from_a_picture_and_goes_on_from_its_state() -> None:
    recipe = tiny_recipe(plugins_of(), size=[96, 64], generator={"use": "vqgan", "grid": 8})
    run = open_run(recipe)
    (latent,) = run.generator.parameters()
    assert latent.shape[-2:] == (8, 12)
    picture = torch.ones(1, 3, 64, 96)
    picture[:, 1:, 16:48, 32:64] = 0.1  # a red square on white
    run.generator.start_from(picture)
    made = run.generator.image().detach()
    assert made.shape == (1, 3, 64, 96)
    assert (made - picture).abs().mean() < 0.08
    other = open_run(recipe)
    assert not torch.equal(other.generator.image(), made)
    other.generator.load_state_dict(run.generator.state_dict())
    assert torch.equal(other.generator.image(), made)


def test_latents_stay_between_the_least_and_the_greatest_code() -> None:
    run = open_run(tiny_recipe(plugins_of(), generator={"use": "vqgan", "grid": 3}))
    (latent,) = run.generator.parameters()
    book = load_vqgan().codebook
    with torch.no_grad():
        latent.mul_(100)
    run.generator.constrain()
    edges = (latent.detach() * book.std(0)[:, None, None]).amax((0, 2, 3))
    assert (edges <= book.amax(0) * 1.0001).all()


@pytest.mark.parametrize("start", sorted(STARTS))
def test_every_start_is_its_own_picture_and_the_same_for_the_same_seed(start: str) -> None:
    recipe = tiny_recipe(plugins_of(), generator={"use": "vqgan", "grid": 8, "start": start})
    run = open_run(recipe)
    (latent,) = run.generator.parameters()
    assert latent.shape[-2:] == (8, 8)
    image = run.generator.image()
    assert torch.equal(image, open_run(recipe).generator.image())
    other = tiny_recipe(
        plugins_of(),
        generator=recipe.generator.settings.model_dump() | {"use": "vqgan"},
        seed=recipe.seed + 1,
    )
    assert not torch.equal(image, open_run(other).generator.image())


def test_the_starts_differ_as_they_are_called() -> None:
    made = {}
    for start in STARTS:
        wish = {"use": "vqgan", "grid": 8, "start": start}
        (latent,) = open_run(tiny_recipe(plugins_of(), generator=wish)).generator.parameters()
        made[start] = latent.detach()
    assert (made["one"] == made["one"][..., :1, :1]).all()
    roughness = {
        name: (latent.diff(dim=-1).square().mean() / latent.var()).item()
        for name, latent in made.items()
    }
    assert roughness["gradient"] < roughness["clouds"] < roughness["codes"]
    assert roughness["snow"] > roughness["clouds"]
    assert 1.5 < roughness["noise"] < 2.5  # neighbours have nothing to do with each other


def test_the_picture_shown_is_of_the_averaged_latents() -> None:
    wish = {"use": "vqgan", "grid": 3, "average": 0.9, "codes": False}
    run = open_run(tiny_recipe(plugins_of(), generator=wish, steps=6))
    (latent,) = run.generator.parameters()
    followed, frame = latent.detach().clone(), None
    for seen, frame in enumerate(generate(run), 1):
        followed.lerp_(latent.detach(), 1 - min(0.9, seen / (seen + 10)))
        assert not torch.equal(frame.image, run.generator.image())
    assert frame is not None
    with torch.no_grad():
        latent.copy_(followed)
    assert torch.allclose(frame.image, run.generator.image(), atol=1e-5)
    run.generator.start_from(torch.full((1, 3, 24, 24), 0.5))
    assert torch.equal(run.generator.shown(), run.generator.image())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"weights": "lone.ckpt"},
            "tiny.yaml:1:105: generator 'vqgan': there is no config '{tmp}/lone.yaml'; "
            "set config to its path",
        ),
        (
            {"weights": "other.ckpt"},
            "tiny.yaml:1:105: generator 'vqgan': '{tmp}/other.yaml' describes a other; supported "
            "are taming.models.vqgan.VQModel, taming.models.vqgan.GumbelVQ, and "
            "taming.models.cond_transformer.Net2NetTransformer over one of them",
        ),
        (
            {"config": "other.yaml"},
            "tiny.yaml:1:104: generator 'vqgan': config is set without weights; "
            "set weights to the .ckpt",
        ),
        (
            {"weights": "lone.ckpt", "model": "vqgan_coco"},
            "tiny.yaml:1:105: generator 'vqgan': model is set too; "
            "keep one of 'model' and 'weights'",
        ),
        (
            {"model": "vqgan_cocoa"},
            "tiny.yaml:1:103: generator 'vqgan': there is no model 'vqgan_cocoa' in the catalogue; "
            "did you mean 'vqgan_coco'?",
        ),
    ],
)
def test_what_is_wrong_with_the_weights_is_told_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setenv("PIXWEAVE_HOME", str(tmp_path / "home"))
    for name in ("lone.ckpt", "other.ckpt"):
        (tmp_path / name).write_bytes(b"no weights")
    (tmp_path / "other.yaml").write_text("model: {target: other, params: {}}")
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(plugins_of(), tmp_path, generator={"use": "vqgan", **settings})
    assert str(caught.value) == message.replace("{tmp}", str(tmp_path))


def test_training_rebuilds_better_and_writes_what_the_generator_reads(tmp_path: Path) -> None:
    made = training(tmp_path, steps=30, lr=3e-3)
    before = made.measure()
    log = [made.step(step) for step in range(30)]
    assert sum(m["loss"] for m in log[-3:]) < 0.8 * sum(m["loss"] for m in log[:3])
    assert "critic" in log[-1]
    assert "critic" not in log[0]
    after = made.measure()
    assert after["psnr"] > before["psnr"] + 1
    assert set(after) == {"psnr", "l1", "used", "perplexity"}
    assert made.samples().shape == (16, 3, 32, 32)
    made.save(tmp_path / "small.ckpt")
    generator = {"use": "vqgan", "grid": 4, "weights": str(tmp_path / "small.ckpt")}
    run = open_run(tiny_recipe(plugins_of(), generator=generator))
    assert run.generator.image().shape == (1, 3, 24, 24)


def test_a_resumed_training_repeats_an_unbroken_one(tmp_path: Path) -> None:
    whole = training(tmp_path)
    for step in range(5):
        whole.step(step)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    unbroken = [whole.step(step) for step in range(5, 8)]
    rest = training(tmp_path)
    rest.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [rest.step(step) for step in range(5, 8)] == unbroken
    for new, old in zip(rest.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(new, old)


def test_codes_that_nothing_uses_are_moved_to_latents_that_fit_badly() -> None:
    rng = torch.Generator().manual_seed(0)
    codes = torch.zeros(4, 2)
    codes[1:] = 100.0
    book = Codebook(codes, copy.deepcopy(codes))
    latent = torch.cat([torch.zeros(1, 2, 1, 60), torch.full((1, 2, 1, 4), 7.0)], 3)
    book.counts[0] = 64.0
    book.sums.copy_(codes * book.counts[:, None])
    assert book.restart(latent, 0.1, rng) == 3
    assert torch.equal(codes, torch.tensor([[0.0, 0.0], [7.0, 7.0], [7.0, 7.0], [7.0, 7.0]]))
    assert torch.equal(book.averaged, codes)
    assert book.restart(latent, 0.1, rng) == 0


def test_a_missing_weights_file_is_told_when_it_is_loaded(tmp_path: Path) -> None:
    training(tmp_path).save(tmp_path / "small.ckpt")
    recipe = tiny_recipe(
        plugins_of(), generator={"use": "vqgan", "weights": str(tmp_path / "small.ckpt")}
    )
    (tmp_path / "small.ckpt").unlink()
    with pytest.raises(MissingError, match=r"^there is no file '.*/small\.ckpt'"):
        open_run(recipe)
