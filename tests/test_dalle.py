"""`tiny-dalle`: text and codes in one stream, sampled step by step, trained on pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pixweave_dalle.dalle_model import Dalle as Model
from pixweave_dalle.dalle_model import draw, load_dalle
from pixweave_dalle.dalle_settings import Dalle
from pixweave_dalle.dalle_training import DalleTraining
from pixweave_vqgan.latent_generator import GENTLE
from pixweave_vqgan.vqgan_model import load_vqgan

from pixweave import RecipeError, open_run
from pixweave.engine.sample_start import cut_out
from pixweave.testing import plugins_of, tiny_recipe
from pixweave.train.plan import TrainContext

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 40), "blue": (30, 60, 220)}
SMALL = {"width": 64, "layers": 2, "heads": 2, "text_width": 16, "text_length": 8}
CONFIG = {**SMALL, "vocab": 3514, "codes": 32, "rows": 3, "columns": 2}


def test_sampling_step_by_step_agrees_with_reading_at_once() -> None:
    torch.manual_seed(1)
    model = Model(CONFIG).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.mul_(5)  # clear opinions, that change from place to place
    texts = ["a red heart on a white ground", "cat"]
    made = model.sample(texts, torch.Generator(), temperature=0.0, guidance=1.0)
    assert made.shape == (2, 3, 2)
    tokens = model.tokenize(texts)
    assert torch.equal(model(tokens, made.flatten(1)).argmax(-1), made.flatten(1))
    assert len(made.unique()) > 2


def test_a_code_sees_only_the_codes_before_it_and_the_whole_text() -> None:
    torch.manual_seed(1)
    model = Model(CONFIG).eval().requires_grad_(False)
    tokens, codes = model.tokenize(["one two three"]), torch.arange(6)[None]
    before = model(tokens, codes)
    codes[0, 3] = 31
    after = model(tokens, codes)
    assert torch.equal(after[:, :4], before[:, :4])
    assert bool((after[:, 4:] != before[:, 4:]).any(-1).all())
    other = model(model.tokenize(["one two four"]), torch.arange(6)[None])
    assert bool((other != before).any(-1).all())


def test_text_that_is_padded_reads_the_same() -> None:
    torch.manual_seed(1)
    model = Model(CONFIG).eval().requires_grad_(False)
    codes = torch.arange(6)[None]
    short = model.tokenize(["cat"])
    assert torch.allclose(model(short, codes), model(short[:, :3], codes), atol=1e-5)


def test_guidance_one_is_the_told_and_more_moves_away_from_the_untold() -> None:
    torch.manual_seed(1)
    model = Model(CONFIG).eval().requires_grad_(False)
    model.codes.weight.mul_(20)
    told = model(model.tokenize(["cat"]), torch.zeros(1, 6, dtype=torch.int64))[:, 0]
    untold = model(model.tokenize([""]), torch.zeros(1, 6, dtype=torch.int64))[:, 0]
    made = model.sample(["cat"], torch.Generator(), temperature=0.0, guidance=6.0)
    assert made[0, 0, 0] == (untold + 6 * (told - untold)).argmax()


def test_only_the_likeliest_codes_that_make_up_top_p_are_drawn() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log().expand(400, -1)
    rng = torch.Generator().manual_seed(0)
    assert draw(logits, 0.6, rng).unique().tolist() == [0, 1]
    assert draw(logits, 0.0, rng).unique().tolist() == [0]
    assert draw(logits, 1.0, rng).unique().tolist() == [0, 1, 2, 3]


class Plain:
    """48 pictures of one colour each, named."""

    def __init__(self) -> None:
        names = [list(COLOURS)[row % 3] for row in range(48)]
        self.captions = [[name, f"all {name}"] for name in names]
        self.pixels = np.stack([np.full((32, 32, 3), COLOURS[n], np.uint8) for n in names])
        self.train, self.held = np.arange(42), np.arange(42, 48)

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255


def training(folder: Path, **settings: Any) -> DalleTraining:
    wish = {"size": 32, "batch": 16, "lr": 0.01, "width": 64, "layers": 1, "text_width": 16}
    plain: Any = Plain()
    run = TrainContext(
        plain, torch.device("cpu"), 3, 240, folder, folder / "out", print, lambda _: load_vqgan()
    )
    torch.manual_seed(3)
    return DalleTraining(Dalle(**{**wish, **settings}), run)


def test_it_learns_which_codes_follow_a_word(tmp_path: Path) -> None:
    made = training(tmp_path)
    for step in range(240):
        last = made.step(step)
    assert last["loss"] < 1.0
    held = made.measure()
    assert held["held"] + 0.03 < held["held_wordless"]  # a third of the choices, of 1 code in 16
    made.save(tmp_path / "small.safetensors")
    model = load_dalle(tmp_path / "small.safetensors")
    codes = model.sample(["red", "all blue"], torch.Generator().manual_seed(0))
    decoder = load_vqgan()
    means = decoder.decode(decoder.look_up(codes)).mean((2, 3))
    assert means.argmax(1).tolist() == [0, 2]
    assert made.samples().shape == (16, 3, 32, 32)


@pytest.mark.parametrize("settings", [{}, {"wordless": 0.0}])
def test_a_resumed_training_repeats_an_unbroken_one(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    whole = training(tmp_path, **settings)
    for step in range(3):
        whole.step(step)
    torch.save(whole.state_dict(), tmp_path / "state.pt")
    unbroken = [whole.step(step) for step in range(3, 5)]
    rest = training(tmp_path, **settings)
    rest.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [rest.step(step) for step in range(3, 5)] == unbroken


def started(**settings: Any) -> Any:
    prompts = settings.pop("prompts", ["a red heart"])
    recipe = tiny_recipe(
        plugins_of(), size=[64, 64], prompts=prompts, perceptors=["tiny"], generator=settings
    )
    return open_run(recipe).generator


def test_vqgan_starts_from_a_sample_for_its_prompts_and_moves_gently() -> None:
    made = started(use="vqgan", grid=8)
    image = made.image().detach()[0]
    red, green, blue = image[:, 28:36, 28:36].mean((1, 2))
    assert red > 0.6 > 0.4 > max(green, blue)
    assert made.natural_rate == GENTLE
    assert torch.equal(started(use="vqgan", grid=8).image(), made.image())
    random = started(use="vqgan", grid=8, start="codes")
    assert not torch.equal(random.image(), made.image())
    assert not hasattr(random, "natural_rate")


@pytest.mark.parametrize(
    "settings",
    [
        {"use": "pixel"},
        {"use": "fft"},
        pytest.param({"use": "strokes", "count": 40}, marks=pytest.mark.slow),
    ],
    ids=["pixel", "fft", "strokes"],
)
def test_other_generators_start_from_a_sample_where_asked(settings: dict[str, Any]) -> None:
    made = started(**settings, sample=True)
    image = made.image().detach()[0]
    red, green, blue = image[:, 28:36, 28:36].mean((1, 2))
    assert red > 0.6 > 0.4 > max(green, blue)
    assert image[:, :4, :4].mean() > 0.8
    plain = started(**settings)
    assert not hasattr(plain, "natural_rate")
    component: Any = plugins_of().find("generator", settings["use"]).component
    assert made.natural_rate["0"] < component.natural_rate["0"]


@pytest.mark.parametrize(
    "settings",
    [
        {"use": "pixel", "alpha": True},
        {"use": "fft", "alpha": True},
        pytest.param(
            {"use": "strokes", "mode": "shapes", "count": 12, "paper": "none"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["pixel", "fft", "strokes"],
)
def test_a_sample_is_cut_out_where_there_is_alpha(settings: dict[str, Any]) -> None:
    alpha = started(**settings, sample=True).image().detach()[0, 3]
    assert alpha[28:36, 28:36].mean() > 0.9
    assert alpha[:4, :4].mean() < 0.1 > alpha[-4:, -4:].mean()


def test_what_is_cut_out_reaches_in_from_an_edge_of_one_colour() -> None:
    picture = torch.ones(1, 3, 16, 16)
    picture[:, 1:, 4:12, 4:12] = 0  # a red frame
    picture[:, :, 6:10, 6:10] = 1  # with a white middle, which no way leads to
    made = cut_out(picture)
    there = torch.zeros(16, 16)
    there[4:12, 4:12] = 1
    assert torch.equal(made[0, 3] > 0.4, there > 0)  # soft: a corner has four of nine
    assert torch.allclose(made[:, :3, 4:12, 4:12], picture[:, :, 4:12, 4:12])
    assert torch.allclose(made[0, 1:3, 2:14, 2:4], torch.zeros(()))  # red goes on, not white
    gradient = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    assert bool((cut_out(gradient)[:, 3] == 1).all())


def test_texts_that_are_only_unwanted_give_no_sample() -> None:
    unwanted = started(use="vqgan", grid=8, prompts=[{"text": "a red heart", "weight": -1}])
    assert not hasattr(unwanted, "natural_rate")


@pytest.mark.parametrize(
    ("generator", "remedy"),
    [
        ({"use": "vqgan", "start": "sample"}, "remove start"),
        ({"use": "pixel", "sample": True}, "remove sample"),
        ({"use": "fft", "sample": True}, "remove sample"),
        ({"use": "strokes", "sample": True}, "remove sample"),
    ],
    ids=lambda value: value["use"] if isinstance(value, dict) else "",
)
def test_a_sample_without_a_prompt_is_refused(generator: dict[str, Any], remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(prompts=[{"text": "a red heart", "weight": -1}], generator=generator)
    assert str(caught.value).partition(": ")[2] == (
        f"generator '{generator['use']}': the recipe has no prompt to sample for; "
        f"add a prompt, or {remedy}"
    )


def test_the_shipped_weights_are_small_together() -> None:
    folder = Path(__file__).parent.parent / "plugins"
    files = [*folder.glob("*/tiny-*.safetensors"), *folder.glob("*/tiny-*.ckpt")]
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 20e6
