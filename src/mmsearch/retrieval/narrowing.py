"""Which items may answer a question: settled before anything is ranked, never after.

A condition gives a set of ids, and the search is among them. What has to be left out without a
condition (the query's own pictures, a drive that is not there) is dropped from a longer answer
where it is little, which costs next to nothing; where it is most, the search is among the others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mmsearch.core import Ids, Matches, Modality, Query
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog

if TYPE_CHECKING:
    from mmsearch.index.where.select import Selection, Selector

Search: TypeAlias = Callable[[int, Ids | None], Matches]
"""The best `k` of one modality, among some ids or all."""

_NOTHING: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What may answer, of one modality: `among` and nothing else; None: all but `left_out`.

    Both are sorted. `selection` is what the condition has chosen, None without one. `offline` is
    how many items of any modality are not there now.
    """

    among: Ids | None
    left_out: Ids
    selection: "Selection | None" = None
    offline: int = 0

    def best(self, search: Search, k: int) -> Matches:
        """Return the k best of those that may answer."""
        if self.among is not None:
            return search(k, self.among)
        return best_without(search, k, self.left_out)


def narrow(
    catalog: Catalog, query: Query, modality: Modality, own: Ids, selector: "Selector | None"
) -> Narrowed:
    """Return what may answer a query. Raises QueryError for a condition that makes no sense.

    `own` are the sorted ids of what the query is made of; `selector` answers its condition.
    """
    offline = _NOTHING
    if query.online:
        from mmsearch.retrieval.online import offline_ids

        offline = offline_ids(catalog)
    left_out = np.union1d(own, offline) if len(offline) else own  # it imports numpy.ma: 8 ms
    if query.where is not None and selector is not None:
        selected = selector.select(query.where, modality)
        among = selected.ids
        if len(left_out):
            among = np.setdiff1d(among, left_out, assume_unique=True)
        return Narrowed(among, _NOTHING, selected, len(offline))
    if 2 * len(left_out) > catalog.counts().items:
        among = selection.all_but(catalog, left_out, modality)
        return Narrowed(among, _NOTHING, offline=len(offline))
    return Narrowed(None, left_out, offline=len(offline))


def best_without(search: Search, k: int, left_out: Ids) -> Matches:
    """Return the k best that are not among some ids, which are sorted.

    More than k are asked for, and more again when too many of those had to be left out.
    """
    if len(left_out) == 0:
        return search(k, None)
    want = k + min(k, len(left_out))
    while True:
        matches = search(want, None)
        place = np.searchsorted(left_out, matches.ids)
        keep = left_out[np.minimum(place, len(left_out) - 1)] != matches.ids
        if keep.sum() >= k or want >= k + len(left_out):
            return Matches(matches.ids[keep][:k], matches.scores[keep][:k])
        want = min(4 * want, k + len(left_out))
