"""The embedded model is the same function as open_clip's own build of the same weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pixweave_tiny.clip_files import bank
from pixweave_tiny.clip_model import CONFIG, HERE, WEIGHTS, TinyClip, load_tiny_clip

from pixweave.engine.embedders import open_embedder
from pixweave.testing import plugins_of

TEXTS = [
    "a red heart",
    "Sunset  over the SEA!",
    "a cat's face, 3 dots & naïve café",
    "😀",
    "",
    "a very long caption " * 6,
]


@pytest.fixture(scope="module")
def tiny() -> TinyClip:
    return load_tiny_clip()


@pytest.mark.filterwarnings("ignore")  # open_clip's own imports warn; not what is tested here
def test_open_clip_loads_the_same_file_and_agrees(tiny: TinyClip, tmp_path: Path) -> None:
    import open_clip

    config = json.loads(CONFIG.read_text())
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"]["bpe_path"] = str(HERE / "bpe.txt.gz")
    (tmp_path / "pixweave-tiny.json").write_text(json.dumps(config["model_cfg"]))
    open_clip.add_model_config(tmp_path)
    theirs = open_clip.create_model("pixweave-tiny", pretrained=str(WEIGHTS)).eval()
    tokens = open_clip.get_tokenizer("pixweave-tiny")(TEXTS)
    assert torch.equal(tokens, tiny.tokenize(TEXTS))
    crops = torch.rand(
        4, 3, tiny.image_size, tiny.image_size, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        images, words = (
            theirs.encode_image(crops, normalize=True),
            theirs.encode_text(tokens, normalize=True),
        )
    torch.testing.assert_close(tiny.encode_image(crops), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(tiny.encode_text(TEXTS), words, atol=1e-5, rtol=0)
    assert tiny.logit_scale == pytest.approx(float(theirs.logit_scale.exp()), abs=1e-4)


def test_pictures_and_words_are_unit_vectors_and_pictures_have_gradients(tiny: TinyClip) -> None:
    crops = torch.full((2, 3, tiny.image_size, tiny.image_size), 0.5, requires_grad=True)
    vectors = tiny.encode_image(crops)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
    (vectors @ tiny.encode_text(["a red heart"]).T).sum().backward()
    assert crops.grad is not None
    assert bool(crops.grad.abs().sum() > 0)


def test_overflow_is_the_part_that_the_model_does_not_see(tiny: TinyClip) -> None:
    assert tiny.overflow("a red heart") == ""
    long = "red " * (tiny.context_length - 2)
    assert tiny.overflow(long) == ""
    assert tiny.overflow(long + "blue green") == "blue green"


def test_the_contrast_bank_is_short_distinct_captions(tiny: TinyClip) -> None:
    lines = bank(None)
    assert 300 <= len(lines) == len(set(lines)) <= 400
    assert [line for line in lines if tiny.overflow(line)] == []


def test_it_knows_colours_and_shapes(tiny: TinyClip) -> None:
    crops = torch.ones(1, 3, 40, 40)
    crops[:, 1:, 10:30, 10:30] = 0.1  # a red square on white
    options = ["a red square", "a blue square", "a green circle", "a yellow star", "a sunflower"]
    assert int((tiny.encode_image(crops) @ tiny.encode_text(options).T).argmax()) == 0


def test_the_weights_are_small() -> None:
    assert WEIGHTS.stat().st_size <= 10 * 2**20


def test_for_texts_alone_there_is_no_image_tower() -> None:
    whole, texts = load_tiny_clip(), ["a cat", "a red square on a blue square"]
    half = load_tiny_clip(text_only=True)
    assert half.visual is None
    assert not any(key.startswith("visual.") for key in half.state_dict())
    assert torch.equal(half.encode_text(texts), whole.encode_text(texts))
    encoder = open_embedder(plugins_of(), "tiny", "cpu")
    encoder.encode_texts(texts)
    live: Any = encoder.built
    assert live.model.visual is None
    assert encoder.encode_pictures(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 192)
