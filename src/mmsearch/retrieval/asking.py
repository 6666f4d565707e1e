"""How a question is answered: its terms become one direction, which ranks what may answer.

What may answer is settled before anything is ranked (`narrowing`), so that k answers come back
whenever there are k. Each modality has a ranking of its own; what is too far away is taken from
it, and then the rankings are merged.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mmsearch.core import (
    Cutoff,
    Encoder,
    Hit,
    Ids,
    ImageTerm,
    ItemTerm,
    Matches,
    Modality,
    Mode,
    Query,
    Space,
    Term,
    TextTerm,
    Vectors,
)
from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore, ReplacedError
from mmsearch.retrieval.query import Answered, Ranking, combine, merge_by_rank
from mmsearch.retrieval.remembered import searched_space
from mmsearch.retrieval.vocabulary import unknown_by_term

if TYPE_CHECKING:
    from mmsearch.index.sources import Route
    from mmsearch.index.where.select import Selector
    from mmsearch.retrieval.background import Backgrounds
    from mmsearch.retrieval.hybrid import Search
    from mmsearch.retrieval.narrowing import Narrowed
    from mmsearch.retrieval.wording import Wording

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be ranked: a query, its vector (1, dim), its own items, what it says in words."""

    query: Query
    vector: Vectors
    own: Ids
    wording: "Wording | None"


