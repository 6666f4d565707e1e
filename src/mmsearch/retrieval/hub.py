"""A model hub: what a repository holds, and its files fetched and verified.

The hub's plain HTTP interface: one question for the list of files with their sizes and
checksums, then each file by `download`. HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean
what they mean to everything else that talks to it.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlsplit

from mmsearch.errors import ModelError
from mmsearch.retrieval.download import (
    Checksum,
    OnBytes,
    RefusedError,
    RemoteFile,
    UnreachableError,
    fetch,
    get,
    matches,
)
from mmsearch.retrieval.specs import HubRepository

PUBLIC: Final = "https://huggingface.co"
_TRUE: Final = frozenset({"1", "on", "yes", "true"})

OnReceived: TypeAlias = Callable[[int, int], None]
"""Called with how many bytes are there, and how many there will be."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a repository holds at one commit; `licence` is what its card declares, or empty."""

    repository: HubRepository
    commit: str
    files: Mapping[str, RemoteFile]
    licence: str

    def bytes(self, names: Sequence[str]) -> int:
        """Return the size of some files together, as far as the hub tells."""
        return sum(self.files[name].size or 0 for name in names)


def check_reachable() -> None:
    """Ask the hub for anything, before what takes long. Raises UnreachableError."""
    host = urlsplit(endpoint()).netloc
    if _offline():
        raise UnreachableError(host, "HF_HUB_OFFLINE forbids it")
    with suppress(RefusedError):
        get(f"{endpoint()}/robots.txt", _headers())


def list_repository(repository: HubRepository) -> Listing:
    """Ask the hub what a repository holds.

    Raises UnreachableError when it cannot be asked, ModelError when it does not know the
    repository, wants a token, or answers with something else.
    """
    revision = quote(repository.revision or "main", safe="")
    url = f"{endpoint()}/api/models/{quote(repository.name)}/revision/{revision}?blobs=true"
    if _offline():
        raise UnreachableError(urlsplit(url).netloc, "HF_HUB_OFFLINE forbids it")
    try:
        answer = get(url, _headers() | {"Accept": "application/json"})
    except RefusedError as error:
        raise _refusal(repository, error) from error
    try:
        return _listing(repository, json.loads(answer))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{urlsplit(url).netloc} does not answer like a model hub; is HF_ENDPOINT right?"
        ) from error


def fetch_files(
    listing: Listing, names: Sequence[str], folder: Path, on_received: OnReceived
) -> None:
    """Fetch files of a repository to the same places below `folder`; those there stay.

    A file that lies in the hub's own cache on this machine is taken from there, if it matches
    its checksum. Raises what `fetch` does, ModelError when the disk is too small or the hub
    refuses.
    """
    total = listing.bytes(names)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not (folder / name).exists()]
    _check_room(folder, sum(listing.files[name].size or 0 for name in missing))
    done = 0
    for name in names:
        target = folder / name
        if not target.exists() and not _adopt(listing, name, target):
            try:
                fetch(listing.files[name], target, _adding_to(on_received, done, total))
            except RefusedError as error:
                raise _refusal(listing.repository, error) from error
        done += listing.files[name].size or target.stat().st_size
        on_received(done, total)


def _adding_to(on_received: OnReceived, before: int, total: int) -> OnBytes:
    """Return what is called for one file among many, `before` of whose bytes are there."""

    def on_bytes(now: int) -> None:
        on_received(before + now, total)

    return on_bytes


def cached_snapshot(repository: HubRepository) -> Path | None:
    """Return the folder where the hub's own cache holds a repository; None when it does not."""
    place = _cache() / f"models--{repository.name.replace('/', '--')}"
    wanted = repository.revision or "main"
    try:
        commit = (place / "refs" / wanted).read_text(encoding="utf-8").strip()
    except OSError:
        commit = wanted
    snapshot = place / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def endpoint() -> str:
    """Return the hub's address: $HF_ENDPOINT, else the public one. Raises ModelError."""
    address = os.environ.get("HF_ENDPOINT", "").rstrip("/") or PUBLIC
    if urlsplit(address).scheme not in {"http", "https"}:
        raise ModelError(f"HF_ENDPOINT is {address!r}; it must begin with https:// or http://")
    return address


