"""Python: the public names, drawing in one call, pictures where a notebook needs them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

import pixweave
from pixweave import Component, MissingError, PictureRun, PluginError, RecipeError, RunError
from pixweave.loading import find_images
from pixweave.recipe import top_level
from pixweave.testing import plugins_of

PLUGINS = plugins_of()
QUICK: Any = {
    "plugins": PLUGINS,
    "size": 24,
    "steps": 4,
    "device": "cpu",
    "generator": {"use": "pixel", "grid": [12, 12]},
    "perceptors": "fake",
    "augmentations": [],
    "crops": {"count": 4},
}


def draw(prompts: Any = "a red square", **keys: Any) -> PictureRun:
    return pixweave.run(prompts, **{**QUICK, **keys})


@pytest.fixture(autouse=True)
def _cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# names

ORDERS = """
import importlib, pkgutil, sys, pixweave

def names():
    for name in pixweave.__all__:
        value = getattr(pixweave, name)
        home = pixweave._MODULE_OF.get(pixweave._EARLIER.get(name, name))
        if home is not None:
            known = pixweave._EARLIER.get(name, name)
            assert value is getattr(importlib.import_module(home), known), name
        assert not inspect_module(value), name

def inspect_module(value):
    return type(value).__name__ == "module"

def modules():
    for module in pkgutil.walk_packages(pixweave.__path__, "pixweave."):
        if module.name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
        parent, _, short = module.name.rpartition(".")
        exported = getattr(sys.modules[parent], "__all__", ())
        assert short not in exported, module.name
        assert getattr(sys.modules[parent], short) is sys.modules[module.name], module.name

for part in sys.argv[1:]:
    {"names": names, "modules": modules}[part]()
