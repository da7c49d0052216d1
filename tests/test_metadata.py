"""The recipe inside every file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from pixweave.errors import MissingError
from pixweave.media import metadata

STAMP = {"pixweave": 'pixweave: 1\nprompts: [a "fox", ein Bär, 雪の狐, 🦊]\n'}
LONG = {"pixweave": "".join(f"- {{use: part{i}, weight: 0.{i}}}\n" for i in range(3000))}


def write(path: Path, stamp: dict[str, str]) -> Path:
    picture = Image.new("RGB", (16, 16))
    kinds: dict[str, dict[str, Any]] = {
        ".png": {"pnginfo": metadata.for_png(stamp)},
        ".jpg": {"exif": metadata.for_exif(stamp)},
        ".webp": {"exif": metadata.for_exif(stamp)},
        ".gif": {"comment": metadata.for_gif(stamp)},
    }
    if path.suffix != ".mp4":
        picture.save(path, **kinds[path.suffix])
        return path
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as film:
        film.metadata.update(metadata.for_mp4(stamp))
        stream: Any = film.add_stream("libx264", 10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), dtype=np.uint8))
        film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("stamp", [STAMP, LONG, {}], ids=["short", "long", "none"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".mp4"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, stamp: dict[str, str]) -> None:
    assert metadata.read_metadata(write(tmp_path / f"a{suffix}", stamp)) == stamp


def test_a_stamp_with_no_room_costs_the_stamp_and_not_the_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0x4E00, 0x9FFF, 60_000)
    stamp = {"pixweave": "".join(map(chr, noise.tolist()))}
    path = write(tmp_path / "a.jpg", stamp)
    assert metadata.read_metadata(path) == {}
    with Image.open(path) as picture:
        assert picture.size == (16, 16)


def test_a_long_recipe_takes_little_room_in_a_png(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.png", {}).stat().st_size
    assert write(tmp_path / "b.png", LONG).stat().st_size - plain < len(LONG["pixweave"]) / 4


@pytest.mark.parametrize(
    "comment",
    [
        b"{",
        b"[]",
        b"3",
        b'{"pixweave": 3}',
        b'{"zlib": 3}',
        b'{"zlib": "!"}',
        b'{"zlib": "eJw="}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_a_stamp_of_another_make_is_no_stamp(tmp_path: Path, comment: bytes) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.gif", comment=comment)
    assert metadata.read_metadata(tmp_path / "a.gif") == {}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", None, "file '{path}' not found"),
        ("a.png", b"hello", "cannot read '{path}' as an image: cannot identify"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0", "cannot read '{path}' as an image: "),
        ("a.mp4", b"hello", "cannot read '{path}' as a video: "),
    ],
)
def test_a_file_that_is_broken_is_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MissingError, match="^" + re.escape(message.format(path=path))):
        metadata.read_metadata(path)
