"""Pictures in files and folders: which are found, and how they are read."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixweave.loading import (
    DecodedImage,
    ImageFile,
    Preprocessing,
    ScanReport,
    UnreadableImage,
    decode_image,
    find_images,
    read_images,
    read_list,
)
from pixweave.loading.decode import quiet_pillow


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with some detail, as photographs have."""
    small = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def saved(path: Path, picture: Image.Image, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **how)
    return path


def pixels(path: Path, look: Preprocessing) -> Any:
    got = decode_image(path, look)
    assert isinstance(got, DecodedImage), got
    assert got.pixels is not None
    return got.pixels


def names(found: Any, root: Path) -> list[str]:
    return [
        os.path.relpath(one.path, root)
        + (f": {one.reason}" if isinstance(one, UnreadableImage) else "")
        for one in found
    ]


def test_a_folder_gives_its_pictures_in_order_and_each_once(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", "in/c.png", ".hidden/d.png", "._a.png", "@eaDir/e.png"):
        saved(tmp_path / name, photo(8, 8), format="PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "in" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "ahead").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "nothing.png").touch()
    os.mkfifo(tmp_path / "pipe.png")
    report = ScanReport()
    found = names(find_images([tmp_path], report=report), tmp_path)
    assert found == [
        "a.png",
        "b.PNG",
        "lost.png: the link is broken",
        "nothing.png: the file is empty",
        "pipe.png: this is not a regular file",
        "in/c.png",
    ]
    assert (report.roots, report.others) == ([str(tmp_path)], 1)
    twice = names(find_images([tmp_path, tmp_path / "a.png", tmp_path / "*.png"]), tmp_path)
    assert twice == found
    hidden = names(find_images([tmp_path], hidden=True), tmp_path)
    assert set(hidden) - set(found) == {"._a.png", ".hidden/d.png", "@eaDir/e.png"}


def test_files_globs_and_exclusions(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "deep/er/c.png", "deep/d.jpg"):
        saved(tmp_path / name, photo(8, 8))
    (tmp_path / "odd").write_bytes((tmp_path / "a.png").read_bytes())
    assert names(find_images([tmp_path / "**" / "*.png"]), tmp_path) == [
        "a.png",
        "b.png",
        "deep/er/c.png",
    ]
    assert names(find_images([tmp_path / "odd", tmp_path / "gone.png"]), tmp_path) == [
        "odd",
        "gone.png: there is no such file",
    ]
    assert names(find_images([tmp_path / "*.gif"]), tmp_path) == [
        "*.gif: nothing matches this pattern"
    ]
    kept = names(find_images([tmp_path], exclude=["er", "*.jpg"]), tmp_path)
    assert kept == ["a.png", "b.png"]


def test_a_name_with_a_star_in_it_is_a_file_first(tmp_path: Path) -> None:
    saved(tmp_path / "[x].png", photo(8, 8))
    assert names(find_images([tmp_path / "[x].png"]), tmp_path) == ["[x].png"]


def test_a_name_that_is_no_text_is_found_and_read(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.png")
    photo(8, 8).save(path)
    (found,) = find_images([tmp_path])
    assert isinstance(found, ImageFile)
    assert os.fsencode(found.path).endswith(b"\xff\xfe.png")
    assert isinstance(decode_image(found.path, Preprocessing(8)), DecodedImage)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    report = ScanReport()
    found = names(find_images([tmp_path], report=report), tmp_path)
    closed.chmod(0o700)
    assert found == ["closed: the folder cannot be read: permission denied"]
    assert report.unread == [str(closed)]


def test_a_folder_that_fails_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = ScanReport()
    found = names(find_images([tmp_path], report=report), tmp_path)
    assert found == ["closed: the folder cannot be read: permission denied"]
    assert report.unread == [str(tmp_path / "closed")]


def test_lists_end_by_nul_or_by_line() -> None:
    assert read_list(b"a.png\nb c.png\r\n\n") == ["a.png", "b c.png"]
    assert read_list(b"a\nb.png\0c.png\0") == ["a\nb.png", "c.png"]
    assert read_list(b"") == []


@pytest.mark.parametrize("size", [(300, 200), (200, 333), (64, 64), (37, 500), (20, 30)])
@pytest.mark.parametrize(("fit", "mode"), [("crop", "shortest"), ("squash", "squash")])
def test_it_is_open_clips_own_preprocessing(
    tmp_path: Path, size: tuple[int, int], fit: Any, mode: Any
) -> None:
    from open_clip.transform import image_transform_v2, merge_preprocess_dict

    path = saved(tmp_path / "a.png", photo(*size))
    config = {"size": 64, "mean": (0, 0, 0), "std": (1, 1, 1), "resize_mode": mode}
    from open_clip.transform import PreprocessCfg

    reference = image_transform_v2(PreprocessCfg(**merge_preprocess_dict({}, config)), False)
    expected = (reference(Image.open(path)) * 255).round().byte().permute(1, 2, 0).numpy()
    assert np.array_equal(pixels(path, Preprocessing(64, fit))[0], expected)


def test_draft_decoding_changes_little(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", photo(1600, 1200), quality=90)
    full, draft = (
        pixels(path, Preprocessing(64, draft=draft)).astype(int) for draft in (False, True)
    )
    assert np.abs(full - draft).mean() < 0.5
    assert not np.array_equal(full, draft)


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_obeyed(tmp_path: Path, turn: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path / "a.png", photo(60, 40), exif=exif)
    upright = saved(tmp_path / "b.png", ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(pixels(path, Preprocessing(16)), pixels(upright, Preprocessing(16)))
    got = decode_image(path, Preprocessing(16))
    assert isinstance(got, DecodedImage)
    assert (got.width, got.height) == ((40, 60) if turn > 4 else (60, 40))


def flat(path: Path, **look: Any) -> list[int]:
    """The colour in the middle."""
    return [int(v) for v in pixels(path, Preprocessing(8, **look))[0, 4, 4]]


def test_alpha_shows_the_background(tmp_path: Path) -> None:
    clear = saved(tmp_path / "a.png", Image.new("RGBA", (20, 20), (255, 0, 0, 0)))
    assert flat(clear) == [255, 255, 255]
    assert flat(clear, background=(0, 0, 9)) == [0, 0, 9]
    half = saved(tmp_path / "b.png", Image.new("LA", (20, 20), (0, 128)))
    assert flat(half) == [127, 127, 127]
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    saved(tmp_path / "c.gif", palette, transparency=0)
    assert flat(tmp_path / "c.gif", background=(1, 2, 3)) == [1, 2, 3]


def test_other_kinds_of_pixels(tmp_path: Path) -> None:
    cmyk = saved(tmp_path / "a.jpg", Image.new("CMYK", (40, 40), (0, 255, 255, 0)))
    red, green, blue = flat(cmyk)
    assert red > 250 > 5 > max(green, blue)
    deep = saved(tmp_path / "b.png", Image.fromarray(np.full((20, 20), 32896, np.uint16)))
    assert flat(deep) == [128, 128, 128]
    floats = saved(tmp_path / "c.tif", Image.fromarray(np.full((20, 20), 0.5, np.float32)))
    assert flat(floats) == [128, 128, 128]
    bits = saved(tmp_path / "d.png", Image.new("1", (20, 20), 1))
    assert flat(bits) == [255, 255, 255]
    assert flat(saved(tmp_path / "e.avif", Image.new("RGB", (40, 40), "lime")))[1] > 240


def test_frames_of_an_animated_file(tmp_path: Path) -> None:
    shades = [Image.new("RGB", (20, 20), (i * 25,) * 3) for i in range(10)]
    path = saved(tmp_path / "a.gif", shades[0], save_all=True, append_images=shades[1:])
    assert pixels(path, Preprocessing(8)).shape == (1, 8, 8, 3)
    got = decode_image(path, Preprocessing(8, frames=3))
    assert isinstance(got, DecodedImage)
    assert got.pixels is not None
    assert got.frames == (0, 3, 6)
    assert got.pixels[:, 0, 0, 0].tolist() == [0, 75, 150]
    still = saved(tmp_path / "b.png", shades[2])
    assert pixels(still, Preprocessing(8, frames=3)).shape == (1, 8, 8, 3)


def test_a_long_strip_is_cut_before_it_is_enlarged(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (20_000, 2), "blue"))
    assert flat(path) == [0, 0, 255]


def test_pad_keeps_all_of_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGB", (40, 20), "blue"))
    made = pixels(path, Preprocessing(8, "pad", background=(9, 9, 9)))[0]
    assert made[0, 0].tolist() == [9, 9, 9]
    assert made[4, 0].tolist() == [0, 0, 255]


def test_the_camera_says_when(tmp_path: Path) -> None:
    from datetime import datetime

    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    got = decode_image(saved(tmp_path / "a.jpg", photo(20, 20), exif=exif), Preprocessing(8))
    assert isinstance(got, DecodedImage)
    assert got.taken == datetime(2024, 5, 6, 7, 8, 9).timestamp()
    assert got.format == "jpeg"


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    whole = io.BytesIO()
    photo(200, 200).save(whole, "JPEG")
    for name, data, reason in (
        ("cut.jpg", whole.getvalue()[:2000], "image file is truncated (0 bytes not processed)"),
        ("text.png", b"no picture", "this is not an image in a supported format"),
        ("none.png", b"", "the file is empty"),
    ):
        (tmp_path / name).write_bytes(data)
        got = decode_image(tmp_path / name, Preprocessing(8))
        assert isinstance(got, UnreadableImage)
        if name != "cut.jpg":
            assert got.reason == reason
        else:
            assert got.reason.startswith("image file is truncated (")
    gone = decode_image(tmp_path / "gone.png", Preprocessing(8))
    assert gone == UnreadableImage(
        str(tmp_path / "gone.png"), "the file cannot be read: no such file or directory"
    )


def test_too_many_pixels_are_refused(tmp_path: Path) -> None:
    with quiet_pillow():
        path = saved(tmp_path / "a.png", Image.new("1", (9000, 9000)))
        got = decode_image(path, Preprocessing(8))
        assert got == UnreadableImage(str(path), "it has too many pixels to read (9000x9000)")
        bomb = saved(tmp_path / "b.png", Image.new("1", (20_000, 10_000)))
        got = decode_image(bomb, Preprocessing(8))
        assert got == UnreadableImage(str(bomb), "it has more pixels than are safe to read")


def test_heic_is_read_where_the_library_is(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    path = saved(tmp_path / "a.heic", Image.new("RGB", (64, 64), "blue"))
    assert flat(path)[2] > 240


def test_heic_without_the_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pixweave.loading import decode

    monkeypatch.setattr(decode, "_heif", lambda: False)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    got = decode_image(tmp_path / "a.heic", Preprocessing(8))
    assert isinstance(got, UnreadableImage)
    assert got.reason == "HEIC needs a decoder: pip install pillow-heif"


def test_reading_keeps_the_order_and_a_bound(tmp_path: Path) -> None:
    for i in range(40):
        saved(tmp_path / f"{i:02}.png", Image.new("RGB", (8 + 8 * (i % 3), 8), (i, 0, 0)))
    drawn = 0

    def watched() -> Iterator[ImageFile | UnreadableImage]:
        nonlocal drawn
        for found in find_images([tmp_path]):
            drawn += 1
            yield found

    made = []
    for used, (found, got) in enumerate(
        read_images(watched(), Preprocessing(8), workers=4, ahead=8), 1
    ):
        assert drawn - used <= 8
        assert isinstance(got, DecodedImage)
        assert got.path == found.path
        assert got.pixels is not None
        made.append(int(got.pixels[0, 0, 0, 0]))
    assert made == list(range(40))


def test_what_is_known_is_not_decoded_and_threads_end(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", photo(8, 8))
    first = decode_image(path, Preprocessing(8))
    assert isinstance(first, DecodedImage)
    seen = [UnreadableImage("x", "no"), *find_images([tmp_path])]
    reading = read_images(seen, Preprocessing(8), skip=lambda digest: digest == first.digest)
    assert [got for _, got in reading] == [
        UnreadableImage("x", "no"),
        DecodedImage(str(path), first.digest),
    ]
    stopped = read_images(list(find_images([tmp_path])) * 50, Preprocessing(8))
    next(stopped)
    stopped.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("pixweave-read")]


def test_an_encoder_reads_for_its_perceptor(tmp_path: Path) -> None:
    from pixweave import Plugins
    from pixweave.engine.embedders import open_embedder

    plugins = Plugins.discover()
    encoder = open_embedder(plugins, "tiny", "cpu")
    saved(tmp_path / "a.png", photo(90, 60))
    look = encoder.preprocessing()
    vectors = encoder.encode_pictures(pixels(tmp_path / "a.png", look))
    texts = encoder.encode_texts(["red", "blue"])
    assert vectors.shape == (1, texts.shape[1])
    assert np.allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    assert encoder.identity == open_embedder(plugins).identity
    assert encoder.identity.startswith("tiny:")
