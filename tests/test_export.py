"""Exporters: what they write is read back and compared."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from pixweave_export import export_settings

from pixweave import load_text
from pixweave.events import Frame
from pixweave.media import images
from pixweave.media.metadata import read_metadata
from pixweave.pipeline.runner import perform
from pixweave.testing import check_component, plugins_of, tiny_recipe

PALETTE = torch.tensor([[0, 0, 0], [255, 0, 77], [0, 228, 54], [41, 173, 255]], dtype=torch.uint8)
STAMP = {"pixweave": "pixweave: 1\nprompts: [ein Fuchs im Schnee, 雪の狐]\n"}
WIDTH, HEIGHT = 18, 14
FILMS = ["gif", "apng", "webp", "mp4"]
FILES = {
    "png": "a.png",
    "jpeg": "a.jpg",
    "gif": "a.gif",
    "apng": "a.apng",
    "webp": "a.webp",
    "mp4": "a.mp4",
    "frames": "a/",
}


def a_run(folder: Path, palette: bool = True, fps: float = 10.0, **recipe: Any) -> Any:
    facts = {"fps": fps, "steps": 6, "size": (WIDTH, HEIGHT), "title": "", **recipe}
    facts["shown_size"] = facts["size"]
    generator = SimpleNamespace(palette=PALETTE if palette else None)
    return SimpleNamespace(
        folder=folder, recipe=SimpleNamespace(**facts), generator=generator, metadata=STAMP
    )


def frames(
    count: int = 6, palette: bool = True, alpha: bool = False, batch: int = 1
) -> Iterator[Frame]:
    rng = torch.Generator().manual_seed(3)
    for step in range(count):
        if palette:
            index = torch.randint(0, 4, (batch, HEIGHT, WIDTH), generator=rng)
            image = PALETTE[index].permute(0, 3, 1, 2) / 255
        else:
            image = torch.rand(batch, 3, HEIGHT, WIDTH, generator=rng)
        if alpha:
            holes = torch.randint(0, 2, (batch, 1, HEIGHT, WIDTH), generator=rng)
            image = torch.cat([image, holes.float()], 1)
        yield Frame(step, image)


def wanted(**kwargs: Any) -> list[np.ndarray[Any, Any]]:
    return [images.to_uint8(frame.image[0]) for frame in frames(**kwargs)]


def component(use: str, **settings: Any) -> Any:
    return getattr(export_settings, use.capitalize())(**settings)


def export(run: Any, use: str, shots: Iterator[Frame], **settings: Any) -> list[Path]:
    settings = {"file": FILES[use], **settings}
    exporter = component(use, **settings).build(run)
    for frame in shots:
        exporter.write(frame)
    return list(exporter.close())


def shown(path: Path) -> tuple[list[np.ndarray[Any, Any]], list[float]]:
    """Every picture of a film as a viewer sees it, and the milliseconds that it stays."""
    pictures, times = [], []
    with Image.open(path) as film:
        for picture in ImageSequence.Iterator(film):
            mode = "RGBA" if picture.has_transparency_data else "RGB"
            pictures.append(np.asarray(picture.convert(mode)))
            times.append(float(picture.info.get("duration", 0)))
    return pictures, times


def facts(path: Path) -> tuple[str | None, str, tuple[int, int]]:
    """Format, mode and size of a picture."""
    with Image.open(path) as picture:
        return picture.format, picture.mode, picture.size


def decoded(path: Path) -> list[np.ndarray[Any, Any]]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def same(pictures: list[Any], others: list[Any]) -> bool:
    return len(pictures) == len(others) and all(
        a.shape == b.shape and (seen(a) == seen(b)).all()
        for a, b in zip(pictures, others, strict=True)
    )


def seen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with black where it is transparent: what lies under a hole is nobody's business."""
    if array.shape[2] == 3:
        return array
    return np.where(array[..., 3:] == 0, 0, array).astype(np.uint8)


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("palette", [False, True])
@pytest.mark.parametrize(("use", "exact"), [("gif", True), ("apng", True), ("webp", True)])
def test_an_animation_shows_every_frame(
    tmp_path: Path, use: str, exact: bool, palette: bool, alpha: bool
) -> None:
    run = a_run(tmp_path, palette)
    settings = {"lossless": True} if use == "webp" else {}
    (path,) = export(run, use, frames(palette=palette, alpha=alpha), **settings)
    pictures, times = shown(path)
    goal = wanted(palette=palette, alpha=alpha)
    assert times == [100.0] * 6
    assert same(pictures, goal)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert read_metadata(path) == STAMP


