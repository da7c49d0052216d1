"""The verbs `pixweave models ...`, as a user meets them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from faulty_server import Server, content, serving

from pixweave.cli import cli

BODY = b"weights" * 100
DIGEST = sha256(BODY).hexdigest()
HELLO = "pixweave: 1\nprompts: [a fox]\nsteps: 1\n"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        found.behaviours |= {"/m": content(BODY), "/c": content(b"a: 1\n")}
        yield found


@pytest.fixture
def home(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "weights": {"name": "m.bin", "mirrors": [f"{server.url}/m"], "size": len(BODY)},
        "config": {"name": "m.yaml", "mirrors": [f"{server.url}/c"], "size": 5},
    }
    entry = {"m": {"about": "a test", "licence": "CC0", "files": files}}
    home = tmp_path / "home"
    home.mkdir()
    (home / "models.yaml").write_text(yaml.safe_dump(entry, sort_keys=False))
    monkeypatch.setenv("PIXWEAVE_HOME", str(home))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "PIXWEAVE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return home


def pixweave(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = CliRunner().invoke(cli, words)
    return done.exit_code, done.stdout, done.stderr


def test_get_path_verify_and_rm(home: Path, server: Server) -> None:
    weights, config = home / "models" / "m" / "m.bin", home / "models" / "m" / "m.yaml"
    both = f"{weights}\n{config}\n"
    assert pixweave("models", "get", "m") == (0, both, "")
    assert pixweave("models", "get", "m", "--offline") == (0, both, "")
    assert len(server.requests) == 2
    assert pixweave("models", "path", "m") == (0, both, "")
    assert pixweave("models", "path", "m", "--role", "config") == (0, f"{config}\n", "")
    assert pixweave("models", "path") == (0, f"{home}\n", "")
    other = sha256(b"a: 1\n").hexdigest()
    said = f"ok m m.bin {DIGEST}\nok m m.yaml {other}\n"
    assert pixweave("models", "verify") == (0, said, "")
    config.write_text("b: 1\n")
    new = sha256(b"b: 1\n").hexdigest()
    date = json.loads((home / "models.lock").read_text())["m"]["m.yaml"]["date"]
    assert pixweave("models", "verify", "m") == (
        1,
        f"ok m m.bin {DIGEST}\nWRONG m m.yaml: it has sha256 {new} instead of {other}, which "
        f"models.lock recorded on {date}; `pixweave models rm --unlock m` accepts another\n",
        "pixweave: 1 of 2 files are corrupt or missing; remove the model with `pixweave models rm "
        "NAME` and download it again with `pixweave models get NAME`\n",
    )
    code, out, err = pixweave("models", "rm", "m")
    assert (code, out) == (0, "")
    assert err.startswith("removed m, ")
    assert not weights.parent.exists()
    assert (home / "models.lock").exists()
    assert pixweave("models", "rm", "m", "--unlock") == (0, "", "removed m, 0 bytes\n")
    assert json.loads((home / "models.lock").read_text()) == {}


def test_ls(home: Path) -> None:
    code, out, err = pixweave("models", "ls")
    assert code == 0
    rows = out.splitlines()
    assert len(rows) == 9
    assert rows[-1].split() == ["m", "705", "bytes", "CC0", "a", "test"]
    assert rows[0].startswith("vqgan_imagenet_f16_1024 ")
    assert err == "and open_clip:MODEL/TAG; `pixweave models ls open_clip:` lists them\n"
    pixweave("models", "get", "m")
    assert pixweave("models", "ls")[1].splitlines()[-1].split()[:2] == ["m", "here"]
    named = json.loads(pixweave("models", "ls", "wikiart_1024", "--json")[1])
    assert [model["name"] for model in named] == ["vqgan_wikiart_1024"]
    assert named[0]["files"]["weights"]["sha256"] is None
    assert named[0]["state"] == ""


def test_the_json_of_get_and_verify(home: Path) -> None:
    paths = {
        role: f"{home}/models/m/{name}"
        for role, name in (("weights", "m.bin"), ("config", "m.yaml"))
    }
    _, out, _ = pixweave("models", "get", "m", "--json")
    assert json.loads(out) == {"event": "model", "name": "m", "paths": paths}
    _, out, _ = pixweave("models", "verify", "m", "--json")
    assert json.loads(out.splitlines()[0]) == {
        "event": "verified",
        "model": "m",
        "path": paths["weights"],
        "sha256": DIGEST,
        "ok": True,
        "fault": "",
    }
    assert json.loads(pixweave("models", "path", "--json")[1]) == {"home": str(home)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("path", "m"),
            4,
            "the model 'm' is not on this machine; run `pixweave models get m`, or put m.bin, "
            "m.yaml into 'HOME/models/m'",
        ),
        (
            ("verify", "m"),
            4,
            "the model 'm' is not on this machine; run `pixweave models get m`, or put its files "
            "into 'HOME/models/m'",
        ),
        (
            ("get", "n"),
            4,
            "there is no model 'n' in the catalogue; choose from m, vqgan_coco, vqgan_faceshq, "
            "vqgan_imagenet_f16_1024, vqgan_imagenet_f16_16384, vqgan_openimages_f8_8192, "
            "vqgan_sflckr, vqgan_wikiart_1024, vqgan_wikiart_16384",
        ),
        (
            ("get", "vqgan_cocco"),
            4,
            "there is no model 'vqgan_cocco' in the catalogue; did you mean 'vqgan_coco'?",
        ),
        (
            ("get", "m", "--offline"),
            4,
            "the model 'm' is not on this machine, and the network is disabled by --offline; run "
            "`pixweave models get m` without it, or put m.bin, m.yaml into 'HOME/models/m'",
        ),
        (
            ("--offline", "get", "m"),
            4,
            "the model 'm' is not on this machine, and the network is disabled by --offline; run "
            "`pixweave models get m` without it, or put m.bin, m.yaml into 'HOME/models/m'",
        ),
        (("convert", "a.ckpt", "b.pt"), 1, "'b.pt' must end in .safetensors"),
        (
            ("rm", "open_clip:ViT-B-32/openai"),
            1,
            "'open_clip:ViT-B-32/openai' is in the cache of the Hugging Face hub, which is "
            "shared with other programs; remove it with `hf cache rm`",
        ),
    ],
)
def test_what_goes_wrong_is_said(home: Path, words: tuple[str, ...], code: int, said: str) -> None:
    said = f"pixweave: {said}\n".replace("HOME", str(home))
    assert pixweave("models", *words) == (code, "", said)


def test_a_role_that_is_not_there(home: Path) -> None:
    pixweave("models", "get", "m")
    said = "pixweave: model 'm' has no file with the role 'vocab'; it has weights, config\n"
    assert pixweave("models", "path", "m", "--role", "vocab") == (1, "", said)


def test_offline_opens_no_socket(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, forbidden)
    recipe = tmp_path / "hello.yaml"
    recipe.write_text(HELLO)
    assert pixweave("validate", str(recipe))[0] == 0
    assert pixweave("validate", "--offline", str(recipe))[0] == 0
    code, _, err = pixweave("models", "get", "open_clip:ViT-B-32/laion2b_s34b_b79k", "--offline")
    assert code in (0, 4)
    if code:
        assert err == (
            "pixweave: the model 'open_clip:ViT-B-32/laion2b_s34b_b79k' is not on this machine, "
            "and the network is disabled by --offline; run `pixweave models get "
            "open_clip:ViT-B-32/laion2b_s34b_b79k` without it\n"
        )
    assert "PIXWEAVE_OFFLINE" not in os.environ
    assert "HF_HUB_OFFLINE" not in os.environ


def test_open_clip_by_its_own_lists(home: Path) -> None:
    code, out, _ = pixweave("models", "ls", "open_clip:ViT-B-32/")
    assert code == 0
    assert "open_clip:ViT-B-32/laion2b_s34b_b79k" in out.splitlines()
    assert all(line.startswith("open_clip:ViT-B-32/") for line in out.splitlines())
    code, _, err = pixweave("models", "path", "open_clip:ViT-B-32/laion2b_s34b_b79")
    assert (code, err) == (
        4,
        "pixweave: open_clip has no model 'ViT-B-32/laion2b_s34b_b79'; did you mean "
        "'open_clip:ViT-B-32/laion2b_s34b_b79k'?\n",
    )


def test_convert(home: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "a.ckpt", tmp_path / "a.safetensors"
    torch.save({"state_dict": {"w": torch.ones(3), "n": 1}, "epoch": 2}, source)
    code, out, err = pixweave("models", "convert", str(source), str(target))
    assert (code, out) == (0, f"{target}\n")
    size = target.stat().st_size
    assert err == f"1 tensors, {size} bytes\nwarning: not kept: n\n"
    said = f"pixweave: '{target}' already exists; use --force to replace it\n"
    assert pixweave("models", "convert", str(source), str(target)) == (1, "", said)
    assert pixweave("models", "convert", "--force", str(source), str(target))[0] == 0


def test_looking_imports_neither_torch_nor_the_network(home: Path) -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom pixweave.cli import cli\n"
        "for words in (['models', '--help'], ['models', 'ls'], ['models', 'path']):\n"
        "    assert CliRunner().invoke(cli, words).exit_code == 0\n"
        "print([m for m in ('torch', 'httpx2', 'huggingface_hub', 'ssl') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
