"""Check what lies beside a catalog: index files against their records, leftovers, quarantine."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mmsearch.errors import ConfigError, MMSearchError
from mmsearch.index import background_file, database
from mmsearch.index.database import QUARANTINE
from mmsearch.index.findings import Finding, Remedy, error, notice
from mmsearch.index.generation import DAMAGED, SUFFIX
from mmsearch.index.lock import is_at_work
from mmsearch.index.policy import IndexKind
from mmsearch.index.records import Record, records

INDEXES: Final = "index"
_FOLDER = re.compile(r"index(/[0-9a-f]{16}(/(image|text))?)?")
_BACKGROUND = re.compile(rf"index/[0-9a-f]{{16}}/(image|text)/{re.escape(background_file.NAME)}")
_PATH = re.compile(r"index/[0-9a-f]{16}/(image|text)/[0-9]+\.faiss")


def check_files(directory: Path, *, quick: bool = False) -> Iterator[Finding]:
    """Yield what is wrong with the index files, and what lies about.

    Nothing is said of the records when the catalog cannot be read: `check_catalog` does.
    """
    try:
        known = records(directory)
    except (*database.UNREADABLE, MMSearchError):
        known = []
    for record in known:
        yield from _check_newest(directory, record, quick=quick)
    yield from _check_folders(directory)
    yield from _leftovers(directory)
    yield from _quarantined(directory)


def in_the_way(directory: Path) -> list[str]:
    """Return what stands in the place of a folder of index files, relative to the library."""
    places = [directory / INDEXES, *(directory / INDEXES).glob("*"), *directory.glob("index/*/*")]
    names = [str(p.relative_to(directory)) for p in places if os.path.lexists(p) and not p.is_dir()]
    return sorted(name for name in names if _FOLDER.fullmatch(name))


def _check_folders(directory: Path) -> Iterator[Finding]:
    for name in in_the_way(directory):
        yield error(f"{name} is no folder: no index file can be written there", Remedy.INDEX)


def faults(directory: Path, record: Record) -> list[Finding]:
    """Return what is wrong with one index file, its checksum included."""
    return list(_check_record(directory, record, quick=False))


def is_index_name(name: object) -> bool:
    """Return whether a record may name this file."""
    return isinstance(name, str) and _PATH.fullmatch(name) is not None


def _check_newest(directory: Path, record: Record, *, quick: bool) -> list[Finding]:
    """Return what is wrong with a recorded index file, or with that which has replaced it.

    A writer may have done so while it was read. It records the new one first.
    """
    now: Record | None = record
    while now is not None:
        found, record = list(_check_record(directory, now, quick=quick)), now
        now = _newest(directory, record) if found else record
        if now == record:
            return found
    return []  # it was forgotten: there is no such index now


def _newest(directory: Path, record: Record) -> Record | None:
    """Return what is recorded now in the place of a record; the same when nobody can say."""
    try:
        known = records(directory)
    except (*database.UNREADABLE, MMSearchError):
        return record
    place = (record.space_id, record.modality)
    return next((r for r in known if (r.space_id, r.modality) == place), None)


def _check_record(directory: Path, record: Record, *, quick: bool) -> Iterator[Finding]:
    if not is_index_name(record.file) or record.kind not in list(IndexKind):
        yield error(f"{record.name} is not what a record names", Remedy.COUNT)
        return
    path = directory / record.file
    try:
        size = path.stat().st_size
        sha256 = "" if quick else _sha256(path)
    except OSError as problem:
        yield error(f"{record.name} cannot be read: {problem.strerror}", Remedy.INDEX)
        return
    if size != record.size:
        yield error(f"{record.name} has {size:,} bytes, not {record.size:,}", Remedy.INDEX)
    elif sha256 and sha256 != record.sha256:
        yield error(f"{record.name} does not match its checksum", Remedy.INDEX)
    elif not quick:
        from mmsearch.index.checking_contents import check_contents

        yield from check_contents(directory, record)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _leftovers(directory: Path) -> Iterator[Finding]:
    """Yield what lies about among the index files, and is no part of what is being written."""
    paths = sorted(files_below(directory / INDEXES))
    written = is_at_work(directory)
    known = _recorded(directory)  # after the look, so that what a writer has finished is there
    for path in paths:
        name = str(path.relative_to(directory))
        if path.suffix == DAMAGED:
            yield notice(f"{name} was damaged and set aside", "delete it when you like")
        elif _BACKGROUND.fullmatch(name):
            yield from _check_background(path, name)
        elif not (written or name in known or _FOLDER.fullmatch(name)) and path.is_file():
            what = "belongs to no record" if path.suffix == SUFFIX else "is a leftover of a crash"
            yield notice(f"{name} {what}", "the next writer removes it")


def _recorded(directory: Path) -> set[str]:
    """Return the names of the recorded index files; none when the catalog cannot be read."""
    try:
        return {record.file for record in records(directory)}
    except (*database.UNREADABLE, MMSearchError):
        return set()


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; what goes away meanwhile is passed over."""
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def size_of(path: Path) -> int:
    """Return the bytes of a file, 0 when it went away just now."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _check_background(path: Path, name: str) -> Iterator[Finding]:
    try:
        background_file.parse_backgrounds(path.read_bytes())
    except FileNotFoundError:  # it went with its space
        return
    except (OSError, ConfigError) as problem:
        yield notice(f"{name} cannot be used: {problem}", "the next --cutoff makes it anew")


def _quarantined(directory: Path) -> Iterator[Finding]:
    for folder in sorted((directory / QUARANTINE).glob("*")):
        size = sum(map(size_of, files_below(folder)))
        yield notice(
            f"{QUARANTINE}/{folder.name} holds {size / 1e6:.1f} MB that a repair set aside",
            "delete it when you no longer need it",
        )
