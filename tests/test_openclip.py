"""The perceptor open_clip: its weights, its words, and its fast tower against the library's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from pickle import dumps
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip import factory, pretrained
from open_clip.model import _build_vision_tower
from pixweave_openclip import OpenClip, fast_vision_tower
from pixweave_openclip import load_weights as weights
from pixweave_openclip import model_names as names
from pixweave_openclip.fast_vision_tower import FastTower, fits
from pixweave_openclip.perceptor import Perceptor
from safetensors.torch import save_file
from torch import Tensor, nn

from pixweave.classification.zero_shot import stage_classifier
from pixweave.embedding.embedder import Embedder
from pixweave.embedding.self_check import check_agreement
from pixweave.engine.context import open_context
from pixweave.engine.embedders import open_embedder
from pixweave.errors import MissingError, RecipeError, RunError
from pixweave.recipe import load_text
from pixweave.recipe.paths import resolve
from pixweave.testing import check_component, plugins_of

CPU = torch.device("cpu")
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD

SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}

DEEP: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 64, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 4},
}
"""Deep enough for what the self-check must see."""
SIGLIP = {
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
}
"""How SigLIP reads texts: all tokens see all, the padding too, and the last is taken."""


def config(**vision: Any) -> dict[str, Any]:
    return {**SMALL, "vision_cfg": {**SMALL["vision_cfg"], **vision}}


@pytest.fixture(scope="module", autouse=True)
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Small architectures, given to open_clip as its own are: a JSON file each."""
    folder = tmp_path_factory.mktemp("configs")
    configs = {
        "small": SMALL,
        "small-quick": {**SMALL, "quick_gelu": True},
        "small-plain-entry": config(no_ln_pre=True, final_ln_after_pool=True),
        "small-tanh": config(act_kwargs={"approximate": "tanh"}),
        "small-mean": config(pool_type="avg"),
        "small-scaled": config(ls_init_value=0.1),
        "small-custom": {**SMALL, "custom_text": True},
        "deep": DEEP,
        "deep-quick": {**DEEP, "quick_gelu": True},
        "deep-sigmoid": {
            **DEEP,
            "custom_text": True,
            "init_logit_bias": -10,
            "init_logit_scale": 2.3,
            "text_cfg": {**DEEP["text_cfg"], **SIGLIP},
        },
        "small-resnet": config(layers=[1, 1, 1, 1], width=16, patch_size=None, head_width=64),
    }
    for name, content in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    before = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    open_clip.add_model_config(folder)
    yield
    factory._MODEL_CONFIG_PATHS[:], factory._MODEL_CONFIGS = before


def made(name: str = "small", seed: int = 0) -> Any:
    """An open_clip model with random weights that are not all alike (biases and norms too)."""
    with torch.random.fork_rng(()):
        torch.manual_seed(seed)
        model = weights.load(name, "random")
        for key, parameter in model.named_parameters():
            if parameter.ndim == 1 and key != "visual.class_embedding":
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def bundle(folder: Path) -> Path:
    """A folder as open_clip saves a model for others: the configuration and the weights."""
    pixels = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    content = {"model_cfg": SMALL, "preprocess_cfg": pixels}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    save_file(made().state_dict(), folder / "open_clip_model.safetensors")
    return folder


def crops(count: int = 3, size: int = 32) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, size, size, generator=rng).requires_grad_()


def own_forward(visual: Any, pictures: Tensor) -> Tensor:
    centre, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    features: Tensor = visual((pictures - centre) / spread)
    return features


def apart(one: Tensor, other: Tensor) -> float:
    return float(((one - other).norm() / other.norm()).detach())


def differences(visual: Any, tower: FastTower, pictures: Tensor) -> tuple[float, float]:
    """Relative difference of the features, and of a gradient with respect to the pixels."""
    ours, theirs = tower(pictures), own_forward(visual, pictures)
    wish = torch.randn(ours.shape, generator=torch.Generator().manual_seed(2))
    gradients = [
        torch.autograd.grad((F.normalize(t, dim=-1) * wish).sum(), pictures)[0]
        for t in (ours, theirs)
    ]
    return apart(ours, theirs), apart(*gradients)