print("fine")
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", [("names", "modules", "names"), ("modules", "names", "modules")])
def test_names_and_modules_do_not_shadow_each_other(order: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORDERS, *order], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_the_public_names_are_listed_and_explained() -> None:
    assert dir(pixweave) == sorted(pixweave.__all__)
    assert pixweave.hookimpl is not None  # an object of pluggy
    homes = {name for names in pixweave._HOMES.values() for name in names}
    assert homes | set(pixweave._EARLIER) | {"__version__"} == set(pixweave.__all__)
    for name in homes - {"hookimpl"}:
        value = getattr(pixweave, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            assert (value.__doc__ or "").strip(), name
        else:  # an Annotated type of a setting, explained in the guide
            assert typing.get_origin(value) is typing.Annotated, name


def test_what_plugin_authors_need_can_be_imported() -> None:
    from pixweave import (  # noqa: F401
        Augmentation,
        Classifier,
        Codec,
        Colour,
        Executor,
        Export,
        Exporter,
        Filter,
        Generator,
        Loss,
        Mask,
        Moment,
        Palette,
        Perceptor,
        Sampler,
        Scores,
        Searcher,
        Stage,
        Task,
        Training,
        View,
        draw_mask,
        read_image,
    )


@pytest.mark.slow
def test_strict_mypy_accepts_the_public_names(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(
        "import pixweave\n"
        "from pixweave import Component, Field, Loss, Mask, Palette, View, hookimpl, run\n"
        "from torch import Tensor\n\n"
        "class Vivid(Component):\n"
        '    """Push colours away from grey."""\n'
        '    palette: Palette = Field((), description="colours")\n'
        '    mask: Mask | None = Field(None, description="where")\n\n'
        "    def build(self, run: pixweave.BuildContext) -> Loss:\n"
        "        def loss(view: View) -> Tensor:\n"
        "            return view.image.mean()\n"
        "        return loss\n\n"
        "def picture() -> pixweave.PictureRun:\n"
        '    return run("a heart", steps=3, generator={"use": "pixel"})\n'
    )
    from mypy import api

    out, err, code = api.run(
        ["--strict", "--config-file=", "--cache-dir", str(tmp_path / "cache"), "typed.py"]
    )
    assert (out, err, code) == ("Success: no issues found in 1 source file\n", "", 0)


# loading


def test_one_path_and_the_installed_plugins_are_enough(tmp_path: Path) -> None:
    (tmp_path / "fox.yaml").write_text("pixweave: 1\nprompts: [a fox]\n")
    for source in ("fox.yaml", Path("fox.yaml"), ["fox.yaml"]):
        assert pixweave.load(source).name == "fox"
    assert pixweave.load("fox.yaml", sets="steps=7").steps == 7
    assert pixweave.load(["hello", "fox.yaml"], sets=["steps=7", "seed=2"]).seed == 2
    assert pixweave.load_text("pixweave: 1\nprompts: [a fox]\n").name == "recipe"


def test_installed_plugins_are_loaded_once_with_those_of_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pixweave.installed_plugins() is pixweave.installed_plugins()
    (tmp_path / "mine.py").write_text(
        "import pixweave\n\nclass Mine(pixweave.Component):\n"
        '    """Mine."""\n\n    def build(self, run):\n'
        "        return lambda view: view.image.mean()\n"
        "\n@pixweave.hookimpl\ndef register_losses():\n    return {'mine': Mine}\n"
    )
    monkeypatch.setenv("PIXWEAVE_PLUGINS_DIR", str(tmp_path))
    monkeypatch.setenv("PIXWEAVE_WITHOUT", "pixweave_fft")
    found = pixweave.installed_plugins()
    assert found.find("loss", "mine").plugin == "mine"
    assert "pixweave_fft" not in found.loaded
    assert pixweave.load_text("pixweave: 1\nlosses: [mine]\n").losses[0].use == "mine"
    monkeypatch.delenv("PIXWEAVE_PLUGINS_DIR")
    with pytest.raises(RecipeError, match="loss 'mine' is not known"):
        pixweave.load_text("pixweave: 1\nlosses: [mine]\n")


def test_a_folder_of_plugins_may_be_one_text(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    assert pixweave.Plugins.discover("more", entry_points=False).loaded == {}
    without = pixweave.Plugins.discover(without="pixweave_fft")
    assert "pixweave_fft" not in without.loaded
    with pytest.raises(PluginError):
        pixweave.Plugins.discover("nowhere", entry_points=False)


def test_perform_makes_its_run_folder(tmp_path: Path) -> None:
    recipe = draw().recipe
    events = list(pixweave.perform(recipe))
    (folder,) = Path("runs").glob("*/0001-*")
    assert events[-1].data["folder"] == str(folder)
    assert list(pixweave.perform(recipe, "here/there"))[-1].data["ok"] is True
    assert json.loads(Path("here/there/run.json").read_text())["status"] == "done"


def test_open_run_takes_a_file(tmp_path: Path) -> None:
    (tmp_path / "fox.yaml").write_text("pixweave: 1\nprompts: [a fox]\nsize: 32\nsteps: 1\n")
    (frame,) = pixweave.generate(pixweave.open_run("fox.yaml"))
    assert frame.image.shape == (1, 3, 32, 32)


# run


def test_frames_end_in_a_result() -> None:
    run = draw()
    assert repr(run) == "<PictureRun 'a red square': waiting, 0 of 4 steps, seed 0>"
    frames = list(run)
    assert [frame.step for frame in frames] == [0, 1, 2, 3]
    assert repr(run) == "<PictureRun 'a red square': done, 4 of 4 steps, seed 0>"
    assert frames[-1].pil.tobytes() == run.image.tobytes()
    assert (run.image.size, run.image.mode, len(run.images)) == ((24, 24), "RGB", 1)
    assert [set(losses) for losses in run.history] == [{"prompt", "smoothness"}] * 4
    assert run.losses == run.history[-1]
    assert run.losses["prompt"] == float(frames[-1].losses["prompt"])
    assert (run.seed, run.recipe.steps, list(run)) == (0, 4, [])


def test_a_picture_runs_what_is_left() -> None:
    run = draw()
    assert next(iter(run)).step == 0
    image = draw().image
    assert image.tobytes() == list(draw())[-1].pil.tobytes()


def test_a_prompt_alone_writes_no_files(tmp_path: Path) -> None:
    run = draw().finish()
    assert (run.folder, run.outputs, list(tmp_path.iterdir())) == (None, [], [])


@pytest.mark.parametrize("keys", [{"export": "red.png"}, {"folder": "out"}])
def test_files_are_written_if_asked_for(keys: dict[str, Any], tmp_path: Path) -> None:
    run = draw(**keys).finish()
    assert run.folder is not None
    expected = "runs/*/0001-a-red-square" if "export" in keys else "out"
    assert [run.folder] == list(Path().glob(expected))
    (file,) = run.outputs
    assert file == run.folder / keys.get("export", "picture.png")
    with Image.open(file) as saved:
        assert saved.convert("RGB").tobytes() == run.image.tobytes()
    again = pixweave.load(run.folder / "recipe.yaml", PLUGINS)
    assert again.losses == run.recipe.losses


def test_a_folder_with_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("mine")
    run = draw(folder="out")
    with pytest.raises(RunError) as caught:
        run.finish()
    assert str(caught.value) == "the folder 'out' is not empty; choose a new one"
    with pytest.raises(RunError):
        _ = run.image
    assert run.status == "failed"


def test_leaving_the_loop_keeps_the_picture_and_completes_the_files() -> None:
    run = draw(folder="out", steps=50)
    for frame in run:
        if frame.step == 1:
            break
    assert repr(run) == "<PictureRun 'a red square': interrupted, 2 of 50 steps, seed 0>"
    assert run.image.tobytes() == frame.pil.tobytes()
    assert run.outputs == [Path("out/picture.png")]
    assert json.loads(Path("out/run.json").read_text())["status"] == "interrupted"


def test_stop_ends_the_run() -> None:
    answers = iter([False, True])
    run = draw(stop=lambda: next(answers)).finish()
    assert (run.status, len(run.history)) == ("interrupted", 2)


def test_an_interrupted_kernel_keeps_the_picture_so_far() -> None:
    def interrupt() -> bool:
        raise KeyboardInterrupt

    run = draw(stop=interrupt, folder="out")
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert (run.status, len(run.history)) == ("interrupted", 1)
    assert run.outputs == [Path("out/picture.png")]
    assert Image.open(run.outputs[0]).convert("RGB").tobytes() == run.image.tobytes()


def test_a_run_that_was_forgotten_says_so() -> None:
    with pytest.warns(RuntimeWarning, match="was never run; iterate over it, or call finish()"):
        draw(folder="out")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw()  # in memory: nothing is lost


def test_recipes_are_a_start(tmp_path: Path) -> None:
    (tmp_path / "fox.yaml").write_text(
        "pixweave: 1\nprompts: [a fox]\ngenerator: {use: pixel, grid: [8, 8]}\nsteps: 9\n"
    )
    run = draw(None, recipe="fox.yaml", generator={"palette": "pico-8"}, steps=2, folder="out")
    assert run.recipe.name == "fox"
    assert (run.recipe.steps, run.recipe.losses[0].settings.text) == (2, "a fox")  # type: ignore[attr-defined]
    assert run.recipe.generator.settings.grid == (8, 8)  # type: ignore[attr-defined]
    assert run.finish().outputs == [Path("out/picture.png")]
    assert sorted(path.name for path in Path("out").glob("*.yaml")) == [
        *("recipe-1-fox.yaml", "recipe.yaml", "resolved.yaml")
    ]
    owl = draw("an owl", recipe="fox.yaml")
    owl.close()
    assert (owl.recipe.losses[0].settings.text, owl.folder) == ("an owl", None)  # type: ignore[attr-defined]
    with pytest.raises(MissingError, match="recipe 'foks' not found"):
        draw(recipe="foks")


def test_a_loaded_recipe_runs_as_it_is() -> None:
    recipe = draw().recipe
    run = pixweave.run(recipe=recipe, folder="out")
    assert run.recipe is recipe
    assert len(list(run)) == 4
    with pytest.raises(RecipeError) as caught:
        pixweave.run("a fox", recipe=recipe, steps=3)
    remedy = "write run(recipe='a red square', ...), or load it with sets=[...]"
    assert str(caught.value).splitlines() == [
        f"argument prompts: cannot change a recipe that is loaded already; {remedy}",
        f"argument steps: cannot change a recipe that is loaded already; {remedy}",
    ]


def test_values_of_python_are_values_of_recipes() -> None:
    run = draw(
        ["a red square", {"text": "blue", "weight": -0.5}],
        losses={"use": "smoothness", "weight": {0: 0, "50%": np.float64(0.25)}},
        steps=np.int64(3),
        size=(36, 24),
        generator="pixel",
    )
    assert [part.use for part in run.recipe.losses] == ["prompt", "prompt", "smoothness"]
    assert run.recipe.losses[1].weight == pixweave.Value(-0.5)
    assert run.recipe.losses[2].weight == pixweave.Value({0: 0, "50%": 0.25})
    assert (run.recipe.steps, run.recipe.size) == (3, (36, 24))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"step": 3}, "argument step: 'step' is not a recipe key; did you mean 'steps'?"),
        ({"steps": "x"}, "argument steps: 'steps' must be a whole number, not 'x'"),
        (
            {"losses": ["smoothnes"]},
            "argument losses[0]: loss 'smoothnes' is not known; did you mean 'smoothness'?",
        ),
        (
            {"losses": [{"use": "smoothness", "weigth": 2}]},
            "argument losses[0].weigth: loss 'smoothness' has no setting 'weigth'; did you mean "
            "'weight'?",
        ),
        (
            {"mask": Image.new("RGB", (4, 4))},
            "argument mask: a recipe cannot hold an object of type 'Image'; give text, a number, a "
            "list or a dict",
        ),
        ({"fps": float("nan")}, "argument fps: 'nan' is not a finite number"),
        (
            {"prompts": None},
            "arguments: the recipe has no prompts and no losses; add 'prompts: [a fox in snow]'",
        ),
    ],
)
def test_errors_name_the_argument(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        draw(**keys)
    assert str(caught.value) == message


def test_a_recipe_given_as_a_prompt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fox.yaml").write_text("pixweave: 1\n")
    with pytest.raises(RecipeError) as caught:
        draw("fox.yaml")
    assert str(caught.value) == (
        "argument prompts: 'fox.yaml' is a file, not a prompt; write run(recipe='fox.yaml')"
    )


def test_every_recipe_key_can_be_an_argument() -> None:
    from pixweave.pipeline.picture_run import RecipeKeys

    assert set(RecipeKeys.__annotations__) == set(top_level.TOP_LEVEL) - {"pixweave", "prompts"}


class Batch(Component):
    """Two squares, half transparent."""

    can: ClassVar[frozenset[str]] = frozenset({"without_losses", "alpha"})

    def build(self, run: Any) -> Any:
        from pixweave.engine.still_picture import StillPicture

        return StillPicture(torch.stack([torch.full((4, 24, 24), v) for v in (0.25, 0.5)]))


class BatchPlugin:
    @staticmethod
    @pixweave.hookimpl
    def register_generators() -> dict[str, type[Component]]:
        return {"batch": Batch}


def test_a_batch_has_several_images() -> None:
    run = draw(None, plugins=plugins_of(BatchPlugin), generator="batch", steps=1)
    assert [image.getpixel((0, 0)) for image in run.images] == [(64,) * 4, (128,) * 4]
    assert run.image.getpixel((0, 0)) == (128,) * 4


def test_stages_give_the_pictures_of_the_last_one() -> None:
    run = draw(stages=[{"do": "generate", "seeds": 2}], folder="out")
    assert len(list(run)) == 8
    assert len(run.images) == 2
    assert [file.suffix for file in run.outputs] == [".png", ".png"]


def test_notebooks_show_frames_runs_and_hits(tmp_path: Path) -> None:
    run = draw(folder="out")
    for frame in run:
        assert frame._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
    assert run._repr_png_() == frame._repr_png_()
    for name, colour in (("red", "red"), ("green", "green")):
        Image.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    found = [Path(file.path).name for file in find_images(".")]
    assert found == ["green.png", "red.png", "picture.png"]
    with pixweave.open_index("my.index", "fake", make=True, plugins=PLUGINS) as index:
        assert index.add("red.png", Path("green.png")).encoded == 2
        assert index.add("red.png").encoded == 0
        hits = index.search("red", top=1)
        assert [Path(hit.path).name for hit in hits] == ["red.png"]
        assert index.search("green")[0].pil.getpixel((0, 0)) == (0, 128, 0)
        assert hits._repr_png_() is not None
        assert hits[0]._repr_png_()[:4] == b"\x89PNG"
        assert hits.pil.size == (240, 256)
        assert type(hits)()._repr_png_() is None


# classify


def classifier() -> Any:
    return pixweave.zero_shot("red, green, white", "fake", "cpu", PLUGINS)


def images() -> Iterator[tuple[Any, str]]:
    red = Image.new("RGB", (20, 30), "red")
    clear = Image.new("RGBA", (20, 20), (0, 255, 0, 0))
    yield red, "red"
    yield clear, "white"
    yield np.asarray(red), "red"
    yield np.asarray(clear), "white"
    yield np.asarray(red, np.float32) / 255, "red"
    yield np.stack([np.asarray(red)]), "red"
    yield torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1).expand(1, 3, 8, 8), "green"
    yield torch.tensor([0.0, 1, 0, 0]).view(4, 1, 1).expand(4, 8, 8), "white"
    yield Image.new("P", (8, 8), 0), "white"


