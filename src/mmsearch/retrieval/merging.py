"""Two libraries become one: the items of another are put into this, with their vectors."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import InputError
from mmsearch.index import lookup
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.importing import Imported, OnChunk, import_items
from mmsearch.retrieval.remembered import remembered_model
from mmsearch.retrieval.transfer.moving import Arrival
from mmsearch.retrieval.transfer.records import Chosen, Chunk, Manifest, collect


@dataclass(frozen=True, slots=True)
class LibrarySource:
    """Another library, open for reading. `waiting`: items without a vector, which stay behind."""

    catalog: Catalog
    manifest: Manifest

    @property
    def name(self) -> str:
        """How to name it to the user."""
        return f"the library {self.catalog.directory}"

    @property
    def waiting(self) -> int:
        """How many items have no vector, and stay behind."""
        return sum(lookup.waiting(self.catalog, modality) for modality in Chosen().modalities)

    def chunks(self) -> Iterator[Chunk]:
        """Yield all items that have a vector."""
        yield from collect(self.catalog, Chosen())


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of it. `waiting`: items of the other library that had no vector to bring."""

    imported: Imported
    waiting: int


def merge(
    other: Path,
    into: Path,
    *,
    arrival: Arrival | None = None,
    on_chunk: OnChunk | None = None,
) -> Merged:
    """Put the items of another library into one of the same space, an absent one is made.

    The other library is only read, as it is at the beginning. Raises InputError when it is the
    same one or holds nothing, SpaceMismatchError when its vectors are of another model.
    """
    if _is_same(other, into):
        raise InputError(f"{other} is the library itself; name another one to merge into it")
    with Catalog.open(other) as catalog, catalog.snapshot():
        space = catalog.space()
        if space is None:
            raise InputError(f"the library {other} holds nothing to merge")
        source = LibrarySource(catalog, Manifest(space, remembered_model(catalog)))
        imported = import_items(into, source, arrival=arrival, on_chunk=on_chunk)
        return Merged(imported, source.waiting)


def _is_same(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False