# ----------------------------------------------------------------------------------- the fast tower


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("name", ["small", "small-quick", "small-plain-entry", "small-tanh"])
def test_the_fast_tower_gives_what_open_clip_gives(
    monkeypatch: pytest.MonkeyPatch, name: str, onednn: bool
) -> None:
    if onednn and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(fast_vision_tower, "onednn_is_faster", lambda: onednn)
    visual = made(name).visual
    assert fits(visual)
    output, gradient = differences(visual, FastTower(visual, MEAN, STD), crops())
    assert output < 1e-5
    assert gradient < 1e-4


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_the_fast_tower_gives_what_open_clip_gives_at_full_size(name: str) -> None:
    known = factory.get_model_config(name)
    with torch.random.fork_rng(()):
        torch.manual_seed(0)
        quick = known.get("quick_gelu", False)
        visual = _build_vision_tower(known["embed_dim"], known["vision_cfg"], quick)
    visual.eval().requires_grad_(False)
    output, gradient = differences(visual, FastTower(visual, MEAN, STD), crops(1, 224))
    assert output < 1e-5
    assert gradient < 1e-4


def test_in_bf16_the_fast_tower_is_as_near_as_bf16_can_be() -> None:
    visual = made().visual
    tower = FastTower(visual, MEAN, STD, torch.bfloat16)
    output, gradient = differences(visual, tower, crops())
    assert output < 0.03
    assert gradient < 0.06


def test_the_fast_tower_shares_the_weights_that_need_no_change() -> None:
    visual = made().visual
    tower = FastTower(visual, MEAN, STD)
    with torch.no_grad():
        ours = tower(crops())
        visual.transformer.resblocks[0].mlp.c_proj.bias += 1
        assert not torch.equal(tower(crops()), ours)


@pytest.mark.parametrize("name", ["small-mean", "small-scaled", "small-resnet"])
def test_other_towers_run_by_open_clips_own_forward(name: str) -> None:
    model = made(name)
    assert not fits(model.visual)
    with torch.random.fork_rng(()):
        torch.manual_seed(5)
        perceptor = Perceptor(name, "random", CPU, torch.float32)
        torch.manual_seed(5)
        visual: Any = weights.load(name, "random")
    pictures = crops()
    expected = F.normalize(own_forward(visual.visual, pictures), dim=-1)
    assert torch.allclose(perceptor.encode_image(pictures), expected, atol=1e-6)
    assert torch.autograd.grad(perceptor.encode_image(pictures)[:, 0].sum(), pictures)[0].any()


def test_the_probe_of_onednn_is_safe_where_the_operator_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: Any) -> Tensor:
        raise AttributeError("no such operator")

    monkeypatch.setattr(fast_vision_tower, "_onednn", missing)
    assert fast_vision_tower.onednn_is_faster.__wrapped__() is False


# ------------------------------------------------------------------------------------ the component


def test_the_component_holds_what_every_perceptor_must(tmp_path: Path) -> None:
    check_component("perceptor", "open_clip", {"model": f"local-dir:{bundle(tmp_path)}"})


def test_texts_and_pictures_are_unit_vectors_of_one_space() -> None:
    perceptor = Perceptor("small", "random", CPU, torch.bfloat16)
    pictures, texts = perceptor.encode_image(crops()), perceptor.encode_text(["a fox", "an owl"])
    assert pictures.shape == (3, 16)
    assert texts.shape == (2, 16)
    for vectors in (pictures, texts):
        assert vectors.dtype == torch.float32
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(len(vectors)), atol=1e-5)
    assert perceptor.size == 32
    assert perceptor.info == "small, 32 px, bfloat16"
    assert not texts.requires_grad


def test_overflow_gives_the_words_that_fall_off() -> None:
    perceptor = Perceptor("small", "random", CPU, torch.float32)
    fits_exactly = "one two three four five six seven eight nine ten"  # and a start and an end
    assert perceptor.overflow(fits_exactly) == ""
    assert perceptor.overflow(fits_exactly + " eleven Twelve!") == "eleven Twelve!"
    cut, whole = perceptor.encode_text([fits_exactly + " eleven Twelve!", fits_exactly])
    assert torch.allclose(cut, whole, atol=1e-6)


