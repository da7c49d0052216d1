"""Where pictures and captions come from: a folder, a table, or a packed folder."""

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
"""The tables that a folder of pictures may have; the first that is there counts."""

FILE = ("file_name", "file", "image", "path")
CAPTION = ("caption", "text", "captions", "label")
"""The columns that say which picture a row means and what it shows; the first that is there."""

MOST_PROBLEMS = 20


@dataclass
class Words:
    """What is known of N pictures in words, a list of N each."""

    captions: list[list[str]] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    claims: list[list[list[str]]] | None = None
    facts: list[list[str]] | None = None

    def take(self, rows: Sequence[int]) -> Words:
        """The words of some of the pictures."""

        def taken(values: Any) -> Any:
            return None if values is None else [values[row] for row in rows]

        return Words(*map(taken, (self.captions, self.labels, self.claims, self.facts)))


@dataclass
class Source:
    """One DATA: N pictures as files or as `pixels` uint8 `[N, S, S, 3]`, and their words."""

    path: Path
    words: Words
    files: list[Path] = field(default_factory=list)
    pixels: np.ndarray[Any, Any] | None = None
    digest: str = ""
    """Stands for the words: equal words, equal digest."""

    def __len__(self) -> int:
        return len(self.words.captions)

    def key(self) -> Iterator[str]:
        """What the pictures are told by without looking at them: names, sizes, times."""
        for file in self.files or [self.path / "pixels.npy"]:
            status = file.stat()
            yield f"{file.absolute()} {status.st_size} {status.st_mtime_ns}"


def read_source(path: Path) -> Source:
    """The pictures and captions of a DATA: a folder of pictures, a table, or a packed folder.

    Pictures are not opened. Raises MissingError if there is nothing, RecipeError with the faulty
    lines of a table.
    """
    if path.is_dir():
        source = _packed(path) if (path / "pixels.npy").is_file() else _folder(path)
    elif not path.exists():
        hint = nearest(path)
        raise MissingError(f"there is no data '{path}'" + (f"; {hint}" if hint else ""))
    elif path.suffix.lower() in (".csv", ".tsv", ".jsonl"):
        source = _table(path)
    else:
        raise MissingError(
            f"'{path}' is no data: name a folder of pictures, a .csv, .tsv or .jsonl table, "
            "or a folder with pixels.npy and captions.jsonl"
        )
    if not len(source):
        kinds = ", ".join(sorted(kind[1:] for kind in PICTURES))
        raise MissingError(f"there is no picture in '{path}'; pictures are {kinds} files")
    if not source.digest:
        words = json.dumps([source.words.captions, source.words.labels])
        source.digest = hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
    return source


def _folder(root: Path) -> Source:
    """Pictures in a folder and the folders in it, in the order of their names."""
    source, issues, been = Source(root, Words()), _Problems(), set()
    for here, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        if real in been or _is_work(folders, names):
            folders.clear()
            continue
        been.add(real)
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
                captions = [_spoken(path, root)]
            _add(source, path, captions or (row.captions if row else []), row.label if row else "")
        for path, row in rows.items():  # in folders further down
            _add(source, path, row.captions, row.label)
    issues.report()
    return _unique(source)


def _is_work(folders: Sequence[str], names: Sequence[str]) -> bool:
    """Whether a folder is the work folder of a training, whose samples are no data."""
    return "config.json" in names and "cache" in folders


def _unique(source: Source) -> Source:
    """A picture that a table further up has named is not there a second time."""
    first = {path: row for row, path in reversed(list(enumerate(source.files)))}
    if len(first) == len(source.files):
        return source
    rows = sorted(first.values())
    return Source(source.path, source.words.take(rows), [source.files[row] for row in rows])


def _table(path: Path) -> Source:
    source, issues = Source(path, Words()), _Problems()
    for file, row in _by_file(_rows(path, issues)).items():
        _add(source, file, row.captions, row.label)
    issues.report()
    return source


