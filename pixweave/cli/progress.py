"""Live progress of a run in the terminal: a bar, the losses, and a preview of the image.

The loop only stores its latest step here; a timer thread draws, as often as its `Budget` allows.
Everything is written to stderr and cleared at the end, except for one line.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    Group,
    RenderableType,
    RenderResult,
)
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import ControlType, Segment
from rich.table import Column, Table
from rich.text import Text

from pixweave.errors import RunError
from pixweave.media import terminal_preview

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.events import Event, Frame
    from pixweave.recipe import Recipe

SHARE = 0.02
"""Largest share of the run's time that drawing may take."""

PER_SECOND = 8
"""Most refreshes per second; half as many with a preview, which is some ten kilobytes each."""

MOST_COLUMNS, MOST_ROWS = 80, 40
"""Largest size of the preview in terminal cells."""


def preview_kind(
    choice: str, stream: Any = None, env: Mapping[str, str] = os.environ
) -> terminal_preview.Kind | None:
    """How to show the preview for `--preview auto|term|none`; None for no preview.

    Raises RunError for `term` if the terminal cannot show images.
    """
    kind = None if choice == "none" else terminal_preview.supports(stream or sys.stderr, env)
    if choice == "term" and kind is None:
        raise RunError(
            "this terminal cannot show a live preview: standard error must be a terminal with "
            "24-bit colours, and NO_COLOR must not be set; set COLORTERM=truecolor if it has "
            "them, or remove '--preview term'"
        )
    return kind


class Progress:
    """Progress display, from `with` to `close()`; `stopping` tells whether a stop was requested."""

    def __init__(
        self,
        recipe: Recipe,
        preview: Literal["auto", "term", "none"] | str = "auto",
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.budget = terminal_preview.Budget(SHARE)
        self._kind = preview_kind(preview)
        self._title, self._stopping = recipe.title or recipe.name, stopping
        self._state = "preparing"
        self._began = time.monotonic()
        self._last: Mapping[str, Any] = {}  # data of the latest step that has losses
        self._seen = self._done = 0  # steps of this run; the latter with earlier, resumed ones
        self._steps = recipe.steps
        self._frame: Frame | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=100)  # (seconds, done): some 10 s
        self._picture = _Picture()
        self._console = Console(stderr=True, highlight=False)
        self._live = _BudgetLive(
            self.budget,
            console=self._console,
            get_renderable=self._view,
            transient=True,
            refresh_per_second=PER_SECOND / 2 if self._kind else PER_SECOND,
            redirect_stdout=sys.stdout.isatty(),  # do not delay output to a pipe
        )

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._live.stop()

    def step(self, event: Event) -> None:
        """Store a step; takes some microseconds and draws nothing."""
        data = event.data
        if not self._recent:
            self._recent.append((0.0, data["step"]))
        if "losses" in data:
            self._last = data
            self._recent.append((data["seconds"], data["step"] + 1))
        self._frame, self._done, self._steps = event.frame, data["step"] + 1, data["steps"]
        self._seen += 1

    def event(self, event: Event) -> None:
        """Show any other event; a warning stays above the bar."""
        if event.kind == "warning":
            with self.budget.drawing():
                self._console.print(Text(f"warning: {event.data['message']}"), soft_wrap=True)
        elif event.kind == "building":
            self._state = f"building {', '.join(dict.fromkeys(event.data['parts']))}"
        elif event.kind == "started":
            self._state = f"the first step on {event.data['device']}"

    def close(self) -> None:
        """End the display, leaving one summary line; stdout and stderr can be used again."""
        if not self._live.is_started:
            return
        self._live.stop()
        if not self._done:
            return
        if self._kind in ("kitty", "iterm"):
            self._show_last()
        seconds = self._last["seconds"]
        rate = _rate(seconds, self._seen)
        line = f"{self._title}: {_count(self._seen)}, {rate}, {seconds:.1f} s"
        self._console.print(Text(line, style="dim"), soft_wrap=True)

    def _view(self) -> RenderableType:
        """The current content of the display; called from the timer thread."""
        parts: list[RenderableType] = []
        size = self._console.size
        columns, rows = min(size.width - 1, MOST_COLUMNS), min(size.height - 4, MOST_ROWS)
        if self._kind and self._frame is not None and columns >= 8 and rows >= 4:
            self._picture.show(self._frame, columns, rows)
            parts += [_Raw(line, "\n") for line in self._picture.lines]
        *above, line = self._bar() if self._done else (self._waiting(),)
        line.truncate(max(size.width - 5, 1), overflow="ellipsis")  # room for the ^C of a Ctrl-C
        return Group(*parts, *above, line)

    def _waiting(self) -> Text:
        line = f"{self._title}: {self._state}, {time.monotonic() - self._began:.0f} s"
        return Text(line)

    def _bar(self) -> tuple[Table, Text]:
        last, (at, done), (to, now) = self._last, self._recent[0], self._recent[-1]
        left = (self._steps - self._done) * (to - at) / max(now - done, 1)
        counts = f"{self._done}/{self._steps} {_rate(to - at, now - done)} {_clock(left)}"
        grid = Table.grid(Column(ratio=1), Column(no_wrap=True), padding=(0, 1), expand=True)
        grid.add_row(ProgressBar(self._steps, self._done), counts)
        losses = "  ".join(f"{name} {value:.3g}" for name, value in last["losses"].items())
        if self._stopping():
            losses = "stopping after this step"
        return grid, Text(losses or " ", style="dim")

    def _show_last(self) -> None:
        """Show the finished image after the filters at full resolution, once at the end."""
        assert self._frame is not None
        array = _bytes(self._frame.image)
        size = self._console.size
        columns, rows = min(size.width - 1, MOST_COLUMNS), min(size.height - 4, MOST_ROWS)
        wide, high = terminal_preview.fit(array.shape[1], array.shape[0], columns, max(rows, 1))
        show = terminal_preview.kitty if self._kind == "kitty" else terminal_preview.iterm
        sys.stderr.write(show(terminal_preview.png(array), wide, (high + 1) // 2) + "\n")
        sys.stderr.flush()


class _BudgetLive(Live):
    """A Live that skips a refresh when drawing would take too large a share of the run."""

    def __init__(self, budget: terminal_preview.Budget, **options: Any) -> None:
        self._budget = budget
        super().__init__(**options)

    def refresh(self) -> None:
        """Draw if the budget allows; not when stopping, since the display is cleared anyway."""
        if self.is_started and self._budget.due():
            with self._budget.drawing():
                super().refresh()

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """The output of rich as one synchronised update, so that no half-drawn image is shown."""
        drawn = super().process_renderables(renderables)
        return [_Raw("\x1b[?2026h"), *drawn, _Raw("\x1b[?2026l")]


class _Picture:
    """The latest frame as half blocks; recomputed only when the frame or the size changed."""

    def __init__(self) -> None:
        self._shown: tuple[Frame | None, int, int] = None, 0, 0
        self.lines: list[str] = []

    def show(self, frame: Frame, columns: int, rows: int) -> None:
        """Render a frame, before the filters, to lines of at most `columns` x `rows` cells.

        The filters run torch, which must not run in the timer's thread.
        """
        last, *size = self._shown
        if frame is last and size == [columns, rows]:
            return
        height, width = frame.raw.shape[-2:]
        wide, high = terminal_preview.fit(width, height, columns, rows)
        # copy at most 2 x 2 pixels per displayed pixel from the device
        every = max(1, min(width // (2 * wide), height // (2 * high)))
        self.lines = terminal_preview.half_blocks(_bytes(frame.raw, every), columns, rows)
        self._shown = frame, columns, rows


@dataclass(frozen=True)
class _Raw:
    """Text that rich writes unchanged, without parsing its thousands of colour codes."""

    text: str
    end: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self.text, None, [(ControlType.CARRIAGE_RETURN,)])
        if self.end:
            yield Segment.line()


def _bytes(image: Tensor, every: int = 1) -> Any:
    """The first image of a batch as uint8 `[H, W, C]`, keeping every `every`-th pixel.

    Uses numpy, unlike `images.to_uint8`: in this thread torch would start a second thread pool that
    competes with the loop's (40 ms instead of 2 on two busy cores).
    """
    pixels = image[0, :, ::every, ::every].detach().float().cpu().numpy()
    return (pixels.clip(0, 1) * 255).round().astype("uint8").transpose(1, 2, 0)


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _rate(seconds: float, steps: int) -> str:
    """`8.1 it/s`, or `2.5 s/it` where that is easier to read."""
    if seconds <= 0 or steps <= 0:
        return "- it/s"
    rate = steps / seconds
    if rate < 1:
        return f"{1 / rate:.1f} s/it"
    return f"{rate:.0f} it/s" if rate >= 100 else f"{rate:.1f} it/s"


def _clock(seconds: float) -> str:
    """`0:42`, `12:05` or `1:12:05`."""
    left = round(seconds)
    hours, minutes = left // 3600, left % 3600 // 60
    return f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"
