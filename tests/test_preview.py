"""The picture in the terminal: its bytes, its cost, and the real command on a real terminal."""

from __future__ import annotations

import base64
import io
import os
import random
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixweave.cli.progress import preview_kind
from pixweave.errors import RunError
from pixweave.media import terminal_preview

FAST = """\
pixweave: 1
title: fast
size: [24, 24]
steps: 3
generator: {use: pixel, grid: [12, 12]}
perceptors: []
losses: [smoothness]
augmentations: []
export: [fast.png]
"""

PATIENT = """\
'''A loss that takes its time, and one that says something.'''
import sys, time
from pixweave import Component, hookimpl
from pixweave.cli import progress

progress.SHARE = 0.5  # on a busy machine two per cent can mean no second drawing

class Patient(Component):
    '''10 ms.'''
    def build(self, run):
        def loss(view):
            time.sleep(0.01)
            if view.step == 50:
                print("a word from a part", file=sys.stderr)
            return (view.image - 2).square().mean()
        return loss

@hookimpl
def register_losses():
    return {"patient": Patient}
"""

TRUE = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@dataclass
class Terminal:
    """A stream that says whether it is a terminal."""

    tty: bool = True
    encoding: str | None = "utf-8"

    def isatty(self) -> bool:
        return self.tty