def test_overflow_of_one_endless_word_is_that_word() -> None:
    perceptor = Perceptor("small", "random", CPU, torch.float32)
    assert perceptor.overflow("qxzj" * 20) == "qxzj" * 20


# -------------------------------------------------------------------------------------- the weights


def test_safetensors_and_state_dicts_and_training_checkpoints_are_read(tmp_path: Path) -> None:
    model = made()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pt")
    parallel = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": parallel}, tmp_path / "c.pt")
    for name in ("a.safetensors", "b.pt", "c.pt"):
        found = weights.load("small", str(tmp_path / name)).state_dict()
        assert all(torch.equal(found[key], state[key]) for key in state), name


def test_a_model_with_its_own_weights_is_taken_from_a_folder(tmp_path: Path) -> None:
    perceptor = Perceptor(f"local-dir:{bundle(tmp_path)}", None, CPU, torch.float32)
    with torch.no_grad():
        expected = F.normalize(made().visual((crops() - 0.5) / 0.5), dim=-1)
        assert torch.allclose(perceptor.encode_image(crops()), expected, atol=1e-5)


def test_models_are_frozen_and_leave_logging_alone() -> None:
    import logging

    handlers = list(logging.getLogger().handlers)
    model = weights.load("small", "random")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert logging.getLogger().handlers == handlers


def failure(kind: type[Exception], model: str, file: str) -> str:
    with pytest.raises(kind) as error:
        weights.load(model, file)
    return str(error.value)


