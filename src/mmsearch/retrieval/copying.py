"""Give files the vectors and facts of items with the same content: nothing is encoded."""

from collections.abc import Mapping, Sequence
from typing import Final

from mmsearch.core import Space
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch
from mmsearch.retrieval.plan import Copy, Kind, Task
from mmsearch.retrieval.report import IngestReport
from mmsearch.retrieval.writer import count_kinds, file_row

_CHUNK: Final = 4096


def copy_items(
    catalog: Catalog,
    space: Space,
    root_ids: Mapping[bytes, int],
    copies: Sequence[Copy],
    report: IngestReport,
) -> None:
    """Commit copies and count them; `root_ids` by path.

    Copies over known items come last, with all vectors read beforehand: they replace vectors
    that other copies may want.
    """
    fresh = [copy for copy in copies if copy.kind is Kind.NEW]
    chunks = [fresh[start : start + _CHUNK] for start in range(0, len(fresh), _CHUNK)]
    for chunk in [*chunks, [copy for copy in copies if copy.kind is not Kind.NEW]]:
        if chunk:
            _commit(catalog, space, root_ids, chunk)
            count_kinds(report, [copy.kind for copy in chunk])


def _commit(
    catalog: Catalog, space: Space, root_ids: Mapping[bytes, int], copies: Sequence[Copy]
) -> None:
    sources = [copy.source for copy in copies]
    vectors = catalog.own_vectors(space, sources)
    photos = attributes.photos(catalog, sources)
    rows = (
        file_row(
            Task(copy.found, copy.kind), root_ids, copy.digest, vector, photos.get(copy.source)
        )
        for copy, vector in zip(copies, vectors, strict=True)
    )
    catalog.commit(Batch(files=tuple(rows)))
