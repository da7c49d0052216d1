"""The loop, the view and the run."""

from __future__ import annotations

import inspect
import random
from typing import Any

import pytest
import torch

from pixweave import Component, generate, hookimpl, open_run
from pixweave.errors import PartError
from pixweave.testing import plugins_of, tiny_recipe


class Hooks:
    """A plugin with one loss, given as a function of the view."""

    def __init__(self, loss: Any) -> None:
        class Odd(Component):
            """A loss for this test."""

            def build(self, run: Any) -> Any:
                return loss

        @hookimpl
        def register_losses() -> dict[str, type[Component]]:
            return {"odd": Odd}

        self.register_losses = register_losses


def run_with(loss: Any) -> Any:
    plugins = plugins_of(Hooks(loss))
    return open_run(tiny_recipe(plugins, losses=["odd"]))


def test_it_yields_a_frame_per_step_with_weighted_losses() -> None:
    recipe = tiny_recipe(losses=[{"use": "smoothness", "weight": "0.5 * f"}])
    frames = list(generate(open_run(recipe)))
    assert [frame.step for frame in frames] == [0, 1, 2]
    assert [list(frame.losses) for frame in frames] == [["prompt", "smoothness"]] * 3
    assert float(frames[0].losses["smoothness"]) == 0
    assert float(frames[2].losses["smoothness"]) > 0
    assert frames[0].image.shape == (1, 3, 24, 24)
    assert not frames[0].image.requires_grad


def test_a_perceptor_encodes_once_per_step_whoever_asks() -> None:
    run = open_run(tiny_recipe(prompts=["red", "blue", {"text": "green", "weight": -0.2}]))
    list(generate(run))
    assert run.perceptors["fake"].encoded == 3 * 4  # type: ignore[attr-defined]


def test_the_picture_is_made_once_per_step() -> None:
    run = open_run(tiny_recipe(crops={"count": 6, "batch": 2}))
    made = []
    image = run.generator.image
    run.generator.image = lambda: made.append(1) or image()  # type: ignore[func-returns-value, method-assign]
    list(generate(run))
    assert len(made) == 3


def test_micro_batches_change_nothing_but_memory() -> None:
    whole = [f.image for f in generate(open_run(tiny_recipe(crops={"count": 6})))]
    parts = [f.image for f in generate(open_run(tiny_recipe(crops={"count": 6, "batch": 2})))]
    assert torch.allclose(whole[-1], parts[-1], atol=1e-6)
    assert not torch.equal(whole[-1], whole[0])


def test_perceptors_of_one_size_share_their_crops() -> None:
    two = [
        {"use": "fake", "id": "a"},
        {"use": "fake", "id": "b"},
        {"use": "fake", "id": "c", "side": 8},
    ]
    view = open_run(tiny_recipe(perceptors=two)).look(0)
    assert view.crops("a") is view.crops("b")
    assert view.crops("c").shape == (4, 3, 8, 8)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    recipes = [tiny_recipe(seed=seed, augmentations=["noise", "jitter"]) for seed in (5, 5, 6)]
    first, again, other = ([f.image for f in generate(open_run(r))][-1] for r in recipes)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_adding_a_loss_of_no_weight_changes_no_random_number() -> None:
    plain = [f.image for f in generate(open_run(tiny_recipe()))][-1]
    more = tiny_recipe(losses=[{"use": "smoothness", "weight": 0}])
    assert torch.equal(plain, [f.image for f in generate(open_run(more))][-1])


def test_six_steps_equal_three_and_three_resumed() -> None:
    recipe = tiny_recipe(steps=6, augmentations=["noise"], optimizer={"rate": "0.1 - 0.05 * p"})
    straight = open_run(recipe)
    frames = list(generate(straight))
    first = open_run(recipe)
    for _ in zip(range(3), generate(first), strict=False):
        pass
    state = first.state_dict()
    second = open_run(recipe)
    second.load_state_dict(state)
    rest = list(generate(second))
    assert rest[0].step == state["step"]
    assert torch.equal(rest[-1].image, frames[-1].image)
    for a, b in zip(straight.generator.parameters(), second.generator.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "sgd"])
