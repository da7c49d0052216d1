"""run: draw a picture from Python, frame by frame, without a recipe file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from pixweave.errors import Issue, Mark, PixweaveError, RecipeError, RunError
from pixweave.pipeline.run_folder import empty_folder
from pixweave.pipeline.runner import RecordedRun, Runner, default_folder, open_runner
from pixweave.recipe import Recipe, load_keys
from pixweave.recipe.paths import SUFFIXES

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from pixweave.events import Event, Frame
    from pixweave.plugins import Plugins


class RecipeKeys(TypedDict, total=False):
    """The recipe keys that `run` takes as keyword arguments; parts are names or dicts."""

    extends: Any
    quality: str
    presets: Any
    title: str
    seed: int | str
    size: Any
    steps: int
    fps: float
    device: str
    precision: str
    do: str
    inputs: Mapping[str, Any]
    start_from: Any
    mask: Any
    overlay: Any
    perceptors: Any
    generator: str | Mapping[str, Any]
    losses: Any
    augmentations: Any
    filters: Any
    export: Any
    crops: Mapping[str, Any]
    optimizer: str | Mapping[str, Any]
    stages: Sequence[Mapping[str, Any]]


def run(
    prompts: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
    *,
    recipe: Recipe | str | Path | Sequence[str | Path] = (),
    folder: str | Path | None = None,
    plugins: Plugins | None = None,
    stop: Callable[[], bool] | None = None,
    **keys: Unpack[RecipeKeys],
) -> PictureRun:
    """Draw a prompt, or several prompts in one picture: an iterable of frames with a result.

        picture = pixweave.run("a red heart", generator="pixel", steps=60)
        for frame in picture:
            print(frame.step)
        picture.image.save("heart.png")

    `recipe` is a file or a built-in recipe to start from, several are merged; prompts and `keys`,
    the top-level keys of recipes, override it. A loaded Recipe runs as it is. Single items need no
    list. The recipe is checked at once: RecipeError names the argument of each issue. Nothing is
    drawn before the frames, or an attribute of the result, are asked for.

    Files are written if something asks for them: `folder` (a new or empty one), `export`,
    `recipe`, or stages. The default folder is then a new one, `runs/DATE/NUMBER-TITLE`. A prompt
    alone stays in memory. `stop` is called after each step; if it returns True, the run ends.
    """
    given: dict[str, Any] = {**keys}
    if isinstance(recipe, Recipe):
        _check_unchanged(recipe, [*given, *(["prompts"] if prompts is not None else [])])
        return PictureRun(recipe, folder, stop)
    sources = [recipe] if isinstance(recipe, (str, Path)) else list(recipe)
    if prompts is not None:
        _check_prompt(prompts)
        given = {"prompts": prompts, **given}
    quiet = folder is None and not sources and not {"export", "extends", "do", "stages"} & {*given}
    loaded = load_keys(given | ({"export": []} if quiet else {}), sources, plugins, _name(given))
    return PictureRun(loaded, folder, stop, in_memory=quiet)


def _check_unchanged(recipe: Recipe, given: Sequence[str]) -> None:
    """RecipeError if arguments are to change a recipe that is loaded already."""
    hint = f"write run(recipe={recipe.name!r}, ...), or load it with sets=[...]"
    message = "cannot change a recipe that is loaded already"
    if given:
        raise RecipeError(Issue.at(Mark(f"argument {name}"), message, hint) for name in given)


def _check_prompt(prompts: Any) -> None:
    """RecipeError if the prompt is the name of a recipe file."""
    if isinstance(prompts, str) and prompts.endswith(SUFFIXES) and Path(prompts).is_file():
        where = Mark("argument prompts")
        hint = f"write run(recipe={prompts!r})"
        raise RecipeError(Issue.at(where, f"'{prompts}' is a file, not a prompt", hint))


def _name(given: Mapping[str, Any]) -> str:
    """The name of the run: its first prompt; '' if it has none."""
    prompts = given.get("prompts", "")
    first = prompts[0] if isinstance(prompts, (list, tuple)) and prompts else prompts
    return str(first.get("text", "")) if isinstance(first, Mapping) else str(first or "")


class PictureRun:
    """A run from Python: iterate over its frames, or ask for the result; made by `run`.

    It runs once. The result, such as `image`, runs what is left of it first. Leaving the loop
    early ends the run: the picture so far is kept, and its files are completed. A notebook shows
    the picture.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: str | Path | None = None,
        stop: Callable[[], bool] | None = None,
        in_memory: bool = False,
    ) -> None:
        self.recipe = recipe
        """The whole recipe, as `pixweave.load` gives it."""
        self.folder: Path | None = None
        """The run folder; None before the run has begun, or if it writes no files."""
        self._wanted, self._in_memory, self._user_stop = folder, in_memory, stop
        self._events: Iterator[Event] | None = None
        self._recorded: RecordedRun | None = None
        self._unrecorded: Runner | None = None
        self._stopping, self._over = False, False
        self._error: BaseException | None = None
        self._frame: Frame | None = None
        self._losses: list[Mapping[str, Tensor]] = []

    def __iter__(self) -> Iterator[Frame]:
        """The frames that are left, one for each step."""
        try:
            while (frame := self._advance()) is not None:
                yield frame
        finally:
            self.close()

    @property
    def seed(self) -> int:
        """The seed, also if the recipe asked for a random one."""
        return self.recipe.seed

    @property
    def status(self) -> str:
        """`waiting`, `running`, `done`, `interrupted` or `failed`."""
        if self._error is not None:
            return "interrupted" if isinstance(self._error, KeyboardInterrupt) else "failed"
        if self._events is None:
            return "waiting"
        return self._runner.status if self._over and self._runner else "running"

    @property
    def image(self) -> Image.Image:
        """The picture, the last one if there are several; RunError if the recipe makes none."""
        if pictures := self.images:
            return pictures[-1]
        raise RunError(f"the recipe '{self.recipe.name}' has made no picture")

    @property
    def images(self) -> list[Image.Image]:
        """The pictures: of a batch all, of stages those that the last one gives.

        Pillow images, RGB or RGBA.
        """
        self.finish()
        pictures = getattr(self._runner, "pictures", None)
        if pictures is not None:
            return [_opened(path) for path in pictures]
        if self._frame is None:
            return []
        from pixweave.media.images import pictures_of

        return pictures_of(self._frame.image)

    @property
    def losses(self) -> dict[str, float]:
        """The weighted losses of the last step, by id."""
        self.finish()
        return _floats(self._losses[-1]) if self._losses else {}

    @property
    def history(self) -> list[dict[str, float]]:
        """The weighted losses of each step so far, by id; does not run the rest."""
        return [_floats(losses) for losses in self._losses]

    @property
    def outputs(self) -> list[Path]:
        """The files that were written."""
        self.finish()
        summary = self._runner.summary() if self._runner else {}
        return [Path(path) for path in summary.get("outputs", ())]

    def finish(self) -> PictureRun:
        """Run what is left, and return itself; raises the error of a run that failed at once."""
        while self._advance() is not None:
            pass
        if self._error is not None and self._frame is None:
            raise self._error
        return self

    def close(self) -> None:
        """End the run now; files that were begun are completed with the frames so far."""
        self._stopping = True
        if self._events is None:
            self._over = True
        try:
            while self._advance() is not None:
                pass
        except PixweaveError as error:  # a loop that is left cannot raise it
            warnings.warn(str(error), RuntimeWarning, stacklevel=3)

    def _advance(self) -> Frame | None:
        """Run to the next frame; None at the end."""
        if self._over:
            return None
        try:
            self._events = self._events or self._begin()
            for event in self._events:
                if event.kind == "warning":
                    warnings.warn(event.data["message"], stacklevel=3)
                if event.frame is not None:
                    self._frame = event.frame
                    self._losses.append(event.frame.losses)
                    return event.frame
        except BaseException as error:
            self._error, self._over = error, True
            raise
        self._over = True
        return None

    def _begin(self) -> Iterator[Event]:
        if self._in_memory:
            self._unrecorded = open_runner(self.recipe, Path(), self._stop)
            return self._unrecorded.events()
        recipe, wanted = self.recipe, self._wanted
        self.folder = default_folder(recipe) if wanted is None else empty_folder(wanted)
        self._recorded = RecordedRun(recipe, self.folder, self._stop)
        return self._recorded.perform()

    @property
    def _runner(self) -> Runner | None:
        return self._recorded.runner if self._recorded else self._unrecorded

    def _stop(self) -> bool:
        return self._stopping or (self._user_stop is not None and bool(self._user_stop()))

    def __del__(self) -> None:
        if self.status == "waiting" and not self._over and not self._in_memory:
            message = f"{self!r} was never run; iterate over it, or call finish()"
            warnings.warn(message, RuntimeWarning, source=self, stacklevel=2)

    def _repr_png_(self) -> bytes:
        """The picture as notebooks show it."""
        from pixweave.media.images import png_bytes

        return png_bytes(self.image)

    def __repr__(self) -> str:
        done = f"{len(self._losses)} of {self.recipe.steps} steps"
        return f"<PictureRun '{self.recipe.name}': {self.status}, {done}, seed {self.seed}>"


def _opened(path: str) -> Image.Image:
    from pixweave.media.images import pictures_of, read_image

    return pictures_of(read_image(path))[0]


def _floats(losses: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(loss) for name, loss in losses.items()}
