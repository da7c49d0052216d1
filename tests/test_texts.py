"""Vectors of texts are encoded once, whoever asks: classifiers and searches, another day too."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pixweave_tiny.clip_model import TinyClip

import pixweave
from pixweave.embedding import text_embedding_cache as texts
from pixweave.engine.embedders import open_embedder
from pixweave.models import home
from pixweave.testing import plugins_of

PLUGINS = plugins_of()
WORDS = ["a red square", "a blue circle", "grass"]


def count() -> int:
    with sqlite3.connect(home() / texts.NAME) as db:
        return int(db.execute("SELECT COUNT(*) FROM texts").fetchone()[0])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What tiny's text tower is asked for."""
    said: list[str] = []
    encode = TinyClip.encode_text

    def noted(self: TinyClip, listed: Any) -> Any:
        said.extend(listed)
        return encode(self, listed)

    monkeypatch.setattr(TinyClip, "encode_text", noted)
    return said


def test_labels_are_encoded_once_and_a_search_knows_them_too(asked: list[str]) -> None:
    first = pixweave.zero_shot(WORDS, device="cpu", plugins=PLUGINS).classifier
    assert asked == WORDS
    second: Any = pixweave.zero_shot(WORDS, device="cpu", plugins=PLUGINS).classifier
    encoder = open_embedder(PLUGINS, "tiny", "cpu")
    found = encoder.texts([*WORDS, WORDS[0]])
    assert asked == WORDS
    assert encoder.built is None  # no model was built
    assert torch.equal(first.weights, second.weights)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found[:3], encoder.encode_texts(WORDS))
    np.testing.assert_array_equal(found[3], found[0])


def test_other_weights_have_other_vectors(tmp_path: Path, asked: list[str]) -> None:
    from pixweave_tiny.clip_files import WEIGHTS
    from safetensors.torch import load_file, save_file

    changed = load_file(WEIGHTS)
    changed["text_projection"] = changed["text_projection"].flip(1).contiguous()
    save_file(changed, tmp_path / "own.safetensors")
    (tmp_path / "own.json").write_text(WEIGHTS.with_suffix(".json").read_text())
    own = {"use": "tiny", "weights": str(tmp_path / "own.safetensors")}
    one, two = (open_embedder(PLUGINS, eye, "cpu").texts(["grass"]) for eye in ("tiny", own))
    assert asked == ["grass", "grass"]
    np.testing.assert_allclose(one, two[:, ::-1], atol=1e-6)


def test_a_perceptor_without_identity_keeps_nothing() -> None:
    body = {
        "pixweave": 1,
        "do": "classify",
        "input": "/",
        "device": "cpu",
        "perceptors": ["fake"],
        "labels": ["red", "blue"],
    }
    recipe = pixweave.load_text(json.dumps(body), "c.yaml", Path(), PLUGINS)
    from pixweave.engine.context import open_context

    assert open_context(recipe).encode_texts("fake", ["red", "blue"]).shape[0] == 2
    assert not (home() / texts.NAME).exists()


def test_only_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST", 5)
    monkeypatch.setattr(texts, "AT_ONCE", 2)
    monkeypatch.setattr(texts, "KEEP_EVERY", 3)
    groups: list[list[str]] = []

    def encode(said: list[str]) -> Any:
        groups.append(said)
        return np.array([[float(text)] for text in said], np.float32)

    numbers = [str(i) for i in range(8)]
    assert texts.cached_vectors("m", numbers, encode)[:, 0].tolist() == list(range(8))
    assert groups == [["0", "1"], ["2"], ["3", "4"], ["5"], ["6", "7"]]
    assert count() == 5
    groups.clear()
    assert texts.cached_vectors("m", numbers[:4], encode)[:, 0].tolist() == list(range(4))
    assert groups == [["0", "1"], ["2"]]


def test_a_cache_that_is_broken_or_locked_away_is_done_without(tmp_path: Path) -> None:
    def encode(said: list[str]) -> Any:
        return np.ones((len(said), 2), np.float32)

    home().mkdir(parents=True)
    (home() / texts.NAME).write_bytes(b"no database" * 100)
    assert texts.cached_vectors("m", ["a"], encode).shape == (1, 2)
    (home() / texts.NAME).unlink()
    home().rmdir()
    home().write_text("a file where the folder should be")
    assert texts.cached_vectors("m", ["a"], encode).shape == (1, 2)
