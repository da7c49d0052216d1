"""The model store against a server with faults: the right word each time, never a broken file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from faulty_server import (
    Behaviour,
    Server,
    by_method,
    content,
    hub_file,
    in_turn,
    serving,
    slow,
    stalled,
    status,
    truncated,
)

from pixweave.errors import MissingError, RunError
from pixweave.models import Store, store
from pixweave.models.catalogue import Model, in_bytes, load
from pixweave.models.fetch import Limits

BODY = bytes(range(256)) * 40
OTHER = BODY[::-1]
DIGEST, OTHER_DIGEST = sha256(BODY).hexdigest(), sha256(OTHER).hexdigest()
QUICK = Limits(connect=2, stall=0.3, tries=3, pause=0.01)


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("PIXWEAVE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIXWEAVE_HOME", str(tmp_path))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def catalogue_of(home: Path, *mirrors: str, **file: Any) -> Store:
    """A store whose catalogue has a model `m` of one file `m.bin`."""
    entry = {"about": "a test", "files": {"weights": {"name": "m.bin", "mirrors": [*mirrors]}}}
    entry["files"]["weights"] |= file  # type: ignore[index]
    (home / "models.yaml").write_text(yaml.safe_dump({"m": entry}))
    return Store(home, "", QUICK)


def names(home: Path) -> set[str]:
    """The files of the model `m` that are visible: no dot files."""
    return {p.name for p in (home / "models" / "m").glob("*") if not p.name.startswith(".")}


def parts(home: Path) -> set[str]:
    return {p.name for p in (home / "models" / "m").glob(".*.part*")}


def refused(found: Store) -> str:
    """Why the model cannot be got, the advice at the end left out after checking it."""
    with pytest.raises(MissingError) as caught:
        found.get("m")
    first, *faults, advice = str(caught.value).split("\n")
    assert first == "the file 'm.bin' of the model 'm' could not be downloaded:"
    assert advice == (
        f"try again later, put it at '{found.home}/models/m/m.bin' yourself, or add a mirror to "
        f"'{found.home}/models.yaml'"
    )
    assert names(found.home) == set()
    return "\n".join(fault.strip() for fault in faults)


def test_a_model_is_fetched_once_and_recorded(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = content(BODY, '"a"')
    found = catalogue_of(tmp_path, f"{server.url}/m")
    seen: list[tuple[str, int, int | None]] = []
    files = found.get("m", lambda *row: seen.append(row))
    assert files.weights == tmp_path / "models" / "m" / "m.bin"
    assert files.weights.read_bytes() == BODY
    assert files.config is None
    assert seen[0] == ("m.bin", 0, len(BODY))
    assert seen[-1] == ("m.bin", len(BODY), len(BODY))
    entry = json.loads((tmp_path / "models.lock").read_text())["m"]["m.bin"]
    date = entry.pop("date")
    assert len(date) == 10
    assert entry == {"sha256": DIGEST, "size": len(BODY), "source": f"{server.url}/m"}
    assert parts(tmp_path) == set()
    assert Store(tmp_path, "", QUICK).get("m") == files
    assert Store(tmp_path, "", QUICK).path("m") == files
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "fault", "asked"),
    [
        (status(404), "404 Not Found", 1),
        (status(403), "403 Forbidden", 1),
        (status(500), "500 Internal Server Error", 3),
        (status(429), "429 Too Many Requests", 3),
        (stalled(BODY, 100, 1.5), "no data for 0.3 s", 3),
        (truncated(BODY, 100), "the connection was lost after 100 bytes", 3),
        (status(302, Location="/m"), "too many redirects (more than 10)", 11),
        (
            content(b"<html>", Content_Type="text/html; charset=utf-8"),
            "sends a web page instead of the file",
            1,
        ),
        (
            content(BODY, Content_Encoding="gzip"),
            "sends the file encoded as gzip, which was not requested",
            1,
        ),
        (status(206), "sends another range than requested", 3),
    ],
)
def test_a_fault_is_told_and_leaves_no_file(
    tmp_path: Path, server: Server, behaviour: Behaviour, fault: str, asked: int
) -> None:
    server.behaviours["/m"] = behaviour
    url = f"{server.url}/m"
    assert refused(catalogue_of(tmp_path, url)) == f"{url}: {fault}"
    assert server.asked("/m") == asked
    assert not (tmp_path / "models.lock").exists()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/m"
        assert refused(catalogue_of(tmp_path, url)).startswith(f"{url}: no connection: ")


def test_the_next_mirror_is_asked(tmp_path: Path, server: Server) -> None:
    server.behaviours |= {"/gone": status(404), "/m": content(BODY)}
    found = catalogue_of(tmp_path, f"{server.url}/gone", f"{server.url}/m", sha256=DIGEST)
    assert found.get("m").weights.read_bytes() == BODY
    assert not (tmp_path / "models.lock").exists()  # its hash is published


def test_every_mirror_is_told_of(tmp_path: Path, server: Server) -> None:
    server.behaviours |= {"/b": status(500)}
    a, b = f"{server.url}/a", f"{server.url}/b"
    wrong = refused(catalogue_of(tmp_path, a, b))
    assert wrong == f"{a}: 404 Not Found\n{b}: 500 Internal Server Error"


def test_a_wrong_hash_is_refused_and_the_part_removed(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = content(OTHER, '"a"')
    url = f"{server.url}/m"
    wrong = refused(catalogue_of(tmp_path, url, sha256=DIGEST))
    assert wrong == f"{url}: has sha256 {OTHER_DIGEST} instead of {DIGEST}"
    assert parts(tmp_path) == set()


def test_a_wrong_size_is_refused_before_the_body(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = content(BODY)
    url = f"{server.url}/m"
    wrong = refused(catalogue_of(tmp_path, url, size=99))
    assert wrong == f"{url}: has {len(BODY)} bytes instead of 99"
    assert parts(tmp_path) == set()


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = in_turn(truncated(BODY, 1000, '"a"'), content(BODY, '"a"'))
    found = catalogue_of(tmp_path, f"{server.url}/m", sha256=DIGEST)
    assert found.get("m").weights.read_bytes() == BODY
    assert server.requests == [("GET", "/m", "", ""), ("GET", "/m", "bytes=1000-", '"a"')]


def test_a_later_run_goes_on_too(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = truncated(BODY, 1000, '"a"')
    found = catalogue_of(tmp_path, f"{server.url}/m")
    refused(found)
    assert found.state("m") == "part"
    server.behaviours["/m"] = content(BODY, '"a"')
    assert found.get("m").weights.read_bytes() == BODY
    assert server.requests[-1] == ("GET", "/m", "bytes=1000-", '"a"')


def test_a_part_that_is_whole_already_only_takes_its_name(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = content(BODY, '"a"')
    found = catalogue_of(tmp_path, f"{server.url}/m")
    part = tmp_path / "models" / "m" / ".m.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(BODY)
    note = {"url": f"{server.url}/m", "validator": '"a"'}
    part.with_name(part.name + ".json").write_text(json.dumps(note))
    assert found.get("m").weights.read_bytes() == BODY


@pytest.mark.parametrize("tag", ['"b"', 'W/"b"', ""])
def test_a_file_that_changed_between_resumes_is_fetched_anew(
    tmp_path: Path, server: Server, tag: str
) -> None:
    server.behaviours["/m"] = in_turn(truncated(BODY, 1000, '"a"'), content(OTHER, tag))
    found = catalogue_of(tmp_path, f"{server.url}/m")
    assert found.get("m").weights.read_bytes() == OTHER
    assert server.requests[1] == ("GET", "/m", "bytes=1000-", '"a"')


def test_without_a_strong_tag_nothing_is_resumed(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = in_turn(truncated(BODY, 1000, 'W/"a"'), content(OTHER, 'W/"a"'))
    assert catalogue_of(tmp_path, f"{server.url}/m").get("m").weights.read_bytes() == OTHER
    assert server.requests[1] == ("GET", "/m", "", "")


def test_a_part_longer_than_the_file_begins_anew(tmp_path: Path, server: Server) -> None:
    first = truncated(BODY + BODY, len(BODY) + 5, '"a"')
    server.behaviours["/m"] = in_turn(first, content(BODY, '"a"'))
    assert catalogue_of(tmp_path, f"{server.url}/m").get("m").weights.read_bytes() == BODY


def test_a_full_disk_is_seen_before_the_body(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behaviours["/m"] = content(BODY)
    usage = type(shutil.disk_usage(tmp_path))(10_000, 9_000, 1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError) as caught:
        catalogue_of(tmp_path, f"{server.url}/m").get("m")
    assert str(caught.value) == (
        f"the disk of '{tmp_path}/models/m' is full: 10 kB are needed and 1.0 kB are free; free "
        "some space, or set PIXWEAVE_HOME to another folder, and get the model again: what was "
        "downloaded is kept"
    )
    assert names(tmp_path) == parts(tmp_path) == set()


def test_a_disk_that_fills_up_meanwhile(tmp_path: Path, server: Server) -> None:
    large = BODY * 1000
    server.behaviours["/m"] = content(large, '"a"')

    def report(file: str, done: int, total: int | None) -> None:
        if done >= 4096:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found = catalogue_of(tmp_path, f"{server.url}/m")
    with pytest.raises(RunError) as caught:
        found.get("m", report)
    assert str(caught.value) == (
        f"the disk of '{tmp_path}/models/m' is full: no space is left; free some space, or set "
        "PIXWEAVE_HOME to another folder, and get the model again: what was downloaded is kept"
    )
    assert names(tmp_path) == set()
    there = (tmp_path / "models" / "m" / ".m.bin.part").stat().st_size
    assert 4096 <= there < len(large)
    assert found.get("m").weights.read_bytes() == large
    assert server.requests[-1] == ("GET", "/m", f"bytes={there}-", '"a"')


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path, server: Server) -> None:
    found = catalogue_of(tmp_path, f"{server.url}/m")
    tmp_path.chmod(0o500)
    with pytest.raises(RunError) as caught:
        found.get("m")
    tmp_path.chmod(0o700)
    assert str(caught.value) == (
        f"'{tmp_path}/models/m' cannot be written: Permission denied; set PIXWEAVE_HOME to another "
        "folder"
    )


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    catalogue_of(tmp_path, "http://127.0.0.1:1/m")
    found = Store(tmp_path / "home", "", QUICK)
    found.models["m"] = load(tmp_path)["m"]
    with pytest.raises(RunError) as caught:
        found.get("m")
    assert str(caught.value) == (
        f"'{tmp_path}/home/models/m' cannot be written: Not a directory; set PIXWEAVE_HOME to "
        "another folder"
    )


def test_a_first_download_is_held_to(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = in_turn(content(BODY), content(OTHER))
    url = f"{server.url}/m"
    found = catalogue_of(tmp_path, url)
    found.get("m")
    assert found.remove("m") >= len(BODY)
    date = json.loads((tmp_path / "models.lock").read_text())["m"]["m.bin"]["date"]
    assert refused(found) == (
        f"{url}: has sha256 {OTHER_DIGEST} instead of {DIGEST}, which models.lock recorded on "
        f"{date}; `pixweave models rm --unlock m` accepts another"
    )
    found.remove("m", unlock=True)
    assert found.get("m").weights.read_bytes() == OTHER


def test_a_file_that_changed_on_this_machine_is_refused(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = content(BODY)
    found = catalogue_of(tmp_path, f"{server.url}/m", sha256=DIGEST)
    path = found.get("m").weights
    path.write_bytes(OTHER)
    with pytest.raises(RunError) as caught:
        found.get("m")
    assert str(caught.value) == (
        f"'{path}' is not the file of the model 'm': it has sha256 {OTHER_DIGEST} instead of "
        f"{DIGEST}; run `pixweave models rm m` and get it again"
    )
    (check,) = found.verify("m")
    assert check.fault == f"has sha256 {OTHER_DIGEST} instead of {DIGEST}"


def test_a_file_put_there_by_hand_is_taken_and_recorded(tmp_path: Path) -> None:
    found = catalogue_of(tmp_path, "http://127.0.0.1:1/m")
    path = tmp_path / "models" / "m" / "m.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    assert found.get("m").weights == path
    entry = json.loads((tmp_path / "models.lock").read_text())["m"]["m.bin"]
    assert entry["source"] == "a file that was there already"
    assert [check.fault for check in found.verify("m")] == [""]


def test_a_broken_lock_is_not_overwritten(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = content(BODY)
    (tmp_path / "models.lock").write_text("{")
    with pytest.raises(RunError) as caught:
        catalogue_of(tmp_path, f"{server.url}/m").get("m")
    assert str(caught.value) == (
        f"'{tmp_path}/models.lock' is not a valid record of first downloads; fix it, or "
        "remove it to start again"
    )
    assert (tmp_path / "models.lock").read_text() == "{"


def test_two_processes_fetch_once(tmp_path: Path, server: Server) -> None:
    server.behaviours["/m"] = slow(BODY, 0.5)
    catalogue_of(tmp_path, f"{server.url}/m")
    code = "from pixweave.models import store; print(store().get('m').weights)"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = {process.communicate(timeout=60)[0].strip() for process in running}
    assert said == {str(tmp_path / "models" / "m" / "m.bin")}
    assert len(server.requests) == 1


def test_a_proxy_is_used(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.behaviours["http://models.invalid/m"] = content(BODY)
    found = catalogue_of(tmp_path, "http://models.invalid/m")
    assert found.get("m").weights.read_bytes() == BODY


def test_offline_opens_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    catalogue_of(tmp_path, "http://127.0.0.1:1/m", "hf://who/what/m.bin")
    monkeypatch.setenv("PIXWEAVE_OFFLINE", "1")
    with pytest.raises(MissingError) as caught:
        store().get("m")
    assert str(caught.value) == (
        "the model 'm' is not on this machine, and the network is disabled by PIXWEAVE_OFFLINE; "
        f"run `pixweave models get m` without it, or put m.bin into '{tmp_path}/models/m'"
    )
    monkeypatch.delenv("PIXWEAVE_OFFLINE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingError, match="disabled by HF_HUB_OFFLINE; "):
        store().get("m")


def test_path_fetches_nothing(tmp_path: Path, server: Server) -> None:
    found = catalogue_of(tmp_path, f"{server.url}/m")
    with pytest.raises(MissingError) as caught:
        found.path("m")
    assert str(caught.value) == (
        "the model 'm' is not on this machine; run `pixweave models get m`, or put m.bin into "
        f"'{tmp_path}/models/m'"
    )
    with pytest.raises(MissingError) as caught:
        found.path("vqgan_imagenet_f16_1623")
    assert str(caught.value) == (
        "there is no model 'vqgan_imagenet_f16_1623' in the catalogue; did you mean "
        "'vqgan_imagenet_f16_1024'?"
    ) or "did you mean 'vqgan_imagenet_f16_16384'?" in str(caught.value)
    assert server.requests == []


def test_a_model_that_left_the_catalogue_can_be_removed(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "old"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"123")
    found = Store(tmp_path, "", QUICK)
    assert found.remove("old") == 3
    for name in ("old", "..", "../models"):
        with pytest.raises(MissingError, match="there is no model"):
            found.remove(name)


# The hub


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    return server


def test_a_file_of_the_hub(tmp_path: Path, hub: Server) -> None:
    hub.behaviours["/who/what/resolve/v1/sub/m.bin"] = hub_file(BODY)
    found = catalogue_of(tmp_path, "hf://who/what@v1/sub/m.bin")
    seen: list[tuple[str, int, int | None]] = []
    assert found.get("m", lambda *row: seen.append(row)).weights.read_bytes() == BODY
    assert seen[-1] == ("m.bin", len(BODY), len(BODY))
    assert parts(tmp_path) == set()
    asked = len(hub.requests)
    found.get("m")
    assert len(hub.requests) == asked


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (status(404, X_Error_Code="EntryNotFound"), "'who/what' has no file 'm.bin'"),
        (status(404, X_Error_Code="RevisionNotFound"), "'who/what' has no revision 'v1'"),
        (
            status(404, X_Error_Code="RepoNotFound"),
            "the hub has no 'who/what', or it is private: set HF_TOKEN",
        ),
        (
            status(403, X_Error_Code="GatedRepo"),
            "the hub requires a login for 'who/what': accept its terms, set HF_TOKEN",
        ),
    ],
)
def test_a_fault_of_the_hub(tmp_path: Path, hub: Server, behaviour: Behaviour, fault: str) -> None:
    hub.behaviours["/who/what/resolve/v1/m.bin"] = behaviour
    address = "hf://who/what@v1/m.bin"
    assert refused(catalogue_of(tmp_path, address)) == f"{address}: {fault}"


def test_a_hub_that_gives_another_file(tmp_path: Path, hub: Server) -> None:
    hub.behaviours["/who/what/resolve/main/m.bin"] = hub_file(OTHER)
    address = "hf://who/what/m.bin"
    wrong = refused(catalogue_of(tmp_path, address, sha256=DIGEST))
    assert wrong == f"{address}: has sha256 {OTHER_DIGEST} instead of {DIGEST}"


def test_a_download_from_the_hub_goes_on(tmp_path: Path, hub: Server) -> None:
    whole = hub_file(BODY)
    broken = in_turn(truncated(BODY, 1000, f'"{DIGEST}"'), whole)
    hub.behaviours["/who/what/resolve/main/m.bin"] = by_method(whole, broken)
    found = catalogue_of(tmp_path, "hf://who/what/m.bin")
    assert found.get("m").weights.read_bytes() == BODY
    assert [request[0] for request in hub.requests].count("GET") == 2


def test_a_disk_that_fills_up_under_the_hub(tmp_path: Path, hub: Server) -> None:
    hub.behaviours["/who/what/resolve/main/m.bin"] = hub_file(BODY)

    def report(file: str, done: int, total: int | None) -> None:
        if done:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found = catalogue_of(tmp_path, "hf://who/what/m.bin")
    with pytest.raises(RunError) as caught:
        found.get("m", report)
    assert str(caught.value).startswith(f"the disk of '{tmp_path}/models/m' is full: no space ")
    assert names(tmp_path) == set()
    assert found.get("m").weights.read_bytes() == BODY


def test_a_store_that_others_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogue_of(tmp_path, "http://127.0.0.1:1/m", sha256=DIGEST)
    path = tmp_path / "models" / "m" / "m.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert found.get("m").weights == path
    assert [p.name for p in path.parent.iterdir()] == ["m.bin"]
    path.write_bytes(OTHER)
    with pytest.raises(RunError, match="is not the file of the model 'm'"):
        found.get("m")


def test_a_hub_that_is_ill(tmp_path: Path, hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client waits between attempts
    hub.behaviours["/who/what/resolve/main/m.bin"] = status(500)
    address = "hf://who/what/m.bin"
    wrong = refused(catalogue_of(tmp_path, address))
    assert wrong.startswith(f"{address}: the hub does not answer: ")


# The catalogue


def test_the_catalogue_names_the_published_vqgans(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert set(found) == {
        "vqgan_imagenet_f16_1024",
        "vqgan_imagenet_f16_16384",
        "vqgan_openimages_f8_8192",
        "vqgan_coco",
        "vqgan_faceshq",
        "vqgan_sflckr",
        "vqgan_wikiart_1024",
        "vqgan_wikiart_16384",
    }
    for name, model in found.items():
        assert {role: file.name for role, file in model.files.items()} == {
            "weights": f"{name}.ckpt",
            "config": f"{name}.yaml",
        }
    assert found["vqgan_coco"].extent == "~8.4 GB"


def test_an_own_entry_wins(tmp_path: Path) -> None:
    file = {"name": "a.bin", "mirrors": ["https://x.invalid/a"], "size": 1234567}
    entry = {"about": "mine", "files": {"weights": file}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"vqgan_coco": entry}))
    assert load(tmp_path)["vqgan_coco"] == Model.model_validate(entry)
    assert load(tmp_path)["vqgan_coco"].extent == "1.2 MB"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[1]", "is not a mapping of names to models"),
        ("a: {about: x}", "at a.files: Field required"),
        ("a/b: {}", "at a/b: a name consists of letters, digits, '.', '_' and '-'"),
        (
            "a: {about: x, files: {w: {name: ../x, mirrors: ['http://x/y']}}}",
            "at a.files.w.name: a name consists of letters, digits, '.', '_' and '-'",
        ),
        (
            "a: {about: x, files: {w: {name: x, mirrors: ['ftp://x/y']}}}",
            "at a.files.w.mirrors.0: write http://..., https://... or "
            "hf://OWNER/NAME[@REVISION]/FILE",
        ),
        (
            "a: {about: x, files: {w: {name: x, sha256: ABC, mirrors: ['http://x/y']}}}",
            "at a.files.w.sha256: write 64 hexadecimal digits, in lower case",
        ),
        (
            "a: {about: x, files: {v: {name: x, mirrors: ['http://x/y']}, "
            "w: {name: x, mirrors: ['http://x/y']}}}",
            "at a: two files have the same name: x, x",
        ),
    ],
)
def test_a_wrong_catalogue(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "models.yaml").write_text(text)
    with pytest.raises(RunError) as caught:
        load(tmp_path)
    start = "" if wrong.startswith("is ") else "error in "
    assert str(caught.value) == f"{start}the catalogue '{tmp_path}/models.yaml' {wrong}"


def test_a_catalogue_that_is_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("a: [")
    with pytest.raises(RunError, match=r"^the catalogue '.*models.yaml' cannot be read: while "):
        load(tmp_path)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 kB"),
        (10_240, "10 kB"),
        (999_900, "1.0 MB"),
        (958_000_000, "958 MB"),
        (8_400_000_000, "8.4 GB"),
    ],
)
def test_sizes_in_words(count: int, words: str) -> None:
    assert in_bytes(count) == words


def test_importing_the_store_needs_neither_torch_nor_the_network() -> None:
    code = (
        "import sys, pixweave.models, pixweave.cli; pixweave.models.store().models; "
        "print([m for m in ('torch', 'httpx2', 'huggingface_hub', 'open_clip', 'ssl', 'requests') "
        "if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
