"""What `build(run)` returns, for each kind of part, and what the instance is given at each step.

An image is float32 `[B, 3, H, W]`, RGB, 0..1, on `run.device`; a part that needs another range
converts inside itself. Nothing here is inherited: a part only has to look like its protocol.

Every call within a step gets the Moment: the step and the clock. A setting that is a number over
time gives its number by `self.strength.at(moment)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

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
    """Makes the picture.

    The component says in its ClassVar `can` what it is able to; see `Component.can`.

    Optional attributes, used where they are there:

    - `palette`, uint8 `[K, 3]`: every pixel is one of K colours, so exporters write indexed files.
    - `advance(moment)`: called before each step; a generator that moves itself does it here.
    - `info`: a short line about what was built.
    - `natural_rate`: a learning rate over time that fits how it began, instead of its component's.
    - `shown()`: called after each step; a detached picture to show instead of the one that the
      losses saw, or None.
    - `latents()`, if it can `latent`: `[B, ...]`, differentiable; distances mean something there.
    - `svg()`, if it can `svg`: SVG elements, in pixels, of the picture that `image()` last gave.
    """

    def parameters(self) -> Iterable[Tensor]:
        """The leaves that the optimizer moves; none for a generator that moves itself, or not."""

    def image(self) -> Tensor:
        """The picture now, differentiable: `[B, 3, H, W]`, with straight alpha `[B, 4, H, W]`."""

    def constrain(self) -> None:
        """Bring the parameters back into their legal range; called after each step."""

    def start_from(self, image: Tensor) -> None:
        """Set the parameters, in place, so that the picture is as near to `image` as can be.

        `[B, 3, H, W]`, or `[B, 4, H, W]` where the generator makes alpha. If it is unable to, the
        component leaves `start_from` out of `can`, and this is never called.
        """

    def state_dict(self) -> Mapping[str, Any]:
        """All that is needed to continue from here, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""


