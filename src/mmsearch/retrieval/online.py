"""Leave out of an answer what lies on a drive or in a folder that is not there now."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from mmsearch.core import Ids, Matches, Modality
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.presence import stands

Search: TypeAlias = Callable[[int, Ids | None], Matches]
"""The best `k` of one modality, among some ids or all."""


def offline_ids(catalog: Catalog) -> Ids:
    """Return the sorted ids of the items whose root is not there now.

    Looks at every root, whatever the last `index` run found.
    """
    away = [root for root in catalog.roots() if not stands(catalog, root)]
    return selection.of_roots(catalog, away)


def best_online(catalog: Catalog, modality: Modality, search: Search, k: int) -> Matches:
    """Return the k best of a modality that are not offline.

    Where few are, more than k are asked for and the offline ones dropped, which costs next to
    nothing; where most are, the search is among the others.
    """
    offline = offline_ids(catalog)
    if len(offline) == 0:
        return search(k, None)
    if 2 * len(offline) > catalog.counts().items:
        return search(k, selection.all_but(catalog, offline, modality))
    want = k + min(k, len(offline))
    while True:
        matches = search(want, None)
        place = np.searchsorted(offline, matches.ids)
        keep = offline[np.minimum(place, len(offline) - 1)] != matches.ids
        if keep.sum() >= k or want >= k + len(offline):
            return Matches(matches.ids[keep][:k], matches.scores[keep][:k])
        want = min(4 * want, k + len(offline))