def test_every_optimizer_descends(name: str) -> None:
    rate = 20.0 if name == "sgd" else 0.05
    recipe = tiny_recipe(steps=25, crops={"count": 8}, optimizer={"use": name, "rate": rate})
    losses = [float(frame.losses["prompt"]) for frame in generate(open_run(recipe))]
    assert losses[-1] < losses[0] - 0.1


def test_the_learning_rate_follows_the_recipe() -> None:
    run = open_run(tiny_recipe(optimizer={"rate": {0: 0.2, "end": 0.1}}))
    rates = []
    for _ in generate(run):
        rates.append(run.optimizer.rate)
    assert rates == pytest.approx([0.2, 0.15, 0.1])


def test_a_loss_that_is_no_scalar_is_named() -> None:
    run = run_with(lambda view: view.image.mean((2, 3)).squeeze(0)[:2].detach() * 0 + 1)
    with pytest.raises(PartError) as caught:
        next(generate(run))
    assert str(caught.value) == (
        "loss 'odd' (tiny.yaml:1, plugin plugin0) gave [2] float32; it must give a scalar tensor, "
        "[] float32, such as x.mean()"
    )


def test_an_error_in_a_part_says_which_part_and_which_line() -> None:
    def broken(view: Any) -> Any:
        raise ValueError("no such thing")

    run = run_with(broken)
    with pytest.raises(PartError) as caught:
        next(generate(run))
    line = inspect.getsourcelines(broken)[1] + 1
    assert str(caught.value) == (
        "loss 'odd' (tiny.yaml:1, plugin plugin0) raised ValueError: no such thing "
        f"(test_loop.py:{line})"
    )
    assert isinstance(caught.value.__cause__, ValueError)


TOUCHES = {
    "torch's global random state; draw from run.rng(name, step) instead": lambda: torch.rand(1),
    "Python's global random state; draw from run.rng(name, step) instead": random.random,
    "torch's grad mode; use `with torch.no_grad():` around the code that needs it": lambda: (
        torch.set_grad_enabled(False)
    ),
    "torch's thread count; leave it to the user (OMP_NUM_THREADS)": lambda: torch.set_num_threads(
        torch.get_num_threads() + 1
    ),
}


@pytest.mark.parametrize("what", TOUCHES)
def test_a_part_that_touches_global_state_is_refused(what: str) -> None:
    threads = torch.get_num_threads()

    def loss(view: Any) -> Any:
        value = view.image.mean()
        TOUCHES[what]()
        return value

    run = run_with(loss)
    try:
        with pytest.raises(PartError) as caught:
            next(generate(run))
    finally:
        torch.set_grad_enabled(True)
        torch.set_num_threads(threads)
    assert str(caught.value) == f"loss 'odd' (tiny.yaml:1, plugin plugin0) changed {what}"


def test_building_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    open_run(tiny_recipe(augmentations=["noise", "jitter", "erase", "blur"]))
    assert torch.equal(before, torch.get_rng_state())


def test_closing_the_generator_leaves_the_run_usable() -> None:
    run = open_run(tiny_recipe(steps=5))
    frames = generate(run)
    next(frames)
    next(frames)
    frames.close()  # type: ignore[attr-defined]
    assert run.step == 2
    assert [frame.step for frame in generate(run)] == [2, 3, 4]


def test_an_augmentation_that_draws_from_the_global_state_is_refused() -> None:
    class Careless(Component):
        """Noise from the wrong place."""

        def build(self, run: Any) -> Any:
            return lambda crops, rng, moment: crops + torch.rand_like(crops)

    class Plugin:
        @staticmethod
        @hookimpl
        def register_augmentations() -> dict[str, type[Component]]:
            return {"careless": Careless}

    run = open_run(tiny_recipe(plugins_of(Plugin), augmentations=["careless"]))
    with pytest.raises(PartError) as caught:
        next(generate(run))
    assert str(caught.value) == (
        "augmentation 'careless' (tiny.yaml:1, plugin Plugin) changed torch's global random state; "
        "draw from run.rng(name, step) instead"
    )
