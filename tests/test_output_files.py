"""The names of output files: valid, inside the run folder, and each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from pixweave import Component, Field, RecipeError, hookimpl
from pixweave.testing import plugins_of, tiny_recipe

OUTSIDE = "is outside the run folder; use a plain file name; --out chooses the folder"
OWN = "is a name that the run itself uses"
TOO = "which is written too"
INVALID = "is not a valid file name; use up to 200 bytes, all printable, and no leading dot"


class Stranger(Component):
    """An exporter of another plugin, which checks nothing itself."""

    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    file: str = Field("a.txt", description="where")

    def build(self, run: Any) -> Any:
        return self


class Plugin:
    @staticmethod
    @hookimpl
    def register_exporters() -> dict[str, type[Component]]:
        return {"stranger": Stranger}


def faults(*export: Any, **keys: Any) -> list[str]:
    """The issues of a recipe with these exports, without their places."""
    try:
        tiny_recipe(plugins_of(Plugin), export=list(export), **keys)
    except RecipeError as error:
        return [str(issue).partition(": ")[2] for issue in error.issues]
    return []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("/etc/a.txt", f"'/etc/a.txt' {OUTSIDE}"),
        ("../a.txt", f"'../a.txt' {OUTSIDE}"),
        ("a/../../b.txt", f"'a/../../b.txt' {OUTSIDE}"),
        ("~/a.txt", f"'~/a.txt' {OUTSIDE}"),
        ("C:\\a.txt", f"'C:\\a.txt' {OUTSIDE}"),
        ("", f"'' {INVALID}"),
        ("./", f"'./' {INVALID}"),
        (".txt", f"'.txt' {INVALID}"),
        (".film.part/a.txt", f"'.film.part/a.txt' {INVALID}"),
        ("films/..txt", f"'films/..txt' {INVALID}"),
        ("a\0b.txt", f"'a\0b.txt' {INVALID}"),
        ("a\nb.txt", f"'a\nb.txt' {INVALID}"),
        ("a" * 197 + ".txt", f"'{'a' * 80}' {INVALID}"),
        ("x" * 300 + "/a.txt", f"'{'x' * 80}' {INVALID}"),
        ("abcdefghi/" * 101 + "a.txt", f"'{'abcdefghi/' * 8}' is too long; use up to 1000 bytes"),
    ],
)
def test_a_bad_name_is_refused_for_every_exporter(file: str, message: str) -> None:
    assert faults({"use": "stranger", "file": file}) == [f"exporter 'stranger': {message}"]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("a.png", "a.png", "'a.png' is exported twice"),
        ("a.png", "./a.png", "'./a.png' is exported twice, also as 'a.png'"),
        ("x/a.png", "x//a.png", "'x//a.png' is exported twice, also as 'x/a.png'"),
        ("a.png", "a.png/", "'a.png/' is exported twice, also as 'a.png'"),
        (
            "a.png",
            "A.PNG",
            "'A.PNG' is exported twice where upper and lower case are one, also as 'a.png'",
        ),
        ("a.png", "a.png/b.png", f"'a.png/b.png' would be inside 'a.png', {TOO}"),
        ("a.png/b.png", "a.png", f"'a.png/b.png' would be inside 'a.png', {TOO}"),
        (
            "frames/",
            "frames/x.png",
            "'frames/x.png' would be inside 'frames/', which is written too",
        ),
        ("a.png", "run.json/", f"'run.json/' {OWN}"),
        ("a.png", "Events.jsonl/", f"'Events.jsonl/' {OWN}"),
        ("a.png", "recipe.yaml/", f"'recipe.yaml/' {OWN}"),
        (
            "a.png",
            "resolved.yaml/a.png",
            "'resolved.yaml/a.png' is a name that the run itself uses",
        ),
        ("a.png", "recipe-1-fox.yaml/", f"'recipe-1-fox.yaml/' {OWN}"),
        ("a.png", "candidates/", f"'candidates/' {OWN}"),
    ],
)
def test_names_that_clash_are_refused(first: str, second: str, message: str) -> None:
    assert faults(first, second) == [f"{message}; choose another name"]


def test_stages_and_exporters_share_the_folder(tmp_path: Path) -> None:
    rank = {"do": "rank", "file": "a.csv", "losses": ["smoothness"]}
    stages: list[Any] = ["generate", rank, {**rank, "file": "./A.csv"}]
    assert faults("a.png", stages=stages) == [
        "'./A.csv' is written twice where upper and lower case are one, also as 'a.csv'; set "
        "another 'file'"
    ]
    assert faults("x.png", stages=["generate", {**rank, "file": "x.png/a.csv"}]) == [
        "'x.png/a.csv' would be inside 'x.png', which is written too; set another 'file'"
    ]
    sort = {"do": "classify", "labels": ["red", "blue"], "sort_into": "a\nb"}
    assert faults("x.png", stages=["generate", sort]) == [f"stage 'classify': 'a\nb' {INVALID}"]


def test_names_that_do_not_clash_are_accepted() -> None:
    assert faults("a.png", "a/b.png", "frames/", "frames-2/a.png", "run.json.png") == []
