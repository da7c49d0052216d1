"""Loading images: find the files, decode them for a perceptor, report the unreadable ones.

image_files.py   files, folders, globs and lists -> the image files, in order, each once
decode.py        one file -> 8-bit squares as a perceptor needs them
prefetch.py      a stream of files -> a stream of images: worker threads, bounded prefetch

    for file, got in read_images(find_images(["photos"]), Preprocessing(size=224)):
        got.pixels if isinstance(got, DecodedImage) else got.reason

Importing this package imports neither numpy, Pillow nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave.loading.image_files import (
    ImageFile,
    ScanReport,
    UnreadableImage,
    find_images,
    read_list,
)

if TYPE_CHECKING:
    from pixweave.loading.decode import DecodedImage, Preprocessing, decode_image
    from pixweave.loading.prefetch import read_images

__all__ = [
    "DecodedImage",
    "ImageFile",
    "Preprocessing",
    "ScanReport",
    "UnreadableImage",
    "decode_image",
    "find_images",
    "read_images",
    "read_list",
]

_LAZY = {
    **dict.fromkeys(("Preprocessing", "DecodedImage", "decode_image"), "pixweave.loading.decode"),
    "read_images": "pixweave.loading.prefetch",
}


def __getattr__(name: str) -> Any:
    """Import names that need numpy and Pillow on first access."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'pixweave.loading' has no attribute '{name}'")
