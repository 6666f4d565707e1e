"""Whole questions answered a second time by a look at every row, as docs/search.md has them.

Vectors are compared with NumPy, words by `word_oracle`, conditions by the oracle of `index/where`;
no ranking, filter, fusion or level of mmsearch is called.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from hypothesis import assume
from numpy.typing import NDArray
from tests.index.where.oracle import Row, holds
from tests.retrieval.brute_force import direction
from tests.retrieval.word_oracle import STOP_WORDS, Book, Looked, looked_for, telling
from tests.retrieval.worded_libraries import Known, Signpost

from mmsearch.core import (
    Cutoff,
    ImageTerm,
    ItemTerm,
    Modality,
    Mode,
    Negation,
    Query,
    Term,
    TextTerm,
)
from mmsearch.retrieval.background_questions import empty_pictures, empty_sentences

CLOSE = 4e-6  # cosines nearer than this may come out in either order, unless they are exact
CONSTANT = 60

Scores = dict[int, np.float32]


@dataclass(frozen=True)
class Answer:
    """What is promised of an item that answers."""

    id: int
    score: float
    weak: bool


@dataclass(frozen=True)
class Limits:
    """So `many` items do not make a word frequent; so much of the ranking by vectors counts."""

    many: int = 1000
    depth: int = 100


@dataclass(frozen=True)
class Asked:
    """A question of a library, with the words of each of its sentences, by place."""

    known: Known
    query: Query
    words: Mapping[int, tuple[str, ...]]
    limits: Limits

    @cached_property
    def is_exact(self) -> bool:
        """Whether nothing is rounded but at the end, so that cosines are the same to the bit."""
        weights = [term.weight for term in self.query.terms]
        plain = self.known.plain and all(weight * 4 == int(weight * 4) for weight in weights)
        projects = self.query.negation is Negation.PROJECT and min(weights) < 0 < max(weights)
        return plain and not projects

    @cached_property
    def unknown(self) -> tuple[str, ...]:
        """The words of positive sentences that the model does not know, but for common ones."""
        texts = [term for term in self.query.terms if isinstance(term, TextTerm)]
        runs = [run for t in texts if t.weight > 0 for run in Signpost().unknown_words(t.text)]
        return tuple(run for run in runs if run.casefold() not in STOP_WORDS)

    @cached_property
    def is_blind(self) -> bool:
        """Whether the model knows no word of a question that is made of words alone."""
        strange = {run.casefold() for run in self.unknown}
        runs = [
            run.casefold()
            for place, words in self.words.items()
            if self.query.terms[place].weight > 0
            for word in telling(words)
            for run in Signpost.runs(word)
        ]
        plain = len(self.words) == len(self.query.terms)
        return bool(strange) and plain and {*runs} <= strange | STOP_WORDS

    @cached_property
    def meaningless(self) -> frozenset[int]:
        """The places of the sentences of which the model knows no word, others beside them."""
        if self.query.mode is Mode.VECTOR:
            return frozenset()
        alone = {
            place: replace(self, query=replace(self.query, terms=(term,)), words={0: words})
            for place, words in self.words.items()
            for term in [replace(self.query.terms[place], weight=1.0)]
        }
        found = frozenset(place for place, asked in alone.items() if asked.is_blind)
        places = [*range(len(self.query.terms))]
        wanted = [place for place in places if self.query.terms[place].weight > 0]
        return found if {*(wanted or places)} - found else frozenset()

    @cached_property
    def looked(self) -> Looked:
        """What is looked for by words; without a mode, what the model does not know of them."""
        sides: dict[bool, list[tuple[str, ...]]] = {True: [], False: []}
        for place, words in self.words.items():
            sides[self.query.terms[place].weight > 0].append(words)
        whole = self.query.mode is not None or self.is_blind
        wanted = sides[True] if whole else [self.unknown]
        return looked_for(wanted, sides[False])

    @cached_property
    def mode(self) -> Mode:
        """What ranks."""
        if self.query.mode is Mode.TEXT:
            return Mode.TEXT
        if self.query.mode is Mode.VECTOR or not self.looked.wanted:
            return Mode.VECTOR
        return Mode.TEXT if self.is_blind else Mode.HYBRID

    @cached_property
    def cosines(self) -> Scores:
        """The cosines of all items that have a vector."""
        vectors = self.known.vectors
        terms = np.stack([self._vector(term) for term in self.query.terms])
        terms[[*self.meaningless]] = 0
        weights = [term.weight for term in self.query.terms]
        vector = direction(terms, weights, self.query.negation).astype(np.float32)
        return {n: np.float32(row @ vector.astype(np.float64)) for n, row in vectors.items()}

    def _vector(self, term: Term) -> NDArray[np.float64]:
        match term:
            case TextTerm():
                vectors = Signpost().encode_texts([term.text])
            case ImageTerm():
                vectors = Signpost().encode_images([term.pixels])
            case ItemTerm():
                return self.known.vectors[term.id]
        return np.asarray(vectors[0], dtype=np.float64)

    @cached_property
    def allowed(self) -> frozenset[int]:
        """The ids of what may answer at all."""
        return frozenset(row.id for row in self.known.rows if self._allows(row))

    def _allows(self, row: Row) -> bool:
        query = self.query
        if query.target is not None and row.modality is not query.target:
            return False
        if query.online and row.id in self.known.away:
            return False
        if not query.own and self._is_own(row):
            return False
        return query.where is None or holds(query.where, row)

    def _is_own(self, row: Row) -> bool:
        asked = {one.id for one in self.query.terms if isinstance(one, ItemTerm)}
        shown = {one.digest for one in self.query.terms if isinstance(one, ImageTerm)}
        return row.id in asked or (row.path is not None and self.known.digests[row.id] in shown)


def answers(asked: Asked) -> list[Answer]:
    """Return what a question must be answered with, in its order.

    Leaves out questions where rounding decides: inexact cosines that are all but equal, or are
    all but the least score or the level of chance.
    """
    _leave_out_close(asked)
    targets = [asked.query.target] if asked.query.target else Modality
    kept = [_ranked(asked, modality)[: asked.query.k] for modality in targets]
    turns = [
        (place, -answer.score, answer.id, answer)
        for ranking in kept
        for place, answer in enumerate(ranking)
    ]
    return [turn[-1] for turn in sorted(turns, key=lambda turn: turn[:3])][: asked.query.k]


def _leave_out_close(asked: Asked) -> None:
    if asked.is_exact:
        return
    vectors, cosines = asked.known.vectors, asked.cosines
    order = sorted(asked.allowed & {*cosines}, key=cosines.__getitem__)
    for one, other in pairwise(order):
        if cosines[other] - cosines[one] < CLOSE:
            assume(np.array_equal(vectors[one], vectors[other]))
    if asked.query.min_score is not None:
        assume(not _is_any_near(asked, asked.query.min_score))


def _is_any_near(asked: Asked, level: float) -> bool:
    return any(abs(float(asked.cosines.get(n, 0)) - level) < CLOSE for n in asked.allowed)


def _ranked(asked: Asked, modality: Modality) -> list[Answer]:
    """Return all answers of a modality, best first."""
    rows = {row.id for row in asked.known.rows if row.modality is modality} & asked.allowed
    near = {n: score for n, score in asked.cosines.items() if n in rows}
    shown = {} if asked.mode is not Mode.VECTOR and asked.is_blind else near
    book = _book(asked.known, asked.limits.many)
    by_words: Scores = {}
    match asked.mode:
        case Mode.VECTOR:
            order = _sorted(near, {})
        case Mode.TEXT:
            by_words = book.by_words(asked.looked, rows)
            order = _sorted(by_words, {})
        case Mode.HYBRID:
            by_words = book.beside_vectors(asked.looked, rows)
            deep = _sorted(near, {})[: max(asked.limits.depth, 10 * asked.query.k)]
            order = _sorted(_fused({n: near[n] for n in deep}, by_words), near)
    level = _level(asked, modality)
    whole = [(number, float(shown.get(number, 0.0))) for number in order]
    found = [Answer(n, score, score <= level and n not in by_words) for n, score in whole]
    return [answer for answer in found if _stays(answer, asked.query)]


@cache
def _book(known: Known, many: int) -> Book:
    return Book(known.words, many)


def _stays(answer: Answer, query: Query) -> bool:
    if query.min_score is not None and answer.score < np.float32(query.min_score):
        return False
    return not (answer.weak and query.cutoff is Cutoff.DROP)


def _sorted(values: Mapping[int, float | np.float32], ties: Scores) -> list[int]:
    """Return the ids, highest value first, then the higher cosine, then the lower id."""
    zero = np.float32(0)
    return sorted(values, key=lambda number: (-values[number], -ties.get(number, zero), number))


def _fused(near: Scores, by_words: Scores) -> dict[int, float]:
    """Return the sums of the reciprocal ranks; items of equal score share a rank."""
    values = dict.fromkeys([*near, *by_words], 0.0)
    for scores in (near, by_words):
        ordered = np.sort(np.array(list(scores.values())))
        for number, score in scores.items():
            above = len(ordered) - int(np.searchsorted(ordered, score, side="right"))
            values[number] += 1 / (CONSTANT + 1 + above)
    return values


def _level(asked: Asked, modality: Modality) -> float:
    """Return the cosine up to which an answer of a modality is weak; -inf: nobody asked."""
    if asked.query.cutoff is Cutoff.OFF:
        return -np.inf
    pulling = [term for term in asked.query.terms if term.weight > 0] or asked.query.terms
    kinds = {_kind(asked.known, term) for term in pulling}
    level = min(chance(asked.known, modality, kind) for kind in kinds)
    assume(not _is_any_near(asked, level))
    return level


def _kind(known: Known, term: Term) -> Modality:
    if isinstance(term, ItemTerm):
        return next(row.modality for row in known.rows if row.id == term.id)
    return Modality.TEXT if isinstance(term, TextTerm) else Modality.IMAGE


@cache
def chance(known: Known, modality: Modality, kind: Modality) -> float:
    """Return the level that questions about nothing of a kind reach, ten answers each.

    Not above the lowest twentieth of what the library's own items of that kind reach, where it
    has at least 64 of them.
    """
    encoder = Signpost()
    if kind is Modality.TEXT:
        families = [encoder.encode_texts(texts) for texts in empty_sentences()]
    else:
        families = [encoder.encode_images(empty_pictures(encoder.preprocessing.size))]
    rows = _of(known, modality)
    reached = [np.sort(family.astype(np.float64) @ rows.T)[:, -10:] for family in families]
    level = max(float(best.mean() + 0.8416 * best.std()) for best in reached)
    own = _of(known, kind)
    if len(own) < 64:
        return level
    place = -2 if modality is kind else -1
    return min(level, float(np.quantile(np.sort(own @ rows.T)[:, place], 0.05)))


def _of(known: Known, modality: Modality) -> NDArray[np.float64]:
    ids = [row.id for row in known.rows if row.modality is modality]
    return np.stack([known.vectors[number] for number in ids if number in known.vectors])
