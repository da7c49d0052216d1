"""Pictures in a terminal: what it can show, as text with colours or as an inline picture, and how
often drawing is worth its time.

The half blocks are those of timg and chafa; the inline pictures follow the documents of kitty's
graphics protocol and of iTerm2. The time budget, instead of "every n steps", answers the oldest
complaint about previews: that they slow the run down.
"""

from __future__ import annotations

import base64
import contextlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Kind = Literal["kitty", "iterm", "blocks"]

KITTY_CHUNK = 4096
"""Most base64 characters in one escape sequence of kitty's protocol."""

CHECKS = (102, 153)
"""The two greys, 0..255, that show through a transparent picture."""


class _Stream(Protocol):
    @property
    def encoding(self) -> str | None: ...

    def isatty(self) -> bool: ...


def supports(stream: _Stream, env: Mapping[str, str]) -> Kind | None:
    """The best way to show a picture on a stream, from what it and the environment say; or None.

    Nothing is asked of the terminal itself: an answer could come late and end up in the shell.
    Inside tmux and screen only blocks get through.
    """
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if not stream.isatty() or env.get("NO_COLOR") or term in ("", "dumb"):
        return None
    if not (stream.encoding or "").lower().startswith("utf"):  # it could not even say a block
        return None
    inside = "TMUX" in env or term.startswith(("tmux", "screen"))
    if not inside and (
        term in ("xterm-kitty", "xterm-ghostty") or "KITTY_WINDOW_ID" in env or program == "ghostty"
    ):
        return "kitty"
    iterm2 = env.get("LC_TERMINAL") == "iTerm2"  # what ssh brings along
    if not inside and (iterm2 or program in ("iTerm.app", "WezTerm")):
        return "iterm"
    if env.get("COLORTERM") in ("truecolor", "24bit"):
        return "blocks"
    # Apple's Terminal calls itself 256color and shows 24-bit colours as flicker
    named = ("256color" in term or "direct" in term) and program != "Apple_Terminal"
    return "blocks" if named else None


