"""The picture in the terminal while it is being made, within a share of the time."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.segment import ControlType, Segment

from pixweave import images

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pixweave.protocols import Frame

Kind = Literal["kitty", "iterm", "blocks"]
WIDEST, HIGHEST = 64, 24
"""Cells of the terminal that the picture takes at most."""
SHARPEST = 512
"""Pixels on the longer side of what is sent to a terminal that shows real pictures."""
OFTENEST = 0.1
"""Seconds between two pictures at the least."""


def supports(stream: TextIO, env: Mapping[str, str]) -> Kind | None:
    """How a stream can show pictures, None if it cannot; judged by the environment alone.

    Inside tmux and screen only half blocks reach the screen whole.
    """
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if not stream.isatty() or term in ("", "dumb", "linux") or env.get("NO_COLOR"):
        return None
    if "TMUX" not in env and not term.startswith(("tmux", "screen")):
        if "kitty" in term or "ghostty" in term or "KITTY_WINDOW_ID" in env:
            return "kitty"
        if program in ("iTerm.app", "WezTerm") or env.get("LC_TERMINAL") == "iTerm2":
            return "iterm"
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return "blocks" if encoding.startswith("utf") else None


class TermPreview:
    """Shows frames in a terminal, drawing over the frame before.

    Alone, `offer` draws at once, and `close` gives the cursor back. With a progress display, use
    the context manager `live(progress)`: the picture then stands above it. It looks at its own cost
    and waits until that is at most `budget` of the time that went by.
    """

    def __init__(
        self, stream: TextIO, budget: float = 0.02, env: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = stream
        self.env = os.environ if env is None else env
        self.kind = supports(stream, self.env)
        self.drawn = 0
        self._clock = clock
        self._making = Allowance(budget / 2, clock)
        self._showing = Allowance(budget / 2, clock)
        self._picture: HalfBlocks | Inline | None = None
        self._rows = 0
        self._live: Live | None = None

    def offer(self, frame: Frame) -> bool:
        """Show the frame if there is time for it; says whether it was taken."""
        free = self._making.due() and (self._live is not None or self._showing.due())
        if self.kind is None or not free:
            return False
        with self._making:
            self._picture = self._make(frame.image)
        self.drawn += 1
        if self._live is None:
            with self._showing:
                self._draw(self._picture)
        return True

    def live(self, *below: RenderableType, console: Console | None = None) -> Live:
        """A rich display of the picture with `below` under it, to be used with `with`.

        It refreshes itself, as often as the budget allows.
        """
        console = console or Console(file=self.stream)
        self._live = _Live(self._showing, Group(self, *below), console)
        return self._live

    def close(self) -> None:
        """Give the cursor back, under the picture."""
        if self._rows:
            self.stream.write("\x1b[?25h")
            self.stream.flush()
            self._rows = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        if self._picture is not None:
            yield from self._picture.__rich_console__(console, options)

    def _make(self, image: Tensor) -> HalfBlocks | Inline:
        size = shutil.get_terminal_size()
        with contextlib.suppress(OSError, ValueError, AttributeError):
            own = os.get_terminal_size(self.stream.fileno())
            size = own if own.columns and own.lines else size
        width, height = image.shape[-1] * len(image), image.shape[-2]
        columns, rows = fit(width, height, size.columns - 1, size.lines - 6)
        if self.kind == "blocks":
            return HalfBlocks(shrink(image, columns, rows * 2), _deep(self.env))
        scale = min(1.0, SHARPEST / max(width, height))
        array = shrink(image, math.ceil(width * scale), math.ceil(height * scale))
        array = images.enlarge(array, max(1, SHARPEST // 2 // max(array.shape[:2])))
        return Inline(array, columns, rows, "kitty" if self.kind == "kitty" else "iterm")

    def _draw(self, picture: HalfBlocks | Inline) -> None:
        up = f"\x1b[{self._rows}A" if self._rows else "\x1b[?25l"
        clear = "\x1b[0J" if self._rows != picture.rows else ""
        self.stream.write(f"{up}\r{clear}" + "".join(f"{line}\r\n" for line in picture.lines()))
        self.stream.flush()
        self._rows = picture.rows


class Allowance:
    """A share of the time; as a context manager it measures what was spent."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.share, self.clock = share, clock
        self.spent = 0.0
        self._next = -math.inf

    def due(self) -> bool:
        """Whether there is time again."""
        return self.clock() >= self._next

    def __enter__(self) -> None:
        self._began = self.clock()

    def __exit__(self, *_: object) -> None:
        now = self.clock()
        cost = now - self._began
        self.spent += cost
        self._next = now + max(OFTENEST, cost / self.share)


