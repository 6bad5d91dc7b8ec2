"""A Hugging Face Hub on this machine: folders as repositories, asked by huggingface_hub's own code over HTTP."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

COMMIT = {"main": "a" * 40, "v2": "b" * 40}  # branches and tags of each repository


class Hub:
    """repositories: "owner/name" -> its folder, or the name of the error that the Hub answers with ("GatedRepo").

    asked: paths of files that were sent whole. hold: where it is cleared, files of a megabyte and more wait before
    their last byte. other: the folder of the revision "v2", where it differs.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Path | str] = {}
        self.other: dict[str, Path] = {}
        self.asked: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.large = 1_000_000

    def folder(self, repo: str, revision: str) -> Path | str | None:
        if revision not in (*COMMIT, *COMMIT.values()):
            return "RevisionNotFound"
        other = self.other.get(repo) if revision in ("v2", COMMIT["v2"]) else None
        return other or self.repositories.get(repo, "RepoNotFound")


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A Hub that huggingface_hub asks in place of the real one, with a cache of its own."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    try:
        yield hub
    finally:
        hub.hold.set()
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, body: bool) -> None:
        asked = urlsplit(self.path)
        parts = [unquote(one) for one in asked.path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            repo, revision = "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main"
        else:
            repo, revision = "/".join(parts[:2]), parts[3]
        folder = self.hub.folder(repo, revision)
        if not isinstance(folder, Path):
            return self.refuse(str(folder))
        commit = COMMIT.get(revision, revision)
        if parts[:2] == ["api", "models"]:
            sized = "blobs" in parse_qs(asked.query)
            files = [{"rfilename": str(one.relative_to(folder)), **({"size": one.stat().st_size} if sized else {})}
                     for one in sorted(folder.rglob("*")) if one.is_file()]  # fmt: skip
            said = {"id": repo, "modelId": repo, "sha": commit, "private": False, "tags": [], "siblings": files}
            return self.send(json.dumps(said).encode(), {"Content-Type": "application/json"}, body)
        file = folder / "/".join(parts[4:])
        if not file.is_file():
            return self.refuse("EntryNotFound")
        data = file.read_bytes()
        if body and (part := self.headers.get("Range", "")).startswith("bytes=") and "-" in part:
            first, last = part.removeprefix("bytes=").split("-")
            return self.send(data[int(first) : int(last) + 1], {"X-Repo-Commit": commit}, body, 206)
        if body:
            self.hub.asked.append("/".join(parts[4:]))
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return self.send(data, {"X-Repo-Commit": commit, "ETag": etag}, body)

    def refuse(self, code: str) -> None:
        self.send(b"", {"X-Error-Code": code}, False, 403 if code == "GatedRepo" else 404)

    def send(self, data: bytes, headers: dict[str, str], body: bool, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        if len(data) >= self.hub.large:
            self.wfile.write(data[:-1])
            self.wfile.flush()
            self.hub.hold.wait(30)
            data = data[-1:]
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass
