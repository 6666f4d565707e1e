"""What travels: items with all that is known of them, some thousands at a time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from mmsearch.core import Ids, Modality, Photo, Space, Vectors
from mmsearch.errors import DataError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.own_vectors import own_chunks
from mmsearch.index.rows import Label, RootKind

FORMAT: Final = 1
"""Of exported files; a higher one is refused."""


@dataclass(frozen=True, slots=True)
class Record:
    """One item without its vector. `root` None: it was added from Python, or nobody said.

    `path` and `root` are absolute, the bytes that the operating system uses. `id` is the one
    that it had, for people. `digest` None: nobody has read the file yet.
    """

    id: int
    modality: Modality
    path: bytes | None
    text: str | None
    root: bytes | None
    digest: str | None
    size: int
    mtime_ns: int
    photo: Photo | None = None
    labels: tuple[Label, ...] = ()
    captions: tuple[str, ...] = ()

    @property
    def root_kind(self) -> RootKind:
        """What the root of an item is, by what the item is."""
        if self.modality is Modality.TEXT:
            return RootKind.TEXTS
        return RootKind.FILE if self.root == self.path else RootKind.FOLDER


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records with their vectors, (n, dim) float32; `first` is the row of the first, from 1."""

    first: int
    records: tuple[Record, ...]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is said of all items. `space` None: a file of others, which does not say.

    `model` is the spec under which the encoder could be loaded where the items come from.
    """

    space: Space | None
    model: str | None = None


class Source(Protocol):
    """Items that can be read, as often as wanted."""

    @property
    def name(self) -> str:
        """How to name it to the user."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What is said of all items."""
        ...

    def chunks(self) -> Iterator[Chunk]:
        """Yield all items in order. Raises InputError where they cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which items of a library: of some modalities; `among`: sorted ids of each, None: all."""

    modalities: tuple[Modality, ...] = tuple(Modality)
    among: dict[Modality, Ids] | None = None


def collect(catalog: Catalog, chosen: Chosen) -> Iterator[Chunk]:
    """Yield the items of a library that have a vector, pictures first; inside a `snapshot`.

    Vectors are the items' own: a picture that is fused with its captions is fused again where
    it arrives. Raises UnsoundLibraryError when a row does not match its checksum.
    """
    space = catalog.space()
    if space is None:
        return
    first = 1
    for modality in chosen.modalities:
        among = None if chosen.among is None else chosen.among[modality]
        for ids, vectors in own_chunks(catalog, space, modality, among=among):
            records = _records(catalog, space, ids)
            if len(records) != len(ids):
                raise DataError(f"items of {catalog.directory} were removed meanwhile; try again")
            yield Chunk(first, records, vectors)
            first += len(records)


def _records(catalog: Catalog, space: Space, ids: Ids) -> tuple[Record, ...]:
    items = catalog.found_items(space, ids)
    photos, labels = attributes.photos(catalog, ids), attributes.labels(catalog, ids)
    captions = attributes.captions(catalog, ids)
    return tuple(
        Record(
            number,
            item.modality,
            None if item.path is None else os.fsencode(item.path),
            item.text,
            None if item.root is None else os.fsencode(item.root),
            item.digest,
            item.size,
            item.mtime_ns,
            photos.get(number),
            labels.get(number, ()),
            captions.get(number, ()),
        )
        for number in ids.tolist()
        if (item := items.get(number)) is not None
    )
