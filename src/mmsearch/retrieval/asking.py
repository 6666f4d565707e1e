"""How a question is answered: its terms become one direction, which ranks what may answer.

What may answer is settled before anything is ranked (`narrowing`), so that k answers come back
whenever there are k. Each modality has a ranking of its own; what is too far away is taken from
it, and then the rankings are merged.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import (
    Encoder,
    Hit,
    Ids,
    ImageTerm,
    ItemTerm,
    Matches,
    Modality,
    Query,
    Space,
    Term,
    TextTerm,
    Vectors,
)
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.query import Direction, combine, merge_by_rank

if TYPE_CHECKING:
    from mmsearch.retrieval.narrowing import Narrowed

_TRIES: Final = 3  # to find what a writer does not delete at the same moment


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answers of one modality, best first, with what they were made from.

    `narrowed` None: every item of the modality could answer. `weak` has the ids that are no
    better than chance, of those that were kept.
    """

    modality: Modality
    matches: Matches
    narrowed: "Narrowed | None" = None
    weak: frozenset[int] = frozenset()

    def kept(self, keep: NDArray[np.bool_]) -> "Ranking":
        """Return the ranking of some of its answers."""
        matches = Matches(self.matches.ids[keep], self.matches.scores[keep])
        return replace(self, matches=matches, weak=self.weak & {*matches.ids.tolist()})


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with its answers and all that led to them.

    `rows` (n, dim) are the vectors of the query's terms; `own` the sorted ids of the items that
    the query is made of.
    """

    query: Query
    hits: tuple[Hit, ...]
    rows: Vectors
    direction: Direction
    own: Ids
    rankings: tuple[Ranking, ...]


class Asking:
    """Asks one library, whose space is the encoder's."""

    def __init__(
        self, catalog: Catalog, indexes: IndexStore, encoder: Encoder, space: Space
    ) -> None:
        self._catalog = catalog
        self._indexes = indexes
        self._encoder = encoder
        self._space = space

    def ask(self, query: Query) -> Answered:
        """Answer a question, best first, ties by id. Raises what encoding its terms raises."""
        rows = self._vectors(query.terms)
        direction = combine(rows, [term.weight for term in query.terms], query.negation)
        own = self._own(query)
        for _ in range(_TRIES):
            rankings = tuple(
                self._ranking(query, modality, direction.vector, own)
                for modality in ([query.target] if query.target else Modality)
            )
            found = merge_by_rank([ranking.matches for ranking in rankings], query.k)
            items = self._catalog.found_items(self._space, [number for number, _ in found])
            if len(items) == len(found):  # else a writer has deleted one of them just now
                break
        weak = {number for ranking in rankings for number in ranking.weak}
        there = [(number, score) for number, score in found if number in items]
        hits = tuple(
            Hit(rank, score, items[number], number in weak)
            for rank, (number, score) in enumerate(there, start=1)
        )
        return Answered(query, hits, rows, direction, own, rankings)

    def _vectors(self, terms: Sequence[Term]) -> Vectors:
        """Return one row a term, (n, dim), each kind of term encoded at once."""
        rows = np.empty((len(terms), self._space.dim), dtype=np.float32)
        texts = {n: term.text for n, term in enumerate(terms) if isinstance(term, TextTerm)}
        images = {n: term.pixels for n, term in enumerate(terms) if isinstance(term, ImageTerm)}
        items = {n: term.id for n, term in enumerate(terms) if isinstance(term, ItemTerm)}
        if texts:
            rows[list(texts)] = self._encoder.encode_texts(list(texts.values()))
        if images:
            rows[list(images)] = self._encoder.encode_images(list(images.values()))
        if items:
            rows[list(items)] = self._catalog.vectors(self._space, list(items.values()))
        return rows

    def _own(self, query: Query) -> Ids:
        """Return the sorted ids of what the query is made of, unless it may answer."""
        if query.own or all(isinstance(term, TextTerm) for term in query.terms):
            return np.empty(0, dtype=np.int64)
        own = {term.id for term in query.terms if isinstance(term, ItemTerm)}
        digests = {term.digest for term in query.terms if isinstance(term, ImageTerm)} - {None}
        for known in self._catalog.files_by_digest(sorted(filter(None, digests))).values():
            own.update(file.id for file in known)
        return np.array(sorted(own), dtype=np.int64)

    def _ranking(self, query: Query, modality: Modality, vector: Vectors, own: Ids) -> Ranking:
        """Return the answers of a modality: not more than k, and none that is cut off."""
        narrowed = None
        if query.online or query.where is not None or len(own):
            from mmsearch.retrieval.narrowing import narrow

            narrowed = narrow(self._catalog, query, modality, own)
        ranking = Ranking(modality, self._nearest(query, modality, vector, narrowed), narrowed)
        if query.min_score is not None:
            ranking = ranking.kept(ranking.matches.scores >= np.float32(query.min_score))
        return ranking

    def _nearest(
        self, query: Query, modality: Modality, vector: Vectors, narrowed: "Narrowed | None"
    ) -> Matches:
        """Return the k nearest rows of those that may answer."""

        def search(k: int, among: Ids | None) -> Matches:
            (matches,) = self._indexes.search(self._space, modality, vector, k, among=among)
            return matches

        k = min(query.k, max(1, self._catalog.counts().items))
        return search(k, None) if narrowed is None else narrowed.best(search, k)