@pytest.mark.parametrize(("use", "mode"), [("png", "P"), ("gif", "P"), ("apng", "P")])
def test_a_palette_gives_indexed_files(tmp_path: Path, use: str, mode: str) -> None:
    (path,) = export(a_run(tmp_path), use, frames())
    with Image.open(path) as picture:
        assert picture.mode == mode
        colours = picture.getpalette()
    assert colours is not None
    assert colours[:12] == PALETTE.flatten().tolist()


def test_an_apng_with_one_pixel_outside_the_palette_is_true_colour(tmp_path: Path) -> None:
    shots = list(frames())
    shots[4].image[0, :, 3, 3] = 0.5
    (path,) = export(a_run(tmp_path), "apng", iter(shots))
    pictures, _ = shown(path)
    assert same(pictures, [images.to_uint8(frame.image[0]) for frame in shots])


def test_many_colours_in_a_gif_come_near(tmp_path: Path) -> None:
    y, x = np.mgrid[0:64, 0:64] / 63
    picture = torch.tensor(np.stack([x, y, (x + y) / 2]), dtype=torch.float32)[None]
    (path,) = export(a_run(tmp_path, palette=False), "gif", iter([Frame(0, picture)]))
    (seen_,), _ = shown(path)
    assert np.abs(seen_.astype(int) - images.to_uint8(picture[0])).mean() < 8


@pytest.mark.parametrize("use", FILMS)
def test_hold_and_boomerang_set_the_order_and_the_times(tmp_path: Path, use: str) -> None:
    (path,) = export(a_run(tmp_path), use, frames(), loop="boomerang", hold=0.5)
    goal = wanted()
    order = [0, 1, 2, 3, 4, 5, 4, 3, 2, 1]
    if use == "mp4":
        films = decoded(path)
        assert len(films) == 15  # five more of the last
        far = [[np.abs(g - film.astype(int)).sum() for g in goal] for film in films]
        assert [int(np.argmin(f)) for f in far] == [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 4, 3, 2, 1]
    else:
        pictures, times = shown(path)
        assert times == [600.0 if i == 5 else 100.0 for i in order]
        assert same(pictures, [goal[i] for i in order])


@pytest.mark.parametrize("use", ["gif", "apng", "webp"])
def test_still_frames_become_one_that_lasts(tmp_path: Path, use: str) -> None:
    first, second = list(frames(2))
    shots = [Frame(i, (second if i == 3 else first).image) for i in range(5)]
    (path,) = export(a_run(tmp_path), use, iter(shots))
    pictures, times = shown(path)
    assert times == [300.0, 100.0, 100.0]
    assert same(pictures, [wanted()[i] for i in (0, 1, 0)])


@pytest.mark.parametrize("use", ["gif", "apng", "webp"])
def test_only_what_changes_is_written_again(tmp_path: Path, use: str) -> None:
    image = next(frames()).image
    moved = image.clone()
    moved[..., 5, 7] = 1 - moved[..., 5, 7]
    shots = [Frame(0, image), Frame(1, moved), Frame(2, image)]
    run = a_run(tmp_path, palette=False)
    (path,) = export(run, use, iter(shots), **({"lossless": True} if use == "webp" else {}))
    pictures, _ = shown(path)
    assert same(pictures, [images.to_uint8(frame.image[0]) for frame in shots])
    (whole,) = export(
        run,
        use,
        iter(shots[:1]),
        file=f"whole.{use}",
        **({"lossless": True} if use == "webp" else {}),
    )
    assert path.stat().st_size < 1.7 * whole.stat().st_size


@pytest.mark.parametrize("fps", [24.0, 23.976, 30.0])
def test_gif_times_do_not_drift(tmp_path: Path, fps: float) -> None:
    (path,) = export(a_run(tmp_path, fps=fps), "gif", frames(100))
    _, times = shown(path)
    assert len(times) == 100
    assert sum(times) == pytest.approx(100_000 / fps, abs=5)


