"""Which answers are no better than chance: those that questions about nothing get as well.

A question has k best answers in any library, whatever it asks. How good they are by chance
alone depends on the model, on what the library holds and on how much: the more rows, the better
the best of them by accident. So it is measured: questions about nothing
(`background_questions`) are asked of the whole library, and the cosines of what they find, ten
answers each, have a mean m and a standard deviation s. The chance level is m + 0.84 s, below
which four fifths of a normal distribution lie: an answer up to there is weak. A model to which
nothing looks like something must not empty every answer: the library's own items are asked as
well, and at most one in twenty of them may be left without a good answer.

It is measured once for the answers' modality and the kind of question (sentences and pictures
lie in different cones), and again when a fifth of the rows has changed.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Encoder, ItemTerm, Modality, Query, Space, TextTerm, Vectors
from mmsearch.index.background_file import Background, read_backgrounds, write_backgrounds
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.index.vectors import VectorTable

DEPTH: Final = 10
"""Of how many answers to a question chance is measured."""
DEVIATIONS: Final = 0.8416
"""Below the mean and so many standard deviations lie four fifths of a normal distribution."""
VERSION: Final = 1
"""Goes up with the questions, or what is made of their answers: all is measured anew then."""
LEFT: Final = 0.05
"""How many of the library's own items may be left without a good answer when they are asked."""
_OWN: Final = 256
_FEWEST: Final = 64  # of the library's own items, for their share to mean something
_SEED: Final = 0
_CHANGED: Final = 0.2  # of the rows, from where the level is measured again


class Backgrounds:
    """The chance levels of one library in the encoder's space, measured when first asked for.

    They are kept in a file of the library where that can be written, else in this object.
    """

    def __init__(
        self, catalog: Catalog, indexes: IndexStore, encoder: Encoder, space: Space
    ) -> None:
        self._catalog = catalog
        self._indexes = indexes
        self._encoder = encoder
        self._space = space
        self._kept: dict[Modality, list[Background]] = {}
        self._banks: dict[Modality, list[Vectors]] = {}

    def threshold(self, modality: Modality, kinds: Collection[Modality]) -> float | None:
        """Return the cosine up to which answers of a modality are weak.

        `kinds`: what the question is made of; of several the lowest level counts. None when
        there is nothing of that modality. Raises what encoding and searching raise.
        """
        levels = [self.background(modality, kind) for kind in sorted(kinds)]
        return min((level.threshold for level in levels if level is not None), default=None)

    def background(self, modality: Modality, kind: Modality) -> Background | None:
        """Return the chance level for one kind of question; None when there are no rows."""
        with self._catalog.snapshot():
            table = self._catalog.vector_table(self._space, modality)
            if table.count() == 0:
                return None
            for known in (self._known, self._read):
                for background in known(modality):
                    if background.kind is kind and _is_current(background, table):
                        return background
            rows, revision = table.count(), self._catalog.revision
        return self._measure(modality, kind, rows, revision)

    def _known(self, modality: Modality) -> list[Background]:
        return self._kept.get(modality, [])

    def _read(self, modality: Modality) -> list[Background]:
        """Return what the file says, and keep it unless it says nothing."""
        kept = read_backgrounds(self._catalog.directory, self._space, modality)
        self._kept[modality] = kept or self._known(modality)
        return self._kept[modality]

    def _measure(self, modality: Modality, kind: Modality, rows: int, revision: int) -> Background:
        bank = self._bank(kind)
        answers = [self._answers(modality, vectors) for vectors in bank]
        questions = sum(map(len, bank))
        level = chance_level(answers, self._own(modality, kind))
        found = Background(kind, level, questions, rows, revision, VERSION)
        others = [other for other in self._read(modality) if other.kind is not kind]
        self._kept[modality] = [*others, found]
        with suppress(OSError):  # where nothing can be written, the next process measures again
            write_backgrounds(self._catalog.directory, self._space, modality, self._kept[modality])
        return found

    def _bank(self, kind: Modality) -> list[Vectors]:
        """Return the questions about nothing of a kind, encoded, by family."""
        if kind not in self._banks:
            from mmsearch.retrieval.background_questions import empty_pictures, empty_sentences

            if kind is Modality.TEXT:
                bank = [self._encoder.encode_texts(texts) for texts in empty_sentences()]
            else:
                pictures = empty_pictures(self._encoder.preprocessing.size)
                bank = [self._encoder.encode_images(pictures)]
            self._banks[kind] = bank
        return self._banks[kind]

    def _own(self, modality: Modality, kind: Modality) -> NDArray[np.float32]:
        """Return the cosines of the best answers to a sample of the library's own items.

        None of them is its own answer. Empty when there are too few.
        """
        with self._catalog.snapshot():
            table = self._catalog.vector_table(self._space, kind)
            if table.count() < _FEWEST:
                return np.empty(0, dtype=np.float32)
            questions = table.sample(_OWN, np.random.default_rng(_SEED))
        place = int(modality is kind)  # the first answer is the item itself
        found = self._indexes.search(self._space, modality, questions, place + 1)
        best = [matches.scores[place] for matches in found if len(matches.scores) > place]
        return np.array(best, dtype=np.float32)

    def _answers(self, modality: Modality, questions: Vectors) -> NDArray[np.float32]:
        """Return the cosines of the best answers to all questions, in one row."""
        found = self._indexes.search(self._space, modality, questions, DEPTH)
        return np.concatenate([matches.scores for matches in found])


def chance_level(answers: Sequence[NDArray[np.float32]], own: NDArray[np.float32]) -> float:
    """Return the cosine up to which an answer is no better than chance.

    `answers` are the cosines that families of questions about nothing have reached, none
    empty. Of each, mean + 0.84 standard deviations, the 80 % point of a normal distribution;
    the level is that of the family that gets furthest. `own`: the best cosines that the
    library's own items reach; the level is not above their 5 % quantile. Empty: not known.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in answers]
    level = max(float(row.mean() + DEVIATIONS * row.std()) for row in rows)
    return level if len(own) == 0 else min(level, float(np.quantile(own, LEFT)))


def kinds_of(query: Query, catalog: Catalog) -> frozenset[Modality]:
    """Return what a question is made of: of what pulls, or else of what pushes away."""
    pulling = [term for term in query.terms if term.weight > 0] or query.terms
    items = catalog.items([term.id for term in pulling if isinstance(term, ItemTerm)])
    kinds = {item.modality for item in items.values()}
    for term in pulling:
        if not isinstance(term, ItemTerm):
            kinds.add(Modality.TEXT if isinstance(term, TextTerm) else Modality.IMAGE)
    return frozenset(kinds)


def is_weak(scores: NDArray[np.float32], threshold: float | None) -> NDArray[np.bool_]:
    """Return (m,): which cosines are no better than chance; none of them without a level."""
    return scores <= (-np.inf if threshold is None else threshold)


def _is_current(background: Background, table: VectorTable) -> bool:
    """Return whether the questions are the same, and less than a fifth of the rows others."""
    few = max(1, round(_CHANGED * background.rows))
    return (
        background.version == VERSION
        and abs(table.count() - background.rows) < few
        and table.written_after(background.revision, few) < few
    )
