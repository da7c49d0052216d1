"""Images in a terminal: detect what it supports, render coloured text or inline images, and limit
the time spent on it.

The half blocks follow timg and chafa; the inline images follow the documentation of kitty's
graphics protocol and of iTerm2. A time budget, instead of "every n steps", keeps previews from
slowing the run down.
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
"""Largest number of base64 characters in one escape sequence of kitty's protocol."""

CHECKS = (102, 153)
"""The two greys, 0..255, of the checkerboard behind transparent images."""


class _Stream(Protocol):
    @property
    def encoding(self) -> str | None: ...

    def isatty(self) -> bool: ...


def supports(stream: _Stream, env: Mapping[str, str]) -> Kind | None:
    """The best supported way to show an image on a stream, or None.

    Decided from the stream and the environment. The terminal itself is not queried: a late reply
    could end up in the shell. tmux and screen support only blocks.
    """
    term, program = env.get("TERM", ""), env.get("TERM_PROGRAM", "")
    if not stream.isatty() or env.get("NO_COLOR") or term in ("", "dumb"):
        return None
    if not (stream.encoding or "").lower().startswith("utf"):  # cannot encode the block character
        return None
    inside = "TMUX" in env or term.startswith(("tmux", "screen"))
    if not inside and (
        term in ("xterm-kitty", "xterm-ghostty") or "KITTY_WINDOW_ID" in env or program == "ghostty"
    ):
        return "kitty"
    iterm2 = env.get("LC_TERMINAL") == "iTerm2"  # forwarded by ssh
    if not inside and (iterm2 or program in ("iTerm.app", "WezTerm")):
        return "iterm"
    if env.get("COLORTERM") in ("truecolor", "24bit"):
        return "blocks"
    # Apple's Terminal reports 256color, but does not support 24-bit colours
    named = ("256color" in term or "direct" in term) and program != "Apple_Terminal"
    return "blocks" if named else None


def fit(width: int, height: int, columns: int, rows: int) -> tuple[int, int]:
    """The size in pixels at which an image fills `columns` x `rows` cells of 1 x 2 pixels.

    Keeps the aspect ratio; a smaller image is enlarged by an integer factor, so that its pixels
    stay square. At least 1 x 1.
    """
    scale = min(columns / width, 2 * rows / height)
    if scale >= 1:
        return width * int(scale), height * int(scale)
    return max(1, round(width * scale)), max(1, round(height * scale))


def half_blocks(array: Array, columns: int, rows: int) -> list[str]:
    """An image as lines of `▀` in 24-bit colours, two pixels per cell.

    `array` is bytes `[H, W, C]`, C 1 (grey), 3 or 4 (straight alpha, shown over a checkerboard).
    At most `rows` lines of `columns` cells. Each line starts and ends with the terminal's default
    colours, and colour codes are sent only where the colour changes.
    """
    import numpy as np

    height, width = array.shape[:2]
    wide, high = fit(width, height, columns, rows)
    codes = _over_checks(_resize(array, wide, high)) @ np.array([65536, 256, 1])
    if high % 2:
        codes = np.concatenate([codes, np.full((1, wide), -1)])  # -1: no pixel
    return [
        _line(top, bottom)
        for top, bottom in zip(codes[::2].tolist(), codes[1::2].tolist(), strict=True)
    ]


def _resize(array: Array, wide: int, high: int) -> Array:
    """The image as float `[high, wide, C]`, alpha premultiplied, 0..255; area mean or repeat."""
    import numpy as np

    height, width, channels = array.shape
    image = array.astype(np.float32)
    if channels == 4:
        image[..., :3] *= image[..., 3:] / 255
    if wide >= width and high >= height:
        return image.repeat(high // height, 0).repeat(wide // width, 1)
    ys, xs = np.arange(high) * height // high, np.arange(wide) * width // wide
    summed = np.add.reduceat(np.add.reduceat(image, ys, axis=0), xs, axis=1)
    counts = np.diff(ys, append=height)[:, None] * np.diff(xs, append=width)
    return np.asarray(summed / counts[..., None])


def _over_checks(image: Array) -> Array:
    """The image as integer RGB `[H, W, 3]`, over a checkerboard of 4 x 4 pixels if it has alpha."""
    import numpy as np

    if image.shape[2] == 4:
        high, wide = image.shape[:2]
        odd = (np.arange(high)[:, None] // 4 + np.arange(wide) // 4) % 2
        checks = np.where(odd, *reversed(CHECKS))[..., None]
        image = image[..., :3] + (1 - image[..., 3:] / 255) * checks
    image = image.round().clip(0, 255).astype(np.int64)
    return image.repeat(3, 2) if image.shape[2] == 1 else image


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
    """The image `[H, W, 3 or 4]` as PNG bytes, with fast compression."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", compress_level=1)
    return file.getvalue()


def kitty(data: bytes, columns: int, rows: int) -> str:
    """The escape sequences that make kitty or ghostty show a PNG over `columns` x `rows` cells.

    `q=2` suppresses the terminal's reply, which nothing would read.
    """
    text = base64.standard_b64encode(data).decode()
    chunks = [text[i : i + KITTY_CHUNK] for i in range(0, len(text), KITTY_CHUNK)]
    first = f"a=T,f=100,q=2,c={columns},r={rows},"
    return "".join(
        f"\x1b_G{first if i == 0 else ''}m={int(i + 1 < len(chunks))};{chunk}\x1b\\"
        for i, chunk in enumerate(chunks)
    )


def iterm(data: bytes, columns: int, rows: int) -> str:
    """The escape sequence that makes iTerm2 or WezTerm show a PNG or JPEG at that size in cells."""
    text = base64.standard_b64encode(data).decode()
    return (
        f"\x1b]1337;File=inline=1;size={len(data)};width={columns};height={rows};"
        f"preserveAspectRatio=1:{text}\x07"
    )


class Budget:
    """Limits the time spent on drawing to a share of the wall time.

    A drawing is expected to take as long as the previous one, so on a slow connection drawings
    become rare. Idle time is not saved up: the pause after each drawing is proportional to its
    cost. Only the first drawing, of unknown cost, may exceed the share, for cost / share seconds.
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
        has_paused = now - self._ended >= self._cost * (1 / self._allowed - 1)
        return has_paused and self.spent + self._cost <= self._allowed * (after - self._began)

    @contextlib.contextmanager
    def drawing(self) -> Iterator[None]:
        """Measures the time of a drawing."""
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
        """The share of the time since the start that was spent on drawing, 0..1."""
        elapsed = self._clock() - self._began
        return self.spent / elapsed if elapsed > 0 else 0.0
