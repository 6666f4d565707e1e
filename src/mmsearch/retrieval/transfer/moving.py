"""Records for the machine they come to: other paths, and digests where they had none."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from mmsearch.core import Modality
from mmsearch.errors import InputError
from mmsearch.retrieval.files import open_regular
from mmsearch.retrieval.paths import absolute, contains
from mmsearch.retrieval.transfer.records import Record

PathMap: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""(old, new) absolute paths; the first that holds a path moves it."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is done to records before they are put into a library.

    `paths`: which folders have another name here. `root`: the folder that pictures without a
    root belong to, when they lie in it.
    """

    paths: PathMap = ()
    root: bytes | None = None


def parse_map(values: Sequence[str]) -> PathMap:
    """Return what `--map OLD=NEW` means. Raises InputError for anything else."""
    found = []
    for value in values:
        old, equals, new = value.partition("=")
        if not (equals and old.startswith("/") and new):
            raise InputError(f"{value!r} is not OLD=NEW, such as /home/me/photos=/mnt/photos")
        found.append((os.fsencode(old).rstrip(b"/") or b"/", absolute(new)))
    return tuple(found)


def moved(path: bytes, paths: PathMap) -> bytes:
    """Return where a path lies here."""
    for old, new in paths:
        if contains(old, path):
            below = path[len(old) :].lstrip(b"/")
            return new.rstrip(b"/") + b"/" + below if below else new
    return path


def arrived(record: Record, arrival: Arrival) -> Record:
    """Return a record with the paths of this machine, and a root where one is known."""
    path = None if record.path is None else moved(record.path, arrival.paths)
    root = None if record.root is None else moved(record.root, arrival.paths)
    if root is None and path is not None and arrival.root and contains(arrival.root, path):
        root = arrival.root
    return replace(record, path=path, root=root)


def read_file(record: Record) -> Record | None:
    """Return a picture's record with what its file says; None when it cannot be read."""
    if record.path is None or record.modality is Modality.TEXT:
        return record
    try:
        with open_regular(record.path) as file:
            stat = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
    return replace(record, digest=digest, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