def _listing(repository: HubRepository, document: dict[str, Any]) -> Listing:
    commit = str(document["sha"])
    base = f"{endpoint()}/{quote(repository.name)}/resolve/{quote(commit, safe='')}"
    files = {}
    for sibling in document["siblings"]:
        name = str(sibling["rfilename"])
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            continue  # nothing is ever written outside the folder for the download
        lfs = sibling.get("lfs") or {}
        size = lfs.get("size", sibling.get("size"))
        files[name] = RemoteFile(
            name=name,
            url=f"{base}/{quote(name)}",
            size=None if size is None else int(size),
            checksum=_checksum(sibling, lfs),
            headers=_headers(),
        )
    card = document.get("cardData") or {}
    licence = card.get("license_name") or card.get("license") or ""
    return Listing(repository, commit, files, licence if isinstance(licence, str) else "")


def _checksum(sibling: Mapping[str, Any], lfs: Mapping[str, Any]) -> Checksum | None:
    if lfs:
        return Checksum("sha256", str(lfs.get("sha256") or lfs["oid"]))
    blob = sibling.get("blobId")
    return Checksum("git", str(blob)) if blob else None


def _refusal(repository: HubRepository, error: RefusedError) -> ModelError:
    token = "" if "Authorization" in _headers() else " (no HF_TOKEN is set)"
    code = error.headers.get("X-Error-Code", "")
    if code == "RevisionNotFound":
        return ModelError(f"the repository {repository.name} has no {repository.revision!r}")
    if error.code == 403 or code == "GatedRepo":
        return ModelError(
            f"the repository {repository.name} asks to accept its terms: do so at "
            f"{endpoint()}/{repository.name} and set HF_TOKEN{token}"
        )
    if code == "EntryNotFound":
        return ModelError(f"the repository {repository.name} has changed just now; try again")
    if error.code in {401, 404}:
        return ModelError(
            f"there is no public repository {repository.name} at {endpoint()}; check the name, or "
            f"set HF_TOKEN if it is private{token}"
        )
    return ModelError(str(error))


def _adopt(listing: Listing, name: str, target: Path) -> bool:
    """Take a file from the hub's own cache on this machine; say whether it was there, sound."""
    snapshot = cached_snapshot(HubRepository(listing.repository.name, listing.commit))
    checksum = listing.files[name].checksum
    if snapshot is None or checksum is None or not (snapshot / name).is_file():
        return False
    if not matches(snapshot / name, checksum):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link((snapshot / name).resolve(), target)
    except OSError:  # on another disk, or not possible there
        shutil.copyfile(snapshot / name, target)
    return True


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{folder} has room for {free / 1e6:,.0f} MB where {needed / 1e6:,.0f} MB are to be "
            "fetched; free some, or let XDG_CACHE_HOME name another disk"
        )


def _headers() -> dict[str, str]:
    from importlib.metadata import version

    token = _token()
    given = {"Authorization": f"Bearer {token}"} if token else {}
    return {"User-Agent": f"mmsearch/{version('mmsearch')}", **given}


def _token() -> str:
    for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(variable):
            return os.environ[variable].strip()
    file = Path(os.environ.get("HF_TOKEN_PATH") or _home() / "token")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _cache() -> Path:
    return Path(os.environ.get("HF_HUB_CACHE") or _home() / "hub").expanduser()


def _home() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or Path(base) / "huggingface").expanduser()


def _offline() -> bool:
    given = (os.environ.get("HF_HUB_OFFLINE"), os.environ.get("TRANSFORMERS_OFFLINE"))
    return any(value and value.lower() in _TRUE for value in given)
