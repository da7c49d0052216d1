"""VQGANs in the files that taming-transformers and Lightning write, and in the model store."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pixweave_vqgan.latent_generator import decoder
from pixweave_vqgan.vqgan_model import VQModel, load_vqgan
from safetensors.torch import save_file
from taming_files import F16_16384, SMALL, decoded, make, rebuilt, write
from test_models_convert import Plain, faked

from pixweave import MissingError, RunError, open_run
from pixweave.models import store
from pixweave.models.convert import convert
from pixweave.testing import plugins_of, tiny_recipe

KINDS = pytest.mark.parametrize("gumbel", [False, True], ids=["vq", "gumbel"])
RNG = torch.Generator()


def latents(model: Any, side: int = 8) -> torch.Tensor:
    dim = model.post_quant_conv.in_channels
    return torch.randn(1, dim, side, side, generator=RNG.manual_seed(0))


def agree(ours: VQModel, theirs: Any, side: int = 8) -> None:
    """Decode, by training's walk and the fast way, is taming's own within 1e-4."""
    latent = latents(theirs, side)
    wanted = decoded(theirs, latent)
    assert wanted.std() > 0.01
    for decode in (ours.decode, decoder(ours)):
        assert (decode(latent) - wanted).abs().max() < 1e-4


def lightning_1_0(path: Path, model: Any, **how: Any) -> Path:
    """Callback classes as keys, and numpy scalars."""
    callback = type("ModelCheckpoint", (), {})
    with faked(pytorch_lightning__callbacks__model_checkpoint__ModelCheckpoint=callback):
        held = {callback: {"best_model_score": np.float64(0.25), "best_model_path": "a"}}
        return write(
            path,
            model,
            **how,
            epoch=1,
            global_step=7,
            callbacks=held,
            lr_schedulers=[],
            optimizer_states=[{"state": {0: {"exp_avg": torch.zeros(2)}}}],
            version="1.0.8",
        )


def lightning_1_5(path: Path, model: Any, **how: Any) -> Path:
    """Callbacks by name, omegaconf settings."""
    settings = type("DictConfig", (Plain,), {})
    with faked(omegaconf__dictconfig__DictConfig=settings):
        return write(
            path,
            model,
            **how,
            epoch=1,
            callbacks={"ModelCheckpoint{'monitor': 'x'}": {}},
            hyper_parameters=settings(_content={"embed_dim": 8}),
            hparams_name="kwargs",
            version="1.5.10",
        )


def lightning_2(path: Path, model: Any, **how: Any) -> Path:
    """Loops with their states."""
    return write(
        path,
        model,
        **how,
        epoch=1,
        loops={"fit_loop": {"state_dict": {}}},
        callbacks={},
        MixedPrecision={"scale": 65536.0},
        version="2.4.0",
    )


LAYOUTS: dict[str, Any] = {
    "plain": write,
    "1.0": lightning_1_0,
    "1.5": lightning_1_5,
    "2": lightning_2,
}


@KINDS
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in a transformer"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_checkpoint_of_taming_decodes_as_taming_does(
    tmp_path: Path, layout: str, inside: bool, gumbel: bool
) -> None:
    theirs = make(SMALL, gumbel)
    how: dict[str, Any] = {"params": SMALL, "gumbel": gumbel, "inside": inside}
    agree(load_vqgan(LAYOUTS[layout](tmp_path / "last.ckpt", theirs, **how)), theirs)


@KINDS
def test_a_picture_goes_through_the_codes_as_in_taming(tmp_path: Path, gumbel: bool) -> None:
    theirs = make(SMALL, gumbel)
    ours = load_vqgan(write(tmp_path / "last.ckpt", theirs, SMALL, gumbel))
    image = torch.rand(1, 3, 32, 48, generator=RNG.manual_seed(1))
    made = ours.decode(ours.snap(ours.encode(image)))
    assert (made - rebuilt(theirs, image, gumbel)).abs().max() < 1e-4


@KINDS
def test_safetensors_made_by_convert_read_alike(tmp_path: Path, gumbel: bool) -> None:
    theirs = make(SMALL, gumbel)
    source = lightning_1_0(tmp_path / "last.ckpt", theirs, params=SMALL, gumbel=gumbel)
    made = convert(source, tmp_path / "small.safetensors", without=("loss.",)).path
    agree(load_vqgan(made, source.with_suffix(".yaml")), theirs)
    source.with_suffix(".yaml").rename(made.with_suffix(".yaml"))
    generator = {"use": "vqgan", "weights": made.name}
    recipe = tiny_recipe(plugins_of(), tmp_path, size=[32, 24], generator=generator)
    assert open_run(recipe).generator.image().shape == (1, 3, 24, 32)


@pytest.mark.slow
def test_gumbel_by_the_class_of_taming(tmp_path: Path) -> None:
    if "TAMING_GUMBEL" not in os.environ:
        pytest.skip("TAMING_GUMBEL names no taming-transformers-rom1504; .ci/run does")
    theirs = make(SMALL, gumbel=True)
    assert type(theirs).__name__ == "GumbelVQ"
    agree(load_vqgan(write(tmp_path / "last.ckpt", theirs, SMALL, gumbel=True)), theirs)


@pytest.mark.slow
def test_the_true_size_of_f16_16384(tmp_path: Path) -> None:
    theirs = make(F16_16384)
    ours = load_vqgan(lightning_1_0(tmp_path / "last.ckpt", theirs, params=F16_16384))
    assert ours.codebook.shape == (16384, 256)
    agree(ours, theirs, 16)


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = write(tmp_path / "last.ckpt", make(SMALL), SMALL, callbacks=Bomb())
    with pytest.raises(RunError) as caught:
        load_vqgan(path)
    assert str(caught.value) == (
        f"'{path}' is refused: it contains '{os.mkdir.__module__}.mkdir', which is not data; "
        "nothing in it was executed. Get the weights as .safetensors from a source that you trust"
    )
    assert not (tmp_path / "ran").exists()


def changed(path: Path, change: Any) -> Path:
    content = torch.load(path, weights_only=True)
    change(content["state_dict"])
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("inside", "change", "fault"),
    [
        (False, lambda s: s.pop("decoder.conv_in.bias"), "lacks decoder.conv_in.bias"),
        (False, lambda s: s.update(extra=torch.ones(1)), "has the unexpected extra"),
        (
            False,
            lambda s: s.update({"quantize.embedding.weight": torch.ones(4, 8)}),
            "has quantize.embedding.weight of [4, 8] instead of [24, 8]",
        ),
        (True, lambda s: s.update(extra=torch.ones(1)), "has the unexpected extra"),
        (
            True,
            lambda s: [s.pop(k) for k in list(s) if k.startswith("first_stage_model.quant")],
            "lacks quantize.embedding.weight, quant_conv.weight, quant_conv.bias",
        ),
    ],
)
def test_a_file_must_fit_its_config_key_for_key(
    tmp_path: Path, inside: bool, change: Any, fault: str
) -> None:
    path = changed(write(tmp_path / "last.ckpt", make(SMALL), SMALL, inside=inside), change)
    with pytest.raises(RunError) as caught:
        load_vqgan(path)
    config = path.with_suffix(".yaml")
    assert str(caught.value) == f"'{path}' does not fit '{config}': the file {fault}"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m.pop("params"), "is not a config of taming-transformers: lacks 'params'"),
        (
            lambda m: m["params"].pop("ddconfig"),
            "is not a config of taming-transformers: lacks 'ddconfig'",
        ),
        (
            lambda m: m["params"].pop("n_embed"),
            "is not a config of taming-transformers: lacks 'n_embed'",
        ),
        (
            lambda m: m["params"]["ddconfig"].pop("ch_mult"),
            "is not a config of taming-transformers: lacks 'ch_mult'",
        ),
        (
            lambda m: m["params"]["ddconfig"].update(in_channels=183),
            "describes images of 183 channels, not of 3",
        ),
        (
            lambda m: m["params"].update(remap="used.npy"),
            "remaps its codes (remap), which is not supported",
        ),
    ],
)
def test_a_config_of_something_else_is_told(tmp_path: Path, change: Any, fault: str) -> None:
    path = write(tmp_path / "last.ckpt", make(SMALL), SMALL)
    config = path.with_suffix(".yaml")
    content = yaml.safe_load(config.read_text())
    change(content["model"])
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(RunError) as caught:
        load_vqgan(path)
    assert str(caught.value) == f"'{config}' {fault}"


def test_files_that_are_not_there_or_broken_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "last.ckpt", make(SMALL), SMALL)
    other = tmp_path / "none.safetensors"
    with pytest.raises(MissingError) as missing:
        load_vqgan(other)
    assert str(missing.value) == f"there is no config '{tmp_path}/none.yaml'"
    with pytest.raises(MissingError) as missing:
        load_vqgan(other, path.with_suffix(".yaml"))
    assert str(missing.value) == f"file '{other}' not found"
    other.write_bytes(b"nothing of the kind")
    with pytest.raises(RunError, match=r"none.safetensors' is not a safetensors file: "):
        load_vqgan(other, path.with_suffix(".yaml"))
    torch.save({"state_dict": {"a": 1}}, path)
    with pytest.raises(RunError) as broken:
        load_vqgan(path)
    assert str(broken.value) == f"'{path}' contains no state dict of tensors"


def test_a_size_becomes_one_of_whole_codes_unless_the_grid_is_given(tmp_path: Path) -> None:
    write(tmp_path / "small.ckpt", make(SMALL), SMALL)
    generator: dict[str, Any] = {"use": "vqgan", "weights": "small.ckpt"}
    recipe = tiny_recipe(plugins_of(), tmp_path, size=[42, 31], generator=generator)
    assert [str(warning) for warning in recipe.warnings] == [
        "tiny.yaml:1:25: size 42x31 becomes 40x32, the nearest size that generator 'vqgan' supports"
    ]
    run = open_run(recipe)
    assert run.generator.info == "10x8 codes of 24, 40x32 px"  # type: ignore[attr-defined]
    assert run.generator.image().shape == (1, 3, 32, 40)
    recipe = tiny_recipe(plugins_of(), tmp_path, size=[42, 31], generator=generator | {"grid": 4})
    assert recipe.warnings == ()
    run = open_run(recipe)
    assert run.generator.info == "5x4 codes of 24, 20x16 px"  # type: ignore[attr-defined]
    assert run.generator.image().shape == (1, 3, 31, 42)


NAME = "vqgan_imagenet_f16_1024"


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of its own, and no way to open a socket."""

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setenv("PIXWEAVE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tmp_path


def test_a_model_of_the_store_is_drawn_with_by_its_name(no_network: Path) -> None:
    folder = store().folder(NAME)
    folder.mkdir(parents=True)
    theirs = make(SMALL)
    write(folder / f"{NAME}.ckpt", theirs, SMALL)
    wish = {"use": "vqgan", "model": "vqgan-imagenet-f16-1024"}
    recipe = tiny_recipe(plugins_of(), size=[40, 32], generator=wish)
    assert recipe.warnings == ()
    run = open_run(recipe)
    assert run.generator.info == "10x8 codes of 24, 40x32 px"  # type: ignore[attr-defined]
    agree(run.generator.model, theirs)  # type: ignore[attr-defined]


def test_a_model_that_is_not_here_is_not_fetched_by_validate(
    no_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = {"use": "vqgan", "model": NAME}
    recipe = tiny_recipe(plugins_of(), generator=wish)
    assert [str(warning) for warning in recipe.warnings] == [
        f"tiny.yaml:1:103: generator 'vqgan': '{NAME}' is not on this machine; the run downloads "
        f"it, ~958 MB; `pixweave models get {NAME}` downloads it now and shows the progress"
    ]
    monkeypatch.setenv("PIXWEAVE_OFFLINE", "1")
    with pytest.raises(MissingError, match=f"^the model '{NAME}' is not on this machine, and"):
        open_run(recipe)


def test_a_state_dict_alone_in_half_precision_will_do(tmp_path: Path) -> None:
    theirs = make(SMALL).half().float()
    path = write(tmp_path / "a.ckpt", theirs, SMALL)
    save_file({k: v.half() for k, v in theirs.state_dict().items()}, tmp_path / "a.safetensors")
    torch.save({k: v.half() for k, v in theirs.state_dict().items()}, path)
    agree(load_vqgan(path), theirs)
    agree(load_vqgan(tmp_path / "a.safetensors"), theirs)