def fit(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """The size in pixels at which a picture fills `columns` x `rows` cells of 1 x 2 pixels.

    Keeps the aspect; a picture that is smaller grows by a whole factor, so that its pixels stay
    squares. At least 1 x 1.
    """
    scale = min(columns / width, 2 * rows / height)
    if scale >= 1:
        return width * int(scale), height * int(scale)
    return max(1, round(width * scale)), max(1, round(height * scale))


def half_blocks(array: Array, columns: int, rows: int) -> list[str]:
    """A picture as lines of `▀` in 24-bit colours, two pixels to a cell.

    `array` is bytes `[H, W, C]`, C 1 (grey), 3 or 4 (straight alpha, shown over a checkerboard).
    At most `rows` lines of `columns` cells. Each line begins and ends with the terminal's own
    colours, and a colour is only sent where it changes.
    """
    import numpy as np

    height, width = array.shape[:2]
    wide, high = fit(width, height, columns, rows)
    codes = _over_checks(_resize(array, wide, high)) @ np.array([65536, 256, 1])
    if high % 2:
        codes = np.concatenate([codes, np.full((1, wide), -1)])  # -1: nothing there
    return [
        _line(top, bottom)
        for top, bottom in zip(codes[::2].tolist(), codes[1::2].tolist(), strict=True)
    ]


def _resize(array: Array, wide: int, high: int) -> Array:
    """Float `[high, wide, C]`, alpha premultiplied, 0..255: the mean of each area, or repeats."""
    import numpy as np

    height, width, channels = array.shape
    picture = array.astype(np.float32)
    if channels == 4:
        picture[..., :3] *= picture[..., 3:] / 255
    if wide >= width and high >= height:
        return picture.repeat(high // height, 0).repeat(wide // width, 1)
    ys, xs = np.arange(high) * height // high, np.arange(wide) * width // wide
    summed = np.add.reduceat(np.add.reduceat(picture, ys, axis=0), xs, axis=1)
    counts = np.diff(ys, append=height)[:, None] * np.diff(xs, append=width)
    return np.asarray(summed / counts[..., None])


def _over_checks(picture: Array) -> Array:
    """Integer RGB `[H, W, 3]` of a picture, over squares of 4 x 4 pixels where it has alpha."""
    import numpy as np

    if picture.shape[2] == 4:
        high, wide = picture.shape[:2]
        odd = (np.arange(high)[:, None] // 4 + np.arange(wide) // 4) % 2
        checks = np.where(odd, *reversed(CHECKS))[..., None]
        picture = picture[..., :3] + (1 - picture[..., 3:] / 255) * checks
    picture = picture.round().clip(0, 255).astype(np.int64)
    return picture.repeat(3, 2) if picture.shape[2] == 1 else picture


def _line(top: list[int], bottom: list[int]) -> str:
    parts: list[str] = []
    last_top = last_bottom = -1
    for upper, lower in zip(top, bottom, strict=True):
        sent = []
        if upper != last_top:
            sent.append(f"38;2;{upper >> 16};{upper >> 8 & 255};{upper & 255}")
        if lower != last_bottom:
            sent.append(f"48;2;{lower >> 16};{lower >> 8 & 255};{lower & 255}")
        parts.append(f"\x1b[{';'.join(sent)}m▀" if sent else "▀")
        last_top, last_bottom = upper, lower
    return "".join(parts) + "\x1b[0m"


def png(array: Array) -> bytes:
    """The picture `[H, W, 3 or 4]` as a PNG, packed fast rather than small."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=1)
    return file.getvalue()


def kitty(data: bytes, columns: int, rows: int) -> str:
    """The escape sequences that make kitty or ghostty show a PNG over `columns` x `rows` cells.

    `q=2` keeps the terminal from answering, since nobody reads the answer.
    """
    text = base64.standard_b64encode(data).decode()
    chunks = [text[i : i + KITTY_CHUNK] for i in range(0, len(text), KITTY_CHUNK)]
    first = f"a=T,f=100,q=2,c={columns},r={rows},"
    return "".join(
        f"\x1b_G{first if i == 0 else ''}m={int(i + 1 < len(chunks))};{chunk}\x1b\\"
        for i, chunk in enumerate(chunks)
    )


def iterm(data: bytes, columns: int, rows: int) -> str:
    """The escape sequence that makes iTerm2 or WezTerm show a PNG or JPEG over that many cells."""
    text = base64.standard_b64encode(data).decode()
    return (
        f"\x1b]1337;File=inline=1;size={len(data)};width={columns};height={rows};"
        f"preserveAspectRatio=1:{text}\x07"
    )


class Budget:
    """Says when drawing is worth its time, so that all of it stays under a share of the wall time.

    A drawing is expected to cost what the one before it did: over a slow line they simply become
    rare. Idle time is not saved up: after each drawing there is a pause of its own length. Only
    the first drawing, whose cost nobody knows, may exceed the share, for cost / share seconds.
    """

    def __init__(self, share: float = 0.02, clock: Callable[[], float] = time.perf_counter) -> None:
        self._allowed, self._clock = share, clock
        self._began = self._ended = clock()
        self._cost = 0.0
        self.spent = 0.0
        self.drawings = 0

    def due(self) -> bool:
        """Whether a drawing now would keep the total under the share."""
        now = self._clock()
        after = now + self._cost
        paused = now - self._ended >= self._cost * (1 / self._allowed - 1)
        return paused and self.spent + self._cost <= self._allowed * (after - self._began)

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Measures what is drawn inside it."""
        before = self._clock()
        try:
            yield
        finally:
            self._ended = self._clock()
            self._cost = self._ended - before
            self.spent += self._cost
            self.drawings += 1

    @property
    def share(self) -> float:
        """The part of the time since the beginning that went into drawing, 0..1."""
        elapsed = self._clock() - self._began
        return self.spent / elapsed if elapsed > 0 else 0.0
