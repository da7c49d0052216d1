"""CLIP's byte-pair encoding, with a merge list of any length (equal to open_clip's)."""

from __future__ import annotations

import gzip
import html
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
import torch
from torch import Tensor

WORDS = regex.compile(
    r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


class BpeTokenizer:
    """Tokenizes texts with the merge list in a .txt.gz file."""

    def __init__(self, path: Path) -> None:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
        merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
        self.bytes = _printable_bytes()
        letters = list(self.bytes.values())
        words = letters + [letter + "</w>" for letter in letters]
        words += ["".join(pair) for pair in merges] + ["<start_of_text>", "<end_of_text>"]
        self.ids = {word: index for index, word in enumerate(words)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.start, self.end = self.ids["<start_of_text>"], self.ids["<end_of_text>"]
        self.pieces: dict[str, list[int]] = {
            "<start_of_text>": [self.start],
            "<end_of_text>": [self.end],
        }

    def __call__(self, texts: Sequence[str], context: int) -> Tensor:
        """Token ids `[P, context]` int64: start token, the words, end token, zeros."""
        table = torch.zeros(len(texts), context, dtype=torch.int64)
        for row, text in zip(table, texts, strict=True):
            ids = [token for word in self.words(text) for token in self.encode_word(word)]
            ids = [self.start, *ids[: context - 2], self.end]
            row[: len(ids)] = torch.tensor(ids)
        return table

    def overflow(self, text: str, context: int) -> str:
        """The words from the first one that does not fit fully into `context` tokens, or ''."""
        words, used = self.words(text), 2
        for index, word in enumerate(words):
            used += len(self.encode_word(word))
            if used > context:
                return " ".join(words[index:])
        return ""

    def words(self, text: str) -> list[str]:
        """The cleaned, lower-case words, which are encoded separately."""
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
        return WORDS.findall(" ".join(text.split()).lower())

    def encode_word(self, word: str) -> list[int]:
        """The token ids of one word, merging its most frequent pairs first."""
        word = "".join(self.bytes[byte] for byte in word.encode("utf-8"))
        if word not in self.pieces:
            parts = [*word[:-1], word[-1] + "</w>"]
            while len(parts) > 1:
                pairs = list(pairwise(parts))
                best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
                if best not in self.ranks:
                    break
                parts = _merge(parts, best)
            self.pieces[word] = [self.ids[part] for part in parts]
        return self.pieces[word]


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    index = 0
    while index < len(parts):
        if tuple(parts[index : index + 2]) == pair:
            merged.append(pair[0] + pair[1])
            index += 2
        else:
            merged.append(parts[index])
            index += 1
    return merged


@cache
def _printable_bytes() -> dict[int, str]:
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    table = {byte: chr(byte) for byte in plain}
    return table | {byte: chr(256 + index) for index, byte in enumerate(others)}
