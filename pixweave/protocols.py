"""What `build(run)` returns, for each kind of part.

An image is float32 `[B, 3, H, W]`, RGB, 0..1, on `run.device`; a part that needs another range
converts inside itself. Nothing here is inherited: a part only has to look like its protocol.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator as Stream

    from torch import Generator as Rng
    from torch import Tensor

    from pixweave.engine.view import View
    from pixweave.workers.tasks import Done, Unit


class Generator(Protocol):
    """Makes the picture.

    The component says in its ClassVar `can` what it is able to; see `Component.can`. With
    `latent`, there is `latents()`: `[B, ...]`, differentiable, in which distances mean something.

    Optional attributes, used where they are there: `palette`, uint8 `[K, 3]`, when every pixel is
    one of K colours (exporters then write indexed files); `advance(step)`, called before
    each step; `info`, a short line about what was built; `natural_rate`, a learning rate over time
    that fits how it began, instead of its component's; `shown()`, called after each step, a
    detached picture to show instead of the one that losses saw, or None; `svg()`, if the picture is
    made of shapes: SVG elements, in pixels, of the picture that `image()` last gave. The component
    then says so with `svg: ClassVar[bool] = True`.
    """

    def parameters(self) -> Iterable[Tensor]:
        """The leaves that the optimiser moves."""

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
        """All that is needed to go on from here, as tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""


class Perceptor(Protocol):
    """Maps pictures and texts into one space.

    Optional: `bank`, short captions of what it knows, that a prompt may be contrasted with;
    `overflow(text)`, the words of a text that its context cannot hold ('' when all fit); `fit` and
    `method`, how pictures are brought to its size (`pixweave.loading.Look`). Its component
    may have `identity()`, a text without torch that is equal where vectors may be compared: then
    vectors of texts are kept on disk under it. Where `run.only` is "text" it will see texts alone,
    and may leave its image tower out. For classifiers: `logit_scale`, the factor on cosines that
    it was trained with (a float); `logit_bias`, what was added to them, where it learnt pairs by a
    sigmoid and not by a softmax (SigLIP), else None; `templates`, the texts with `{}` for a label
    that suit it best.
    """

    size: int
    """Side in pixels of the square pictures that it looks at."""

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]` of the pictures `[N, 3, size, size]`; differentiable."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts."""


class Loss(Protocol):
    """A wish: gives a scalar that is smaller the better the view fulfils it."""

    def __call__(self, view: View) -> Tensor: ...


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
    """Finds the nearest vectors; `build` gets a `pixweave.search.SearchRun` with the matrix.

    It may keep what it derives from the matrix in `run.matrix.folder`; the matrix alone is kept up
    to date by the host, and hits on rows that were deleted are dropped there.
    """

    def search(self, goal: Any, count: int, allowed: Any) -> tuple[Any, Any]:
        """Rows of the `count` (or more) vectors nearest to the unit vector, and their cosines.

        `goal` is float32 `[D]`, `allowed` an ascending int64 array of rows, or None for all. Best
        first; fewer than `count` only where there are no more.
        """


class Executor(Protocol):
    """Does units of work in workers; `build` gets a `pixweave.workers.tasks.ExecutorRun`.

    A worker is a process that is settled first (`run.workplace.settle(threads)`) and then calls
    `pixweave.workers.tasks.attempt(unit)`; what a unit loads, such as a model, stays for the
    next ones.
    """

    info: str
    """A short line about who works: `2 processes of 1 thread`."""

    def run(self, units: Iterable[Unit], stop: Callable[[], bool]) -> Stream[Done, None, None]:
        """What came of each unit, once, as they finish, in any order.

        Units are drawn as workers become free, in the caller's thread; without any, nothing is
        started. A unit whose worker died is tried again, a bounded number of times, and then given
        back with its fault; the others still finish. Within a second of `stop()` turning true, or
        when the iterator is closed, all workers end, and what they had at hand is dropped.
        RunError, with the remedy, where no worker can be had at all.
        """


class Augmentation(Protocol):
    """Changes crops `[N, 3, S, S]` at random; draws from `rng`, a CPU generator, alone."""

    def __call__(self, crops: Tensor, rng: Rng) -> Tensor: ...


class Filter(Protocol):
    """Changes the finished picture `[B, 3 or 4, H, W]`, alpha straight, without gradients.

    The component also has `output_size((width, height))` if it gives another size.
    """

    def __call__(self, image: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Frame:
    """What one step of the loop gave.

    `raw` is the generator's picture, `[B, 3, H, W]` or, with alpha, `[B, 4, H, W]`, detached;
    `losses` are weighted scalars, detached and still on the device, so that reading them is the
    reader's choice. `finish` puts the recipe's filters on the picture.
    """

    step: int
    raw: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    finish: Callable[[Tensor], Tensor] = field(default=lambda raw: raw, repr=False)

    @functools.cached_property
    def image(self) -> Tensor:
        """The picture to show and export: `raw` after the filters, made when first asked for."""
        return self.finish(self.raw)


class Exporter(Protocol):
    """Writes the run to one place, a frame at a time; files appear whole.

    `write` gets every frame and takes what it needs; `close` finishes what was written so far and
    gives the paths; `abort` leaves nothing behind under the final name.
    """

    def write(self, frame: Frame) -> None: ...

    def close(self) -> Sequence[Path]: ...

    def abort(self) -> None: ...


class Training(Protocol):
    """Trains one model, a step at a time, and writes it; `build` gets a `pixweave.train.TrainRun`.

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
        """Go on from a `state_dict`."""

    def samples(self) -> Tensor | None:
        """Pictures `[N, 3, H, W]`, 0..1, that show how far it is; None: nothing to show."""

    def measure(self) -> Mapping[str, float]:
        """How good it is on the held-out pictures `run.dataset.held`, which are one or more."""

    def save(self, path: Path) -> None:
        """Write the finished model to `path`, and what belongs to it beside it."""