@dataclass(frozen=True)
class Asking:
    """Asks one library in the space that its encoder has, the encoder of the spec `model`."""

    catalog: Catalog
    indexes: IndexStore
    encoder: Encoder
    space: Space
    model: str | None = None

    def ask(self, query: Query, read: Callable[[Answered], T]) -> T:
        """Answer a question, best first, ties by id; return what `read` makes of the answers.

        The items that are asked with, what may answer, its ranking, the items that answer, and
        what `read` looks up are those of one moment, so that nothing that is committed meanwhile
        lets through what does not fit. Raises what encoding the terms raises, InputError for an
        item that is not there, SpaceMismatchError when the library has another model now.
        """
        encoded = self._encoded(query.terms)
        unknown = {} if query.mode is Mode.VECTOR else unknown_by_term(self.encoder, query.terms)
        wording = self._wording(query, unknown)
        if unknown:
            self._leave_out(query, unknown, encoded)
        while True:  # in a later moment, when a writer has replaced the index file of this one
            with suppress(ReplacedError), self.catalog.snapshot():
                self._require_space()
                rows = self._with_items(query.terms, encoded)
                direction = combine(rows, [term.weight for term in query.terms], query.negation)
                own = self._own(query)
                rankings = self._rankings(_Asked(query, direction.vector, own, wording))
                hits = self._hits(query, rankings)
                if wording is not None and wording.unknown:
                    self._tell(wording, seen=bool(hits))
                return read(Answered(query, hits, rows, direction, own, wording, rankings))

    def _require_space(self) -> None:
        """Raise SpaceMismatchError when the library has got another model meanwhile."""
        current = self.catalog.space()
        if current is not None and current.digest != self.space.digest:
            searched_space(self.catalog, self.space, self.model)

    def _rankings(self, asked: _Asked) -> tuple[Ranking, ...]:
        targets = [asked.query.target] if asked.query.target else Modality
        return tuple(self._ranking(asked, modality) for modality in targets)

    def _hits(self, query: Query, rankings: Sequence[Ranking]) -> tuple[Hit, ...]:
        """Return the k first of all rankings with their items."""
        found = merge_by_rank([ranking.matches for ranking in rankings], query.k)
        items = self.catalog.found_items(self.space, [number for number, _ in found])
        weak = {number for ranking in rankings for number in ranking.weak}
        # A damaged table of words may have found what is no item any more.
        there = [(number, score) for number, score in found if number in items]
        return tuple(
            Hit(rank, score, items[number], number in weak)
            for rank, (number, score) in enumerate(there, start=1)
        )

    def load_ahead(self, query: Query) -> None:
        """Begin to load what the first question needs, which has a sentence in it."""
        from mmsearch.retrieval.ahead import load_ahead

        targets = [query.target] if query.target else Modality
        engine = any(self.indexes.needs_engine(self.space, target) for target in targets)
        load_ahead(self.encoder, self.indexes.load_engine if engine else lambda: None)

    def _wording(self, query: Query, unknown: Mapping[int, Sequence[str]]) -> "Wording | None":
        """Return what is looked for by words; None when the vectors alone rank."""
        if query.mode is Mode.VECTOR or (query.mode is None and not unknown):
            return None
        from mmsearch.retrieval.wording import read_wording

        wanted = [place for place in unknown if query.terms[place].weight > 0]
        return read_wording(query, [word for place in wanted for word in unknown[place]])

    def _leave_out(
        self, query: Query, unknown: Mapping[int, Sequence[str]], encoded: Vectors
    ) -> None:
        """Take the rows of terms that mean nothing to the model; tell what it cannot avoid."""
        from mmsearch.retrieval.hybrid import not_avoided
        from mmsearch.retrieval.wording import meaningless

        encoded[meaningless(query.terms, unknown)] = 0
        for said in not_avoided(query, unknown):
            self._warn(said)

    def _tell(self, wording: "Wording", *, seen: bool) -> None:
        """Let the library's warnings say which words the model does not know."""
        from mmsearch.retrieval.hybrid import strange_words

        for said in strange_words(self.catalog, wording, seen=seen):
            self._warn(said)

    def _warn(self, message: str) -> None:
        if message not in self.indexes.warnings:
            self.indexes.warnings.append(message)

    @cached_property
    def _selector(self) -> "Selector":
        from mmsearch.index.where.select import Selector

        return Selector(self.catalog)

    @cached_property
    def _backgrounds(self) -> "Backgrounds":
        from mmsearch.retrieval.background import Backgrounds

        return Backgrounds(self.catalog, self.indexes, self.encoder, self.space)

    def _encoded(self, terms: Sequence[Term]) -> Vectors:
        """Return one row a term, (n, dim), each kind of term encoded at once; of items zeros."""
        rows = np.zeros((len(terms), self.space.dim), dtype=np.float32)
        texts = {n: term.text for n, term in enumerate(terms) if isinstance(term, TextTerm)}
        images = {n: term.pixels for n, term in enumerate(terms) if isinstance(term, ImageTerm)}
        if texts:
            rows[list(texts)] = self.encoder.encode_texts(list(texts.values()))
        if images:
            rows[list(images)] = self.encoder.encode_images(list(images.values()))
        return rows

    def _with_items(self, terms: Sequence[Term], encoded: Vectors) -> Vectors:
        """Return the rows with the vectors that items have now, in the snapshot at hand."""
        items = {n: term.id for n, term in enumerate(terms) if isinstance(term, ItemTerm)}
        if not items:
            return encoded
        rows = encoded.copy()
        rows[list(items)] = self._stored(list(items.values()))
        return rows

    def _stored(self, numbers: list[int]) -> Vectors:
        absent = {*numbers} - {*self.catalog.items(numbers)}
        if absent:
            raise InputError(
                f"the library has no item {min(absent)}; `mmsearch query --json` shows ids"
            )
        return self.catalog.vectors(self.space, numbers)

    def _own(self, query: Query) -> Ids:
        """Return the sorted ids of what the query is made of, unless it may answer."""
        if query.own or all(isinstance(term, TextTerm) for term in query.terms):
            return np.empty(0, dtype=np.int64)
        own = {term.id for term in query.terms if isinstance(term, ItemTerm)}
        digests = {term.digest or "" for term in query.terms if isinstance(term, ImageTerm)}
        for copies in self.catalog.files_by_digest(sorted(digests - {""})).values():
            own.update(file.id for file in copies)
        return np.array(sorted(own), dtype=np.int64)

    def _ranking(self, asked: _Asked, modality: Modality) -> Ranking:
        """Return the answers of a modality: not more than k, and none that is cut off."""
        query, narrowed = asked.query, None
        if query.online or query.where is not None or len(asked.own):
            from mmsearch.retrieval.narrowing import narrow

            selector = None if query.where is None else self._selector
            narrowed = narrow(self.catalog, query, modality, asked.own, selector)
            if narrowed.selection is not None and narrowed.selection.unread:
                self._warn(
                    f"of {narrowed.selection.unread:,} pictures nothing is known but the file, for "
                    "an older version has indexed them; `mmsearch index` reads the rest"
                )
        k = min(query.k, max(1, self.catalog.counts().items))
        want = k
        while True:
            whole = self._ranked(asked, modality, narrowed, want)
            ranking = self._cut(query, whole)
            found, kept = len(whole.matches.ids), len(ranking.matches.ids)
            if whole.blend is None or found < want or kept >= k:
                return ranking.kept(slice(k))
            want *= 4  # words do not rank by cosine: what was cut off stood before better ones

    def _ranked(
        self, asked: _Asked, modality: Modality, narrowed: "Narrowed | None", k: int
    ) -> Ranking:
        """Return the k first of those that may answer: the nearest, or as the words have them."""
        routes: list[Route] = []

        def search(k: int, among: Ids | None) -> Matches:
            (matches,) = self.indexes.search(self.space, modality, asked.vector, k, among=among)
            routes.append(self.indexes.routes[modality])
            return matches

        def best(any_search: "Search", k: int) -> Matches:
            return any_search(k, None) if narrowed is None else narrowed.best(any_search, k)

        if asked.wording is None:
            matches = best(search, k)
            return Ranking(modality, matches, narrowed, routes[0])
        from mmsearch.retrieval.hybrid import Blending

        left_out = asked.own if narrowed is None else narrowed.left_out
        blending = Blending(self.catalog, asked.wording, modality, left_out)
        matches, blend = blending.rank(search, best, k, asked=min(asked.query.k, k))
        # With words alone vectors are only looked up, for the scores.
        route = routes[0] if asked.wording.mode is Mode.HYBRID else None
        return Ranking(modality, matches, narrowed, route, blend=blend)

    def _cut(self, query: Query, ranking: Ranking) -> Ranking:
        """Take away what is below the least score; mark or drop what is no better than chance.

        What words have found is no chance, whatever its cosine.
        """
        if query.min_score is not None:
            ranking = ranking.kept(ranking.matches.scores >= np.float32(query.min_score))
        if query.cutoff is Cutoff.OFF:
            return ranking
        from mmsearch.retrieval.background import is_weak, kinds_of

        level = self._backgrounds.threshold(ranking.modality, kinds_of(query, self.catalog))
        weak = is_weak(ranking.matches.scores, level)
        if ranking.blend is not None:
            weak &= ~np.isin(ranking.matches.ids, list(ranking.blend.by_words))
        if query.cutoff is Cutoff.DROP:
            return replace(ranking.kept(~weak), level=level)
        return replace(ranking, level=level, weak=frozenset(ranking.matches.ids[weak].tolist()))
