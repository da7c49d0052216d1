"""Protocols: what `build(run)` returns for each kind of part, and how instances are called.

An image is float32 `[B, 3, H, W]`, RGB, 0..1, on `run.device`; a part that needs another range
converts internally. Parts need not inherit from these classes: they only have to match them.

Every call within a step gets the Moment: the step and the clock. Read a setting that changes over
time with `self.strength.at(moment)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator as Stream

    import numpy as np
    from torch import Generator as Rng
    from torch import Tensor

    from pixweave.events import Event, Frame
    from pixweave.media.region import Region
    from pixweave.timeline.values import Moment
    from pixweave.workers.tasks import Task, TaskResult

    Array = np.ndarray[Any, Any]


class Generator(Protocol):
    """Makes the image.

    The component declares its abilities in the ClassVar `can`; see `Component.can`.

    Optional attributes:

    - `palette`, uint8 `[K, 3]`: every pixel is one of K colours, so exporters write indexed files.
    - `advance(moment)`: called before each step; a generator that updates itself does so here.
    - `info`: a short line that describes what was built.
    - `natural_rate`: a learning rate over time that suits the way it was initialised; replaces its
      component's.
    - `shown()`: called after each step; a detached image to show instead of the one that the
      losses saw, or None.
    - `latents()`, if it can `latent`: `[B, ...]`, differentiable, in a space where distances are
      meaningful.
    - `svg()`, if it can `svg`: SVG elements, in pixels, of the image that `image()` last returned.
    """

    def parameters(self) -> Iterable[Tensor]:
        """The leaf tensors to optimise; none if the generator updates itself or does not change."""

    def image(self) -> Tensor:
        """The current image, differentiable: `[B, 3, H, W]`, with straight alpha `[B, 4, H, W]`."""

    def constrain(self) -> None:
        """Bring the parameters back into their valid range; called after each step."""

    def start_from(self, image: Tensor) -> None:
        """Set the parameters, in place, so that the generator's image is as near as possible.

        `image` is `[B, 3, H, W]`, or `[B, 4, H, W]` if the generator has alpha. If this is not
        supported, the component leaves `start_from` out of `can`, and this is never called.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """All that is needed to continue from here, as tensors, numbers and texts."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""


class Perceptor(Protocol):
    """Maps images and texts into one embedding space.

    Optional attributes:

    - `bank`: short captions of typical images, which a prompt may be contrasted with.
    - `overflow(text)`: the words of a text that do not fit into its context ('' if all fit).
    - `fit` and `method`: how images are resized for it, see `Preprocessing`.
    - `features(images)`: a list of `[N, positions, C]`, one for each depth, differentiable.
    - for classifiers: `logit_scale`, the factor on cosines that it was trained with (a float);
      `logit_bias`, the bias added to them if it was trained with a sigmoid loss (SigLIP) instead
      of a softmax, else None; `templates`, the texts with `{}` for a label that suit it best.
    """

    size: int
    """Side in pixels of its square input images."""

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]` of the images `[N, 3, size, size]`; differentiable."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts."""


class RegionView(Protocol):
    """One image `[B, 3, H, W]` as perceptors see it in one step."""

    @property
    def image(self) -> Tensor:
        """The image, differentiable; composited over a random grey if it has alpha."""

    @property
    def moment(self) -> Moment:
        """The step and its clock."""

    @property
    def step(self) -> int:
        """The step, counted from 0."""

    def crops(self, perceptor: str) -> Tensor:
        """The augmented crops `[B * N, 3, S, S]` for the perceptor with that id."""

    def embedding(self, perceptor: str) -> Tensor:
        """Unit vectors `[B, N, D]` of the crops; encoded once per step and shared by all losses."""


class View(RegionView, Protocol):
    """What a loss sees of one step: the image, and its crops and embeddings on request."""

    @property
    def raw(self) -> Tensor:
        """The image with its alpha, `[B, 3 or 4, H, W]`."""

    @property
    def alpha(self) -> Tensor | None:
        """The alpha `[B, 1, H, W]`, or None."""

    def within(self, region: Region, margin: float = 0.0) -> RegionView:
        """A view of a region alone.

        With `margin`, a fraction of the region's sides, that much of the surroundings is visible
        too, but gets no gradient.
        """

    def of(self, picture: Tensor) -> View:
        """A view of another image, of three or four channels, with the same crops."""


class Loss(Protocol):
    """Returns a scalar, smaller for a view that better matches what the recipe asks for.

    A loss that keeps state from step to step also has `state_dict()` and `load_state_dict(state)`.
    At a weight of 0 it is not called.
    """

    def __call__(self, view: View) -> Tensor: ...


class Augmentation(Protocol):
    """Changes crops `[N, 3, S, S]` at random; draws only from `rng`, a CPU generator."""

    def __call__(self, crops: Tensor, rng: Rng, moment: Moment) -> Tensor: ...


class Filter(Protocol):
    """Changes the finished image `[B, 3 or 4, H, W]`, straight alpha, without gradients.

    It gets every frame of the run, in order, unless its component can `stateless`: then only the
    frames that are shown or exported. The component has `output_size((width, height))` if the
    filter changes the size. A filter with state has `state_dict()` and `load_state_dict(state)`.
    """

    def __call__(self, image: Tensor, moment: Moment) -> Tensor: ...


