"""Index and search: what is encoded, what is found, and that nothing is lost."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixweave.cli import cli
from pixweave.embedding.embedder import Embedder
from pixweave.errors import MissingError, RunError
from pixweave.loading import decode
from pixweave.plugins import Plugins
from pixweave.search import (
    Bound,
    Filters,
    Hit,
    Index,
    IndexOptions,
    IndexProgress,
    Query,
    Term,
    open_index,
)
from pixweave.search.index_store import open_index_store
from pixweave.testing import plugins_of

COLOURS = ("red", "lime", "blue", "yellow", "black", "white")


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return plugins_of()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six colours as PNG, and a folder with a seventh."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for colour in COLOURS:
        Image.new("RGB", (20, 20), colour).save(folder / f"{colour}.png")
    Image.new("RGB", (30, 20), (250, 5, 5)).save(folder / "more" / "reddish.jpg")
    return folder


def opened(plugins: Plugins, folder: Path, **how: Any) -> Index:
    return open_index(folder, how.pop("perceptor", "fake"), True, "cpu", plugins=plugins, **how)


def brought(index: Index, *inputs: Path, **how: Any) -> IndexProgress:
    """Index, and give the last word with all faults."""
    faults = []
    tally = IndexProgress()
    for tally in index.update(IndexOptions(inputs, **how)):
        faults += tally.unreadable
    tally.unreadable = faults
    return tally


def counts(tally: IndexProgress) -> dict[str, int]:
    names = ("encoded", "reused", "unchanged", "broken", "removed")
    return {name: getattr(tally, name) for name in names if getattr(tally, name)}


def found(index: Index, *terms: str | Term, **query: Any) -> list[str]:
    asked = [term if isinstance(term, Term) else Term(term) for term in terms]
    return [os.path.basename(hit.path) for hit in index.search(Query(asked, **query))]


def test_what_is_indexed_is_found(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        tally = brought(index, photos)
        assert counts(tally) == {"encoded": 7}
        assert found(index, "red", top=2) == ["red.png", "reddish.jpg"]
        (hit,) = index.search(Query([Term("blue")], top=1))
    assert hit.path == str(photos / "blue.png")
    assert hit.score == pytest.approx(1, abs=1e-3)
    assert (hit.width, hit.height, hit.format) == (20, 20, "png")
    with open_index(tmp_path / "index", plugins=plugins) as again:  # it knows its perceptor
        assert found(again, "blue", top=1) == ["blue.png"]


def test_only_what_is_new_is_read_and_encoded(
    plugins: Plugins, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        opened_files: list[str] = []
        read = decode._bytes

        def watched(path: str) -> bytes:
            opened_files.append(os.path.basename(path))
            return read(path)

        monkeypatch.setattr(decode, "_bytes", watched)
        assert counts(brought(index, photos)) == {"unchanged": 7}
        assert opened_files == []
        (photos / "red.png").rename(photos / "more" / "crimson.png")  # moved
        (photos / "more").rename(photos / "less")  # a whole folder
        assert counts(brought(index, photos)) == {"reused": 2, "unchanged": 5, "removed": 2}
        os.utime(photos / "blue.png", (1, 1))  # touched
        assert counts(brought(index, photos)) == {"reused": 1, "unchanged": 6}
        (photos / "lime.png").unlink()
        assert counts(brought(index, photos)) == {"unchanged": 6, "removed": 1}
        assert len(found(index, "lime")) == 6
        data = bytearray((photos / "less" / "reddish.jpg").read_bytes())
        Image.new("RGB", (30, 20), (5, 250, 5)).save(tmp_path / "green.jpg")
        other = (tmp_path / "green.jpg").read_bytes()
        assert len(other) == len(data)  # changed, of the same size
        (photos / "less" / "reddish.jpg").write_bytes(other)
        assert counts(brought(index, photos)) == {"encoded": 1, "unchanged": 5}
        assert found(index, "lime", top=1) == ["reddish.jpg"]


def test_copies_share_a_vector(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "red.png").read_bytes())
    with opened(plugins, tmp_path / "index") as index:
        tally = brought(index, photos)
        assert counts(tally) == {"encoded": 7, "reused": 1}
        assert found(index, "red", top=3) == ["copy.png", "red.png", "reddish.jpg"]
        assert index.model.count == 7


def test_broken_files_are_remembered(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no picture at all")
    (photos / "empty.png").touch()
    with opened(plugins, tmp_path / "index") as index:
        first = brought(index, photos)
        assert {os.path.basename(f.path): f.reason for f in first.unreadable} == {
            "bad.png": "this is not an image in a supported format",
            "empty.png": "the file is empty",
        }
        second = brought(index, photos)
        assert (second.unreadable, second.already, second.unchanged) == ([], 2, 7)
        assert brought(index, photos, retry=True).broken == 1  # the empty one is seen each time
        Image.new("RGB", (8, 8), "red").save(photos / "bad.png")
        assert counts(brought(index, photos)) == {"encoded": 1, "unchanged": 7}
        assert [os.path.basename(p) for p, _ in index.store.broken()] == ["empty.png"]


def test_a_folder_that_became_empty_is_not_forgotten(
    plugins: Plugins, photos: Path, tmp_path: Path
) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        photos.rename(tmp_path / "elsewhere")
        photos.mkdir()
        tally = brought(index, photos)
        assert (tally.spared, tally.removed) == ([str(photos)], 0)
        assert brought(index, photos, purge=True).removed == 7
        assert index.store.db.execute("SELECT COUNT(*) FROM vectors").fetchone() == (0,)


def test_other_folders_are_left_alone(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        (photos / "red.png").unlink()
        assert counts(brought(index, photos / "more")) == {"unchanged": 1}
        assert counts(brought(index, photos / "blue.png")) == {"unchanged": 1}
        assert index.store.counts() == (7, 0)


def test_models_are_never_mixed(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    with opened(plugins, folder) as index:
        brought(index, photos)
    with (
        opened(plugins, folder, perceptor={"use": "fake", "side": 8}) as other,
        pytest.raises(MissingError) as caught,
    ):
        other.search(Query([Term("red")]))
    assert str(caught.value) == (
        f"the index '{folder}' has no vectors of fake with these weights "
        f'({other.embedder.identity}); it has vectors of {{"use": "fake", "side": 16}}: '
        "index the images again, or use a perceptor of the index"
    )
    with opened(plugins, folder, perceptor={"use": "fake", "side": 8}) as other:
        assert counts(brought(other, photos)) == {"encoded": 7}
        assert found(other, "red", top=1) == ["red.png"]
    with open_index(folder, plugins=plugins) as unnamed, pytest.raises(RunError) as several:
        unnamed.search(Query([Term("red")]))
    assert str(several.value) == (
        f"the index '{folder}' has vectors of several perceptors; choose one with --perceptor: "
        '{"use": "fake", "side": 16}, {"use": "fake", "side": 8}'
    )


def test_terms_add_subtract_and_mix_with_pictures(
    plugins: Plugins, photos: Path, tmp_path: Path
) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        assert found(index, "red", "lime", top=1) == ["yellow.png"]
        minus = [Term("yellow"), Term("red", -1.0)]
        assert found(index, *minus, top=1) == ["lime.png"]
        like = Term(str(photos / "blue.png"), is_file=True)
        assert found(index, like, top=1) == ["blue.png"]
        Image.new("RGB", (9, 9), "cyan").save(tmp_path / "new.png")
        new = Term(str(tmp_path / "new.png"), is_file=True)
        assert found(index, new, Term("lime", -1.0), top=1) == ["blue.png"]
        with pytest.raises(RunError, match=r"^the terms cancel each other out; use other weights$"):
            index.search(Query([Term("red"), Term("red", -1.0)]))
        with pytest.raises(MissingError) as caught:
            index.search(Query([Term("nowhere.png", is_file=True)]))
    assert str(caught.value) == (
        "'nowhere.png' cannot be used as a query: the file cannot be read: "
        "no such file or directory"
    )


def test_not_drops_where_minus_moves(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        bounds = [Bound("red", 0.8, below=True)]
        assert set(found(index, "yellow", bounds=bounds)).isdisjoint({"red.png", "reddish.jpg"})
        assert set(found(index, bounds=[Bound("red", 0.8)])) >= {"red.png", "reddish.jpg"}
        assert found(index, bounds=[Bound("red", 9.0)]) == []


def test_filters(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    os.utime(photos / "blue.png", (1000, 1000))
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        brought(index, photos / "lime.png", tags=["leaf"])
        for filters, expected in (
            (Filters(under=[str(photos / "more")]), ["reddish.jpg"]),
            (Filters(under=[str(tmp_path)], types=["jpg"]), ["reddish.jpg"]),
            (Filters(name=["b*.png"]), ["black.png", "blue.png"]),
            (Filters(name=["more/*"]), ["reddish.jpg"]),
            (Filters(until=2000), ["blue.png"]),
            (Filters(since=2000, name=["blue.png"]), []),
            (Filters(tags=["leaf"]), ["lime.png"]),
            (Filters(min_side=21), []),
            (Filters(min_bytes=400, types=["jpeg"]), ["reddish.jpg"]),
            (Filters(max_bytes=1), []),
        ):
            assert sorted(found(index, "white", filters=filters)) == expected, filters
            assert found(index, filters=filters) == expected, filters  # without terms: listed


def test_cut_least_skip_sort_and_groups(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        assert found(index, "red", cut=0.95) == ["red.png", "reddish.jpg"]
        above = set(found(index, "red", cut=0))  # the mean itself
        assert above > {"red.png", "reddish.jpg"}
        assert above.isdisjoint({"lime.png", "blue.png"})
        assert found(index, "red", least=0.99) == ["red.png", "reddish.jpg"]
        assert found(index, "red", skip=1, top=1) == ["reddish.jpg"]
        assert found(index, "red", top=2, sort="path") == ["red.png", "reddish.jpg"][::-1]
        assert found(index, "red", top=2, reverse=True) == ["reddish.jpg", "red.png"]
        hits = index.search(Query([Term("red")], group=0.99))
        assert [os.path.basename(h.path) for h in hits[0].like] == ["reddish.jpg"]
        assert len(hits) == 6


def test_frames_of_a_film_are_one_file(plugins: Plugins, tmp_path: Path) -> None:
    shades = [Image.new("RGB", (20, 20), colour) for colour in COLOURS]
    (tmp_path / "a").mkdir()
    shades[0].save(tmp_path / "a" / "x.gif", save_all=True, append_images=shades[1:])
    with opened(plugins, tmp_path / "index") as index:
        brought(index, tmp_path / "a", frames=3)
        assert index.model.count == 3
        (hit,) = index.search(Query([Term("blue")]))
        assert hit.frame == 2
        assert hit.score == pytest.approx(1, abs=1e-3)


def test_names_that_are_no_text(plugins: Plugins, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    for name in (b"\xff\xfe.png", b"new\nline.png", b"star*.png", "ö 雪.png".encode()):
        Image.new("RGB", (8, 8), "red").save(os.path.join(os.fsencode(folder), name))
    with opened(plugins, tmp_path / "index") as index:
        assert brought(index, folder).seen == 4
        assert counts(brought(index, folder)) == {"unchanged": 4}
        paths = {os.fsencode(hit.path) for hit in index.search(Query([Term("red")]))}
    assert {os.path.basename(path) for path in paths} == set(os.listdir(os.fsencode(folder)))


def test_an_index_beside_the_pictures_moves_with_them(
    plugins: Plugins, photos: Path, tmp_path: Path
) -> None:
    with opened(plugins, photos / ".index") as index:
        brought(index, photos)
    photos.rename(tmp_path / "moved")
    with opened(plugins, tmp_path / "moved" / ".index") as index:
        (hit,) = index.search(Query([Term("blue")], top=1))
        assert hit.path == str(tmp_path / "moved" / "blue.png")
        assert counts(brought(index, tmp_path / "moved")) == {"unchanged": 7}
        inside = Filters(under=[str(tmp_path / "moved")])
        assert len(found(index, filters=inside)) == 7


def filled(index: Index, count: int, dim: int = 32) -> tuple[Any, Any]:
    """Vectors of made-up files, some of them equal; their ids and float16 rows."""
    encoder = index.embedder
    model = index.store.model(encoder.identity, encoder.preprocessing().key, dim, '{"use": "fake"}')
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(count, dim)) + 1
    vectors[::7] = vectors[0]  # ties
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    with index.store.writing() as db:
        for i, vector in enumerate(vectors):
            db.execute("INSERT INTO contents VALUES(?,?,10,10,'png',?)", (i + 1, str(i), i))
            name = f"/p/{i % 100:02}/{i}.png"
            db.execute("INSERT INTO files VALUES(?,?,1,1,?,NULL)", (i + 1, name, i + 1))
            db.execute(
                "INSERT INTO vectors(model, content, frame, vector) VALUES(?,?,0,?)",
                (model.id, i + 1, vector.tobytes()),
            )
    return np.arange(1, count + 1), vectors


def brute(vectors: Any, ids: Any, goal: Any, top: int) -> list[int]:
    scores = (vectors.astype(np.float64) * goal.astype(np.float64)).sum(1)
    return [int(v) for v in ids[np.lexsort((ids, -scores))][:top]]


@pytest.mark.parametrize("searcher", ["exact", "ann"])
def test_it_agrees_with_brute_force_ties_and_filters_included(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searcher: str
) -> None:
    if searcher == "ann":
        pytest.importorskip("usearch")
    with opened(plugins, tmp_path / "index", searcher=searcher) as index:
        ids, vectors = filled(index, 3000)
        rng = np.random.default_rng(2)
        goals = {f"q{i}": rng.normal(size=32).astype(np.float32) + (i % 2) for i in range(8)}
        goals["tied"] = vectors[0].astype(np.float32)
        monkeypatch.setattr(
            Embedder, "encode_texts", lambda self, texts: np.stack([goals[t] for t in texts])
        )
        for text, goal in goals.items():
            unit = (goal / np.linalg.norm(goal.astype(np.float64))).astype(np.float32)
            for filters, kept in (
                (Filters(), ids > 0),
                (Filters(under=["/nowhere"]), ids < 0),
                (Filters(name=["/p/00/0.png"]), ids == 1),
                (Filters(until=9), ids <= 9),
                (Filters(until=10), ids <= 10),
                (Filters(under=["/p/07"]), (ids - 1) % 100 == 7),
            ):
                hits = index.search(Query([Term(text)], filters=filters, top=10))
                expected = brute(vectors[kept], ids[kept], unit, 10)
                got = [hit.id for hit in hits]
                if searcher == "exact" or len(expected) < 10 or text != "tied":
                    assert len(got) == len(expected)
                if searcher == "exact" or filters:
                    assert got == expected, (text, filters)


def test_the_graph_keeps_the_contract_and_finds_most_for_texts(tmp_path: Path) -> None:
    """Queries lie apart from the pictures, as texts do: .2 of cosine between the two cones."""
    pytest.importorskip("usearch")
    from pixweave_ann import Ann

    from pixweave.search import SearchContext
    from pixweave.search.matrix import Matrix
    from pixweave.testing import check_component

    check_component("searcher", "ann", {}, plugins_of())
    rng = np.random.default_rng(3)
    shape = np.arange(1, 65) ** -0.5
    centres = rng.normal(size=(60, 64)) * shape
    vectors = centres[rng.integers(0, 60, 4000)] + 0.5 * rng.normal(size=(4000, 64)) * shape
    vectors = (vectors + 0.3).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    away = rng.normal(size=64)
    texts = (centres[:40] + away * 1.5 + 0.3 * rng.normal(size=(40, 64))).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    run: Any = SearchContext(Matrix(vectors, np.arange(4000), "g", tmp_path, "m"))
    graph = Ann().build(run)
    hit = 0
    for text in texts:
        best = set(np.argsort(-(vectors @ text))[:10].tolist())
        hit += len(best & set(graph.search(text, 10, None)[0].tolist()))
    assert hit >= 0.95 * 400
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert [name.split(".")[-1] for name in kept] == ["graph", "json"]
    again = Ann().build(run)  # loaded, not built
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    same = [one.search(texts[0], 3, None)[0].tolist() for one in (again, graph)]
    assert same[0] == same[1]
    for path in tmp_path.iterdir():
        path.write_bytes(b"spoilt")
    assert len(Ann().build(run).search(texts[0], 3, None)[0]) == 3


def test_deleted_rows_are_not_found_and_the_matrix_mends_itself(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(plugins, tmp_path / "index") as index:
        ids, vectors = filled(index, 3000)
        goal = vectors[5].astype(np.float32)
        monkeypatch.setattr(Embedder, "encode_texts", lambda self, texts: goal[None])

        def top() -> list[int]:
            return [hit.id for hit in index.search(Query([Term("q")], top=5))]

        unit = (goal / np.linalg.norm(goal.astype(np.float64))).astype(np.float32)
        assert top() == brute(vectors, ids, unit, 5)
        rows, generation = len(index.matrix().ids), index.matrix().generation
        with index.store.writing() as db:
            db.execute("DELETE FROM files WHERE id = 6")
            db.execute("DELETE FROM contents WHERE id = 6")
        rest = ids != 6
        assert top() == brute(vectors[rest], ids[rest], unit, 5)
        assert (len(index.matrix().ids), index.matrix().generation) == (rows, generation)
        with index.store.writing() as db:  # so many that it is worth it
            db.execute("DELETE FROM files WHERE id > 1500")
            db.execute("DELETE FROM contents WHERE id > 1500")
        rest = rest & (ids <= 1500)
        assert top() == brute(vectors[rest], ids[rest], unit, 5)
        assert len(index.matrix().ids) == 1499
        for path in index.store.folder.glob("model*"):
            path.write_bytes(b"spoilt")
        assert top() == brute(vectors[rest], ids[rest], unit, 5)


def test_the_matrix_grows_by_what_is_new(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
        generation = index.matrix().generation
        Image.new("RGB", (8, 8), "cyan").save(photos / "cyan.png")
        brought(index, photos)
        assert found(index, "cyan", top=1) == ["cyan.png"]
        assert index.matrix().generation == generation
        assert len(index.matrix().ids) == 8


def test_several_write_and_read_at_once(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with (
        opened(plugins, tmp_path / "index") as one,
        opened(plugins, tmp_path / "index") as two,
    ):
        first = one.update(IndexOptions([photos], batch=2))
        second = two.update(IndexOptions([photos], batch=3))
        for _ in range(4):
            next(first, None)
            next(second, None)
            if one.store.models():
                one.search(Query([Term("red")]))
        list(first)
        list(second)
        assert one.store.counts() == (7, 0)
        assert one.model.count == 7
        assert found(two, "red", top=2) == ["red.png", "reddish.jpg"]


def test_stopping_keeps_what_is_finished(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        asked = iter([False] * 9 + [True] * 99)  # in the midst of it
        *_, tally = index.update(IndexOptions([photos], batch=2), lambda: next(asked))
        assert tally.stopped
        assert 0 < tally.encoded < 7
        assert index.store.counts() == (tally.committed, 0) == (tally.encoded, 0)
        assert counts(brought(index, photos))["unchanged"] == tally.encoded


def test_an_error_keeps_what_is_finished(
    plugins: Plugins, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, calls = Embedder.encode_pictures, iter(range(9))

    def failing(self: Embedder, pixels: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return encode(self, pixels)

    monkeypatch.setattr(Embedder, "encode_pictures", failing)
    with opened(plugins, tmp_path / "index") as index:
        with pytest.raises(KeyboardInterrupt):
            brought(index, photos, batch=2)
        assert index.store.counts() == (4, 0)
        assert counts(brought(index, photos, batch=2)) == {"encoded": 3, "unchanged": 4}


def test_what_is_no_index_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError) as none:
        open_index_store(tmp_path / "none")
    assert str(none.value) == (
        f"there is no index in '{tmp_path / 'none'}'; create one with `pixweave index FOLDER`"
    )
    (tmp_path / "index.sqlite").write_bytes(b"something else entirely, but long enough" * 100)
    with pytest.raises(RunError) as other:
        open_index_store(tmp_path)
    assert str(other.value) == (
        f"'{tmp_path / 'index.sqlite'}' is not a pixweave index: file is not a database"
    )
    with open_index_store(tmp_path / "new", make=True) as store:
        store.db.execute("PRAGMA user_version=9")
    with pytest.raises(RunError) as newer:
        open_index_store(tmp_path / "new")
    assert str(newer.value) == (
        f"the index '{tmp_path / 'new'}' has format 9, this pixweave reads 1; "
        "update pixweave, or name another index with --index"
    )


def test_it_checks_itself_against_the_reference(plugins: Plugins) -> None:
    from pixweave.embedding.self_check import check_agreement
    from pixweave.engine.embedders import open_embedder

    small = {"use": "open_clip", "model": "ViT-S-32-alt", "pretrained": "random"}
    for perceptor in ("tiny", small):
        encoder = open_embedder(plugins, perceptor, "cpu", "float32")
        agreement = check_agreement(encoder, 4)
        assert agreement.ok, agreement
        assert agreement.verdict == "ok"
    wrong = open_embedder(plugins, "tiny", "cpu")
    blur = wrong.perceptor.encode_image
    wrong.perceptor.encode_image = lambda crops: blur(crops.flip(3) ** 2)  # type: ignore[method-assign]
    assert not check_agreement(wrong, 4).ok
    with pytest.raises(RunError, match=r"^perceptor 'fake' has no reference to compare with$"):
        check_agreement(open_embedder(plugins, "fake"))


def run(*words: Any, code: int = 0, **how: Any) -> Any:
    result = CliRunner().invoke(cli, [str(word) for word in words], **how)
    assert result.exit_code == code, result.output
    return result


def test_the_verbs(photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"no picture")
    at = ("--index", tmp_path / "index")
    made = run("index", photos, *at, "--device", "cpu")
    assert made.stdout == f"{photos / 'bad.png'}\tthis is not an image in a supported format\n"
    assert made.stderr.startswith("encoding with tiny CLIP, ")
    again = run("index", *at, "-", input=f"{photos}\0".encode(), color=False)
    assert again.stdout == ""
    assert again.stderr == (
        "0 encoded, 0 reused (same content), 7 unchanged, 1 broken, 0 removed; 0.0 images/s; "
        "7 in the index\n"
    )
    as_json = run("index", photos, *at, "--json").stdout.splitlines()
    assert json.loads(as_json[-1])["unchanged"] == 7
    assert run("index", *at, "--broken").stdout == made.stdout
    status = run("index", *at, "--status").stdout.splitlines()
    assert status[0] == f"{tmp_path / 'index'}: 7 images, 1 broken files"
    hits = run("search", "blue", "-n", 1, *at)
    assert hits.stdout == f"{photos / 'blue.png'}\n"
    assert run("search", "blue", "-n", 1, "-0", *at).stdout == f"{photos / 'blue.png'}\0"
    score, path = run("search", "blue", "-n", 1, "--format", "tsv", *at).stdout.split("\t")
    assert path == f"{photos / 'blue.png'}\n"
    line = json.loads(run("search", "blue", "-n", 1, "--format", "jsonl", *at).stdout)
    assert line["path"] == str(photos / "blue.png")
    assert line["score"] == pytest.approx(float(score), abs=1e-6)
    nothing = run("search", "--name", "*.gif", *at, code=1)
    assert nothing.stdout == ""
    wrong = run("search", "blue", "--since", "soon", *at, code=2)
    assert "'soon' is not a valid date; write 2024-05-31" in wrong.stderr
    none = run("index", *at, code=2)
    assert "name folders or files to index, or use --status" in none.stderr
    show = run("search", "blue", "--show", *at, code=1)
    assert show.stderr == (
        "pixweave: this terminal cannot show images; use --sheet FILE or --html FILE\n"
    )


def test_a_sheet_and_a_page(photos: Path, tmp_path: Path) -> None:
    at = ("--index", tmp_path / "index")
    run("index", photos, *at, "-q")
    sheet, page = tmp_path / "a.png", tmp_path / "a.html"
    run("search", "red", *at, "--sheet", sheet, "--html", page)
    with Image.open(sheet) as made:
        assert made.size == (3 * 232 + 8, 3 * 248 + 8)
        assert sum(n for n, colour in made.getcolors(1 << 24) or () if colour == (255, 0, 0))
    text = page.read_text("utf-8")
    assert text.count("<img ") == 7
    assert f'href="file://{photos}/red.png"' in text
    gone = run("search", "red", *at, "--sheet", tmp_path / "no" / "a.png", code=4)
    assert gone.stderr == f"pixweave: folder '{tmp_path / 'no'}' for 'a.png' not found\n"


def test_many_queries_are_asked_in_one_go(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ["--index", tmp_path / "index"]
    run("index", photos, *at, "-q")
    lines = ["a red square", "blue", "a red square"]
    (tmp_path / "asked.txt").write_text("\ufeffa red square\n\n  blue \na red square", "utf-8")
    groups: list[list[str]] = []
    encode = Embedder.encode_texts

    def noted(self: Embedder, texts: Any) -> Any:
        groups.append(list(texts))
        return encode(self, texts)

    monkeypatch.setattr(Embedder, "encode_texts", noted)
    words = ("search", "--queries", tmp_path / "asked.txt", *at, "-n", "2", "--minus", "grey")
    rows = [json.loads(line) for line in run(*words).stdout.splitlines()]
    assert [(row["query"], row["place"]) for row in rows] == [(q, n) for q in lines for n in (1, 2)]
    assert groups == [["a red square", "grey", "blue"]]
    for query in lines:
        alone = run("search", query, *at, "-n", "2", "--minus", "grey", "--format", "jsonl")
        hits = [json.loads(line) for line in alone.stdout.splitlines()]
        mine = [dict(row) for row in rows if row["query"] == query][:2]
        assert [row.pop("query") and row.pop("place") for row in mine] == [1, 2]
        assert mine == hits
    piped = run("search", "--queries", "-", *at, "-n", "1", "--format", "tsv", input=b"blue\n")
    score = json.loads(run("search", "blue", *at, "-n", "1", "--format", "jsonl").stdout)["score"]
    assert piped.stdout == f"blue\t{score:.6f}\t{photos}/blue.png\n"
    none = run(*words, "--min-score", "2", code=1)
    assert none.stdout == ""
    for bad, said in (
        (
            ("--queries", "-", "--show"),
            "--queries prints JSON lines or TSV; remove -0, --sheet, "
            "--html, --show and --format paths",
        ),
        (("--queries", "-"), "--queries: the file has no text"),
    ):
        wrong = run("search", *bad, *at, code=2, input=b"\n")
        assert wrong.stderr.splitlines()[-1] == f"Error: {said}"


def test_a_repeated_query_needs_no_model(photos: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    at = ["--index", str(tmp_path / "index")]
    run("index", photos, *at, "-q")
    first = run("search", "blue", *at).stdout
    code = (
        "import sys; from pixweave.cli import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    words = [sys.executable, "-c", code, "search", "blue", *at]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (first, "False\n")
    words = [sys.executable, "-c", code, "index", str(photos), *at, "-q"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "False\n")  # nothing changed: nothing is loaded


def test_pictures_in_a_terminal(photos: Path) -> None:
    from pixweave.search.contact_sheet import in_terminal

    hit = Hit(str(photos / "red.png"), 0.5, 20, 20, "png", 1, 0.0, 0, 1)
    for kind, sign in (("blocks", "▀"), ("kitty", "\x1b_G"), ("iterm", "\x1b]1337")):
        picture, line = in_terminal([hit], kind, 80)
        assert sign in picture
        assert line == f"0.500  {photos / 'red.png'}"


def test_reading_alone_is_enough_to_search(
    plugins: Plugins, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and mode != os.W_OK)
    with open_index(tmp_path / "index", plugins=plugins) as index:
        assert index.store.read_only
        assert found(index, "red", top=1) == ["red.png"]
        assert index.matrix().folder is None
        with pytest.raises(RunError, match=r"^the index '.*' is read-only$"):
            next(index.update(IndexOptions([photos])))
        with pytest.raises(sqlite3.OperationalError):
            index.store.db.execute("DELETE FROM files")


def test_a_searcher_with_settings(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    with opened(plugins, tmp_path / "index") as index:
        brought(index, photos)
    pytest.importorskip("usearch")
    with opened(plugins, tmp_path / "index", searcher="{use: ann, width: 1}") as index:
        with pytest.raises(RunError) as caught:
            found(index, "red")
        assert str(caught.value) == (
            "'width' of searcher 'ann' is invalid: input should be greater than or equal to 16; "
            "see `pixweave show ann`"
        )
    with opened(plugins, tmp_path / "index", searcher="{use: ann, width: 32}") as index:
        assert found(index, "red", top=1) == ["red.png"]
