"""Find image files in files, folders, globs and lists, in order, each once."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("avif", "bmp", "dib", "gif", "heic", "heif", "icns", "ico", "j2k", "jfif", "jp2", "jpe"),
        *("jpeg", "jpg", "jpx", "pbm", "pcx", "pgm", "png", "apng", "pnm", "ppm", "psd", "qoi"),
        *("sgi", "tga", "tif", "tiff", "webp", "xbm", "xpm"),
    )
)
"""Suffixes of the image files in a folder; a file that is named may have any suffix."""

JUNK = frozenset({"@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information"})
"""Folders made by operating systems, without images of the user."""


@dataclass(frozen=True)
class ImageFile:
    """A file that may be an image: its path, size in bytes and modification time in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class UnreadableImage:
    """A path that gives no image, and the reason."""

    path: str
    reason: str


@dataclass
class ScanReport:
    """What was scanned: absolute `roots` and `files`; `others` files had no image suffix.

    Fill it with `find_images(..., report=ScanReport())`. `unread` are folders that could not be
    read: their content is unknown, so no file in them may be considered deleted.
    """

    roots: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    others: int = 0


def find_images(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    hidden: bool = False,
    exclude: Iterable[str] = (),
    report: ScanReport | None = None,
) -> Iterator[ImageFile | UnreadableImage]:
    """Every image file of the inputs with its absolute path, and unusable paths with the reason.

    An input is a file (with any suffix), a folder (searched recursively, links followed, no folder
    entered twice) or a glob (including `**`); a single one needs no list. Names that begin with a
    dot and JUNK folders are skipped unless `hidden`. `exclude` are glob patterns of names or paths.
    Paths that are not valid UTF-8 keep their bytes as surrogates (os.fsdecode).
    """
    inputs = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs
    search = _Search(hidden, tuple(exclude), report if report is not None else ScanReport())
    for item in inputs:
        yield from search.input(os.fsdecode(item))


def read_list(data: bytes) -> list[str]:
    """The paths of a list as `find -print0` or `ls` print it: separated by NUL if it has any."""
    separator = b"\0" if b"\0" in data else b"\n"
    lines = [
        line.removesuffix(b"\r") if separator == b"\n" else line for line in data.split(separator)
    ]
    return [os.fsdecode(line) for line in lines if line]


class _Search:
    def __init__(self, hidden: bool, exclude: tuple[str, ...], report: ScanReport) -> None:
        self.hidden, self.exclude, self.report = hidden, exclude, report
        self.visited: set[tuple[int, int]] = set()
        self.returned: set[str] = set()

    def input(self, item: str) -> Iterator[ImageFile | UnreadableImage]:
        path = os.path.abspath(os.path.expanduser(item))
        if os.path.isdir(path):
            self.report.roots.append(path)
            yield from self.folder(path)
        elif os.path.lexists(path) or not glob.has_magic(item):
            self.report.files.append(path)
            yield from self.file(path)
        else:
            hits = sorted(glob.glob(path, recursive=True, include_hidden=self.hidden))
            if not hits:
                yield UnreadableImage(path, "nothing matches this pattern")
            for hit in hits:
                if os.path.isdir(hit):
                    continue  # the pattern itself selects files within folders
                if self.wanted(os.path.basename(hit), hit):
                    yield from self.file(hit)

    def folder(self, path: str) -> Iterator[ImageFile | UnreadableImage]:
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in self.visited:  # a link leads back
                return
            self.visited.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self.report.unread.append(path)
            yield UnreadableImage(path, f"the folder cannot be read: {_reason(error)}")
            return
        subfolders = []
        for entry in entries:
            if self.excluded(entry.name, entry.path):
                continue
            if _is_folder(entry):
                subfolders.append(entry)
            elif self.wanted(entry.name, entry.path):
                yield from self.file(entry.path)
        # folders before links, so that a folder is found under its real path
        for entry in sorted(subfolders, key=lambda entry: entry.is_symlink()):
            yield from self.folder(entry.path)

    def wanted(self, name: str, path: str) -> bool:
        if self.excluded(name, path):
            return False
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            return True
        self.report.others += 1
        return False

    def excluded(self, name: str, path: str) -> bool:
        from fnmatch import fnmatchcase

        if not self.hidden and (name.startswith(".") or name in JUNK):
            return True
        return any(
            fnmatchcase(name, pattern) or fnmatchcase(path, pattern) for pattern in self.exclude
        )

    def file(self, path: str) -> Iterator[ImageFile | UnreadableImage]:
        if path in self.returned:
            return
        self.returned.add(path)
        try:
            status = os.stat(path)
        except OSError as error:
            yield UnreadableImage(path, _stat_error(path, error))
            return
        if not stat.S_ISREG(status.st_mode):
            yield UnreadableImage(path, "this is not a regular file")
        elif status.st_size == 0:
            yield UnreadableImage(path, "the file is empty")
        else:
            yield ImageFile(path, status.st_size, status.st_mtime_ns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link
        return False


def _stat_error(path: str, error: OSError) -> str:
    if os.path.islink(path):
        return "the link is broken"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"the file cannot be read: {_reason(error)}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