class Codec(Protocol):
    """Turns images into codes and back: an image tokenizer, such as a VQGAN. Keeps no state."""

    @property
    def codebook(self) -> Tensor:
        """The vectors of the codes, `[K, D]`."""

    @property
    def factor(self) -> int:
        """Side in pixels of the square that one code represents."""

    def encode(self, images: Tensor) -> Tensor:
        """Latents `[B, D, h, w]` of images `[B, 3, h * factor, w * factor]`, not quantized."""

    def nearest(self, latents: Tensor) -> Tensor:
        """The indices of the nearest codes, int64 `[B, h, w]`."""

    def look_up(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, h, w]` of the code indices `[B, h, w]`."""

    def decode(self, latents: Tensor) -> Tensor:
        """Images `[B, 3, h * factor, w * factor]`, differentiable; values may lie outside 0..1."""


class Sampler(Protocol):
    """Draws an image for texts at once, without optimisation steps. Keeps no state."""

    def sample(self, prompts: Sequence[tuple[str, float]], rng: Rng) -> Tensor:
        """An image `[1, 3, S, S]`, 0..1, for texts with weights, at least one of them above 0."""


@dataclass(frozen=True)
class Scores:
    """How well labels fit images.

    `values` `[N, L]` are 0..1; `logits` `[N, L]` are the logits that they were computed from, if
    any; `known` `[N]`, 0..1, is the confidence that any of the labels fits, None if the classifier
    does not estimate it.
    """

    values: Tensor
    logits: Tensor | None = None
    known: Tensor | None = None


class Classifier(Protocol):
    """Scores images for each label.

    Optional: `perceptor`, the id of the perceptor in whose embedding space it classifies, with
    `judge(vectors)`, the same scores from unit vectors `[N, D]` of images; `least`, the value of
    `known` below which an image is labelled unknown; `info`, a short line that describes it.
    """

    labels: Sequence[str]
    """The labels, in the order of the columns."""
    size: int
    """Side in pixels of its square input images."""

    def __call__(self, images: Tensor) -> Scores:
        """The scores of the images `[N, 3, size, size]`; no gradient."""


class Searcher(Protocol):
    """Finds the nearest vectors; `build` gets a `pixweave.search.SearchContext` with the matrix.

    It may store data derived from the matrix in `run.matrix.folder`. pixweave keeps only the matrix
    up to date, and drops hits on deleted rows.
    """

    def search(self, goal: Array, count: int, allowed: Array | None) -> tuple[Array, Array]:
        """Rows of the `count` (or more) vectors nearest to `goal`, and their cosines, best first.

        `goal` is a unit vector, float32 `[D]`; `allowed` is an ascending int64 array of rows, or
        None for all. Fewer than `count` are returned only if there are no more.
        """


class Executor(Protocol):
    """Runs tasks in workers; `build` gets a `pixweave.workers.tasks.ExecutorContext`.

    A worker is a process that first calls `run.setup.apply(threads)` and then
    `pixweave.workers.tasks.try_task(task)` for each task; what a task loads, such as a model, stays
    loaded for the next.
    """

    info: str
    """A short line that describes the workers: `2 processes of 1 thread`."""

    def run(
        self, tasks: Iterable[Task], stop: Callable[[], bool]
    ) -> Stream[TaskResult, None, None]:
        """The result of each task, once, as they finish, in any order.

        Tasks are taken from the iterable as workers become free, in the caller's thread; if there
        are none, no worker is started. A task whose worker died is retried a limited number of
        times and then returned with its error; the others still finish. Within a second of
        `stop()` returning true, or when the iterator is closed, all workers end and their
        unfinished tasks are dropped. RunError, with a hint, if no worker can be started.
        """


class Exporter(Protocol):
    """Writes the run to files, frame by frame; files only appear once they are complete.

    `write` gets every frame and may ignore some; `close` completes the files with the frames so far
    and returns their paths; `abort` leaves nothing behind under the final name.
    """

    def write(self, frame: Frame) -> None: ...

    def close(self) -> Sequence[Path]: ...

    def abort(self) -> None: ...


class Stage(Protocol):
    """Processes the images of the previous stage; `build` gets a StageContext.

    A generator function: it gets the paths of the images of the previous stage, yields events, and
    returns the paths for the next stage, in order.

        def stage(pictures):
            yield Event("shuffled", {"pictures": len(pictures)})
            return pictures[::-1]

    The component declares the settings of the stage (`PartOf` for parts), and checks its
    requirements in `check`. If it has a setting `input`, that is required in the first stage.
    """

    def __call__(self, pictures: Sequence[str]) -> Stream[Event, None, Sequence[str]]: ...


class Training(Protocol):
    """Trains one model, step by step, and writes it; `build` gets a `train.TrainContext`.

    The component also has a ClassVar `suffix`, the file name's ending; a setting `steps`; and
    optionally a setting `size`, the side in pixels of the training images (64 without it).
    """

    def step(self, step: int) -> Mapping[str, float]:
        """Do one update; returns metrics as plain numbers.

        All randomness must derive from `(run.seed, step)`, so that a resumed run gives the same
        result as an uninterrupted one. torch's global stream is seeded this way before each step.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as values that torch loads with `weights_only`."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""

    def samples(self) -> Tensor | None:
        """Images `[N, 3, H, W]`, 0..1, that show the progress; None: nothing to show."""

    def measure(self) -> Mapping[str, float]:
        """Metrics on the held-out images `run.dataset.held`, of which there is at least one."""

    def save(self, path: Path) -> None:
        """Write the finished model to `path`, and its companion files next to it."""


class Stateful(Protocol):
    """A part that keeps state from step to step, which a resumed run must restore."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
