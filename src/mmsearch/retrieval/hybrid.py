"""The ranking by words put together with the ranking by vectors, or in its place.

Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): an item's value is the sum of
1 / (60 + rank) over the rankings that have it. Ranks compare where BM25 and cosines do not. Items
of equal score share a rank, so that a folder of pictures without names of their own is no order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Modality, Mode, Query
from mmsearch.index.catalog import Catalog
from mmsearch.index.words import count, held
from mmsearch.retrieval.wording import Wording, telling_matches, telling_words, text_matches

CONSTANT: Final = 60
DEPTH: Final = 100
"""How much of the ranking by vectors counts, or ten times the answers where that is more."""

Search: TypeAlias = Callable[[int, Ids | None], Matches]
"""The best `k` of one modality, among some ids or all."""

Best: TypeAlias = Callable[[Search, int], Matches]
"""The best `k` that a search has among what may answer."""

_NOTHING: Final[Ids] = np.empty(0, dtype=np.int64)
_MANY: Final = 1000  # items of equal value: only the nearest of them are looked at
_NAMED: Final = 5  # words in one warning
_LONG: Final = 40  # characters of a word there


@dataclass(frozen=True, slots=True)
class Blend:
    """How the answers came to their order: the rank that each id has by vectors and by words.

    An id that a ranking does not hold has no rank there. `found`: how many items the words found
    among those that may answer.
    """

    wording: Wording
    found: int
    by_vectors: dict[int, int]
    by_words: dict[int, int]


@dataclass(frozen=True, slots=True)
class Fused:
    """What reciprocal rank fusion makes of two rankings, (n,) each, sorted by id.

    `values` float64, higher is better; the ranks int64, 1 is best, 0 is none.
    """

    ids: Ids
    values: NDArray[np.float64]
    by_vectors: NDArray[np.int64]
    by_words: NDArray[np.int64]


class Blending:
    """Ranks one modality by the words of a question, without what is to be left out (sorted)."""

    def __init__(
        self, catalog: Catalog, wording: Wording, modality: Modality, left_out: Ids = _NOTHING
    ) -> None:
        self._catalog = catalog
        self._wording = wording
        self._modality = modality
        self._left_out = left_out

    def rank(
        self, nearest: Search, best: Best, k: int, *, asked: int | None = None
    ) -> tuple[Matches, Blend]:
        """Return the k best by words, or by words and vectors, and how that came about.

        The scores are cosines all the same: 0 for an item without a vector, and for all when the
        model knows no word of the question. `nearest` searches the vectors. `asked`: how many
        answers the question wants, where more are looked at because some are cut off; what it
        wants says how much of the ranking by vectors counts.
        """
        if self._wording.mode is Mode.TEXT:
            text = best(partial(text_matches, self._catalog, self._wording, self._modality), k)
            ranks = _ranks(text).tolist()
            matches = Matches(text.ids, self._cosines(nearest, text.ids))
            by_words = dict(zip(text.ids.tolist(), ranks, strict=True))
            return matches, Blend(self._wording, len(ranks), {}, by_words)
        near = best(nearest, max(DEPTH, 10 * (asked or k)))
        text = best(self._telling, held(self._catalog))
        fused = fuse_rankings(near, text)
        matches = self._first(fused, near, nearest, k)
        return matches, Blend(
            self._wording,
            len(text.ids),
            _looked_up(matches.ids, fused.ids, fused.by_vectors),
            _looked_up(matches.ids, fused.ids, fused.by_words),
        )

    def _telling(self, k: int, among: Ids | None) -> Matches:
        asked = self._catalog, self._wording, self._modality
        found = telling_matches(*asked, among, self._left_out)
        return Matches(found.ids[:k], found.scores[:k])

    def _first(self, fused: Fused, near: Matches, nearest: Search, k: int) -> Matches:
        """Return the k of highest value, with cosines; ties by cosine, then by id."""
        if len(fused.ids) == 0:
            return near
        last = np.partition(fused.values, -min(k, len(fused.ids)))[-min(k, len(fused.ids))]
        above, equal = fused.values > last, fused.ids[fused.values == last]
        room = k - int(above.sum())
        if len(equal) > max(room, _MANY):
            equal = _foremost(equal, nearest, room)
        chosen = np.sort(np.concatenate([fused.ids[above], equal]))
        values = fused.values[np.searchsorted(fused.ids, chosen)]
        scores = np.zeros(len(chosen), dtype=np.float32)
        known = np.isin(chosen, near.ids)
        order = np.argsort(near.ids)
        place = order[np.searchsorted(near.ids[order], chosen[known])]
        scores[known] = near.scores[place]
        scores[~known] = self._cosines(nearest, chosen[~known])
        order = np.lexsort((chosen, -scores, -values))[:k]
        return Matches(chosen[order], scores[order])

    def _cosines(self, nearest: Search, ids: Ids) -> NDArray[np.float32]:
        """Return the cosines of some ids, 0 where there is none."""
        scores = np.zeros(len(ids), dtype=np.float32)
        if len(ids) and not self._wording.blind:
            found = nearest(len(ids), np.sort(ids))
            order = np.argsort(ids)
            scores[order[np.searchsorted(ids[order], found.ids)]] = found.scores
        return scores


def fuse_rankings(near: Matches, text: Matches, *, weight: float = 1.0) -> Fused:
    """Return 1 / (60 + rank by vectors) + weight / (60 + rank by words) of all ids of the two.

    Both are sorted, best first; ids of equal score share the rank of the first of them.
    """
    ids = np.sort(np.concatenate([near.ids, text.ids]))
    ids = ids[np.append(True, ids[1:] != ids[:-1])[: len(ids)]]
    ranks = np.zeros((2, len(ids)), dtype=np.int64)
    for row, matches in zip(ranks, (near, text), strict=True):
        row[np.searchsorted(ids, matches.ids)] = _ranks(matches)
    shares = np.where(ranks, 1 / (CONSTANT + ranks), 0) * [[1.0], [weight]]
    return Fused(ids, shares[0] + shares[1], ranks[0], ranks[1])


def strange_words(catalog: Catalog, wording: Wording, *, seen: bool) -> list[str]:
    """Return what is to be said of the words that the model does not know, a sentence each.

    `seen`: an answer came back.
    """
    there = [word for word in wording.unknown if count(catalog, word)]
    nowhere = [word for word in wording.unknown if word not in there]
    said = []
    if there:
        them = "it" if len(there) == 1 else "them"
        said.append(
            f"the model does not know {_listed(there)}; names, captions and labels were searched "
            f"for {them}{'' if wording.blind else ' as well'}"
        )
    if nowhere:
        has, was = ("it", "was") if len(nowhere) == 1 else ("them", "were")
        left = f": {'it' if was == 'was' else 'they'} {was} left out" if seen else ""
        said.append(
            f"the model does not know {_listed(nowhere)}, and no name, caption or label has "
            f"{has}{left}"
        )
    return said


def not_avoided(query: Query, unknown: Mapping[int, Sequence[str]]) -> list[str]:
    """Return what is to be said of negative terms' words, by place, that the model does not know.

    Words alone leave out what has them, whatever the model knows.
    """
    away = [place for place in unknown if query.terms[place].weight < 0]
    words = telling_words(word for place in away for word in unknown[place])
    if not words or query.mode is Mode.TEXT:
        return []
    them = "it" if len(words) == 1 else "them"
    return [f"the model does not know {_listed([*words])}, and cannot turn away from {them}"]


def _foremost(ids: Ids, nearest: Search, room: int) -> Ids:
    """Return those of some ids that come first by cosine, 0 without a vector: `room`, or more."""
    found = nearest(room, ids)
    if len(found.ids) == room and found.scores[-1] > 0:
        return found.ids
    found = nearest(len(ids), ids)
    without = np.setdiff1d(ids, found.ids)
    return np.concatenate([found.ids[:room], without[:room]])


def _ranks(matches: Matches) -> NDArray[np.int64]:
    """Return the ranks (n,) of sorted answers: those of equal score share the first one's."""
    down = -matches.scores
    return np.searchsorted(down, down, side="left") + 1


def _looked_up(ids: Ids, known: Ids, ranks: NDArray[np.int64]) -> dict[int, int]:
    found = ranks[np.searchsorted(known, ids)] if len(known) else np.zeros(len(ids), np.int64)
    pairs = zip(ids.tolist(), found.tolist(), strict=True)
    return {number: rank for number, rank in pairs if rank}


def _listed(words: list[str]) -> str:
    shown = [f'"{w if len(w) <= _LONG else w[:_LONG] + "..."}"' for w in words[:_NAMED]]
    if len(words) > _NAMED:
        shown.append(f"{len(words) - _NAMED} more words")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))
