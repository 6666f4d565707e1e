"""Fetch one file over HTTP: resumable, and compared with what it must be.

The standard library alone. A file that is not complete lies beside its place as `NAME.partial`
and is gone on with by the next call, in this process or a later one.
"""

import hashlib
import http.client
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from mmsearch.errors import ModelError

PARTIAL: Final = ".partial"
TIMEOUT: Final = 10.0
"""Seconds for a connection, and for each wait for more bytes."""
PAUSE: Final = 1.0
"""Seconds before a download that broke off is gone on with."""
TRIES: Final = 5
"""How often in a row a download may break off without a further byte."""
_CHUNK: Final = 1 << 20
_BREAKS: Final = (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)

OnBytes: TypeAlias = Callable[[int], None]
"""Called with how many bytes of the file are there now."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the content of a file must hash to.

    `kind` is `sha256`, or `git`: the id of a git blob, SHA-1 over a header and the content.
    """

    kind: str
    hex: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file to fetch: its name for people, and what is known of it beforehand."""

    name: str
    url: str
    size: int | None = None
    checksum: Checksum | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class UnreachableError(ModelError):
    """A server cannot be asked; `host` says which."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"cannot reach {host} ({reason})")
        self.host = host


class RefusedError(ModelError):
    """A server answered with an error; `code` is that of HTTP."""

    def __init__(self, url: str, code: int, headers: Message) -> None:
        super().__init__(f"{urlsplit(url).netloc} answered {code} for {urlsplit(url).path}")
        self.code = code
        self.headers = headers


def fetch(file: RemoteFile, target: Path, on_bytes: OnBytes = lambda _: None) -> None:
    """Fetch a file to `target`, going on where an earlier try broke off.

    Raises UnreachableError or RefusedError, ModelError when the connection broke off too often
    or the content is not what was promised: then it is deleted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    partial = _partial(target)
    failures = 0
    while not _complete(partial, file.size):
        before = _size(partial)
        reason = _try(file, partial, on_bytes)
        if not reason:
            break
        failures = 0 if _size(partial) > before else failures + 1
        if failures >= TRIES:
            raise ModelError(
                f"the download of {file.name} broke off at {_size(partial):,} bytes ({reason}); "
                "what is there is kept: run the same command to go on"
            )
        time.sleep(PAUSE)
    _verify(file, partial)
    partial.replace(target)


def partial_bytes(target: Path) -> int:
    """Return how many bytes of a file an earlier try has left."""
    return _size(_partial(target))


def get(url: str, headers: Mapping[str, str]) -> bytes:
    """Return what a URL answers. Raises UnreachableError or RefusedError."""
    try:
        with _open(url, headers) as response:
            return bytes(response.read())
    except _BREAKS as error:
        raise UnreachableError(urlsplit(url).netloc, _reason(error)) from error


def matches(file: Path, checksum: Checksum) -> bool:
    """Say whether a file on the disk has a checksum."""
    return _digest(file, checksum.kind) == checksum.hex


def _try(file: RemoteFile, partial: Path, on_bytes: OnBytes) -> str:
    """Receive what is missing; return why the file is not complete, empty when it is."""
    try:
        return "" if _receive(file, partial, on_bytes) else "the connection closed early"
    except _BREAKS as error:
        return str(error) or type(error).__name__


def _receive(file: RemoteFile, partial: Path, on_bytes: OnBytes) -> bool:
    """Append what is missing; False when the connection ended before the file did."""
    offset = _size(partial)
    headers = dict(file.headers) | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        response = _open(file.url, headers)
    except RefusedError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not offset:
            raise
        partial.unlink()
        return False
    with response:
        if offset and not _continues(response, offset):
            offset = 0
        expected = _expected(response, offset) if file.size is None else file.size
        with partial.open("r+b" if offset else "wb") as stream:
            stream.seek(offset)
            while block := response.read1(_CHUNK):
                stream.write(block)
                offset += len(block)
                on_bytes(offset)
    return expected is None or offset >= expected


def _continues(response: Any, offset: int) -> bool:
    """Say whether an answer is the rest of the file from `offset`, not the whole again."""
    given = str(response.headers.get("Content-Range", ""))
    partial = response.status == http.HTTPStatus.PARTIAL_CONTENT
    return bool(partial) and given.startswith(f"bytes {offset}-")


def _expected(response: Any, offset: int) -> int | None:
    length = response.headers.get("Content-Length")
    return offset + int(length) if length and length.isdigit() else None


def _verify(file: RemoteFile, partial: Path) -> None:
    size = _size(partial)
    if file.size is not None and size != file.size:
        partial.unlink()
        raise ModelError(
            f"{file.name} has {size:,} bytes where {file.size:,} were promised; it was deleted: "
            "run the same command to fetch it anew"
        )
    if file.checksum is not None and not matches(partial, file.checksum):
        found = _digest(partial, file.checksum.kind)
        partial.unlink()
        raise ModelError(
            f"{file.name} arrived with the checksum {found[:16]} where {file.checksum.hex[:16]} "
            "was promised; it was deleted: run the same command to fetch it anew, and do not "
            "trust that server if this happens again"
        )


def _digest(file: Path, kind: str) -> str:
    with file.open("rb") as stream:
        if kind == "sha256":
            return hashlib.file_digest(stream, "sha256").hexdigest()
        header = f"blob {file.stat().st_size}\0".encode()
        blob = hashlib.sha1(header, usedforsecurity=False)  # git's own, for what is no secret
        for block in iter(lambda: stream.read(_CHUNK), b""):
            blob.update(block)
        return blob.hexdigest()


def _open(url: str, headers: Mapping[str, str]) -> Any:
    """Open a URL. Raises UnreachableError, RefusedError or one of `_BREAKS`."""
    request = urllib.request.Request(url, headers=dict(headers))
    try:
        return _OPENER.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _PASSING:
            raise ConnectionError(f"the server answered {error.code}") from error
        raise RefusedError(url, error.code, error.headers) from error
    except urllib.error.URLError as error:
        raise UnreachableError(urlsplit(url).netloc, _reason(error.reason)) from error


def _reason(error: object) -> str:
    match error:
        case socket.gaierror():
            return "its name cannot be resolved; is this machine offline?"
        case TimeoutError():
            return f"no answer within {TIMEOUT:.0f} seconds"
        case ssl.SSLCertVerificationError():
            return "its certificate cannot be verified; SSL_CERT_FILE may name yours"
        case OSError() if error.strerror:
            return os.strerror(error.errno) if error.errno else error.strerror
    return str(error)


def _partial(target: Path) -> Path:
    return target.with_name(target.name + PARTIAL)


def _complete(partial: Path, size: int | None) -> bool:
    return size is not None and partial.exists() and _size(partial) >= size


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects; the token of one host is not shown to another."""

    def redirect_request(self, *given: Any) -> urllib.request.Request | None:
        """Return the request that follows: given are the one before, ..., and the new URL."""
        before, url = given[0], given[-1]
        following = super().redirect_request(*given)
        if following is not None and urlsplit(url)[:2] != urlsplit(before.full_url)[:2]:
            following.remove_header("Authorization")
        return following


_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_OPENER: Final = urllib.request.build_opener(_Redirects)
