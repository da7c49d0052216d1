"""Many pictures: found in files and folders, and read for a perceptor, each with its fault if any.

find.py     files, folders, globs and lists -> the picture files, in order, each of them once
decode.py   one file -> 8-bit squares as a perceptor wants them
reader.py   a stream of files -> a stream of pictures: worker threads, bounded look-ahead

    for file, got in read_images(find_images(["photos"]), Preprocessing(size=224)):
        got.pixels if isinstance(got, DecodedImage) else got.reason

Importing it imports neither numpy, Pillow nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave.loading.find_images import (
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

_LATER = {
    **dict.fromkeys(("Preprocessing", "DecodedImage", "decode_image"), "pixweave.loading.decode"),
    "read_images": "pixweave.loading.prefetch",
}


def __getattr__(name: str) -> Any:
    """Import what needs numpy and Pillow when it is first asked for."""
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'pixweave.loading' has no attribute '{name}'")