@pytest.mark.parametrize(
    ("kind", "env"),
    [
        ("kitty", {"TERM": "xterm-kitty"}),
        ("kitty", {"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}),
        ("kitty", {"TERM": "xterm-ghostty"}),
        ("kitty", {"TERM": "xterm-256color", "TERM_PROGRAM": "ghostty"}),
        ("iterm", {"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}),
        ("iterm", {"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}),
        ("iterm", {"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}),
        ("blocks", {"TERM": "tmux-256color", "TERM_PROGRAM": "WezTerm"}),
        ("blocks", {"TERM": "xterm-256color", "TMUX": "/tmp/t", "KITTY_WINDOW_ID": "1"}),
        ("blocks", {"TERM": "xterm", "COLORTERM": "truecolor"}),
        ("blocks", {"TERM": "xterm", "COLORTERM": "24bit"}),
        ("blocks", {"TERM": "xterm-direct"}),
        ("blocks", {"TERM": "xterm-256color"}),
        (None, {"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}),
        (None, {"TERM": "xterm"}),
        (None, {"TERM": "dumb", "COLORTERM": "truecolor"}),
        (None, {"TERM": "xterm-kitty", "NO_COLOR": "1"}),
        (None, {}),
    ],
)
def test_what_a_terminal_can_show(kind: str | None, env: Mapping[str, str]) -> None:
    assert terminal_preview.supports(Terminal(), env) == kind
    assert terminal_preview.supports(Terminal(False), env) is None
    assert terminal_preview.supports(Terminal(encoding="iso8859-1"), env) is None


def test_a_preview_that_was_asked_for_and_cannot_be_is_an_error_with_a_remedy() -> None:
    assert preview_kind("auto", Terminal(False), TRUE) is None
    assert preview_kind("none", Terminal(), TRUE) is None
    assert preview_kind("term", Terminal(), TRUE) == "blocks"
    with pytest.raises(RunError, match="set COLORTERM=truecolor if it has them"):
        preview_kind("term", Terminal(), {"TERM": "vt100"})


def test_two_by_two_pixels_are_two_half_blocks_exactly() -> None:
    picture = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8)
    assert terminal_preview.half_blocks(picture, 3, 1) == [
        "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;255;255;255m▀\x1b[0m"
    ]


def test_a_colour_is_sent_only_where_it_changes_and_an_odd_last_row_has_no_lower_half() -> None:
    picture = np.array([[RED, RED], [BLUE, GREEN], [RED, BLUE]], np.uint8)
    assert terminal_preview.half_blocks(picture, 2, 2) == [
        "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[48;2;0;255;0m▀\x1b[0m",
        "\x1b[38;2;255;0;0m▀\x1b[38;2;0;0;255m▀\x1b[0m",
    ]


def test_shrinking_is_the_mean_of_each_area_and_keeps_the_aspect() -> None:
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[::2] = 200
    lines = terminal_preview.half_blocks(picture, 20, 20)
    assert lines == ["\x1b[38;2;100;100;100;48;2;100;100;100m" + "▀" * 20 + "\x1b[0m"] * 5
    assert terminal_preview.fit(512, 512, 80, 25) == (50, 50)
    assert terminal_preview.fit(24, 24, 80, 40) == (72, 72)  # by a whole factor: crisp
    assert terminal_preview.fit(1000, 2, 10, 10) == (10, 1)


def test_what_is_transparent_shows_a_checkerboard_and_half_is_half() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[..., 0] = 255  # clear pixels have a colour too: it must not shine through
    picture[0, 0, 3] = 255
    picture[2, 0, 3] = 51
    top, second = terminal_preview.half_blocks(picture, 8, 4)[:2]
    light, dark = terminal_preview.CHECKS
    red, mixed = "38;2;255;0;0", f"38;2;{0.2 * 255 + 0.8 * light:.0f};82;82"
    assert top.startswith(f"\x1b[{red};48;2;{light};{light};{light}m▀")
    assert f"\x1b[38;2;{dark};{dark};{dark};48;2;{dark};{dark};{dark}m▀" in top
    assert second.startswith(f"\x1b[{mixed};48;2;{light};{light};{light}m▀")


def noise(side: int = 64) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)


def from_kitty(text: str) -> tuple[str, bytes]:
    """The keys of the first chunk, and the file, as the protocol's document says to read them."""
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert all(len(body) <= 4096 and (len(body) % 4 == 0) for _, body in chunks)
    assert [keys.split("m=")[1] for keys, _ in chunks] == ["1"] * (len(chunks) - 1) + ["0"]
    return chunks[0][0], base64.b64decode("".join(body for _, body in chunks), validate=True)


def from_iterm(text: str) -> tuple[str, bytes]:
    match = re.search(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text)
    assert match is not None
    return match[1], base64.b64decode(match[2], validate=True)


def test_inline_pictures_decode_back_to_the_file() -> None:
    data = terminal_preview.png(noise())
    assert len(data) > 3 * 4096
    sent = terminal_preview.kitty(data, 20, 10)
    assert from_kitty(sent) == ("a=T,f=100,q=2,c=20,r=10,m=1", data)
    assert sent.count("\x1b_G") == sent.count("\x1b\\") > 3
    assert from_iterm(terminal_preview.iterm(data, 20, 10)) == (
        f"inline=1;size={len(data)};width=20;height=10;preserveAspectRatio=1",
        data,
    )
    with Image.open(io.BytesIO(data)) as picture:
        assert (np.asarray(picture) == noise()).all()


class Clock:
    """A time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("cost", "least", "most"),
    [
        (lambda now: 0.0055, 150, 165),  # a local terminal: the 8 Hz of the timer would be 480
        (lambda now: 0.0005, 470, 480),
        (lambda now: 0.5, 2, 3),  # over a slow line
        (lambda now: 0.005 if now < 130 else 0.4, 100, 125),  # a line that gets slow
        (lambda now: random.Random(now).uniform(0.001, 0.02), 90, 130),
    ],
    ids=["local", "cheap", "slow", "turns-slow", "random"],
)
def test_drawing_stays_under_its_share_of_the_time(
    cost: Callable[[float], float], least: int, most: int
) -> None:
    clock = Clock()
    budget = terminal_preview.Budget(0.02, clock)
    shares = []
    while clock.now < 160:
        clock.now += 0.125
        if budget.due():
            with budget.drawing():
                clock.now += cost(clock.now)
            shares.append(budget.share)
    assert least <= budget.drawings <= most
    assert budget.share <= 0.02 or budget.drawings <= 3
    assert max(shares[20:], default=0) <= 0.035  # a cost that jumps is made up for afterwards
    clock.now += 60
    assert budget.share <= 0.02
    assert budget.due()


def on_terminal(
    work: Path,
    *words: str,
    columns: int = 80,
    env: Mapping[str, str] = TRUE,
    interrupt_at: str = "",
) -> tuple[int, str, str]:
    """Exit code, stdout (a pipe) and what the terminal at stderr got; Ctrl-C when it shows that."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (20, columns))
    outer = {
        key: value
        for key, value in os.environ.items()
        if key
        not in (
            "NO_COLOR",
            "FORCE_COLOR",
            "COLORTERM",
            "TERM_PROGRAM",
            "LC_TERMINAL",
            "TMUX",
            "KITTY_WINDOW_ID",
            "COLUMNS",
            "LINES",
        )
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pixweave", *words],
        cwd=work,
        text=True,
        stdin=slave,
        stderr=slave,
        stdout=subprocess.PIPE,
        env={**outer, **env},
    )
    os.close(slave)
    seen = bytearray()

    def read() -> None:
        asked = False
        while True:
            try:
                seen.extend(os.read(master, 65536) or b"")
            except OSError:  # the other side is closed
                return
            if interrupt_at and not asked and interrupt_at in seen.decode(errors="ignore"):
                asked = True
                process.send_signal(signal.SIGINT)

    reader = threading.Thread(target=read)
    reader.start()
    out, _ = process.communicate(timeout=60)
    reader.join(timeout=10)
    os.close(master)
    return process.returncode, out, seen.decode()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "fast.yaml").write_text(FAST)
    (tmp_path / "patient.py").write_text(PATIENT)
    return tmp_path


def run_words(steps: int) -> list[str]:
    return [
        "run",
        "fast.yaml",
        "-o",
        "here",
        "--plugins-dir",
        ".",
        "-n",
        str(steps),
        "-s",
        "losses=[patient]",
    ]


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def assert_wiped(shown: str) -> str:
    """The display was erased to its last line and the cursor is back; gives what comes after."""
    drawn, _, end = shown.split("\x1b[?2026h")[-1].rpartition("\x1b[?2026l")
    height = drawn.count("\n") + 1
    wipe = "\r\n\x1b[?25h\r" + "\x1b[1A\x1b[2K" * height
    assert end.startswith(wipe)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1
    return end.removeprefix(wipe)


@pytest.mark.parametrize("columns", [80, pytest.param(40, marks=pytest.mark.slow)])
def test_bar_and_picture_on_the_terminal_and_only_the_path_on_stdout(
    work: Path, columns: int
) -> None:
    code, out, shown = on_terminal(work, *run_words(300), "--preview", "term", columns=columns)
    assert (code, out) == (0, f"{Path('here') / 'fast.png'}\n"), shown
    drawn = [part.partition("\x1b[?2026l")[0] for part in shown.split("\x1b[?2026h")]
    displays = [plain(text).splitlines() for text in drawn]
    last = [lines for lines in displays if lines[-14:-2] == ["▀" * 24] * 12][-1]
    assert re.fullmatch(r"[━╸╺ ]{12,} \d+/300 \d+(\.\d)? it/s 0:\d\d", last[-2].rstrip())
    assert re.fullmatch(r"patient \d(\.\d+)?", last[-1].rstrip())
    assert max(len(line) for line in last) <= columns
    assert "a word from a part\r\n" in shown
    end = plain(assert_wiped(shown))
    assert re.fullmatch(r"fast: 300 steps, \d+(\.\d)? it/s, \d+\.\d s\r\n", end)


def test_ctrl_c_leaves_a_clean_terminal_and_the_picture(work: Path) -> None:
    code, out, shown = on_terminal(work, *run_words(100000), interrupt_at="▀")
    assert (code, out) == (130, f"{Path('here') / 'fast.png'}\n")
    end = plain(assert_wiped(shown))
    assert re.search(r"^fast: \d+ steps, .*\r\nstopped after \d+ of 100000 steps; ", end)
    assert (work / "here" / "fast.png").exists()


@pytest.mark.slow
def test_without_a_preview_there_is_still_a_bar(work: Path) -> None:
    code, _, shown = on_terminal(work, *run_words(100), "--preview", "none")
    assert code == 0
    assert "▀" not in shown
    assert "/100" in shown
    assert_wiped(shown)


@pytest.mark.parametrize(
    ("env", "decode"),
    [
        ({"TERM": "xterm-kitty"}, from_kitty),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, from_iterm),
    ],
)
def test_a_terminal_with_inline_pictures_keeps_the_finished_one(
    work: Path, env: Mapping[str, str], decode: Callable[[str], tuple[str, bytes]]
) -> None:
    code, _, shown = on_terminal(work, "run", "fast.yaml", "-o", "here", env=env)
    assert code == 0
    _, data = decode(shown)
    with Image.open(io.BytesIO(data)) as got, Image.open(work / "here" / "fast.png") as want:
        assert (np.asarray(got) == np.asarray(want.convert("RGB"))).all()


@pytest.mark.slow
def test_a_failure_leaves_a_clean_terminal_too(work: Path) -> None:
    source = PATIENT.replace(".mean()", ".mean() / (view.step < 100)")
    (work / "patient.py").write_text(source)
    code, out, shown = on_terminal(work, *run_words(200), "--preview", "term")
    assert (code, out) == (1, "")
    end = plain(assert_wiped(shown))
    assert re.match(r"pixweave: loss 'patient' \(.*\) gave (inf|nan) at step 1\d\d; .* lower ", end)


@pytest.mark.parametrize("words", [[], ["--json"], ["-q"]])
def test_asking_for_a_preview_in_a_pipe_fails_before_anything_is_made(
    work: Path, words: list[str]
) -> None:
    command = [sys.executable, "-m", "pixweave", "run", "fast.yaml", "--preview", "term", *words]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True)
    assert done.returncode == 1
    assert "this terminal cannot show a live preview" in done.stderr + done.stdout
    assert not (work / "runs").exists()