def _add(source: Source, path: Path, captions: list[str], label: str) -> None:
    source.files.append(path)
    source.words.captions.append(captions)
    source.words.labels.append(label or captions[0])


def _text_file(path: Path, names: Sequence[str], issues: _Problems) -> list[str]:
    """The captions in the .txt of the same name, one a line."""
    name = f"{path.stem}.txt"
    if name not in names:
        return []
    text = issues.text(path.with_name(name))
    return [line.strip() for line in text.splitlines() if line.strip()]


def _spoken(path: Path, root: Path) -> str:
    """`red_heart-03.png` as `red heart`; a name without letters gives way to its folder's."""
    inside = path.relative_to(root).parts[:-1]
    for name in (path.stem, *reversed(inside), root.resolve().name):
        words = re.sub(r"[\W\d_]+", " ", name).strip()
        if words:
            return words
    return "a picture"


@dataclass
class _Row:
    """What a table says of one picture."""

    file: Path
    captions: list[str]
    label: str


def _by_file(rows: Iterator[_Row]) -> dict[Path, _Row]:
    """A row for each picture; several rows of one picture give it several captions."""
    found: dict[Path, _Row] = {}
    for row in rows:
        if row.file in found:
            found[row.file].captions += row.captions
        else:
            found[row.file] = row
    return found


class _Problems:
    """Faults of tables, each with its file and line."""

    def __init__(self) -> None:
        self.found: list[Issue] = []

    def add(self, path: Path, line: int, message: str, hint: str) -> None:
        self.found.append(Issue.at(Mark(str(path), line, 1), message, hint))
        if len(self.found) >= MOST_PROBLEMS:
            self.report()

    def report(self) -> None:
        if self.found:
            raise RecipeError(self.found)

    def text(self, path: Path) -> str:
        """The text of a file; '' with the fault noted if it is none."""
        data = path.read_bytes()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            self.add(path, line, "this is not UTF-8 text", "save the file as UTF-8")
            return ""


def _rows(path: Path, issues: _Problems) -> Iterator[_Row]:
    """The rows of a table whose pictures are there; the faults of the others are noted."""
    read = _json_lines if path.suffix.lower() == ".jsonl" else _columns
    for line, record in read(path, issues):
        row = _row(path, line, record, issues)
        if row is not None:
            yield row


def _row(path: Path, line: int, record: dict[str, Any], issues: _Problems) -> _Row | None:
    name = next((record[key] for key in FILE if record.get(key)), None)
    if not isinstance(name, str):
        issues.add(path, line, "the row names no picture", f"give it a '{FILE[0]}'")
        return None
    said = next((record[key] for key in CAPTION if record.get(key)), None)
    captions = [said] if isinstance(said, str) else said
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        issues.add(path, line, f"'{name}' has no caption", f"give it a '{CAPTION[0]}', a text")
        return None
    captions = [text.strip() for text in captions if text.strip()]
    if not captions:
        issues.add(path, line, f"'{name}' has no caption", f"give it a '{CAPTION[0]}', a text")
        return None
    file = path.parent / name
    if not file.is_file():
        hint = f"names are relative to '{path.parent}'; mend or remove the row"
        issues.add(path, line, f"there is no picture '{name}'", hint)
        return None
    label = record.get("label")
    return _Row(file, captions, label if isinstance(label, str) else "")


