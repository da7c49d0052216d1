"""Classifier `zero_shot`: open_clip's own numbers, templates, several labels, none of these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from pixweave_tiny.clip_model import CONFIG, HERE, WEIGHTS
from pixweave_zeroshot import templates as texts
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import normalize

from pixweave import RecipeError, RunError
from pixweave.classification.zero_shot import stage_classifier
from pixweave.engine.context import Context, open_context
from pixweave.protocols import Scores
from pixweave.recipe import load_text
from pixweave.testing import plugins_of

LABELS = ["a red square", "a blue circle", "a sunset over the sea", "a cat's face", "grass"]
PLUGINS = plugins_of()


def bench_of(folder: Path = Path(), eye: Any = "tiny", **settings: Any) -> tuple[Context, Any]:
    """A bench and the live classifier of a recipe."""
    body = {
        "pixweave": 1,
        "do": "classify",
        "input": "/",
        "device": "cpu",
        "precision": "float32",
        "perceptors": [eye],
        "classifier": {"use": "zero_shot", **settings},
    }
    recipe = load_text(json.dumps(body), "c.yaml", folder, PLUGINS)
    bench = open_context(recipe)
    return bench, bench.build(stage_classifier(recipe))


def issues(folder: Path = Path(), **settings: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        bench_of(folder, **settings)
    return [f"{p.message}; {p.hint}".removesuffix("; ") for p in caught.value.issues]


def pictures(count: int, size: int) -> Tensor:
    """Red squares, blue discs and noise: not all alike."""
    rng = torch.Generator().manual_seed(3)
    images = torch.rand(count, 3, size, size, generator=rng)
    images[0] = 1
    images[0, 1:, size // 4 : -size // 4, size // 4 : -size // 4] = 0.1
    images[1, 2] = 1
    return images


def theirs(model: Any, tokens: Any, templates: Any, images: Tensor) -> Tensor:
    """Zero-shot logits as open_clip's own code makes them."""
    weights = open_clip.build_zero_shot_classifier(model, tokens, LABELS, templates)
    with torch.no_grad():
        features = model.encode_image(images, normalize=True)
        logits: Tensor = model.logit_scale.exp() * features @ weights
    return logits


