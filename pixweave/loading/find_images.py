"""Find picture files: in files, folders, globs and lists, in order, each of them once."""

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
"""Endings of the files that are taken up from a folder; a file that is named needs none of them."""

JUNK = frozenset({"@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that systems make and that hold no pictures of anybody's."""


@dataclass(frozen=True)
class ImageFile:
    """A file that may be a picture: its path, bytes and time of change in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class UnreadableImage:
    """A path that gives no picture, and why."""

    path: str
    reason: str


@dataclass
class ScanReport:
    """What was looked through: `roots`, absolute; `others` files had no picture's ending.

    Fill it with `find_images(..., report=ScanReport())`. `unread` are folders that could not be
    read: what lies in them is unknown, so nothing may be taken for deleted there.
    """

    roots: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    others: int = 0


def find_images(
    inputs: Iterable[str | os.PathLike[str]],
    hidden: bool = False,
    exclude: Iterable[str] = (),
    report: ScanReport | None = None,
) -> Iterator[ImageFile | UnreadableImage]:
    """Every picture file of the inputs as an absolute path, and what cannot be one with its reason.

    An input is a file (of any ending), a folder (searched to its depths, links followed, no folder
    entered twice) or a glob (`**` included). Names that begin with a dot, and folders of JUNK, are
    passed over unless `hidden`. `exclude` are glob patterns of names or of paths. Paths that are no
    UTF-8 keep their bytes as surrogates (os.fsdecode).
    """
    search = _Search(hidden, tuple(exclude), report if report is not None else ScanReport())
    for item in inputs:
        yield from search.input(os.fsdecode(item))


def read_list(data: bytes) -> list[str]:
    """The paths of a list as `find -print0` or `ls` write it: ended by NUL if one is there."""
    separator = b"\0" if b"\0" in data else b"\n"
    lines = [
        line.removesuffix(b"\r") if separator == b"\n" else line for line in data.split(separator)
    ]
    return [os.fsdecode(line) for line in lines if line]


class _Search:
    def __init__(self, hidden: bool, exclude: tuple[str, ...], report: ScanReport) -> None:
        self.hidden, self.exclude, self.report = hidden, exclude, report
        self.been: set[tuple[int, int]] = set()
        self.given: set[str] = set()

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
                    continue  # what is wanted of a folder, the pattern says itself
                if self.wanted(os.path.basename(hit), hit):
                    yield from self.file(hit)

    def folder(self, path: str) -> Iterator[ImageFile | UnreadableImage]:
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in self.been:  # a link led back
                return
            self.been.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self.report.unread.append(path)
            yield UnreadableImage(path, f"the folder cannot be read: {_reason(error)}")
            return
        inside = []
        for entry in entries:
            if self.excluded(entry.name, entry.path):
                continue
            if _is_folder(entry):
                inside.append(entry)
            elif self.wanted(entry.name, entry.path):
                yield from self.file(entry.path)
        for entry in sorted(inside, key=lambda entry: entry.is_symlink()):  # the folder itself
            yield from self.folder(entry.path)  # before a link to it

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
        return any(fnmatchcase(name, one) or fnmatchcase(path, one) for one in self.exclude)

    def file(self, path: str) -> Iterator[ImageFile | UnreadableImage]:
        if path in self.given:
            return
        self.given.add(path)
        try:
            status = os.stat(path)
        except OSError as error:
            yield UnreadableImage(path, _absent(path, error))
            return
        if not stat.S_ISREG(status.st_mode):
            yield UnreadableImage(path, "this is no ordinary file")
        elif status.st_size == 0:
            yield UnreadableImage(path, "the file is empty")
        else:
            yield ImageFile(path, status.st_size, status.st_mtime_ns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _absent(path: str, error: OSError) -> str:
    if os.path.islink(path):
        return "the link leads nowhere"
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"the file cannot be read: {_reason(error)}"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
