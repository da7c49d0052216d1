"""Every word that the captions give a meaning to."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import words

HERE = Path(__file__).parent


@cache
def meaning() -> frozenset[str]:
    """Return the words of colours, shapes, places, scenes and of every emoji's names and tags.

    `emoji-words.txt` holds those of emojibase-data, so that this needs no download.
    """
    said = (HERE / "emoji-words.txt").read_text(encoding="utf-8").split()
    tables = (words.COLOURS, words.SHAPES, words.COMMON, words.PLACES, words.SIZES, words.JUNK)
    known = repr(tables) + (HERE / "scenes.py").read_text() + (HERE / "backdrops.py").read_text()
    return frozenset([*said, *re.findall(r"[a-z]+", known.lower())])


def main() -> None:
    """Write `emoji-words.txt` from emojibase's data.json, given as the only argument."""
    import sys

    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text = " ".join(" ".join([row["label"], *row.get("tags", ())]) for row in rows).lower()
    found = sorted(set(re.findall(r"[a-z]+", text)))
    (HERE / "emoji-words.txt").write_text("\n".join(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
