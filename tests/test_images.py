"""Pictures in and out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pixweave.errors import MissingError
from pixweave.media import atomic_write, images

PALETTE = np.array([[255, 0, 77], [0, 0, 0], [41, 173, 255]], dtype=np.uint8)
RNG = np.random.default_rng(5)


def test_importing_it_does_not_import_torch() -> None:
    code = (
        "import sys; from pixweave.media import images, metadata; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bytes_are_rounded_clamped_and_never_wrap() -> None:
    image = torch.tensor([-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 2.0, float("nan")])
    array = images.to_uint8(image.view(1, 1, 7))
    assert array.shape == (1, 7, 1)
    assert array.flatten().tolist() == [0, 0, 0, 1, 255, 255, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_precision_gives_channels_last(dtype: torch.dtype) -> None:
    image = torch.zeros(3, 2, 4, dtype=dtype, requires_grad=True)
    assert images.to_uint8(image).shape == (2, 4, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1"])
def test_every_kind_of_file_gives_three_or_four_channels(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)).convert("RGB")
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.convert(mode).save(path)
    image = images.read_image(path)
    assert image.shape == (1, 4 if mode in ("RGBA", "LA") else 3, 5, 7)
    assert image.dtype == torch.float32
    expected = np.asarray(Image.open(path).convert("RGB"))
    assert (images.to_uint8(image[0, :3]) == expected).all()


def test_16_bits_keep_their_depth(tmp_path: Path) -> None:
    wide = np.array([[0, 1, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    image = images.read_image(tmp_path / "a.png")
    assert image.shape == (1, 3, 1, 4)
    assert (image[0, 1, 0] * 65535).round().tolist() == [0, 1, 32768, 65535]


def test_32_bits_stay_within_the_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-5, 65535, 2**30]], dtype=np.int32)).save(tmp_path / "a.tif")
    assert images.read_image(tmp_path / "a.tif")[0, 0].tolist() == [[0.0, 1.0, 1.0]]


def test_a_jpeg_for_printers_has_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red = images.read_image(tmp_path / "a.jpg")[0, :, 4, 4]
    assert torch.allclose(red, torch.tensor([1.0, 0.0, 0.0]), atol=0.02)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, (0, 0)),
        (2, (0, 7)),
        (3, (3, 7)),
        (4, (3, 0)),
        (5, (0, 0)),
        (6, (0, 3)),
        (7, (7, 3)),
        (8, (7, 0)),
    ],
)
def test_the_camera_that_was_held_sideways_is_turned(
    tmp_path: Path, orientation: int, corner: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("L", (8, 4))
    picture.putpixel((0, 0), 255)
    picture.save(tmp_path / "a.png", exif=exif)
    image = images.read_image(tmp_path / "a.png")
    assert image.shape == (1, 3, *((4, 8) if orientation < 5 else (8, 4)))
    assert image[0, 0][corner] == 1


def test_damaged_tags_do_not_cost_the_picture_nor_say_a_word(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif.tobytes()[:-6])
    assert images.read_image(tmp_path / "a.jpg").shape == (1, 3, 4, 8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_half_a_picture_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MissingError, match=f"^cannot read '{re.escape(str(path))}' as an image"):
        images.read_image(path)


def test_a_palette_with_a_transparent_colour_has_alpha(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=1)
    image = images.read_image(tmp_path / "a.png")
    assert image[0, 3].tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "image '{path}' not found"),
        (b"hello", "cannot read '{path}' as an image: cannot identify image file"),
        (b"", "cannot read '{path}' as an image: cannot identify image file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "cannot read '{path}' as an image: "),
    ],
)
def test_a_file_that_is_no_picture_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MissingError, match="^" + re.escape(message.format(path=path))):
        images.read_image(path)


@pytest.mark.parametrize("side", [8_001, 12_000, 20_000])
def test_a_picture_that_is_too_large_is_not_unpacked(tmp_path: Path, side: int) -> None:
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(MissingError, match=r"more than the limit|could be decompression bomb"):
        images.read_image(tmp_path / "a.png")


@pytest.mark.parametrize("alpha", [False, True])
def test_a_picture_in_the_palette_is_indexed_and_reads_back(tmp_path: Path, alpha: bool) -> None:
    array = PALETTE[RNG.integers(0, 3, (6, 9))]
    if alpha:
        holes = RNG.integers(0, 2, (6, 9, 1), dtype=np.uint8) * 255
        array = np.concatenate([array, holes], 2)
    picture = images.indexed(array, PALETTE)
    assert picture is not None
    picture.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == "P"
        back = np.asarray(read.convert("RGBA" if alpha else "RGB"))
    shown = back[..., 3] > 0 if alpha else np.ones((6, 9), dtype=bool)
    assert (back[shown] == array[shown]).all()
    if alpha:
        assert (back[..., 3] == array[..., 3]).all()


def test_one_pixel_outside_the_palette_is_enough() -> None:
    array = PALETTE[RNG.integers(0, 3, (6, 9))]
    array[2, 3, 1] += 1
    assert images.indexed(array, PALETTE) is None
    assert images.to_pillow(array, PALETTE).mode == "RGB"


@pytest.mark.parametrize("soft", [1, 128, 254])
def test_a_soft_edge_cannot_be_indexed(soft: int) -> None:
    array = np.dstack([PALETTE[RNG.integers(0, 3, (2, 2))], np.full((2, 2), soft, dtype=np.uint8)])
    assert images.indexed(array, PALETTE) is None


def test_a_palette_larger_than_a_byte_is_not_used() -> None:
    colours = np.zeros((257, 3), dtype=np.uint8)
    colours[:, 0] = np.arange(257) % 256
    assert images.indexed(colours[None], colours) is None
    assert images.indexed(colours[None, :256], colours[:256]) is not None


def test_enlarging_keeps_pixels_square_and_crisp() -> None:
    array = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    large = images.enlarge(array, 3)
    assert large.shape == (3, 6, 3)
    assert (large[:, :3] == array[0, 0]).all()
    assert (large[:, 3:] == array[0, 1]).all()


class Stop(BaseException):
    """Like KeyboardInterrupt."""


@pytest.mark.parametrize("error", [ValueError, OSError, Stop])
def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, error: Any) -> None:
    path = tmp_path / "a.txt"
    atomic_write.write_whole(path, "first")

    def fail_half_way() -> None:
        with atomic_write.whole(path) as part:
            part.write_text("half")
            assert part.parent == path.parent
            assert path.read_text() == "first"
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
