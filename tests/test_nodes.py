"""YAML text to nodes: YAML 1.2 scalars, places, aliases, encodings."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from pixweave.errors import Mark
from pixweave.recipe import InputFile, Written
from pixweave.recipe.nodes import parse, parse_value
from pixweave.recipe.read_text import decode


def plain(text: str) -> Any:
    return parse(text, "a.yaml", Path("/here")).plain()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("16:9", "16:9"),
        ("4:3", "4:3"),
        ("1:30", "1:30"),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("0123", "0123"),
        ("008751", "008751"),
        ("000000", "000000"),
        ("1d2b53", "1d2b53"),
        ("12_000", "12_000"),
        ("2026-11-23", "2026-11-23"),
        ("0x1f", 31),
        ("0o17", 15),
        ("0x1g", "0x1g"),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("+3", 3),
        ("-0", 0),
        ("0", 0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'true'", "true"),
        ('"12"', "12"),
        ("a#b", "a#b"),
        ("50%", "50%"),
        ("[16:9, on, 1e-3]", ["16:9", "on", 0.001]),
        ("{0: 1, 50%: 2}", {"0": 1, "50%": 2}),
    ],
)
def test_scalars_mean_what_a_person_expects(written: str, meant: Any) -> None:
    found = plain(f"a: {written}")["a"]
    assert found == meant
    assert isinstance(found, type(meant))


def test_every_value_knows_its_place() -> None:
    node = parse("a: 1\nb:\n  - x\n  - {c: 'y'}\n", "a.yaml", Path("/here"))
    assert node["a"].mark == Mark("a.yaml", 1, 4)
    assert node["a"].key_mark == Mark("a.yaml", 1, 1)
    assert node["b"][1]["c"].mark == Mark("a.yaml", 4, 9)
    assert node["b"][1]["c"].key_mark == Mark("a.yaml", 4, 6)
    text = node["b"][0].value
    assert isinstance(text, Written)
    assert (text.mark, text.folder) == (Mark("a.yaml", 3, 5), Path("/here"))


def test_written_texts_copy_and_pickle_as_plain_ones() -> None:
    text = plain("a: x")["a"]
    assert type(pickle.loads(pickle.dumps(text))) is str
    assert copy.deepcopy(text) == "x"


def test_aliases_repeat_a_value() -> None:
    assert plain("x-a: &a [1, 2]\nb: *a\nc: {d: *a}\n")["c"] == {"d": [1, 2]}


def test_block_texts_and_colours_in_quotes() -> None:
    found = plain("a: |\n  one\n  two\nb: ['#ff0000']  # red\n")
    assert found == {"a": "one\ntwo\n", "b": ["#ff0000"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding: str) -> None:
    assert decode("a: Füchse 🦊".encode(encoding), "a.yaml") == "a: Füchse 🦊"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("an owl: in snow", "an owl: in snow"),
        ("#ff0000", "#ff0000"),
        ("*star", "*star"),
        ("", None),
        ("3", 3),
        ("[1, 'b']", [1, "b"]),
        ('"3"', "3"),
        ("{a: {b: on}}", {"a": {"b": "on"}}),
    ],
)
def test_values_of_set_are_texts_unless_they_are_brackets_or_quotes(
    written: str, meant: Any
) -> None:
    node = parse_value(written, Mark("--set a"), Path())
    assert node.plain() == meant
    assert node.mark == Mark("--set a")


def test_an_input_file_is_relative_to_the_file_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydantic import TypeAdapter

    (tmp_path / "a.png").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path))
    kind: TypeAdapter[Path] = TypeAdapter(InputFile)
    written = Written.make("a.png", Mark("x"), tmp_path)
    assert kind.validate_python(written) == tmp_path / "a.png"
    assert kind.validate_python("~/a.png") == tmp_path / "a.png"
    assert kind.validate_python(tmp_path / "a.png") == tmp_path / "a.png"