class Perceptor(Protocol):
    """Maps pictures and texts into one space.

    Optional attributes:

    - `bank`: short captions of what it knows, that a prompt may be contrasted with.
    - `overflow(text)`: the words of a text that its context cannot hold ('' when all fit).
    - `fit` and `method`: how pictures are brought to its size, see `Preprocessing`.
    - `features(images)`: a list of `[N, places, C]`, one for each depth, differentiable.
    - for classifiers: `logit_scale`, the factor on cosines that it was trained with (a float);
      `logit_bias`, what was added to them where it learnt pairs by a sigmoid and not by a softmax
      (SigLIP), else None; `templates`, the texts with `{}` for a label that suit it best.
    """

    size: int
    """Side in pixels of the square pictures that it looks at."""

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]` of the pictures `[N, 3, size, size]`; differentiable."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts."""


class RegionView(Protocol):
    """A picture `image` `[B, 3, H, W]` as perceptors look at it in one step."""

    @property
    def image(self) -> Tensor:
        """The picture, differentiable; over a random grey where it has alpha."""

    @property
    def moment(self) -> Moment:
        """The step and its clock."""

    @property
    def step(self) -> int:
        """The step, from 0 on."""

    def crops(self, perceptor: str) -> Tensor:
        """The augmented crops `[B * N, 3, S, S]` that the perceptor of that id looks at."""

    def embedding(self, perceptor: str) -> Tensor:
        """Unit vectors `[B, N, D]` of the crops; encoded once per step, whoever asks."""


class View(RegionView, Protocol):
    """What a loss sees of one step: the picture, and crops and embeddings when it asks."""

    @property
    def raw(self) -> Tensor:
        """The picture with its alpha, `[B, 3 or 4, H, W]`."""

    @property
    def alpha(self) -> Tensor | None:
        """The alpha `[B, 1, H, W]`, or None."""

    def within(self, region: Region, margin: float = 0.0) -> RegionView:
        """What is inside of a region, as if there were nothing else.

        With `margin`, a share of the region's sides, so much of the surroundings is seen too, and
        gets no gradient.
        """

    def of(self, picture: Tensor) -> View:
        """Another picture of three or four channels in the same crops."""


class Loss(Protocol):
    """Gives a scalar that is smaller the better the view is what the recipe wants.

    One that remembers something from step to step also has `state_dict()` and
    `load_state_dict(state)`. At a weight of 0 it is not called.
    """

    def __call__(self, view: View) -> Tensor: ...


class Augmentation(Protocol):
    """Changes crops `[N, 3, S, S]` at random; draws from `rng`, a CPU generator, alone."""

    def __call__(self, crops: Tensor, rng: Rng, moment: Moment) -> Tensor: ...


class Filter(Protocol):
    """Changes the finished picture `[B, 3 or 4, H, W]`, alpha straight, without gradients.

    It sees every frame of the run, in order, unless its component can `stateless`: then only the
    frames that are shown or exported. The component has `output_size((width, height))` if it gives
    another size. One that remembers something has `state_dict()` and `load_state_dict(state)`.
    """

    def __call__(self, image: Tensor, moment: Moment) -> Tensor: ...


class Codec(Protocol):
    """Turns pictures into codes and back: an image tokenizer, such as a VQGAN. Keeps no state."""

    @property
    def codebook(self) -> Tensor:
        """The vectors of the codes, `[K, D]`."""

    @property
    def factor(self) -> int:
        """Side in pixels of the square that one code stands for."""

    def encode(self, images: Tensor) -> Tensor:
        """Latents `[B, D, h, w]` of pictures `[B, 3, h * factor, w * factor]`, not quantized."""

    def nearest(self, latents: Tensor) -> Tensor:
        """The numbers of the nearest codes, int64 `[B, h, w]`."""

    def look_up(self, codes: Tensor) -> Tensor:
        """Latents `[B, D, h, w]` of the numbers of codes `[B, h, w]`."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures `[B, 3, h * factor, w * factor]`, differentiable; may leave 0..1."""


class Sampler(Protocol):
    """Draws a picture for texts in one go, without a loop of steps. Keeps no state."""

    def sample(self, prompts: Sequence[tuple[str, float]], rng: Rng) -> Tensor:
        """A picture `[1, 3, S, S]`, 0..1, for texts with their weights, one above 0 or more."""


@dataclass(frozen=True)
class Scores:
    """How well labels fit pictures.

    `values` `[N, L]` are 0..1; `logits` `[N, L]` what they were made of, if anything; `known` `[N]`
    is 0..1, how sure it is that any of the labels fits, where the classifier can tell, else None.
    """

    values: Tensor
    logits: Tensor | None = None
    known: Tensor | None = None


class Classifier(Protocol):
    """Gives pictures a score for each label.

    Optional: `perceptor`, the id of the perceptor in whose space it judges, with `judge(vectors)`,
    the same from unit vectors `[N, D]` of pictures; `least`, the `known` below which a picture
    is none of the labels; `info`, a short line about how it judges.
    """

    labels: Sequence[str]
    """What there is to choose from, in the order of the columns."""
    size: int
    """Side in pixels of the square pictures that it looks at."""

    def __call__(self, images: Tensor) -> Scores:
        """The scores of the pictures `[N, 3, size, size]`; no gradient."""


class Searcher(Protocol):
    """Finds the nearest vectors; `build` gets a `pixweave.search.SearchContext` with the matrix.

    It may keep what it derives from the matrix in `run.matrix.folder`; the matrix alone is kept up
    to date by the host, and hits on rows that were deleted are dropped there.
    """

    def search(self, goal: Array, count: int, allowed: Array | None) -> tuple[Array, Array]:
        """Rows of the `count` (or more) vectors nearest to the unit vector, and their cosines.

        `goal` is float32 `[D]`, `allowed` an ascending int64 array of rows, or None for all. Best
        first; fewer than `count` only where there are no more.
        """


class Executor(Protocol):
    """Runs tasks in workers; `build` gets a `pixweave.workers.tasks.ExecutorContext`.

    A worker is a process that is set up first (`run.setup.apply(threads)`) and then calls
    `pixweave.workers.tasks.try_task(task)`; what a task loads, such as a model, stays for the next.
    """

    info: str
    """A short line about who works: `2 processes of 1 thread`."""

    def run(
        self, tasks: Iterable[Task], stop: Callable[[], bool]
    ) -> Stream[TaskResult, None, None]:
        """The result of each task, once, as they finish, in any order.

        Tasks are drawn as workers become free, in the caller's thread; without any, nothing is
        started. A task whose worker died is tried again, a bounded number of times, and then given
        back with its error; the others still finish. Within a second of `stop()` turning true, or
        when the iterator is closed, all workers end, and what they had at hand is dropped.
        RunError, with the remedy, where no worker can be had at all.
        """


class Exporter(Protocol):
    """Writes the run to one place, a frame at a time; files appear whole.

    `write` gets every frame and takes what it needs; `close` finishes what was written so far and
    gives the paths; `abort` leaves nothing behind under the final name.
    """

    def write(self, frame: Frame) -> None: ...

    def close(self) -> Sequence[Path]: ...

    def abort(self) -> None: ...


class Stage(Protocol):
    """Does one thing with the pictures of the stage before it; `build` gets a StageContext.

    A generator function: it is given the paths of the pictures that came in, yields events, and
    returns the paths that go on, in their order.

        def stage(pictures):
            yield Event("shuffled", {"pictures": len(pictures)})
            return pictures[::-1]

    The component declares what the stage takes as settings (`PartOf` for parts), and in `check`
    what it needs; `input`, if it has such a setting, is asked for where the stage comes first.
    """

    def __call__(self, pictures: Sequence[str]) -> Stream[Event, None, Sequence[str]]: ...


class Training(Protocol):
    """Trains one model, a step at a time, and writes it; `build` gets a `train.TrainContext`.

    The component also has `suffix`, a ClassVar: what the name of its file ends in; a setting
    `steps`; and, unless 64 px will do, a setting `size`: the side at which the data is packed.
    """

    def step(self, step: int) -> Mapping[str, float]:
        """Do one update; gives plain numbers about it.

        All randomness derives from `(run.seed, step)`, so that a resumed run repeats what an
        unbroken one does. torch's own global stream is seeded so before each step.
        """

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as tensors and plain values (`weights_only` loads it)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""

    def samples(self) -> Tensor | None:
        """Pictures `[N, 3, H, W]`, 0..1, that show how far it is; None: nothing to show."""

    def measure(self) -> Mapping[str, float]:
        """How good it is on the held-out pictures `run.dataset.held`, which are one or more."""

    def save(self, path: Path) -> None:
        """Write the finished model to `path`, and what belongs to it beside it."""


@runtime_checkable
class Stateful(Protocol):
    """A part that remembers something from step to step, so that a resumed run must restore it."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