def agree(found: Scores, logits: Tensor) -> None:
    assert found.logits is not None
    # 1e-5, and what float32 rounds of a logit of 13 on the way through two towers
    torch.testing.assert_close(found.logits, logits, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(found.values, logits.softmax(1), atol=1e-5, rtol=0)
    assert torch.equal(found.values.argmax(1), logits.argmax(1))


@pytest.mark.filterwarnings("ignore")  # open_clip's own imports warn; not what is tested here
@pytest.mark.parametrize("name", ["raw", "simple", "imagenet"])
def test_it_agrees_with_open_clip_on_tiny(name: str, tmp_path: Path) -> None:
    config = json.loads(CONFIG.read_text())["model_cfg"]
    config["text_cfg"]["tokenizer_kwargs"]["bpe_path"] = str(HERE / "bpe.txt.gz")
    (tmp_path / "pixweave-zero.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    model = open_clip.create_model("pixweave-zero", pretrained=str(WEIGHTS)).eval()
    own = {
        "raw": ["{}"],
        "simple": open_clip.SIMPLE_IMAGENET_TEMPLATES,
        "imagenet": open_clip.OPENAI_IMAGENET_TEMPLATES,
    }
    _, live = bench_of(labels=LABELS, templates=name)
    images = pictures(6, live.size)
    agree(live(images), theirs(model, open_clip.get_tokenizer("pixweave-zero"), own[name], images))


def saved(name: str, folder: Path, **config: Any) -> tuple[Any, Path]:
    """An open_clip model with random weights, and the file of them."""
    with torch.random.fork_rng(()):
        torch.manual_seed(0)
        model = open_clip.create_model(name, pretrained=None, **config).eval()
        for key, parameter in model.named_parameters():
            if parameter.ndim == 1 and "logit" not in key and key != "visual.class_embedding":
                parameter.data.add_(0.1 * torch.randn_like(parameter))
    save_file(model.state_dict(), folder / f"{name}.safetensors")
    return model, folder / f"{name}.safetensors"


@pytest.mark.filterwarnings("ignore")  # open_clip's own imports warn; not what is tested here
@pytest.mark.parametrize("name", ["ViT-S-32-alt", pytest.param("ViT-B-32", marks=pytest.mark.slow)])
def test_it_agrees_with_open_clip_on_random_weights(name: str, tmp_path: Path) -> None:
    model, file = saved(name, tmp_path)
    clip = {"use": "open_clip", "model": name, "pretrained": str(file)}
    _, live = bench_of(eye=clip, labels=LABELS)
    images = pictures(4, live.size)
    pixels = (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    centre, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in pixels)
    logits = theirs(
        model,
        open_clip.get_tokenizer(name),
        open_clip.SIMPLE_IMAGENET_TEMPLATES,
        (images - centre) / spread,
    )
    agree(live(images), logits)


class Eye:
    """A perceptor of two directions: `warm` and `cold`, with a SigLIP's bias if wanted."""

    size, logit_scale = 4, 10.0
    bank = ("warm", "cold", "wet", "warmish")

    def __init__(self, bias: float | None = None) -> None:
        self.logit_bias = bias

    def encode_image(self, images: Tensor) -> Tensor:
        """Warm by its red, cold by its blue, wet by its green."""
        return normalize(images.mean((2, 3))[:, [0, 2, 1]], dim=1)

    def encode_text(self, said: Any) -> Tensor:
        """The direction that a word names; each word of a text adds one."""
        ways: dict[str, Any] = {"warm": [1, 0, 0], "cold": [0, 1, 0], "wet": [0, 0, 1]}
        ways["warmish"] = [0.99, 0.05, 0]
        rows = [
            [sum(ways.get(w, [0.0] * 3)[i] for w in text.split()) for i in range(3)]
            for text in said
        ]
        return normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def judged(colour: list[float], bias: float | None = None, **settings: Any) -> tuple[Any, Scores]:
    """What a classifier on `Eye` says of a picture of one colour."""
    settings.setdefault("templates", ["{}"])
    bench, _ = bench_of(labels=["red", "blue"])
    bench.perceptors = {"tiny": Eye(bias)}
    component: Any = PLUGINS.find("classifier", "zero_shot").component
    live = component(labels=["warm", "cold"], **settings).build(bench)
    image = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    return live, live(image)


def test_the_templates_are_averaged_as_unit_vectors() -> None:
    live, _ = judged([1, 0, 0], templates=["{}", "{} wet", "{} wet wet"])
    parts = normalize(torch.tensor([[1.0, 0, 0], [1, 0, 1], [1, 0, 2]]), dim=1)
    torch.testing.assert_close(live.weights[:, 0], normalize(parts.mean(0), dim=0))


def test_a_label_may_stand_for_several_texts() -> None:
    _, live = bench_of(eye="fake", labels={"fire": ["red", "yellow"], "sea": "blue"})
    eye = open_context(_.recipe).perceptors["fake"]
    mean = eye.encode_text(["red", "yellow"]).mean(0)
    torch.testing.assert_close(live.weights[:, 0], normalize(mean, dim=0))
    assert live.labels == ("fire", "sea")


def test_a_picture_of_no_label_is_known_by_the_background() -> None:
    live, wet = judged([0, 1, 0], unknown_below=0.5)
    assert live.info == "2 labels, 1 template, softmax against 4 other captions, scale 10"
    torch.testing.assert_close(wet.values, torch.tensor([[0.5, 0.5]]))
    assert wet.known is not None
    # only `wet` is unlike every label: e^0 for the mean label against e^10
    torch.testing.assert_close(wet.known, torch.tensor([0.0 - 10]).sigmoid())
    _, warm = judged([1, 0, 0], unknown_below=0.5)
    assert warm.known is not None
    torch.testing.assert_close(warm.values, torch.tensor([[10.0, 0.0]]).softmax(1))
    assert warm.known.item() > 0.99


def test_without_a_bias_each_label_of_many_stands_against_the_background() -> None:
    _, both = judged([1, 0, 1], multi=True)
    side = 10 / 2**0.5
    # against `warm`: cold and wet; against `cold`: warm, wet and warmish
    other = torch.tensor([side, 0.0]).logsumexp(0) - torch.tensor(2.0).log()
    torch.testing.assert_close(both.values[0, 0], (side - other).sigmoid(), atol=1e-4, rtol=0)
    assert both.values[0, 1].item() < both.values[0, 0].item() < 0.68
    assert both.known is not None
    assert both.known.item() == both.values.max().item()


def test_a_model_that_learnt_pairs_answers_with_its_own_sigmoid() -> None:
    live, found = judged([1, 0, 0], bias=-5.0, multi=True, unknown_below=0.5)
    assert live.info == "2 labels, 1 template, the model's own sigmoid, scale 10"
    torch.testing.assert_close(found.values, torch.tensor([[10.0 - 5, 0.0 - 5]]).sigmoid())
    _, one = judged([1, 0, 0], bias=-5.0)
    torch.testing.assert_close(one.values, torch.tensor([[10.0, 0.0]]).softmax(1))
    assert one.known is not None
    assert one.known.item() == pytest.approx(found.values.max().item())


def test_open_clip_tells_the_bias_of_a_siglip_alone(tmp_path: Path) -> None:
    bench, _ = bench_of(
        eye={"use": "open_clip", "model": "ViT-S-32-alt", "pretrained": "random"}, labels=["a", "b"]
    )
    eye: Any = bench.perceptors["open_clip"]
    assert eye.logit_scale == pytest.approx(1 / 0.07)
    assert eye.logit_bias is None
    config = open_clip.get_model_config("ViT-S-32-alt")
    config["init_logit_bias"] = -10
    config["init_logit_scale"] = 2.302585
    (tmp_path / "sigmoid-alt.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    bench, _ = bench_of(
        eye={"use": "open_clip", "model": "ViT-S-32-alt", "pretrained": "random"}, labels=["a", "b"]
    )
    from pixweave_openclip.perceptor import Perceptor

    eye = Perceptor("sigmoid-alt", "random", torch.device("cpu"), torch.float32)
    assert eye.logit_bias == -10
    assert eye.logit_scale == pytest.approx(10)


def test_the_published_lists_are_those_of_open_clip() -> None:
    assert texts.templates("raw") == ("{}",)
    for name, listed, count in (
        ("simple", open_clip.SIMPLE_IMAGENET_TEMPLATES, 7),
        ("imagenet", open_clip.OPENAI_IMAGENET_TEMPLATES, 80),
    ):
        mine = texts.templates(name)
        assert len(mine) == count
        assert [t.replace("{}", "dog") for t in mine] == [t("dog") for t in listed]
    assert texts.everyday()[:2] == ("a photo of a tench.", "a photo of a brambling.")
    assert len(texts.everyday()) == 100


def test_labels_and_templates_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\ufeffa cat\r\n\n  a dog \n", "utf-8")
    (tmp_path / "templates.txt").write_text("a drawing of {}\n{}, drawn\n", "utf-8")
    _, live = bench_of(tmp_path, labels_file="labels.txt", templates_file="templates.txt")
    _, same = bench_of(labels=["a cat", "a dog"], templates=["a drawing of {}", "{}, drawn"])
    assert live.labels == ("a cat", "a dog")
    assert torch.equal(live.weights, same.weights)


def test_the_tiny_model_takes_bare_labels_and_others_the_seven_templates() -> None:
    _, auto = bench_of(labels=LABELS)
    assert auto.info == f"5 labels, 1 template, softmax, scale {auto.scale:.4g}"
    _, live = bench_of(labels=LABELS, templates="simple")
    assert live.info.startswith("5 labels, 7 templates, softmax")


def test_braces_in_labels_are_letters() -> None:
    _, live = bench_of(labels=["{0.__class__}", "{}"], templates=["a {} {x}", "{}"])
    assert live.labels == ("{0.__class__}", "{}")


def test_a_perceptor_without_a_scale_needs_one() -> None:
    bench, _ = bench_of(labels=["red", "blue"])
    eye: Any = Eye()
    bench.perceptors = {"tiny": eye}
    eye.logit_scale = None
    component: Any = PLUGINS.find("classifier", "zero_shot").component
    with pytest.raises(RunError) as caught:
        component(labels=["a", "b"]).build(bench)
    assert str(caught.value) == (
        "perceptor 'tiny' has no logit_scale; set 'scale', such as 100 for CLIP"
    )
    wished = component(labels=["warm", "cold"], scale=7, templates=["{}"])
    assert wished.build(bench).scale == 7


def test_what_is_wrong_is_said_with_its_remedy(tmp_path: Path) -> None:
    name = "classifier 'zero_shot'"
    assert issues(labels=["a"]) == [
        f"{name}: a single label always wins; add another, or set 'multi' or 'unknown_below'"
    ]
    assert issues(labels=["a", "b", "a"]) == [
        f"'labels' of {name} has the label 'a' twice; remove one"
    ]
    assert issues(labels=["a", "unknown"], unknown_below=0.2) == [
        f"{name}: the label 'unknown' means that none fits; choose another word, or remove "
        "'unknown_below'"
    ]
    assert issues(labels=["a", "b"], perceptor="clip") == [
        f"{name}: the recipe has no perceptor with the id 'clip'; choose from tiny"
    ]
    assert issues(labels=["a", " "]) == [f"'labels' of {name} must not have an empty label"]
    assert issues(labels={"a": []}) == [
        f"'labels' of {name} must have a text, or a list of texts, for 'a'"
    ]
    assert issues(labels=["a", "b"], templates="simpel") == [
        f"'templates' of {name} must be a list of texts or one of auto, raw, simple, imagenet; "
        "did you mean 'simple'?"
    ]
    assert issues(labels=["a", "b"], templates=["a photo"]) == [
        f"'templates' of {name} has 'a photo', which has no placeholder for the label; "
        "write {} in its place, in quotes"
    ]
    assert issues(templates="raw") == [f"{name}: set either labels or labels_file"]
    (tmp_path / "none.txt").write_text("\n\n")
    assert issues(tmp_path, labels_file="none.txt") == [
        f"{name}: the file 'none.txt' contains no text"
    ]
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    assert issues(tmp_path, labels_file="twice.txt") == [
        f"{name}: the file 'twice.txt' has the label 'a' twice; remove one"
    ]
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert issues(tmp_path, labels_file="latin.txt") == [
        f"{name}: the file 'latin.txt' is not UTF-8 text"
    ]