class Malicious:
    """Unpickled, it would run a command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize("save", [torch.save, lambda what, path: path.write_bytes(dumps(what))])
def test_code_in_a_file_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    save({"visual.proj": Malicious()}, tmp_path / "evil.pt")
    said = failure(RunError, "small", str(tmp_path / "evil.pt"))
    assert said in (
        f"'evil.pt' contains more than weights ({os.name}.system); no code in it was run; "
        "use the same weights as .safetensors",
        "'evil.pt' is not a weights file: neither safetensors nor a state dict",
    )
    assert not (tmp_path / "harmed").exists()


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    with pytest.warns((DeprecationWarning, FutureWarning), match="torch.jit"):
        torch.jit.script(Twice()).save(str(tmp_path / "scripted.pt"))
    assert failure(RunError, "small", str(tmp_path / "scripted.pt")) == (
        "'scripted.pt' is a TorchScript archive, which contains code; use the same weights "
        "as .safetensors"
    )


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "a.pt",
            b"not weights",
            "'a.pt' is not a weights file: neither safetensors nor a state dict",
        ),
        ("a.pt", b"", "'a.pt' is not a weights file: unexpected end of file"),
        (
            "a.safetensors",
            b"no",
            "'a.safetensors' is not a safetensors file: Error while "
            "deserializing header: header too small",
        ),
    ],
)
def test_a_file_of_something_else_is_named(
    tmp_path: Path, file: str, content: bytes, message: str
) -> None:
    (tmp_path / file).write_bytes(content)
    assert failure(RunError, "small", str(tmp_path / file)) == message


def test_a_file_without_a_state_dict_is_named(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    assert failure(RunError, "small", str(tmp_path / "list.pt")) == (
        "'list.pt' contains no state dict of tensors"
    )


def test_wrong_keys_are_named(tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in made().state_dict().items()}
    state["visual.extra"] = state.pop("visual.proj")
    for key in ("visual.conv1.weight", "visual.ln_post.weight", "visual.ln_post.bias"):
        del state[key]
    save_file(state, tmp_path / "other.safetensors")
    assert failure(RunError, "small", str(tmp_path / "other.safetensors")) == (
        "the weights 'other.safetensors' do not fit small: the file lacks visual.proj, "
        "visual.conv1.weight, visual.ln_post.weight and 1 more; it has the unexpected visual.extra"
    )


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in made().state_dict().items()}
    state["visual.proj"] = torch.zeros(32, 24)
    save_file(state, tmp_path / "wide.safetensors")
    assert failure(RunError, "small", str(tmp_path / "wide.safetensors")) == (
        "the weights 'wide.safetensors' do not fit small: the file has visual.proj 32x24 instead "
        "of 32x16"
    )


def test_a_tag_that_cannot_be_fetched_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(pretrained, "hf_hub_download", offline)
    assert failure(MissingError, "ViT-B-32", "laion2b_s34b_b79k") == (
        "the weights 'laion2b_s34b_b79k' of ViT-B-32 are not on this machine and could not be "
        "downloaded (FileNotFoundError); run once with a network, or copy the file from "
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K and set pretrained: FILE.safetensors, a path "
        "relative to the recipe"
    )
    assert failure(MissingError, "hf-hub:me/mine", "unused") == (
        "the weights of 'hf-hub:me/mine' are not on this machine and could not be downloaded "
        "(FileNotFoundError); run once with a network, or copy the file from me/mine and set "
        "pretrained: FILE.safetensors, a path relative to the recipe"
    )


def test_a_tag_brings_its_activation_and_its_pixel_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(made("small-quick").state_dict(), tmp_path / "w.safetensors")
    tag = {
        "file": str(tmp_path / "w.safetensors"),
        "quick_gelu": True,
        "mean": (0.4, 0.4, 0.4),
        "std": (0.3, 0.3, 0.3),
    }
    monkeypatch.setitem(pretrained._PRETRAINED, "small", {"mine": tag})
    model: Any = weights.load("small", "mine")
    assert type(model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert model.visual.preprocess_cfg["mean"] == (0.4, 0.4, 0.4)
    from_file: Any = weights.load("small", str(tmp_path / "w.safetensors"))
    assert from_file.visual.preprocess_cfg["std"] == (0.3, 0.3, 0.3)


# ------------------------------------------------------------------------------- what validate says


def said(model: str, pretrained: str | None) -> list[str]:
    return [f"{c.setting}: {c.message}; {c.hint}" for c in names.find_issues(model, pretrained)]


@pytest.mark.parametrize(
    ("model", "tag", "message"),
    [
        (
            "ViT-B-23",
            "openai",
            "model: open_clip has no architecture 'ViT-B-23'; did you mean 'ViT-B-32'?",
        ),
        (
            "ViT-B-32",
            "opnai",
            "pretrained: 'ViT-B-32' has no weights 'opnai'; did you mean 'openai'?",
        ),
        ("coca_base", "mine", "pretrained: 'coca_base' has no weights 'mine'; set a file"),
        ("coca_base", None, "pretrained: 'coca_base' needs weights; set pretrained to a file"),
        (
            "EVA02-B-16",
            None,
            "pretrained: 'EVA02-B-16' needs weights; set pretrained to a file or "
            "a tag: merged2b_s8b_b131k",
        ),
        (
            "hf-hub:a/b",
            "openai",
            "pretrained: is not used: 'hf-hub:a/b' includes its own weights; remove it",
        ),
        ("hf-hub:", None, "model: a name is missing after 'hf-hub:'; write hf-hub:NAME"),
        (
            "local-dir:none",
            None,
            "model: the folder 'none' contains no open_clip_config.json; use a "
            "folder as saved by open_clip's push_to_hf_hub",
        ),
        (
            "ViT-B-32",
            "none/a.pt",
            "pretrained: file 'none/a.pt' not found; folder none not found",
        ),
    ],
)
def test_names_are_checked_before_anything_is_loaded(
    model: str, tag: str | None, message: str
) -> None:
    assert said(model, tag) == [message]


@pytest.mark.parametrize(
    ("model", "tag"),
    [
        ("ViT-B-32", "openai"),
        ("ViT-B/32", "laion2b-s34b-b79k"),
        ("RN50", "random"),
        ("ViT-B-32-quickgelu", "metaclip_400m"),
        ("hf-hub:owner/name", None),
    ],
)
def test_right_names_pass(model: str, tag: str | None) -> None:
    assert said(model, tag) == []


def test_checking_names_imports_neither_torch_nor_open_clip() -> None:
    code = (
        "import sys, pixweave_openclip as p; list(p.names.find_issues('ViT-B-32', 'openai'));"
        "print([name for name in ('torch', 'open_clip') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_every_published_weight_of_the_library_is_known_by_name() -> None:
    listed: Sequence[tuple[str, str]] = open_clip.list_pretrained()
    assert len(listed) > 100
    for model, tag in listed:
        assert tag in (names.tags(model) or ()), (model, tag)


def test_a_file_is_looked_for_beside_the_recipe(tmp_path: Path) -> None:
    text = (
        "pixweave: 1\nprompts: [a fox]\nexport: []\n"
        "perceptors: [{use: open_clip, model: ViT-B-32, pretrained: mine.safetensors}]\n"
    )
    with pytest.raises(RecipeError) as error:
        load_text(text, "fox.yaml", tmp_path, plugins_of())
    assert str(error.value) == (
        "fox.yaml:4:60: perceptor 'open_clip': file 'mine.safetensors' not found; "
        f"no similar name in {tmp_path}"
    )
    (tmp_path / "mine.safetensors").write_bytes(b"")
    settings = load_text(text, "fox.yaml", tmp_path, plugins_of()).perceptors[0].settings
    assert isinstance(settings, OpenClip)
    assert resolve(str(settings.pretrained)) == Path("mine.safetensors")
    assert settings.pretrained is not None
    assert resolve(settings.pretrained) == tmp_path / "mine.safetensors"


def names_of(made: nn.Module) -> set[str]:
    return {type(module).__name__ for module in made.modules()}


@pytest.mark.parametrize("kind", ["small", "small-quick", "small-custom", "small-resnet"])
@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_for_texts_alone_no_image_tower_is_built_or_read(
    kind: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = open_clip.create_model(kind, pretrained=None)
    file = tmp_path / f"w.{ending}"
    save = save_file if ending == "safetensors" else torch.save
    save(made.state_dict(), file)
    texts = ["a red boat", "two dogs, one of them asleep", ""]
    whole = Perceptor(kind, str(file), CPU, torch.float32)
    entry = {"use": "open_clip", "model": kind, "pretrained": str(file)}
    monkeypatch.setattr(names, "architectures", list)
    encoder = open_embedder(plugins_of(), entry, "cpu", "float32")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("an image tower is built")

    with monkeypatch.context() as patch:
        patch.setattr(open_clip.model, "_build_vision_tower", refuse)
        for tower in ("VisionTransformer", "ModifiedResNet"):
            patch.setattr(getattr(open_clip.model, tower), "__init__", refuse)
        vectors = torch.from_numpy(encoder.encode_texts(texts))
        live: Any = encoder.built
        assert not any(key.startswith("visual.") for key in live.model.state_dict())
        assert names_of(live.model).isdisjoint({"VisionTransformer", "ModifiedResNet", "Conv2d"})
        assert live.size == whole.size
        with pytest.raises(RunError, match=r"^this perceptor was built for texts only"):
            live.encode_image(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(vectors, whole.encode_text(texts), rtol=0, atol=1e-6)
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    bytes_ = (pixels * 255).byte().permute(0, 2, 3, 1).numpy()
    seen = torch.from_numpy(encoder.encode_pictures(bytes_))  # now it is built whole
    want = whole.encode_image(torch.from_numpy(bytes_).permute(0, 3, 1, 2).float() / 255)
    torch.testing.assert_close(seen, want, rtol=0, atol=1e-6)


def test_random_weights_are_the_same_each_time() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two = (weights.load("small", "random", only).state_dict() for only in (False, True))
    assert torch.equal(before, torch.get_rng_state())
    assert one.keys() == two.keys()
    assert all(torch.equal(own, two[key]) for key, own in one.items())


def encoder_of(kind: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> Embedder:
    """An encoder with random weights."""
    monkeypatch.setattr(names, "architectures", list)
    entry = {"use": "open_clip", "model": kind, "pretrained": "random"}
    return open_embedder(plugins_of(), entry, "cpu", precision)


RIGHT = [
    (kind, precision)
    for kind in ("deep", "deep-quick", "deep-sigmoid")
    for precision in ("float32", "bfloat16")
]


@pytest.mark.parametrize(("kind", "precision"), [*RIGHT, ("small-resnet", "float32")])
def test_the_self_check_passes_what_is_right(
    kind: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = check_agreement(encoder_of(kind, precision, monkeypatch))
    assert found.verdict == "ok", found
    assert min(found.exact, found.texts) > 0.99999
    assert found.ok


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["deep", "deep-quick", "deep-sigmoid"])
def test_the_self_check_sees_a_wrong_quick_gelu(
    kind: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = fast_vision_tower._Block.__init__

    def wrong(self: Any, block: Any, dtype: torch.dtype) -> None:
        build(self, block, dtype)
        quick = self.activate is F.silu  # whose input is 1.702 times as large
        self.activate = (
            (lambda x: 1.702 * F.gelu(x / 1.702))
            if quick
            else (lambda x: x * (1.702 * x).sigmoid())
        )

    monkeypatch.setattr(fast_vision_tower._Block, "__init__", wrong)
    found = check_agreement(encoder_of(kind, precision, monkeypatch))
    assert not found.ok
    assert 0.99 < found.exact < 0.9999
    assert found.verdict == (
        f"in float32 the minimum cosine of images is {found.exact:.6f}, expected 0.9999: "
        "activation, preprocessing or weights differ"
    )


TEXTS_DIFFER = "expected 0.9999 for texts: tokenizer, padding or weights differ"


@pytest.mark.parametrize("kind", ["deep", "deep-quick", "deep-sigmoid"])
def test_the_self_check_sees_the_same_in_the_text_tower(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_of(kind, "float32", monkeypatch)
    live: Any = encoder.perceptor
    for module in live.model.modules():
        if isinstance(module, open_clip.transformer.ResidualAttentionBlock):
            quick = isinstance(module.mlp.gelu, open_clip.transformer.QuickGELU)
            module.mlp.gelu = nn.GELU() if quick else open_clip.transformer.QuickGELU()
    assert check_agreement(encoder).verdict == TEXTS_DIFFER


def test_the_self_check_sees_a_wrong_padding_of_siglip(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of("deep-sigmoid", "float32", monkeypatch)
    live: Any = encoder.perceptor._instance  # type: ignore[attr-defined]
    right = live.tokenizer

    def wrong(texts: Any) -> Tensor:
        """Padded with another number than the model learnt."""
        tokens = right(texts)
        return tokens.masked_fill(tokens == 0, 1)

    live.tokenizer = wrong
    found = check_agreement(encoder)
    assert found.verdict == TEXTS_DIFFER
    assert found.texts < 0.5
    assert found.exact > 0.99999  # nothing is wrong with pictures


@pytest.mark.parametrize("kind", ["deep", "deep-quick", "deep-sigmoid"])
def test_the_self_check_sees_a_precision_that_is_too_low(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = fast_vision_tower._linear

    def coarse(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Any:
        if dtype == torch.float32:
            return linear(weight, bias, dtype)
        return linear(weight.to(torch.float8_e5m2).to(dtype), bias, dtype)

    monkeypatch.setattr(fast_vision_tower, "_linear", coarse)
    found = check_agreement(encoder_of(kind, "bfloat16", monkeypatch))
    assert found.exact > 0.99999
    assert found.verdict == "expected 0.99: bfloat16 is too coarse for this model, use float32"


def test_a_siglip_answers_several_labels_by_its_own_sigmoid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "architectures", list)
    entry = {"use": "open_clip", "model": "deep-sigmoid", "pretrained": "random"}
    body = {
        "pixweave": 1,
        "do": "classify",
        "input": "/",
        "device": "cpu",
        "precision": "float32",
        "perceptors": [entry],
        "labels": ["a cat", "a dog"],
        "multi": True,
        "templates": ["a photo of {}."],
    }
    recipe = load_text(json.dumps(body), "s.yaml", Path(), plugins_of())
    live = open_context(recipe).build(stage_classifier(recipe))
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = live(images)
    model: Any = weights.load("deep-sigmoid", "random")
    centre, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    tokens = open_clip.get_tokenizer("deep-sigmoid")(["a photo of a cat.", "a photo of a dog."])
    logits, _ = model.get_logits((images - centre) / spread, tokens)
    torch.testing.assert_close(found.values, logits.sigmoid(), atol=1e-5, rtol=0)
    assert found.values.max() < 0.5  # the bias says that none is likely
    assert live.info == "2 labels, 1 template, the model's own sigmoid, scale 9.974"