def test_apng_times_are_exact(tmp_path: Path) -> None:
    (path,) = export(a_run(tmp_path, fps=24), "apng", frames(3))
    data = path.read_bytes()
    place = data.index(b"fcTL") + 4 + 20
    delay = (int.from_bytes(data[place : place + 2]), int.from_bytes(data[place + 2 : place + 4]))
    assert delay == (1, 24)


@pytest.mark.parametrize("fps", [24.0, 23.976, 12.5])
def test_mp4_has_the_rate_the_size_and_the_pictures(tmp_path: Path, fps: float) -> None:
    (path,) = export(a_run(tmp_path, fps=fps), "mp4", frames(), scale=4, quality=1)
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert stream.average_rate == Fraction(fps).limit_denominator(65535)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (WIDTH * 4, HEIGHT * 4)
    pictures = decoded(path)
    goal = [images.enlarge(array, 4) for array in wanted()]
    errors = [np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, goal, strict=True)]
    assert max(errors) < 12  # chroma has a quarter of the pixels
    assert read_metadata(path) == STAMP


def test_odd_sides_grow_by_the_last_row_and_column(tmp_path: Path) -> None:
    (path,) = export(a_run(tmp_path), "mp4", iter([Frame(0, torch.full((1, 3, 15, 17), 0.5))]))
    (picture,) = decoded(path)
    assert picture.shape == (16, 18, 3)
    assert np.abs(picture.astype(int) - 128).max() < 4


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_quality_makes_an_mp4_larger_or_smaller(tmp_path: Path, codec: str) -> None:
    run = a_run(tmp_path, palette=False)
    (fine,) = export(run, "mp4", frames(palette=False), quality=5, codec=codec, file="fine.mp4")
    (rough,) = export(run, "mp4", frames(palette=False), quality=45, codec=codec, file="rough.mp4")
    assert fine.stat().st_size > 1.5 * rough.stat().st_size


def test_holes_show_the_background_where_there_is_no_alpha(tmp_path: Path) -> None:
    image = torch.zeros(1, 4, HEIGHT, WIDTH)
    shots = [Frame(0, image)]
    (jpeg,) = export(a_run(tmp_path), "jpeg", iter(shots), background="#ff8000")
    (film,) = export(a_run(tmp_path), "mp4", iter(shots))
    assert np.abs(np.asarray(Image.open(jpeg)).astype(int) - [255, 128, 0]).max() < 4
    assert decoded(film)[0].min() > 250


def test_stills_show_the_last_frame_and_a_batch_is_numbered(tmp_path: Path) -> None:
    (path,) = export(a_run(tmp_path), "png", frames(), scale=3)
    assert same([np.asarray(Image.open(path).convert("RGB"))], [images.enlarge(wanted()[-1], 3)])
    paths = export(a_run(tmp_path), "png", frames(batch=3), file="b.png")
    assert [p.name for p in paths] == ["b-1.png", "b-2.png", "b-3.png"]
    assert all(read_metadata(p) == STAMP for p in paths)
    (film,) = export(a_run(tmp_path), "apng", frames(batch=3))
    assert shown(film)[0][0].shape == (HEIGHT, WIDTH * 3, 3)


@pytest.mark.parametrize("use", [*FILMS, "frames"])
def test_every_takes_each_nth_step_and_the_last(tmp_path: Path, use: str) -> None:
    (path,) = export(a_run(tmp_path), use, frames(6), every=2)
    if use == "frames":
        names = ["000000.png", "000002.png", "000004.png", "000005.png"]
        assert sorted(p.name for p in path.iterdir()) == names
        assert (np.asarray(Image.open(path / names[-1]).convert("RGB")) == wanted()[-1]).all()
    elif use == "mp4":
        assert len(decoded(path)) == 4
    else:
        assert same(shown(path)[0], [wanted()[i] for i in (0, 2, 4, 5)])


@pytest.mark.parametrize("use", list(FILES))
def test_every_exporter_holds_what_exporters_must(use: str) -> None:
    check_component("exporter", use, {"file": FILES[use]})


@pytest.mark.parametrize("use", list(FILES))
def test_abort_leaves_nothing_behind(tmp_path: Path, use: str) -> None:
    exporter = component(use, file=FILES[use]).build(a_run(tmp_path))
    for frame in frames(3):
        exporter.write(frame)
    exporter.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("use", ["png", "jpeg", "gif", "apng", "webp", "mp4"])
