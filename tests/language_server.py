"""A client of yaml-language-server, the program behind YAML in editors: what a user would see."""

from __future__ import annotations

import itertools
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

PACKAGES = ("yaml-language-server@1", "ajv@8")
PATIENCE = 30.0  # seconds for one answer; the slowest takes 0.3


def node_folder() -> Path:
    """The folder of the npm packages, installed once and kept; skips where npm is missing."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm is not installed, so the language server cannot be tried")
    folder = Path(tempfile.gettempdir()) / f"pixweave-node-{'-'.join(PACKAGES)}"
    if not (folder / "done").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", *PACKAGES, "--prefix", str(folder), "--no-audit", "--no-fund"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        (folder / "done").touch()
    return folder


class LanguageServer:
    """One running server that knows one schema; use it as a context manager."""

    def __init__(self, schema: Path) -> None:
        program = node_folder() / "node_modules/yaml-language-server/bin/yaml-language-server"
        self.process = subprocess.Popen(
            ["node", str(program), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.settings = {
            "validate": True,
            "completion": True,
            "hover": True,
            "schemaStore": {"enable": False},
            "schemas": {schema.as_uri(): "*.yaml"},
        }
        self.numbers = itertools.count(1)
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        capabilities = {
            "textDocument": {
                "completion": {
                    "completionItem": {
                        "snippetSupport": True,
                        "documentationFormat": ["markdown", "plaintext"],
                    }
                },
                "hover": {"contentFormat": ["markdown"]},
            },
            "workspace": {"configuration": True},
        }
        self.ask("initialize", {"processId": None, "rootUri": None, "capabilities": capabilities})
        self.tell("initialized", {})
        self.tell("workspace/didChangeConfiguration", {"settings": {"yaml": self.settings}})

    def __enter__(self) -> LanguageServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    def diagnostics(self, *texts: str) -> list[list[tuple[int, str]]]:
        """The (line, message) of everything that is marked in each recipe."""
        uris = [self._open(text) for text in texts]
        found: dict[str, list[Any]] = {}
        while len(found) < len(uris):
            answer = self.answers.get(timeout=PATIENCE)
            is_report = answer.get("method") == "textDocument/publishDiagnostics"
            if is_report and answer["params"]["uri"] in uris:
                found[answer["params"]["uri"]] = answer["params"]["diagnostics"]
        for uri in uris:
            self.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
        return [
            [(item["range"]["start"]["line"] + 1, item["message"]) for item in found[uri]]
            for uri in uris
        ]

    def complete(self, text: str) -> dict[str, str]:
        """The names offered where the text has `|`, each with its description."""
        found = self._at("textDocument/completion", text)
        items = found["items"] if isinstance(found, dict) else found or []
        return {item["label"]: _plain(item.get("documentation")) for item in items}

    def hover(self, text: str) -> str:
        """What is shown over the place where the text has `|`."""
        found = self._at("textDocument/hover", text)
        return _plain(found["contents"]) if found else ""

    def _at(self, method: str, text: str) -> Any:
        before, _, after = text.partition("|")
        uri = self._open(before + after)
        line = before.count("\n")
        place = {"line": line, "character": len(before) - before.rfind("\n") - 1}
        found = self.ask(method, {"textDocument": {"uri": uri}, "position": place})
        self.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
        return found

    def _open(self, text: str) -> str:
        uri = f"file:///recipes/{next(self.numbers)}.yaml"
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        return uri

    def ask(self, method: str, params: dict[str, Any]) -> Any:
        """The result of a request."""
        number = next(self.numbers)
        self._send({"id": number, "method": method, "params": params})
        while True:
            found = self.answers.get(timeout=PATIENCE)
            if found.get("id") == number and "method" not in found:
                assert "error" not in found, found["error"]
                return found["result"]

    def tell(self, method: str, params: dict[str, Any]) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self.process.stdin.flush()

    def _listen(self) -> None:
        """Put what the server says into the queue; answer what it asks."""
        stream = self.process.stdout
        assert stream is not None
        while header := stream.readline():
            length = int(header.partition(b":")[2])
            while stream.readline().strip():
                pass
            message = json.loads(stream.read(length))
            if "id" in message and "method" in message:
                self._send({"id": message["id"], "result": self._reply(message)})
            else:
                self.answers.put(message)

    def _reply(self, message: dict[str, Any]) -> Any:
        if message["method"] != "workspace/configuration":
            return None
        asked = [item["section"] for item in message["params"]["items"]]
        return [self.settings if section == "yaml" else None for section in asked]


def _plain(text: Any) -> str:
    if isinstance(text, list):
        return "\n".join(_plain(part) for part in text)
    return text.get("value", "") if isinstance(text, dict) else text or ""
