"""Items with their vectors as a folder: one NumPy array, a JSON object a line, a manifest.

Row n of `vectors.npy` belongs to line n of `items.jsonl`. `space.json` is the manifest, with the
SHA-256 of both; a folder without it was made by something else.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.errors import InputError
from mmsearch.retrieval.transfer.fields import FieldError, fields_of, record_of
from mmsearch.retrieval.transfer.manifest import manifest_text, read_manifest
from mmsearch.retrieval.transfer.records import Chunk, Manifest, Record

VECTORS: Final = "vectors.npy"
ITEMS: Final = "items.jsonl"
MANIFEST: Final = "space.json"
_ROWS: Final = 4096


def write_folder(folder: Path, manifest: Manifest, chunks: Iterable[Chunk], *, wide: bool) -> int:
    """Write the chunks as they come; return how many rows that were.

    `wide`: vectors as float32, for programs that do not know float16.
    """
    assert manifest.space is not None  # a library's own
    kind = np.dtype("<f4" if wide else "<f2")
    rows = 0
    with (folder / VECTORS).open("wb") as vectors, (folder / ITEMS).open("wb") as items:
        _write_header(vectors, kind, (0, manifest.space.dim))
        for chunk in chunks:
            vectors.write(np.ascontiguousarray(chunk.vectors, dtype=kind).tobytes())
            items.writelines(_line(record) for record in chunk.records)
            rows += len(chunk.records)
        vectors.seek(0)  # NumPy leaves room in the header for the rows to grow
        _write_header(vectors, kind, (rows, manifest.space.dim))
    files = {name: {"sha256": _sha256(folder / name)} for name in (VECTORS, ITEMS)}
    text = manifest_text(manifest, {"items": rows, "files": files})
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return rows


def is_export(folder: Path) -> bool:
    """Say whether a folder holds the files of an export and no others."""
    try:
        return {file.name for file in folder.iterdir()} == {VECTORS, ITEMS, MANIFEST}
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A folder of an array and its items. Made by `open_folder`."""

    folder: Path
    manifest: Manifest
    vectors: NDArray[Any]

    @property
    def name(self) -> str:
        """How to name it to the user."""
        return str(self.folder)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all items. Raises InputError where a line is wrong or lines are missing."""
        file = self.folder / ITEMS
        first = 1
        for lines in _batches(file):
            records = tuple(_record(line, file, first + n) for n, line in enumerate(lines))
            stop = first - 1 + len(records)
            if stop > len(self.vectors):
                break
            yield Chunk(first, records, np.asarray(self.vectors[first - 1 : stop], np.float32))
            first = stop + 1
        if first - 1 != len(self.vectors) or (first == 1 and any(_batches(file))):
            raise InputError(
                f"{self.folder} is damaged: {ITEMS} has not as many lines as {VECTORS} has rows"
            )


def open_folder(folder: Path) -> FolderSource:
    """Look at a folder; where it has a manifest, its checksums are compared.

    Raises InputError when it is damaged, incomplete or something else.
    """
    for name in (VECTORS, ITEMS):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is no export: it has no {name}")
    manifest, record = Manifest(None), dict[str, Any]()
    try:
        if (folder / MANIFEST).is_file():
            text = (folder / MANIFEST).read_bytes()
            manifest, record = read_manifest(text, str(folder / MANIFEST))
        _compare(folder, record)
        vectors = np.lib.format.open_memmap(folder / VECTORS, mode="r")
    except (ValueError, EOFError) as error:
        raise InputError(f"cannot read {folder / VECTORS}: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"{folder / VECTORS} is not one array of vectors: (rows, dimensions)")
    return FolderSource(folder, manifest, vectors)


def _compare(folder: Path, record: dict[str, Any]) -> None:
    """Compare the checksums of a manifest, where there is one."""
    files = record.get("files")
    known = files if isinstance(files, dict) else {}
    for name in known.keys() & {VECTORS, ITEMS}:
        if known[name] != {"sha256": _sha256(folder / name)}:
            raise InputError(f"{folder / name} is damaged: it has not the checksum it had")


def _write_header(file: Any, kind: "np.dtype[Any]", shape: tuple[int, int]) -> None:
    header = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _line(record: Record) -> bytes:
    fields = fields_of(record)
    for name in ("path_bytes", "root_bytes"):
        fields[name] = None if fields[name] is None else fields[name].hex()
    known = {name: value for name, value in fields.items() if value not in (None, [])}
    return json.dumps(known).encode() + b"\n"


def _record(line: bytes, file: Path, number: int) -> Record:
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise FieldError("no JSON object")
        for name in ("path_bytes", "root_bytes"):
            if fields.get(name) is not None:
                fields[name] = bytes.fromhex(fields[name])
        return record_of(fields)
    except FieldError as error:
        raise InputError(f"{file}, line {number}: {error}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{file}, line {number}: no JSON object of an item") from error


def _batches(file: Path) -> Iterator[list[bytes]]:
    """Yield the lines that are not empty, some thousands at a time."""
    lines: list[bytes] = []
    with file.open("rb") as opened:
        for line in opened:
            if line.strip():
                lines.append(line)
            if len(lines) == _ROWS:
                yield lines
                lines = []
    if lines:
        yield lines


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
