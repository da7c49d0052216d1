"""`pixweave train clip`: a small CLIP learns, resumes, and loads here and in open_clip."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pixweave_tiny.caption_tokens import CaptionTokens
from pixweave_tiny.clip_model import load_tiny_clip
from pixweave_tiny.clip_settings import Clip
from pixweave_tiny.clip_training import ClipTraining
from pixweave_tiny.objectives import alignment, contrast

from pixweave.train.plan import TrainContext, no_nested_parts

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 40),
    "blue": (30, 60, 220),
    "gray": (128, 128, 128),
}
FORMS = {"box": (16, 48, 16, 48), "bar": (26, 38, 4, 60)}
NAMES = [f"{colour} {form}" for colour in COLOURS for form in FORMS]


class Squares:
    """80 plain drawings, ten of each of eight names."""

    def __init__(self) -> None:
        self.labels = [NAMES[row % len(NAMES)] for row in range(80)]
        self.pixels = np.full((80, 64, 64, 3), 255, dtype=np.uint8)
        for row, name in enumerate(self.labels):
            colour, form = name.split()
            top, bottom, left, right = FORMS[form]
            self.pixels[row, top:bottom, left:right] = COLOURS[colour]
        self.captions = [[name, f"a {name}"] for name in self.labels]
        self.claims = [[[name], [name]] for name in self.labels]
        self.facts = [[name] for name in self.labels]
        self.train, self.held = np.arange(72), np.arange(72, 80)

    def images(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255


def training(folder: Path, **settings: Any) -> ClipTraining:
    plain = {
        "batch": 16,
        "image_size": 32,
        "early_size": 0,
        "spoil": 0.0,
        "mosaic": 0.0,
        "lr": 0.002,
        **settings,
    }
    squares: Any = Squares()
    run = TrainContext(
        squares, torch.device("cpu"), 3, 80, folder, folder / "o", print, no_nested_parts
    )
    return ClipTraining(Clip(**plain), run)


@pytest.mark.slow
def test_it_learns_names_and_the_file_loads_here_and_in_open_clip(tmp_path: Path) -> None:
    made = training(tmp_path)
    first, *_ = (made.step(step)["loss"] for step in range(79))
    last = made.step(79)
    assert last["loss"] < first * 0.6
    assert last["top1"] > 0.5  # one in eight by chance
    out = tmp_path / "mine.safetensors"
    made.save(out)
    model = load_tiny_clip(out)
    data = Squares()
    found = model.encode_image(data.images(data.held)) @ model.encode_text(NAMES).T
    right = [NAMES.index(data.labels[row]) for row in data.held]
    assert (found.argmax(1) == torch.tensor(right)).sum() >= 6  # of 8
    assert json.loads((tmp_path / "mine.json").read_text())["bank"] == NAMES


@pytest.mark.filterwarnings("ignore")  # open_clip's own imports warn; not what is tested here
@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_open_clip_agrees_with_every_tower(tmp_path: Path, tower: str) -> None:
    import open_clip

    made = training(tmp_path, tower=tower)
    made.step(0)
    out = tmp_path / "mine.safetensors"
    made.save(out)
    config = json.loads(out.with_suffix(".json").read_text())["model_cfg"]
    config["text_cfg"]["tokenizer_kwargs"]["bpe_path"] = str(tmp_path / "bpe.txt.gz")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / f"mine-{tower}.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "configs")
    theirs = open_clip.create_model(f"mine-{tower}", pretrained=str(out)).eval()
    ours = load_tiny_clip(out)
    crops = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = open_clip.get_tokenizer(f"mine-{tower}")(["a red box", "unknown zebras"])
    with torch.no_grad():
        images = theirs.encode_image(crops, normalize=True)
        words = theirs.encode_text(tokens, normalize=True)
    torch.testing.assert_close(ours.encode_image(crops), images, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        ours.encode_text(["a red box", "unknown zebras"]), words, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"tower": "vit", "gradient": 5.0, "spoil": 0.5},
        {"adversarial": 1.0, "mosaic": 0.5},
    ],
)
def test_a_resumed_training_repeats_the_unbroken_one(tmp_path: Path, settings: Any) -> None:
    whole = training(tmp_path, **settings)
    metrics = [whole.step(step) for step in range(4)]
    half = training(tmp_path, **settings)
    for step in range(2):
        half.step(step)
    torch.save(half.state_dict(), tmp_path / "state.pt")
    resumed = training(tmp_path, **settings)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [resumed.step(step) for step in (2, 3)] == metrics[2:]


def test_a_picture_may_have_several_right_captions(tmp_path: Path) -> None:
    made = training(tmp_path)
    rows = np.array([0, 1, 8])  # 0 and 8 show the same
    tokens, truth, of_picture, of_caption = made.captions.batch(rows, np.random.default_rng(0))
    assert truth.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    assert [[NAMES[i] for i in row.nonzero().flatten()] for row in of_picture] == [
        ["red box"],
        ["red bar"],
        ["red box"],
    ]
    assert torch.equal(of_picture, of_caption)
    assert tokens.shape[0] == 3


def test_without_recurring_labels_there_is_no_bank(tmp_path: Path) -> None:
    data: Any = Squares()
    data.labels = [f"thing {row}" for row in range(80)]
    words = CaptionTokens(data, load_tiny_clip(), tmp_path)
    assert words.bank == []
    assert words.batch(np.arange(4), np.random.default_rng(0))[2].shape == (4, 0)


def test_the_contrastive_loss_falls_as_the_right_pairs_come_nearer() -> None:
    eye, scale, weight = torch.eye(4), torch.tensor(10.0), torch.ones(4)
    near = contrast(eye, eye, eye, scale, weight)
    far = contrast(eye, eye.roll(1, 0), eye, scale, weight)
    assert float(near) == pytest.approx(0.000136, abs=1e-5)
    assert float(far) == pytest.approx(10.000136, abs=1e-4)


def test_alignment_is_near_one_for_equal_fields_and_negative_for_opposite_ones() -> None:
    field = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)).cumsum(-1)
    assert float(alignment(field, field).mean()) > 0.5
    assert float(alignment(-field, field).mean()) < -0.5
