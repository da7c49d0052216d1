"""Every bundled component keeps the contract of its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixweave import Plugins
from pixweave.plugins import HOOKS
from pixweave.testing import check_component, plugins_of

GHOST = str(Path(__file__).parent.parent / "recipes" / "pictures" / "ghost.png")
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("generator", "pixel", {"grid": [12, 12]}),
    ("generator", "vqgan", {"grid": 3}),
    ("generator", "vqgan", {"grid": 3, "start": "clouds", "average": 0.9}),
    *[
        ("generator", "pixel", {"grid": [7, 6], "cell": cell})
        for cell in ("rect", "brick", "hex", "triangle", "knit")
    ],
    ("generator", "pixel", {"grid": [7, 6], "cell": "diamond", "palette": "pico-8"}),
    ("generator", "pixel", {"grid": [8, 8], "alpha": True, "palette": "gameboy"}),
    ("generator", "fft", {}),
    ("generator", "fft", {"alpha": True, "decay": 1.0}),
    ("generator", "strokes", {"count": 40}),
    ("generator", "strokes", {"mode": "shapes", "paper": "none"}),
    ("generator", "strokes", {"mode": "sketch", "paper": "auto"}),
    ("perceptor", "tiny", {}),
    ("perceptor", "open_clip", {"model": "ViT-S-32-alt", "pretrained": "random"}),
    ("loss", "prompt", {"text": "a red square"}),
    ("loss", "prompt", {"text": "a red square", "contrast": 0.5}),
    ("loss", "smoothness", {}),
    ("loss", "smoothness", {"kind": "even"}),
    ("loss", "saturation", {}),
    ("loss", "palette", {"colors": "pico-8"}),
    ("loss", "stay", {"image": GHOST}),
    ("loss", "stay", {"image": GHOST, "grid": 6, "mask": {"box": [0, 0, 0.5, 1]}}),
    ("loss", "stay", {"image": GHOST, "by": "latent"}),
    ("loss", "stay", {"image": GHOST, "by": "perceptual"}),
    ("loss", "prompt", {"text": "a red square", "mask": {"box": [0, 0, 0.5, 1]}, "around": 0.5}),
    *[("loss", "symmetry", {"axis": axis}) for axis in ("x", "y", "both", "diagonal")],
    ("augmentation", "jitter", {}),
    ("augmentation", "jitter", {"brightness": 0.2, "contrast": 0.2}),
    ("augmentation", "noise", {}),
    ("augmentation", "erase", {}),
    ("augmentation", "blur", {}),
    ("classifier", "zero_shot", {"labels": ["a red square", "a blue circle"]}),
    ("classifier", "zero_shot", {"labels": ["red", "blue"], "unknown_below": 0.5}),
    ("classifier", "zero_shot", {"labels": ["red", "blue"], "multi": True}),
    ("filter", "crisp", {"scale": 3}),
    ("filter", "lanczos", {"scale": 2.5}),
    ("filter", "lanczos", {"scale": 0.4}),
    ("exporter", "png", {"file": "a.png"}),
    ("exporter", "jpeg", {"file": "a.jpg"}),
    ("exporter", "svg", {"file": "a.svg"}),
    ("exporter", "gif", {"file": "a.gif"}),
    ("exporter", "apng", {"file": "a.apng"}),
    ("exporter", "webp", {"file": "a.webp"}),
    ("exporter", "mp4", {"file": "a.mp4"}),
    ("exporter", "frames", {"file": "steps/"}),
    ("searcher", "exact", {}),
    ("executor", "local", {"workers": 2}),
    ("codec", "vqgan", {}),
    ("sampler", "dalle", {"candidates": 2}),
    ("stage", "generate", {}),
    ("stage", "rank", {"keep": 1, "prompts": ["red"]}),
    ("stage", "classify", {"labels": ["red", "blue"]}),
    ("stage", "index", {"index": "pictures-index"}),
    ("stage", "search", {"query": "red"}),
    ("trainer", "clip", {"batch": 4, "size": 32, "image_size": 32}),
    ("trainer", "vqgan", {"batch": 2, "size": 32}),
    ("trainer", "dalle", {"batch": 2, "size": 32, "width": 32, "layers": 1}),
]


def _marked(kind: str, name: str, settings: dict[str, Any]) -> Any:
    """The case; the second of a generator that takes some seconds is slow."""
    slow = (kind, name) == ("generator", "strokes") and settings.get("mode") in ("shapes", "sketch")
    slow |= (kind, name) == ("generator", "vqgan") and "start" in settings
    slow |= (kind, name) == ("trainer", "vqgan")  # test_vqgan.py trains one too
    return pytest.param(
        *(kind, name, settings),
        id=f"{kind}-{name}-{settings}",
        marks=[pytest.mark.slow] if slow else [],
    )


@pytest.mark.parametrize(("kind", "name", "settings"), [_marked(*case) for case in CASES])
def test_it_keeps_the_contract_of_its_kind(kind: str, name: str, settings: dict[str, Any]) -> None:
    check_component(kind, name, settings, plugins_of())


def test_no_bundled_component_is_left_out() -> None:
    plugins = Plugins.discover()
    bundled = {
        (kind, name)
        for kind in HOOKS
        for name, offer in plugins.offers(kind).items()
        if plugins.loaded[offer.plugin].origin == "bundled"
    }
    # test_losses.py, test_search.py, test_ray.py
    elsewhere = {("loss", "coverage"), ("searcher", "ann"), ("executor", "ray")}
    assert bundled == {(kind, name) for kind, name, _ in CASES} | elsewhere


def test_every_bundled_generator_starts_from_a_picture() -> None:
    offers = Plugins.discover().offers("generator")
    assert {name for name, offer in offers.items() if "start_from" not in offer.component.can} == (
        set()
    )
