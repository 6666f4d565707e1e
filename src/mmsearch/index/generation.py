"""Generations: index files written whole or not at all, and recorded in the catalog."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mmsearch.core import Modality, Space
from mmsearch.index import failpoints
from mmsearch.index.catalog import Catalog
from mmsearch.index.database import fsync_directory
from mmsearch.index.policy import IndexKind, Parameters
from mmsearch.index.rows import Generation, Stamp

SUFFIX = ".faiss"
DAMAGED = ".damaged"
_TEMPORARY = ".tmp"
_FULL_CHECK = 4 << 20  # bytes; up to here a checksum at every open costs a few milliseconds


class HashingWriter:
    """A file being written; `sha256` and `stamp` stand when it is complete."""

    def __init__(self, file: BinaryIO) -> None:
        self.sha256 = ""
        self.stamp = Stamp(0, 0, 0)
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, block: bytes) -> None:
        """Append a block."""
        self._hash.update(block)
        self._file.write(block)
        failpoints.reach("mid-index-write")

    def finish(self) -> None:
        """Make what was written durable and note its checksum."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.sha256 = self._hash.hexdigest()
        self.stamp = stamp_of(self._file)


@contextmanager
def written(path: Path) -> Iterator[HashingWriter]:
    """Write a file that appears under its name only when it is complete and durable.

    Temporary file, fsync, rename, fsync of the directory. Raises OSError, and then leaves
    nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(_TEMPORARY)
    try:
        with temporary.open("wb") as file:
            writer = HashingWriter(file)
            yield writer
            writer.finish()
        failpoints.reach("before-rename")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)
    failpoints.reach("after-rename")


def stamp_of(file: BinaryIO) -> Stamp:
    """Return the stamp of an open file."""
    status = os.fstat(file.fileno())
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino)


def check(path: Path, generation: Generation) -> Stamp | None:
    """Return the file's stamp when it is what was recorded, None when it is damaged.

    A file of the recorded size, time and inode is believed when it is large; otherwise its
    checksum is computed. Raises OSError when it cannot be read.
    """
    with path.open("rb") as file:
        stamp = stamp_of(file)
        if stamp.size != generation.stamp.size:
            return None
        if stamp == generation.stamp and stamp.size > _FULL_CHECK:
            return stamp
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return stamp if sha256 == generation.sha256 else None


def file_name(space: Space, modality: Modality, number: int) -> str:
    """Return where a generation is kept, relative to the library folder."""
    digest = space.digest
    if re.fullmatch("[0-9a-f]{16,}", digest) is None:
        digest = hashlib.sha256(digest.encode()).hexdigest()
    return f"index/{digest[:16]}/{modality.value}/{number:08d}{SUFFIX}"


def recorded(catalog: Catalog, space: Space, modality: Modality) -> Generation | None:
    """Return the generation that the catalog records for a space and modality.

    None also when it is of a kind that is not known here: it is a cache, like its file.
    """
    rows = catalog.rows(
        "SELECT number, kind, revision, rows, file, sha256, parameters, size, mtime_ns, inode "
        "FROM generations JOIN spaces ON spaces.id = space_id "
        "WHERE digest = ? AND modality = ? ORDER BY number DESC LIMIT 1",
        space.digest,
        modality.value,
    )
    if not rows:
        return None
    number, name, revision, count, file, sha256, text, *stamp = rows[0]
    try:
        kind = IndexKind(name)
        parameters = None if kind is IndexKind.FLAT else Parameters.from_json(text)
    except ValueError:
        return None
    return Generation(
        number, space, modality, kind, revision, count, file, sha256, Stamp(*stamp), parameters
    )


def next_number(catalog: Catalog) -> int:
    """Return the number of the next generation."""
    rows = catalog.rows("SELECT seq FROM sqlite_sequence WHERE name = 'generations'")
    return int(rows[0][0]) + 1 if rows else 1


def record(catalog: Catalog, generation: Generation) -> None:
    """Record a generation in place of the one before; forget removals that it knows of."""
    of = (
        catalog.vector_table(generation.space, generation.modality).space_id,
        generation.modality.value,
    )
    with catalog.transaction() as db:
        db.execute("DELETE FROM generations WHERE space_id = ? AND modality = ?", of)
        db.table("generations").insert(
            {
                "number": generation.number,
                "space_id": of[0],
                "modality": of[1],
                "kind": generation.kind.value,
                "revision": generation.revision,
                "rows": generation.rows,
                "file": generation.file,
                "sha256": generation.sha256,
                "parameters": _text(generation.parameters),
                "size": generation.stamp.size,
                "mtime_ns": generation.stamp.mtime_ns,
                "inode": generation.stamp.inode,
            }
        )
        db.execute(
            "DELETE FROM removals WHERE space_id = ? AND modality = ? AND revision <= ?",
            (*of, generation.revision),
        )


def _text(parameters: Parameters | None) -> str:
    return "{}" if parameters is None else parameters.to_json()


def forget(catalog: Catalog, space: Space, modality: Modality) -> None:
    """Forget the generation of a space and modality."""
    table = catalog.vector_table(space, modality)
    with catalog.transaction() as db:
        db.execute(
            "DELETE FROM generations WHERE space_id = ? AND modality = ?",
            (table.space_id, modality.value),
        )


def quarantine(path: Path) -> None:
    """Set a damaged file aside, for whoever wants to know what happened to it."""
    if os.path.lexists(path):
        path.replace(path.with_suffix(DAMAGED))


def synced_copy(source: Path, target: Path) -> None:
    """Copy a file durably; the directory is left to the caller."""
    import shutil  # brings compression libraries along, which no reader needs

    with source.open("rb") as old, target.open("wb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())


def sweep(directory: Path, keep: str) -> None:
    """Remove generations of one folder other than `keep`, and what a crash left behind."""
    if directory.is_dir():
        for path in directory.iterdir():
            if path.suffix in {SUFFIX, _TEMPORARY} and path.name != keep:
                path.unlink(missing_ok=True)
