"""Rows as CSV, TSV, JSON lines, or a table for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Format = Literal["table", "tsv", "csv", "jsonl"]


def line(row: Mapping[str, Any], form: str) -> str:
    """One row as one line without newline; TSV escapes tabs, newlines and backslashes."""
    if form == "jsonl":
        return json.dumps(row, ensure_ascii=True)
    cells = [_text(value) for value in row.values()]
    if form == "csv":
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(cells)
        return buffer.getvalue()
    return "\t".join(_escaped(cell) for cell in cells)


def heading(names: Sequence[str], form: str) -> str:
    """The header line; '' for JSON lines."""
    return "" if form == "jsonl" else line(dict.fromkeys(names, "") | {n: n for n in names}, form)


def whole(rows: Sequence[Mapping[str, Any]], names: Sequence[str], suffix: str) -> str:
    """The text of a file of rows; `suffix` is .csv, .tsv or .jsonl."""
    form = suffix.removeprefix(".")
    lines = [heading(names, form), *(line(row, form) for row in rows)]
    return "".join(f"{text}\n" for text in lines if text)


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
