"""MP4 encoders: how to set the quality of each, and whether it works on this machine."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.media import metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

CODECS = ("libx264", "libx265", "libsvtav1", "mpeg4")
SMPTE170M, LIMITED = 6, 1
"""FFmpeg's constants for its RGB to YUV conversion; without them players guess wrong above 720p."""


def open_film(path: Path, codec: str, quality: int, fps: float, info: Mapping[str, str]) -> Any:
    """An imageio writer that takes frames `[H, W, 3]` of uint8 with even sides."""
    import imageio.v3 as iio

    options = {"movflags": "use_metadata_tags+faststart"}
    film: Any = iio.imopen(  # type: ignore[call-overload]
        path, "w", plugin="pyav", container=container_of(path.name), options=options
    )
    film.container_metadata.update(metadata.for_mp4(info))
    film.init_video_stream(codec, fps=fps)
    # imageio has no public way to set the encoder's own options
    _configure(film._video_stream.codec_context, codec, quality)
    return film


def abandon(film: Any) -> None:
    """Close a film without flushing the encoder; the file is unusable afterwards."""
    film._video_stream = None  # else imageio flushes, and again on garbage collection
    film.close()


def trial(name: str, codec: str, fps: float, size: tuple[int, int]) -> str:
    """Test an encoder in memory; return why it cannot write such a file here, or ''."""
    import av  # without torch; 0.1 s

    if codec in ("libx265", "libsvtav1"):  # at 4096x4096 the latter takes a second and a gigabyte
        size = (min(size[0], 512), min(size[1], 512))
    try:
        with av.open(io.BytesIO(), "w", format=container_of(name)) as film:
            stream: Any = film.add_stream(codec, Fraction(fps).limit_denominator(65535))
            stream.width, stream.height = size
            _configure(stream.codec_context, codec, quality=51)
            film.start_encoding()
    except (av.error.FFmpegError, ValueError) as error:  # an unknown encoder is a ValueError
        return getattr(error, "strerror", None) or str(error)
    return ""


def container_of(name: str) -> str:
    """FFmpeg's name of the container for a file name."""
    return "mov" if name.lower().endswith(".mov") else "mp4"


def _configure(context: Any, codec: str, quality: int) -> None:
    """Set the pixel format and `quality` 1..51 as the encoder expects it, and silence its log."""
    context.pix_fmt = "yuv420p"
    context.colorspace, context.color_range = SMPTE170M, LIMITED
    context.options = {"crf": str(quality)}
    if codec == "mpeg4":  # it has no rate factor, only quantisers 1..31
        quantiser = str(max(1, round(quality / 51 * 31)))
        context.options = {"qmin": quantiser, "qmax": quantiser}
    elif codec == "libx265":
        context.options |= {"x265-params": "log-level=none"}
        context.codec_tag = "hvc1"  # the only tag that QuickTime plays
    elif codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # log errors only; there is no option for it
