"""The picture in the terminal."""

from __future__ import annotations

import base64
import io
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from pixweave.preview import Allowance, HalfBlocks, Inline, TermPreview, fit, shrink, supports
from pixweave.protocols import Frame

TRUE = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Clock:
    """Time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("env", "kind"), [
    (TRUE, "blocks"),
    ({"TERM": "xterm-kitty"}, "kitty"),
    ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
    ({"TERM": "xterm-ghostty"}, "kitty"),
    ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
    ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
    ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/x"}, "blocks"),
    ({"TERM": "screen", "TERM_PROGRAM": "iTerm.app"}, "blocks"),
    ({"TERM": "dumb"}, None),
    ({}, None),
    ({**TRUE, "NO_COLOR": "1"}, None),
])  # fmt: skip
def test_what_a_terminal_can_show(env: dict[str, str], kind: str | None) -> None:
    assert supports(Terminal(), env) == kind
    assert supports(io.StringIO(), env) is None


def test_a_terminal_without_utf8_gets_no_blocks() -> None:
    terminal = Terminal()
    terminal.encoding = "latin-1"
    assert supports(terminal, TRUE) is None


def test_blocks_show_two_pixels_in_a_cell_and_colours_only_where_they_change() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    array = np.array([[red, red, blue], [red, blue, blue]], dtype=np.uint8)
    assert HalfBlocks(array).lines() == [
        "\x1b[48;2;255;0;0m \x1b[48;2;0;0;255m\x1b[38;2;255;0;0m▀ \x1b[0m"
    ]
    assert HalfBlocks(array, deep=False).lines() == [
        "\x1b[48;5;196m \x1b[48;5;21m\x1b[38;5;196m▀ \x1b[0m"
    ]


@pytest.mark.parametrize(("size", "room", "cells"), [
    ((64, 48), (100, 40), (64, 24)),
    ((64, 48), (30, 40), (30, 11)),
    ((512, 512), (100, 10), (20, 10)),
    ((16, 16), (100, 40), (48, 24)),
    ((1000, 10), (100, 40), (64, 1)),
    ((10, 1000), (100, 40), (1, 24)),
    ((10, 10), (-1, -4), (1, 1)),
])  # fmt: skip
def test_a_picture_keeps_its_proportions(size: Any, room: Any, cells: Any) -> None:
    assert fit(*size, *room) == cells


def test_a_batch_stands_side_by_side_and_holes_are_white() -> None:
    image = torch.zeros(2, 4, 4, 4)
    image[1, :] = torch.tensor([1.0, 0, 0, 1])[:, None, None]
    array = shrink(image, 4, 2)
    assert array[0].tolist() == [[255, 255, 255]] * 2 + [[255, 0, 0]] * 2


def test_the_cost_stays_within_the_budget() -> None:
    clock = Clock()
    allowance = Allowance(0.02, clock)
    for _ in range(10_000):
        clock.now += 0.01
        if allowance.due():
            with allowance:
                clock.now += 0.03
    assert 0.015 < allowance.spent / clock.now <= 0.0201


def test_a_frame_for_which_there_is_no_time_costs_nothing() -> None:
    clock = Clock()
    terminal = Terminal()
    preview = TermPreview(terminal, env=TRUE, clock=clock)
    frame = Frame(0, torch.zeros(1, 3, 8, 8))
    assert preview.offer(frame)
    written = terminal.tell()
    clock.now += 0.05
    assert not preview.offer(frame)
    assert terminal.tell() == written
    clock.now += 0.1
    assert preview.offer(frame)
    assert preview.drawn == 2


def test_alone_it_draws_over_the_picture_before_and_gives_the_cursor_back() -> None:
    clock = Clock()
    terminal = Terminal()
    preview = TermPreview(terminal, env=TRUE, clock=clock)
    for _ in range(2):
        preview.offer(Frame(0, torch.zeros(1, 3, 8, 8)))
        clock.now += 10
    preview.close()
    written = terminal.getvalue()
    rows = written.count("\r\n") // 2
    assert written.startswith("\x1b[?25l\r")
    assert written.count(f"\x1b[{rows}A\r") == 1
    assert written.endswith("\x1b[?25h")


def test_no_terminal_no_picture() -> None:
    stream = io.StringIO()
    preview = TermPreview(stream, env=TRUE)
    assert not preview.offer(Frame(0, torch.zeros(1, 3, 8, 8)))
    preview.close()
    assert stream.getvalue() == ""


def test_kitty_gets_the_picture_once_and_then_only_its_place() -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 255, (90, 90, 3), dtype=np.uint8)
    picture = Inline(array, 20, 10, "kitty")
    first, second = picture.lines(), picture.lines()
    assert first[:-1] == second[:-1] == [""] * 9
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", first[-1])
    data = base64.b64decode("".join(body for head, body in chunks if "a=p" not in head))
    with Image.open(io.BytesIO(data)) as sent:
        assert (np.asarray(sent) == array).all()
    assert all(len(body) <= 4096 for _, body in chunks)
    assert [head.endswith("m=1") for head, _ in chunks[:-2]] == [True] * (len(chunks) - 2)
    assert chunks[-2][0] == "m=0"
    place = r"\x1b_Ga=p,i=\d+,p=1,c=20,r=10,C=1,q=2;\x1b\\"
    assert re.fullmatch(rf"\x1b7\x1b\[9A\r{place}\x1b8", second[-1])


def test_iterm_gets_the_picture_in_cells() -> None:
    picture = Inline(np.zeros((4, 8, 3), dtype=np.uint8), 8, 2, "iterm")
    head, body = picture.lines()[-1].split(":")
    assert head == ("\x1b7\x1b[1A\r\x1b]1337;File=inline=1;doNotMoveCursor=1;width=8;height=2;"
                    "preserveAspectRatio=0")  # fmt: skip
    with Image.open(io.BytesIO(base64.b64decode(body.removesuffix("\x07\x1b8")))) as sent:
        assert sent.size == (8, 4)


def test_rich_hands_the_lines_out_as_they_are() -> None:
    stream = Terminal()
    console = Console(file=stream, force_terminal=True, width=10)
    blocks = HalfBlocks(np.full((4, 9, 3), 7, dtype=np.uint8))
    console.print(blocks)
    assert stream.getvalue() == "".join(f"{line}\n" for line in blocks.lines())


LIVE = """\
import sys, time, torch
from rich.console import Console
from rich.progress import Progress
from pixweave.preview import TermPreview
from pixweave.protocols import Frame
preview, console = TermPreview(sys.stderr), Console(file=sys.stderr)
bar = Progress(console=console)
task = bar.add_task("steps", total=8)
image = torch.zeros(1, 3, 4, 8)
image[:, 0, :, :4] = 1
image[:, 2, :, 4:] = 1
with preview.live(bar, console=console):
    for step in range(8):
        time.sleep(0.15)
        bar.update(task, completed=step + 1)
        preview.offer(Frame(step, image))
        if step == 4:
            console.print("in between")