def test_zero_shot_takes_pictures_of_all_kinds(tmp_path: Path) -> None:
    classify = classifier()
    for image, label in list(images())[:-1]:
        (found,) = classify(image)
        assert found.label == label, image
        assert found.path == "0"
    red = Image.new("RGB", (20, 20), "red")
    red.save("red.png")
    opened = Image.open("red.png")
    mixed = classify([red, "red.png", Image.new("RGB", (9, 9), "white"), opened])
    assert [one.label for one in mixed] == ["red", "red", "white", "red"]
    assert [Path(one.path).name for one in mixed] == ["0", "red.png", "2", "red.png"]
    opened.close()
    assert mixed[0].scores == mixed[1].scores
    (frame,) = draw(steps=1)
    assert len(classify(frame)) == 1


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((4, 4, 5), np.uint8), "uint8 [4, 4, 5]"),
        (np.zeros((4, 4, 3), np.int64), "int64 [4, 4, 3]"),
        (object(), "object"),
    ],
)
def test_zero_shot_says_what_an_image_is(image: Any, what: str) -> None:
    with pytest.raises(RunError) as caught:
        classifier()(image)
    assert str(caught.value) == (
        "an image must be a path, a Pillow image, or an array [H, W, 3 or 4] of uint8 or of floats "
        f"in 0..1, not {what}"
    )


def test_zero_shot_says_what_a_tensor_is() -> None:
    with pytest.raises(RunError) as caught:
        classifier()(torch.zeros(1, 2, 8, 8))
    assert str(caught.value) == (
        "a tensor of images must be float [N, 3 or 4, H, W] in 0..1, not float32 [1, 2, 8, 8]"
    )


def test_zero_shot_names_its_arguments() -> None:
    with pytest.raises(RecipeError) as caught:
        pixweave.zero_shot(["a"], "tinny", plugins=PLUGINS)
    assert "argument perceptors[0]: perceptor 'tinny' is not known; did you mean 'tiny'?" in str(
        caught.value
    )
