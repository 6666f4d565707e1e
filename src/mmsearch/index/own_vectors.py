"""The vectors that items have of their own, chunk by chunk: of fused ones, the picture's alone."""

from collections.abc import Iterator

import numpy as np

from mmsearch.core import Ids, Modality, Space, Vectors
from mmsearch.index.catalog import Catalog


def own_chunks(
    catalog: Catalog, space: Space, modality: Modality, *, among: Ids | None = None
) -> Iterator[tuple[Ids, Vectors]]:
    """Yield (ids, (n, dim) float32 rows), sorted by id; `among` None means all.

    Every row is verified, and that none is missing. To be read inside a `snapshot`.
    """
    fused = bool(catalog.rows("SELECT 1 FROM fused LIMIT 1"))
    for ids, vectors in catalog.vector_table(space, modality).chunks():
        keep = np.ones(len(ids), dtype=np.bool_) if among is None else np.isin(ids, among)
        if keep.any():
            some = ids[keep]
            yield some, catalog.own_vectors(space, some) if fused else vectors[keep]
