"""What a question means, as pure functions, and what came of it.

A query's vector is always a sum of the vectors of its terms, whichever way the negative ones act:
`Direction.coefficients` says of how much of each. So a score is a sum as well, of one share for
each term: the cosine of q = sum c_i t_i with an answer v is sum c_i (t_i . v).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Hit, Ids, ImageTerm, Matches, Modality, Negation, Query, Term, Vectors
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.conditions import Condition
    from mmsearch.index.sources import Route
    from mmsearch.retrieval.hybrid import Blend
    from mmsearch.retrieval.narrowing import Narrowed
    from mmsearch.retrieval.wording import Wording

_SMALLEST = 1e-6  # of the longest term's length


@dataclass(frozen=True, slots=True)
class Direction:
    """Where a query points: `vector` (1, dim) float32, a unit row.

    `coefficients` (n,) float64, one a term: the vector is their sum over the terms' rows.
    """

    vector: Vectors
    coefficients: NDArray[np.float64]


def combine(vectors: Vectors, weights: Sequence[float], negation: Negation) -> Direction:
    """Return the direction of some terms, (n, dim) unit rows with weights other than 0.

    With positive terms alone it is that of their weighted sum p. SUBTRACT lets a weight below 0
    count in the same sum. PROJECT takes out of p what points towards the negative terms: of all
    sums of them with coefficients a_j >= 0, the one that is nearest to p (for a single term n:
    a = p . n, where that is positive), and of that -w_j a_j n_j. At a weight of -1 the rest has
    no positive cosine with any negative term; between 0 and -1 it keeps a part, and at -2 it has
    the opposite cosine. What p has not, is not taken, and the weights of positive terms count
    against each other only. Without a positive term both subtract.

    Raises InputError when the terms cancel out, so that no direction is left.
    """
    rows = vectors.astype(np.float64)
    coefficients = np.array(weights, dtype=np.float64)
    negative = coefficients < 0
    if negation is Negation.PROJECT and negative.any() and not negative.all():
        wanted = coefficients[~negative] @ rows[~negative]
        coefficients[negative] *= nearest_sum(rows[negative], wanted)
    total = coefficients @ rows
    length = float(np.linalg.norm(total))
    if not length > _SMALLEST * float(np.abs(weights).max()):
        raise InputError(
            "the terms of the query cancel each other out; change a term or its weight"
        )
    return Direction(
        np.asarray(total / length, dtype=np.float32)[np.newaxis], coefficients / length
    )


def nearest_sum(rows: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients (n,), none below 0, whose sum over (n, dim) rows is nearest to a row.

    Non-negative least squares by active sets: Lawson and Hanson, Solving Least Squares Problems
    (1974), chapter 23.
    """
    found = np.zeros(len(rows))
    used = np.zeros(len(rows), dtype=bool)
    tolerance = _SMALLEST * float(np.linalg.norm(target))
    for _ in range(3 * len(rows)):
        slope = rows @ (target - found @ rows)
        slope[used] = -np.inf
        if not slope.max(initial=-np.inf) > tolerance:
            break
        used[slope.argmax()] = True
        found = _feasible(rows, target, found, used)
        used = found > 0
    return found


def _feasible(
    rows: NDArray[np.float64],
    target: NDArray[np.float64],
    found: NDArray[np.float64],
    used: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Go from `found` towards the least squares of the used rows, without those below 0 there."""
    used = used.copy()
    while True:
        best = np.zeros(len(rows))
        best[used] = np.linalg.lstsq(rows[used].T, target, rcond=None)[0]
        bad = used & (best <= 0)
        if not bad.any():
            return best
        step = float((found[bad] / (found[bad] - best[bad])).min(initial=1.0))
        found = found + step * (best - found)
        used &= found > _SMALLEST**2
        found[~used] = 0.0


def merge_by_rank(answers: Sequence[Matches], k: int) -> list[tuple[int, float]]:
    """Merge the rankings of several modalities into (id, score) of the k first.

    The best of each come first, by score, then the second of each, and so on; ties by id. Their
    scores do not compare: pictures and sentences lie in different cones of the space, so that a
    sentence is nearer to any sentence than the right picture is, and a merger by score would
    show one modality alone.
    """
    ranked = [
        (place, -score, number)
        for matches in answers
        for place, (number, score) in enumerate(
            zip(matches.ids.tolist(), matches.scores.tolist(), strict=True)
        )
    ]
    return [(number, -score) for _, score, number in sorted(ranked)[:k]]


def choose_target(terms: Sequence[Term], *, texts: int) -> Modality:
    """Return what a query looks for when the caller did not say.

    Sentences for a question made of pictures when the library has any, else pictures.
    """
    pictures = all(isinstance(term, ImageTerm) for term in terms)
    return Modality.TEXT if pictures and texts else Modality.IMAGE


def text_of_query(text: str) -> str:
    """Return the sentence without white space around it. Raises InputError when empty."""
    stripped = text.strip()
    if not stripped:
        raise InputError("the query is empty; say what to look for, such as: a dog on grass")
    return stripped


def as_condition(where: "str | Condition | None") -> "Condition | None":
    """Return a condition that may be given as a text. Raises QueryError for one that is none."""
    if not isinstance(where, str):
        return where
    from mmsearch.index.where.grammar import parse_condition

    return parse_condition(where)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answers of one modality, best first, with what they were made from.

    `narrowed` None: every item of the modality could answer. `level` is the cosine up to which
    answers are no better than chance, None where nobody asked. `route`: how the vectors were
    searched, None where nobody did. `blend` None: the vectors alone have ranked.
    """

    modality: Modality
    matches: Matches
    narrowed: "Narrowed | None" = None
    route: "Route | None" = None
    level: float | None = None
    weak: frozenset[int] = frozenset()
    blend: "Blend | None" = None

    def kept(self, keep: NDArray[np.bool_] | slice) -> "Ranking":
        """Return the ranking of some of its answers."""
        matches = Matches(self.matches.ids[keep], self.matches.scores[keep])
        return replace(self, matches=matches)


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with its answers and all that led to them.

    `rows` (n, dim) are the vectors of the query's terms; `own` the sorted ids of the items that
    the query is made of and that were left out. `wording` None: the vectors alone have ranked.
    """

    query: Query
    hits: tuple[Hit, ...]
    rows: Vectors
    direction: Direction
    own: Ids
    wording: "Wording | None"
    rankings: tuple[Ranking, ...]