class HalfBlocks:
    """A picture `[2 rows, columns, 3]` as text: each cell shows two pixels, one above the other.

    A rich renderable. The lines go out as they are: a rich style for each cell would cost ten times
    as much. Colours are written only where they change.
    """

    def __init__(self, array: np.ndarray[Any, Any], deep: bool = True) -> None:
        self.rows = len(array) // 2
        self._lines = [
            self._line(array[2 * i].tolist(), array[2 * i + 1].tolist(), deep)
            for i in range(self.rows)
        ]

    def lines(self) -> list[str]:
        """One string of escape codes and blocks for each row of cells."""
        return self._lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in self._lines:
            yield raw(line)
            yield Segment.line()

    @staticmethod
    def _line(above: list[list[int]], below: list[list[int]], deep: bool) -> str:
        parts: list[str] = []
        front = back = ""
        for upper, lower in zip(above, below, strict=True):
            wanted = _colour(lower, deep)
            if wanted != back:
                back = wanted
                parts.append(f"\x1b[48;{back}m")
            if upper == lower:
                parts.append(" ")
                continue
            wanted = _colour(upper, deep)
            if wanted != front:
                front = wanted
                parts.append(f"\x1b[38;{front}m")
            parts.append("▀")
        return "".join(parts) + "\x1b[0m"


class Inline:
    """A picture for terminals that show real ones, in `columns` x `rows` cells; a rich renderable.

    Protocols: kitty graphics (the picture is sent once, then only put in its place again), and
    iTerm2 inline images. Neither moves the cursor.
    """

    def __init__(
        self, array: np.ndarray[Any, Any], columns: int, rows: int, kind: Literal["kitty", "iterm"]
    ) -> None:
        self.columns, self.rows, self.kind = columns, rows, kind
        file = io.BytesIO()
        images.to_pillow(array).save(file, "PNG", compress_level=1)
        self._data = base64.b64encode(file.getvalue()).decode()
        self._sent = False

    def lines(self) -> list[str]:
        """Empty lines, so that there is room; the last of them puts the picture over them all."""
        up = f"\x1b[{self.rows - 1}A" if self.rows > 1 else ""
        return [""] * (self.rows - 1) + [f"\x1b7{up}\r{self._put()}\x1b8"]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in self.lines():
            yield raw(line)
            yield Segment.line()

    def _put(self) -> str:
        if self.kind == "iterm":
            size = f"width={self.columns};height={self.rows};preserveAspectRatio=0"
            return f"\x1b]1337;File=inline=1;doNotMoveCursor=1;{size}:{self._data}\x07"
        place = f"\x1b_Ga=p,i={_KITTY},p=1,c={self.columns},r={self.rows},C=1,q=2;\x1b\\"
        if self._sent:
            return place
        self._sent = True
        chunks = [self._data[i : i + 4096] for i in range(0, len(self._data), 4096)]
        sent = []
        for i, chunk in enumerate(chunks):
            head = f"a=t,f=100,i={_KITTY},q=2," if i == 0 else ""
            sent.append(f"\x1b_G{head}m={int(i < len(chunks) - 1)};{chunk}\x1b\\")
        return "".join(sent) + place


_KITTY = os.getpid() % 0xFFFF + 1  # the number of our picture in the terminal


class _Live(Live):
    """A rich Live that skips refreshes for which there is no time."""

    def __init__(self, allowance: Allowance, shown: RenderableType, console: Console) -> None:
        self._allowance = allowance
        self._last = False
        super().__init__(shown, console=console, refresh_per_second=1 / OFTENEST, transient=False)

    def refresh(self) -> None:
        """Draw again if there is time, and always the last time."""
        if self._last or self._allowance.due():
            with self._allowance:
                super().refresh()

    def stop(self) -> None:
        """Draw the last state and give the cursor back."""
        self._last = True
        super().stop()


def fit(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """Cells `(columns, rows)` for a picture, in its proportions: a cell is two pixels high."""
    most_columns, most_rows = min(columns, WIDEST), min(rows, HIGHEST)
    scale = min(max(1, most_columns) / width, max(1, most_rows) * 2 / height)
    if scale > 1:
        scale = math.floor(scale)  # every pixel the same size
    return max(1, round(width * scale)), max(1, round(height * scale / 2))


def shrink(image: Tensor, width: int, height: int) -> np.ndarray[Any, Any]:
    """A batch `[B, 3 or 4, H, W]` side by side as bytes `[height, width, 3]`, holes white.

    Pixels are averaged on the device, so that little crosses over.
    """
    import torch

    with torch.no_grad():
        row = torch.cat(list(image.detach().float()), dim=2)
        if len(row) == 4:
            row = row[:3] * row[3:] + 1 - row[3:]
        small = torch.nn.functional.interpolate(row[None], (height, width), mode="area")
    return images.to_uint8(small[0])


def raw(text: str) -> Segment:
    """Text that rich hands to the terminal as it is, and counts as no columns."""
    return Segment(text, None, [(ControlType.BELL,)]) if text else Segment("")


def _colour(rgb: list[int], deep: bool) -> str:
    red, green, blue = rgb
    if deep:
        return f"2;{red};{green};{blue}"
    return f"5;{16 + 36 * round(red / 51) + 6 * round(green / 51) + round(blue / 51)}"


def _deep(env: Mapping[str, str]) -> bool:
    """Whether the terminal shows 24-bit colour; others get the nearest of 216."""
    term = env.get("TERM", "")
    return env.get("COLORTERM") in ("truecolor", "24bit") or term.endswith("direct")
