"""Put exported items with their vectors into a library: nothing is encoded."""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mmsearch.core import Modality, Space
from mmsearch.errors import InputError, ModelError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.folder import read_model_folder
from mmsearch.retrieval.models import canonical_spec, resolve_model
from mmsearch.retrieval.remembered import remember_model
from mmsearch.retrieval.transfer.moving import Arrival, arrived, read_file
from mmsearch.retrieval.transfer.numpy_folder import open_folder
from mmsearch.retrieval.transfer.parquet import open_parquet
from mmsearch.retrieval.transfer.placing import Placed, Placer
from mmsearch.retrieval.transfer.records import Chunk, Record, Source
from mmsearch.retrieval.transfer.validating import checked_chunks

OnChunk = Callable[[int], None]
"""Told how many rows are done."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it. `model`: the spec that the library remembers for its space, if any."""

    placed: Placed
    space: Space
    model: str | None
    warnings: list[str] = field(default_factory=list)


def open_source(path: Path) -> Source:
    """Look at an exported file or folder. Raises InputError when it is damaged or none."""
    if path.is_dir():
        return open_folder(path)
    if path.is_file():
        return open_parquet(path)
    raise InputError(f"there is no file or folder {shown(path)}")


def import_items(
    directory: Path,
    source: Source,
    *,
    model: str | None = None,
    arrival: Arrival | None = None,
    on_chunk: OnChunk | None = None,
) -> Imported:
    """Put the items of a source into the library of a directory, an absent one is made.

    Everything is read and checked once before anything is written; then some thousand items are
    written at a time, and doing it again goes on after an interruption. Files need not be there.
    `model` is that of the vectors, for a source that does not say. Raises InputError for a source
    that is damaged, SpaceMismatchError when the library has another space.
    """
    here = arrival or Arrival()
    space, spec = _space(source, model)
    _check_library(directory, space, source.name)
    for chunk in checked_chunks(source, space):
        _check_roots(chunk, here, source.name)
    with Catalog.open(directory, write=True) as catalog:
        _refuse_other(catalog, space, source.name)  # somebody may have been here meanwhile
        if model is not None or catalog.space() is None:
            remember_model(catalog, space, spec)
        catalog.set_space(space)
        placer = Placer(catalog)
        done = 0
        for chunk in checked_chunks(source, space):
            placer.place(_arrived(chunk, here, placer.placed))
            done += len(chunk.records)
            if on_chunk is not None:
                on_chunk(done)
        indexes = IndexStore(catalog, directory)
        indexes.refresh(space)
    return Imported(placer.placed, space, spec, indexes.warnings)


def _space(source: Source, model: str | None) -> tuple[Space, str | None]:
    """Return the space of a source's vectors, and under which spec its model can be loaded here.

    Raises ModelError for a model that cannot be used, SpaceMismatchError for another one than
    that of the vectors.
    """
    own = source.manifest.space
    if model is None:
        if own is None:
            raise InputError(
                f"{source.name} does not say which model its vectors are of; give --model MODEL, "
                "if you know that they are of one that you have"
            )
        return own, _loadable(source.manifest.model, own) or _loadable(own.name, own)
    given = read_model_folder(resolve_model(model)).space
    if own is not None and own.digest != given.digest:
        raise SpaceMismatchError(
            f"{source.name} holds vectors of the model {own.name}, not of {given.name}; leave out "
            "--model"
        )
    return given, canonical_spec(model)


def _loadable(spec: str | None, space: Space) -> str | None:
    """Return a spec in the form to remember when it means the model of a space on this machine."""
    try:
        if spec is None or read_model_folder(resolve_model(spec)).space.digest != space.digest:
            return None
        return canonical_spec(spec)
    except (ModelError, OSError):
        return None


def _check_library(directory: Path, space: Space, name: str) -> None:
    """Refuse vectors of another space than those that the library holds."""
    if not Catalog.exists(directory):
        return
    if Catalog.is_older(directory):
        Catalog.open(directory, write=True).close()  # migrates it
    with Catalog.open(directory) as catalog:
        _refuse_other(catalog, space, name)


def _refuse_other(catalog: Catalog, space: Space, name: str) -> None:
    with catalog.snapshot():
        current = catalog.space()
        if current is None or current.digest == space.digest or not catalog.counts().items:
            return
    directory = catalog.directory
    raise SpaceMismatchError(
        f"{name} holds vectors of the model {space.name}, the library {directory} those of "
        f"{current.name}; choose another --library, or encode this one anew first: mmsearch index "
        f"--reindex --model {shlex.quote(space.name)} --library {shlex.quote(str(directory))}"
    )


def _check_roots(chunk: Chunk, here: Arrival, name: str) -> None:
    for row, record in enumerate(chunk.records, start=chunk.first):
        if record.modality is Modality.IMAGE and arrived(record, here).root is None:
            raise InputError(
                f"{name}, row {row}: no folder is named that {shown(record.path or b'')} belongs "
                "to; give --root DIR, a folder above all pictures"
            )


def _arrived(chunk: Chunk, here: Arrival, placed: Placed) -> Chunk:
    """Return a chunk with paths of this machine, without pictures that nobody has read."""
    records: list[Record] = []
    rows = []
    for row, record in enumerate(_moved(chunk, here)):
        whole = read_file(record) if record.digest is None else record
        if whole is None:
            placed.missing += 1
        else:
            records.append(whole)
            rows.append(row)
    if len(rows) == len(chunk.records):
        return replace(chunk, records=tuple(records))
    return Chunk(chunk.first, tuple(records), chunk.vectors[np.array(rows, dtype=np.int64)])


def _moved(chunk: Chunk, here: Arrival) -> Iterator[Record]:
    for record in chunk.records:
        yield arrived(record, here)
