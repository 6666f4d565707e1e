"""A model hub on this machine: its HTTP interface, over folders that a test writes.

Redirects large files to another "host" (another port), answers ranges, and can break off.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 2000
"""Bytes from which a file is kept apart (LFS): redirected, and named by its SHA-256."""


@dataclass(slots=True)
class Hub:
    """What the hub holds, what was asked of it, and how it misbehaves.

    `repositories` maps a name to its folder. `cut` is how many bytes of a large file are sent
    before the connection breaks off, `cuts` how often that happens. `wrong` are files that are
    sent with a flipped bit. `gated`: the list can be seen, and no file.
    """

    repositories: dict[str, Path] = field(default_factory=dict)
    licence: str = "mit"
    cut: int = 0
    cuts: int = 0
    no_ranges: bool = False
    wrong: set[str] = field(default_factory=set)
    private: str = ""
    gated: bool = False
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    endpoint: str = ""
    store: str = ""

    def paths(self, kind: str) -> list[str]:
        """Return what was asked for under "api", "resolve" or "store"."""
        return [path for seen, path, _ in self.asked if seen == kind]

    def commit(self, name: str) -> str:
        """Return the id of what a repository holds now."""
        files = sorted(p for p in self.repositories[name].rglob("*") if p.is_file())
        text = "".join(f"{p}{hashlib.sha1(p.read_bytes()).hexdigest()}" for p in files)
        return hashlib.sha1(text.encode()).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub, and a second server for large files."""
    hub = Hub()
    servers = []
    for handler in (_HubHandler, _StoreHandler):
        made = type(handler.__name__, (handler,), {"hub": hub})
        server = ThreadingHTTPServer(("127.0.0.1", 0), made)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
    hub.endpoint, hub.store = (f"http://127.0.0.1:{s.server_address[1]}" for s in servers)
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def note(self, kind: str) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.asked.append((kind, self.path, headers))

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _HubHandler(_Handler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words = unquote(parts.path).strip("/").split("/")
        if words[:2] == ["api", "models"]:
            self.note("api")
            self._describe(words[2:], parse_qs(parts.query))
        elif "resolve" not in words:
            self.answer(404)
        else:
            self.note("resolve")
            self._resolve(words)

    def _describe(self, words: list[str], query: dict[str, list[str]]) -> None:
        at = words.index("revision")
        name, revision = "/".join(words[:at]), words[at + 1]
        if self._refused(name):
            return
        commit = self.hub.commit(name)
        if revision not in {"main", commit}:
            self.answer(404, X_Error_Code="RevisionNotFound")
            return
        folder = self.hub.repositories[name]
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        siblings = [_sibling(p, p.relative_to(folder).as_posix()) for p in files]
        if query.get("blobs") != ["true"]:
            siblings = [{"rfilename": s["rfilename"]} for s in siblings]
        card = {"license": self.hub.licence}
        document = {"id": name, "sha": commit, "siblings": siblings, "cardData": card}
        self.answer(200, json.dumps(document).encode(), Content_Type="application/json")

    def _resolve(self, words: list[str]) -> None:
        at = words.index("resolve")
        name, commit, file = "/".join(words[:at]), words[at + 1], "/".join(words[at + 2 :])
        if self._refused(name):
            return
        path = self.hub.repositories[name] / file
        if commit != self.hub.commit(name) or not path.is_file():
            self.answer(404, X_Error_Code="EntryNotFound")
        elif path.stat().st_size >= LARGE:
            self.answer(302, Location=f"{self.hub.store}/{name}/{file}?signed=1")
        else:
            self.answer(200, _content(self.hub, path))

    def _refused(self, name: str) -> bool:
        token = self.headers.get("Authorization", "")
        if self.hub.gated and "/resolve/" in self.path:
            self.answer(403 if token else 401, X_Error_Code="GatedRepo")
        elif name not in self.hub.repositories or (self.hub.private and token != self.hub.private):
            self.answer(401, X_Error_Code="RepoNotFound")
        else:
            return False
        return True


class _StoreHandler(_Handler):
    def do_GET(self) -> None:
        self.note("store")
        if self.headers.get("Authorization"):
            self.answer(400)
            return
        path = unquote(urlsplit(self.path).path).strip("/")
        name = next(n for n in self.hub.repositories if path.startswith(f"{n}/"))
        content = _content(self.hub, self.hub.repositories[name] / path.removeprefix(f"{name}/"))
        given = "" if self.hub.no_ranges else self.headers.get("Range", "")
        start = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
        if start >= len(content):
            self.answer(416)
            return
        self.send_response(206 if given else 200)
        if given:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        if self.hub.cuts and self.hub.cut < len(rest):
            self.hub.cuts -= 1
            self.wfile.write(rest[: self.hub.cut])
            self.close_connection = True
            return
        self.wfile.write(rest)


def _content(hub: Hub, path: Path) -> bytes:
    content = bytearray(path.read_bytes())
    if path.name in hub.wrong and content:
        content[len(content) // 2] ^= 1
    return bytes(content)


def _sibling(path: Path, name: str) -> dict[str, Any]:
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    sibling: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LARGE:
        digest = hashlib.sha256(content).hexdigest()
        sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
    return sibling