def test_a_disk_that_fills_up_leaves_the_old_file_and_no_part(
    tmp_path: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / FILES[use]
    path.write_bytes(b"older")
    exporter = component(use, file=FILES[use]).build(a_run(tmp_path))
    for frame in frames(3):
        exporter.write(frame)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        exporter.close()
    exporter.abort()
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("use", "file", "message"),
    [
        ("gif", "a.mp4", "'a.mp4' does not end in .gif"),
        ("frames", "steps", "'steps' does not end in /"),
    ],
)
def test_a_bad_file_name_is_a_complaint(tmp_path: Path, use: str, file: str, message: str) -> None:
    found = list(component(use, file=file).check(a_run(tmp_path).recipe))
    assert [(c.setting, c.message, c.fatal) for c in found] == [("file", message, True)]


@pytest.mark.parametrize(
    ("use", "settings", "recipe", "expected"),
    [
        (
            "gif",
            {},
            {"fps": 60.0},
            ("fps", "a GIF shows at most 50 frames per second, not 60", False),
        ),
        (
            "mp4",
            {},
            {"size": (17, 15)},
            ("file", "an MP4 needs even sides, so 17x15 becomes 18x16", False),
        ),
        (
            "mp4",
            {"codec": "libx265x"},
            {},
            ("codec", "'libx265x' is not a known video encoder", True),
        ),
        ("mp4", {"codec": "aac"}, {}, ("codec", "'aac' is not a known video encoder", True)),
        (
            "mp4",
            {},
            {"fps": 0.001},
            ("fps", "a film has at least 0.01 frames per second, not 0.001", True),
        ),
        (
            "webp",
            {"scale": 64},
            {"size": (256, 4)},
            (
                "scale",
                "16384x256 pixels are too large for this format, whose maximum side is 16383",
                True,
            ),
        ),
    ],
)
def test_what_a_format_cannot_do_is_a_complaint(
    tmp_path: Path, use: str, settings: dict[str, Any], recipe: dict[str, Any], expected: Any
) -> None:
    part = component(use, file=FILES[use], **settings)
    found = list(part.check(a_run(tmp_path, **recipe).recipe))
    assert [(c.setting, c.message, c.fatal) for c in found] == [expected]


@pytest.mark.parametrize(
    ("settings", "size", "reason"),
    [
        ({"codec": "mpeg4", "scale": 64}, (256, 128), "Invalid argument"),
        ({"scale": 64}, (512, 4), "Generic error in an external library"),
        ({"codec": "libsvtav1", "file": "a.mov"}, (64, 64), "Invalid argument"),
    ],
)
def test_a_film_that_the_encoder_cannot_make_is_a_complaint(
    tmp_path: Path, settings: dict[str, Any], size: tuple[int, int], reason: str
) -> None:
    part = component("mp4", **{"file": "a.mp4", **settings})
    (complaint,) = part.check(a_run(tmp_path, size=size).recipe)
    width, height = (side * part.scale for side in size)
    message = f"encoder '{part.codec}' cannot write {width}x{height} films here: {reason}"
    assert (complaint.setting, complaint.fatal) == ("codec", True)
    assert complaint.message == message


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "mpeg4"])
def test_what_an_encoder_promises_it_keeps_quietly(
    tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    part = component("mp4", file="a.m4v", codec=codec, scale=4)
    run = a_run(tmp_path)
    assert list(part.check(run.recipe)) == []
    (path,) = export(run, "mp4", frames(), file="a.m4v", codec=codec, scale=4)
    assert len(decoded(path)) == 6
    assert read_metadata(path) == STAMP
    assert capfd.readouterr() == ("", "")


def test_checking_a_film_is_quick_and_needs_no_torch() -> None:
    code = """
import sys, time
from types import SimpleNamespace
from pixweave_export.export_settings import Mp4
began = time.perf_counter()
list(Mp4(file="a.mp4").check(SimpleNamespace(shown_size=(1024, 768), fps=24.0)))
print(time.perf_counter() - began)
assert "torch" not in sys.modules and "imageio" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1  # five times the goal: the machine may be busy


@pytest.mark.parametrize("use", ["png", "gif", "webp", "mp4"])
def test_what_is_asked_for_in_order_has_no_complaint(tmp_path: Path, use: str) -> None:
    assert list(component(use, file=FILES[use]).check(a_run(tmp_path).recipe)) == []


@pytest.mark.parametrize("use", list(FILES))
def test_closing_and_aborting_once_more_keeps_what_was_finished(tmp_path: Path, use: str) -> None:
    exporter = component(use, file="films/" + FILES[use]).build(a_run(tmp_path))
    for frame in frames(3):
        exporter.write(frame)
    paths = exporter.close()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert before
    assert exporter.close() == paths
    exporter.abort()
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("use", list(FILES))
def test_aborting_before_the_first_frame_is_nothing(tmp_path: Path, use: str) -> None:
    component(use, file=FILES[use]).build(a_run(tmp_path)).abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("loop", ["forward", "boomerang"])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("use", FILMS)
def test_short_films_are_films(tmp_path: Path, use: str, count: int, loop: str) -> None:
    (path,) = export(a_run(tmp_path), use, frames(count), loop=loop)
    pictures = decoded(path) if use == "mp4" else shown(path)[0]
    assert len(pictures) == (4 if (count, loop) == (3, "boomerang") else count)


def test_a_boomerang_turns_on_the_last_frame_though_it_was_passed_over(tmp_path: Path) -> None:
    (path,) = export(a_run(tmp_path), "mp4", frames(6), every=2, loop="boomerang", quality=1)
    goal = wanted()
    far = [[np.abs(g - film.astype(int)).sum() for g in goal] for film in decoded(path)]
    assert [int(np.argmin(f)) for f in far] == [0, 2, 4, 5, 4, 2]


@pytest.mark.parametrize("use", FILMS)
@pytest.mark.parametrize("fps", [29.97, 0.5])
def test_films_last_as_long_as_they_should(tmp_path: Path, use: str, fps: float) -> None:
    (path,) = export(a_run(tmp_path), use, frames(), fps=fps, hold=2)
    if use == "mp4":
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            assert stream.duration is not None
            assert stream.time_base is not None
            seconds = float(stream.duration * stream.time_base)
    else:
        seconds = sum(shown(path)[1]) / 1000
    slack = 0.5 / fps if use == "mp4" else 0.006
    assert seconds == pytest.approx(6 / fps + 2, abs=slack)


@pytest.mark.parametrize("count", [1, 3, 255, 256])
@pytest.mark.parametrize("edge", ["opaque", "hard", "soft"])
@pytest.mark.parametrize("use", ["png", "gif", "apng", "webp"])
def test_every_palette_is_exact(tmp_path: Path, use: str, edge: str, count: int) -> None:
    rng = torch.Generator().manual_seed(count)
    colours = torch.randint(0, 256, (count, 3), generator=rng, dtype=torch.uint8)
    index = torch.arange(2 * 13 * 21).view(2, 1, 13, 21) % count
    pictures = colours[index].permute(0, 1, 4, 2, 3) / 255
    if edge != "opaque":
        alpha = torch.rand(2, 1, 1, 13, 21, generator=rng)
        pictures = torch.cat([pictures, alpha.round() if edge == "hard" else alpha], 2)
    run = a_run(tmp_path)
    run.generator.palette = colours
    (path,) = export(run, use, (Frame(i, picture) for i, picture in enumerate(pictures)))
    goal = images.to_uint8(pictures[1, 0])
    if use == "gif" and edge == "soft":  # a GIF has no soft edges
        goal[..., 3] = np.where(goal[..., 3] < 128, 0, 255)
    with Image.open(path) as film:
        film.seek(getattr(film, "n_frames", 1) - 1)
        last = np.asarray(film.convert("RGB" if edge == "opaque" else "RGBA"))
    assert same([last], [goal])
    if use in ("gif", "apng"):  # another decoder than the one of the library that wrote it
        with av.open(str(path)) as stream:
            last = [frame.to_ndarray(format="rgba") for frame in stream.decode(video=0)][-1]
        assert same([last if edge != "opaque" else last[..., :3]], [goal])
    if use == "png":
        indexed = edge == "opaque" or (edge == "hard" and count < 256)
        assert facts(path)[1] == ("P" if indexed else "RGBA")


def test_an_ending_in_capitals_is_the_same_format(tmp_path: Path) -> None:
    for use, name, kind in [
        ("png", "A.PNG", "PNG"),
        ("jpeg", "A.JPG", "JPEG"),
        ("gif", "A.GIF", "GIF"),
    ]:
        (path,) = export(a_run(tmp_path), use, frames(2), file=name)
        assert facts(path)[0] == kind
    (film,) = export(a_run(tmp_path), "mp4", frames(2), file="A.MP4")
    assert len(decoded(film)) == 2


def test_an_mp4_says_how_its_colours_are_meant(tmp_path: Path) -> None:
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    (path,) = export(a_run(tmp_path), "mp4", iter([Frame(0, red)]))
    with av.open(str(path)) as film:
        (picture,) = film.decode(video=0)
        assert int(picture.colorspace) == 6  # SMPTE 170M, as BT.601
        assert abs(int(picture.to_ndarray()[0, 0]) - 81) <= 1  # in BT.709 red has a luma of 63
        assert np.abs(picture.to_ndarray(format="rgb24").astype(int) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("use", ["gif", "apng", "webp", "mp4", "frames"])
def test_an_encoder_that_fails_half_way_leaves_nothing(
    tmp_path: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gc

    def broken(*_: Any, **__: Any) -> Any:
        raise OSError("broken")

    exporter = component(use, file=FILES[use]).build(a_run(tmp_path))
    shots = list(frames(3))
    exporter.write(shots[0])
    if use == "mp4":
        monkeypatch.setattr(exporter.film, "write_frame", broken)
    monkeypatch.setattr("pixweave.media.images.to_uint8", broken)
    monkeypatch.setattr("pixweave_export.film.write_gif", broken)
    monkeypatch.setattr("pixweave_export.film.write_apng", broken)
    monkeypatch.setattr("pixweave_export.film.write_webp", broken)
    with pytest.raises(OSError, match="broken"):
        exporter.write(shots[1])
    exporter.abort()
    del exporter
    gc.collect()  # what is collected must not complain, nor bring a file back
    assert list(tmp_path.iterdir()) == []


SMALL = {"size": [32, 24], "generator": {"use": "pixel", "grid": [8, 6]}, "title": "Stämpel 雪"}


def performed(folder: Path, last: int = 99, **keys: Any) -> tuple[Any, list[Path]]:
    """The recipe and the paths of a real run that is stopped after step `last`."""
    recipe = tiny_recipe(export=list(FILES.values()), **{**SMALL, **keys})
    steps = itertools.count()
    events = list(perform(recipe, folder, lambda: next(steps) == last))
    return recipe, [Path(e.data["path"]) for e in events if e.kind == "saved"]


def test_a_run_stamps_every_file_with_a_recipe_that_loads(tmp_path: Path) -> None:
    recipe, paths = performed(tmp_path)
    assert len(paths) == 7
    for path in paths:
        file = path / "000002.png" if path.is_dir() else path
        text = read_metadata(file)["pixweave"]
        assert load_text(text, "stamp.yaml", tmp_path, plugins_of()) == recipe
        assert str(tmp_path) not in text


def test_a_stamp_names_input_files_without_their_folders(tmp_path: Path) -> None:
    guide = tmp_path / "guide.png"
    Image.new("RGB", (8, 8)).save(guide)
    prompts = [{"image": str(guide)}, "/imagine a red square"]
    (tmp_path / "out").mkdir()
    _, paths = performed(tmp_path / "out", prompts=prompts)
    text = read_metadata(paths[0])["pixweave"]
    assert "image: guide.png" in text
    assert "/imagine a red square" in text
    assert str(tmp_path) not in text


def test_a_run_that_is_stopped_leaves_whole_films(tmp_path: Path) -> None:
    _, paths = performed(tmp_path, last=1, steps=100)
    assert len(paths) == 7
    for path in paths:
        if path.suffix == ".mp4":
            assert len(decoded(path)) == 2
        elif path.is_dir():
            assert sorted(p.name for p in path.iterdir()) == ["000000.png", "000001.png"]
        elif path.suffix in (".gif", ".apng", ".webp"):
            assert len(shown(path)[0]) == 2
        else:
            assert facts(path)[2] == (32, 24)


def test_many_frames_take_no_more_memory(tmp_path: Path) -> None:
    import tracemalloc

    def peak(count: int) -> int:
        tracemalloc.start()
        image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        shots = (Frame(i, image.roll(i, 2)) for i in range(count))
        export(a_run(tmp_path, palette=False), "apng", shots, loop="boomerang")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(3)
    assert peak(120) < peak(20) + 200_000