print("the end")
"""


def test_the_picture_and_the_bar_live_together_in_a_terminal(tmp_path: Path) -> None:
    script = tmp_path / "live.py"
    script.write_text(LIVE)
    ours, theirs = pty.openpty()
    env = {**os.environ, **TRUE, "COLUMNS": "80", "LINES": "30"}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen([sys.executable, script], stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    written, until = b"", time.monotonic() + 60
    while time.monotonic() < until:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # it has closed its end
                break
    assert process.wait(10) == 0, written.decode()
    os.close(ours)
    assert written.count(b"\x1b[48;2;255;0;0m") >= 16
    assert written.count(b"\x1b[?25l") == written.count(b"\x1b[?25h") == 1
    assert written.rindex(b"\x1b[?25h") < written.index(b"the end")


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
def test_the_screen_shows_one_picture_above_one_bar(tmp_path: Path) -> None:
    script = tmp_path / "live.py"
    script.write_text(LIVE)
    tmux = ["tmux", "-L", f"pixweave{os.getpid()}", "-f", "/dev/null"]
    env = {k: v for k, v in os.environ.items() if k not in ("TMUX", "NO_COLOR")}
    command = f"COLORTERM=truecolor {sys.executable} {script}; sleep 60"
    start = [*tmux, "new-session", "-d", "-x", "80", "-y", "45", command]
    subprocess.run(start, env=env, check=True)
    try:
        until = time.monotonic() + 60
        lines: list[str] = []
        while "the end" not in lines and time.monotonic() < until:
            time.sleep(0.3)
            shown = subprocess.run([*tmux, "capture-pane", "-pe"], capture_output=True, text=True)
            plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout)
            lines = [line.rstrip() for line in plain.splitlines()]
        colours = [line for line in shown.stdout.splitlines() if "48;2;255;0;0m" in line]
        assert lines[0] == "in between"
        assert len(colours) == 16  # 64 columns for 8 pixels: 4 pixels are 32 half cells high
        assert lines[17].startswith("steps ━")
        assert lines[17].count("100%") == 1
        assert lines[18] == "the end"
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
