"""Sources: read images and captions from a folder, a table, or a packed folder."""

from __future__ import annotations

import csv
import gc
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from pixweave.errors import Issue, Mark, MissingError, RecipeError
from pixweave.recipe.paths import nearest

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"})
TABLES = ("metadata.jsonl", "captions.jsonl", "metadata.csv", "captions.csv")
"""The tables that a folder of images may contain; the first that exists is used."""

FILE = ("file_name", "file", "image", "path")
CAPTION = ("caption", "text", "captions", "label")
"""The columns for the image and for its caption; the first that exists is used."""

MOST_ISSUES = 20
"""Errors after which reading stops."""


@dataclass
class Words:
    """The texts of N images: captions, labels, claims and facts, a list of N each."""

    captions: list[list[str]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    claims: list[list[list[str]]] | None = None
    facts: list[list[str]] | None = None

    def take(self, rows: Sequence[int]) -> Words:
        """The words of the images in these rows."""

        def taken(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows]

        return Words(*map(taken, (self.captions, self.labels, self.claims, self.facts)))


@dataclass
class Source:
    """One DATA argument: N images as files or as `pixels` uint8 `[N, S, S, 3]`, and their words."""

    path: Path
    words: Words
    files: list[Path] = field(default_factory=list)
    pixels: np.ndarray[Any, Any] | None = None
    digest: str = ""
    """Digest of the words."""

    def __len__(self) -> int:
        return len(self.words.captions)

    def key(self) -> Iterator[str]:
        """What identifies the images without reading them: paths, sizes and modification times."""
        for file in self.files or [self.path / "pixels.npy"]:
            status = file.stat()
            yield f"{file.absolute()} {status.st_size} {status.st_mtime_ns}"


def read_source(path: Path) -> Source:
    """The images and captions of a folder of images, a table, or a packed folder.

    Images are not opened. Raises MissingError if there are none, RecipeError with the invalid
    lines of a table.
    """
    if path.is_dir():
        source = _packed(path) if (path / "pixels.npy").is_file() else _folder(path)
    elif not path.exists():
        hint = nearest(path)
        raise MissingError(f"data '{path}' not found" + (f"; {hint}" if hint else ""))
    elif path.suffix.lower() in (".csv", ".tsv", ".jsonl"):
        source = _table(path)
    else:
        raise MissingError(
            f"'{path}' is not valid data: use a folder of images, a .csv, .tsv or .jsonl table, "
            "or a folder with pixels.npy and captions.jsonl"
        )
    if not len(source):
        kinds = ", ".join(sorted(kind[1:] for kind in PICTURES))
        raise MissingError(f"no images in '{path}'; supported files are {kinds}")
    if not source.digest:
        words = json.dumps([source.words.captions, source.words.labels])
        source.digest = hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
    return source


def _folder(root: Path) -> Source:
    """The images in a folder and its subfolders, sorted by name."""
    source, issues, visited = Source(root, Words()), _Issues(), set()
    for here, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        if real in visited or _is_work_folder(folders, names):
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folder = Path(here)
        rows: dict[Path, _Row] = {}
        for name in TABLES:
            if name in names:
                rows = _by_file(_rows(folder / name, issues))
                break
        for name in sorted(names):
            path = folder / name
            if path.suffix.lower() not in PICTURES or name.startswith("."):
                continue
            captions = _text_file(path, names, issues)
            row = rows.pop(path, None)
            if not captions and row is None:
                captions = [_caption_from_name(path, root)]
            _add(source, path, captions or (row.captions if row else []), row.label if row else "")
        for path, row in rows.items():  # images in subfolders
            _add(source, path, row.captions, row.label)
    issues.report()
    return _unique(source)


def _is_work_folder(folders: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a folder is the work folder of a training; its samples are not data."""
    return "config.json" in names and "cache" in folders


def _unique(source: Source) -> Source:
    """The source without images that occur twice, because a table in a parent folder names them."""
    first = {path: row for row, path in reversed(list(enumerate(source.files)))}
    if len(first) == len(source.files):
        return source
    rows = sorted(first.values())
    return Source(source.path, source.words.take(rows), [source.files[row] for row in rows])


def _table(path: Path) -> Source:
    source, issues = Source(path, Words()), _Issues()
    for file, row in _by_file(_rows(path, issues)).items():
        _add(source, file, row.captions, row.label)
    issues.report()
    return source


def _add(source: Source, path: Path, captions: list[str], label: str) -> None:
    source.files.append(path)
    source.words.captions.append(captions)
    source.words.labels.append(label or captions[0])


def _text_file(path: Path, names: Sequence[str], issues: _Issues) -> list[str]:
    """The captions in the .txt file of the same name, one per line."""
    name = f"{path.stem}.txt"
    if name not in names:
        return []
    text = issues.text(path.with_name(name))
    return [line.strip() for line in text.splitlines() if line.strip()]


def _caption_from_name(path: Path, root: Path) -> str:
    """`red_heart-03.png` as `red heart`; the folder's name if the file's has no letters."""
    inside = path.relative_to(root).parts[:-1]
    for name in (path.stem, *reversed(inside), root.resolve().name):
        words = re.sub(r"[\W\d_]+", " ", name).strip()
        if words:
            return words
    return "a picture"


@dataclass
class _Row:
    """A table row about one image."""

    file: Path
    captions: list[str]
    label: str


def _by_file(rows: Iterator[_Row]) -> dict[Path, _Row]:
    """One row for each image; several rows of one image are merged to several captions."""
    found: dict[Path, _Row] = {}
    for row in rows:
        if row.file in found:
            found[row.file].captions += row.captions
        else:
            found[row.file] = row
    return found


class _Issues:
    """Errors in tables, each with its file and line."""

    def __init__(self) -> None:
        self.found: list[Issue] = []

    def add(self, path: Path, line: int, message: str, hint: str) -> None:
        self.found.append(Issue.at(Mark(str(path), line, 1), message, hint))
        if len(self.found) >= MOST_ISSUES:
            self.report()

    def report(self) -> None:
        if self.found:
            raise RecipeError(self.found)

    def text(self, path: Path) -> str:
        """The text of a file; '' with an issue added if it is not UTF-8."""
        data = path.read_bytes()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            self.add(path, line, "this is not UTF-8 text", "save the file as UTF-8")
            return ""


def _rows(path: Path, issues: _Issues) -> Iterator[_Row]:
    """The valid rows of a table; for the others issues are added."""
    read = _json_lines if path.suffix.lower() == ".jsonl" else _columns
    for line, record in read(path, issues):
        row = _row(path, line, record, issues)
        if row is not None:
            yield row


def _row(path: Path, line: int, record: dict[str, Any], issues: _Issues) -> _Row | None:
    name = next((record[key] for key in FILE if record.get(key)), None)
    if not isinstance(name, str):
        issues.add(path, line, "the row has no image", f"add a '{FILE[0]}'")
        return None
    value = next((record[key] for key in CAPTION if record.get(key)), None)
    captions = [value] if isinstance(value, str) else value
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        issues.add(path, line, f"'{name}' has no caption", f"add a '{CAPTION[0]}', a text")
        return None
    captions = [text.strip() for text in captions if text.strip()]
    if not captions:
        issues.add(path, line, f"'{name}' has no caption", f"add a '{CAPTION[0]}', a text")
        return None
    file = path.parent / name
    if not file.is_file():
        hint = f"names are relative to '{path.parent}'; fix or remove the row"
        issues.add(path, line, f"image '{name}' not found", hint)
        return None
    label = record.get("label")
    return _Row(file, captions, label if isinstance(label, str) else "")


def _columns(path: Path, issues: _Issues) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV or TSV with their line numbers; its first line names the columns."""
    tab = path.suffix.lower() == ".tsv"
    reader = csv.reader(
        io.StringIO(issues.text(path), newline=""), delimiter="\t" if tab else ",", strict=True
    )
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if not names:  # the file is empty or not UTF-8
            return
        for what, known in (("image", FILE), ("caption", CAPTION)):
            if not set(names) & set(known):
                hint = f"name a column {', '.join(known[:-1])} or {known[-1]}"
                issues.add(path, 1, f"there is no column for the {what}", hint)
                return
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                message = f"the row has {len(cells)} cells, the first line has {len(names)}"
                issues.add(path, line, message, "put texts with commas in quotes")
                continue
            yield line, dict(zip(names, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        issues.add(path, reader.line_num, f"this cannot be read: {error}", "fix the quotes")


def _json_lines(path: Path, issues: _Issues) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(issues.text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError as error:
            issues.add(path, line, f"this is not JSON: {error}", "write one {...} per line")
            continue
        if isinstance(record, dict):
            yield line, record
        else:
            issues.add(path, line, "this is not a JSON object", "write one {...} per line")


def _packed(folder: Path) -> Source:
    """A folder with `pixels.npy` and `captions.jsonl`; the pixels stay on the disk."""
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise MissingError(f"'{folder / 'pixels.npy'}' cannot be read: {error}") from None
    shape = list(pixels.shape)
    if pixels.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise MissingError(
            f"'{folder / 'pixels.npy'}' contains {pixels.dtype} {shape}; "
            "it must be uint8 [images, side, side, 3]"
        )
    path = folder / "captions.jsonl"
    if not path.is_file():
        raise MissingError(f"'{path}' not found; write one line for each image of pixels.npy")
    with _no_garbage_collection():
        words, digest = _packed_words(path)
    if len(words.captions) != len(pixels):
        lines = f"{len(words.captions)} line{'' if len(words.captions) == 1 else 's'}"
        raise MissingError(
            f"'{path}' has {lines} for the {len(pixels)} images of pixels.npy; "
            "write one for each image"
        )
    return Source(folder, words, pixels=pixels, digest=digest)


def _packed_words(path: Path) -> tuple[Words, str]:
    """The words of packed data and their digest; equal texts are stored once."""
    issues, words, digest = _Issues(), Words(claims=[], facts=[]), hashlib.blake2b()
    assert words.claims is not None
    assert words.facts is not None
    has_claims = has_facts = False
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            digest.update(text)
            try:
                record = json.loads(text)
            except ValueError as error:
                issues.add(path, line, f"this is not JSON: {error}", _PACKED)
                continue
            if message := _packed_error(record):
                issues.add(path, line, message, _PACKED)
                continue
            captions = list(map(intern, record["captions"]))
            claims, facts = record.get("claims"), record.get("facts")
            has_claims = has_claims or claims is not None
            has_facts = has_facts or facts is not None
            words.captions.append(captions)
            words.labels.append(intern(record.get("label") or captions[0]))
            words.claims.append(
                [[text] for text in captions]
                if claims is None
                else [list(map(intern, texts)) for texts in claims]
            )
            words.facts.append(captions if facts is None else list(map(intern, facts)))
    issues.report()
    if not has_claims:
        words.claims = None
    if not has_facts:
        words.facts = None
    return words, digest.hexdigest()


_PACKED = 'write {"captions": ["..."]}, optionally with "claims", "facts", "label"'


def _packed_error(record: Any) -> str:
    """The error in a line of packed data; '' if it is valid."""
    if not isinstance(record, dict) or "captions" not in record:
        return "'captions' is missing"
    captions, claims = record["captions"], record.get("claims")
    if not captions or not _are_texts(captions):
        return "'captions' must be a list of one or more texts"
    if not all(captions):
        return "'captions' contains an empty text"
    if claims is not None and (
        not isinstance(claims, list)
        or len(claims) != len(captions)
        or not all(map(_are_texts, claims))
    ):
        return "'claims' must have a list of texts for each caption"
    if not _are_texts(record.get("facts") or []):
        return "'facts' must be a list of texts"
    return "" if isinstance(record.get("label", ""), str | None) else "'label' must be a text"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Disables garbage collection: with millions of small lists it takes minutes."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