def _columns(path: Path, issues: _Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV or TSV with their lines; its first line names the columns."""
    tab = path.suffix.lower() == ".tsv"
    reader = csv.reader(
        io.StringIO(issues.text(path), newline=""), delimiter="\t" if tab else ",", strict=True
    )
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        if not names:  # it is empty, or no text
            return
        for what, known in (("picture", FILE), ("caption", CAPTION)):
            if not set(names) & set(known):
                hint = f"name one of them {', '.join(known[:-1])} or {known[-1]}"
                issues.add(path, 1, f"no column holds the {what}", hint)
                return
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                said = f"the row has {len(cells)} cells, the first line has {len(names)}"
                issues.add(path, line, said, "put texts with commas in quotes")
                continue
            yield line, dict(zip(names, (cell.strip() for cell in cells), strict=True))
    except csv.Error as error:
        issues.add(path, reader.line_num, f"this cannot be read: {error}", "mend the quotes")


def _json_lines(path: Path, issues: _Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(issues.text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except ValueError as error:
            issues.add(path, line, f"this is not JSON: {error}", "write one {...} a line")
            continue
        if isinstance(record, dict):
            yield line, record
        else:
            issues.add(path, line, "this is no JSON object", "write one {...} a line")


def _packed(folder: Path) -> Source:
    """A folder with `pixels.npy` and `captions.jsonl`; the pixels stay on the disk."""
    try:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    except (OSError, ValueError) as error:
        raise MissingError(f"'{folder / 'pixels.npy'}' cannot be read: {error}") from None
    shape = list(pixels.shape)
    if pixels.dtype != np.uint8 or len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3:
        raise MissingError(
            f"'{folder / 'pixels.npy'}' holds {pixels.dtype} {shape}; "
            "it must be uint8 [pictures, side, side, 3]"
        )
    path = folder / "captions.jsonl"
    if not path.is_file():
        raise MissingError(f"there is no '{path}'; write one line for each picture of pixels.npy")
    with _no_collection():
        words, digest = _packed_words(path)
    if len(words.captions) != len(pixels):
        lines = f"{len(words.captions)} line{'' if len(words.captions) == 1 else 's'}"
        raise MissingError(
            f"'{path}' has {lines} for the {len(pixels)} pictures of pixels.npy; "
            "write one for each picture"
        )
    return Source(folder, words, pixels=pixels, digest=digest)


def _packed_words(path: Path) -> tuple[Words, str]:
    """The words of packed data and their digest; equal texts are kept once."""
    issues, words, digest = _Problems(), Words(claims=[], facts=[]), hashlib.blake2b()
    assert words.claims is not None
    assert words.facts is not None
    claimed = known = False
    with path.open("rb") as file:
        for line, text in enumerate(file, 1):
            digest.update(text)
            try:
                record = json.loads(text)
            except ValueError as error:
                issues.add(path, line, f"this is not JSON: {error}", _PACKED)
                continue
            if fault := _packed_fault(record):
                issues.add(path, line, fault, _PACKED)
                continue
            captions = list(map(intern, record["captions"]))
            claims, facts = record.get("claims"), record.get("facts")
            claimed, known = claimed or claims is not None, known or facts is not None
            words.captions.append(captions)
            words.labels.append(intern(record.get("label") or captions[0]))
            words.claims.append(
                [[text] for text in captions]
                if claims is None
                else [list(map(intern, said)) for said in claims]
            )
            words.facts.append(captions if facts is None else list(map(intern, facts)))
    issues.report()
    if not claimed:
        words.claims = None
    if not known:
        words.facts = None
    return words, digest.hexdigest()


_PACKED = 'write {"captions": ["..."]}, and if you like "claims", "facts", "label"'


def _packed_fault(record: Any) -> str:
    """What is wrong with a line of packed data; '' if nothing is."""
    if not isinstance(record, dict) or "captions" not in record:
        return "it has no 'captions'"
    captions, claims = record["captions"], record.get("claims")
    if not captions or not _are_texts(captions):
        return "'captions' holds no text"
    if not all(captions):
        return "'captions' holds an empty text"
    if claims is not None and (
        not isinstance(claims, list)
        or len(claims) != len(captions)
        or not all(map(_are_texts, claims))
    ):
        return "'claims' needs a list for each of the captions"
    if not _are_texts(record.get("facts") or []):
        return "'facts' must be a list of texts"
    return "" if isinstance(record.get("label", ""), str | None) else "'label' must be a text"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of small lists: looking for cycles among them again and again takes minutes."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
