"""Brute force as the measure of an approximate index: questions, their answers, the recall."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Vectors

RECALL_AT: Final = 10
_TIE = 1e-6  # between float32 sums of equal rows


@dataclass(frozen=True, slots=True)
class Questions:
    """Unit rows (n, dim) to measure with, and where they are from ("text", "image", ...)."""

    vectors: Vectors
    origin: str

    def __len__(self) -> int:
        return len(self.vectors)


class Truth:
    """Brute force over rows that stream by: the best rows of every question, with vectors."""

    def __init__(self, questions: Vectors, depth: int = 2 * RECALL_AT) -> None:
        count, dim = questions.shape
        self.questions = questions
        self.ids = np.full((count, depth), -1, dtype=np.int64)
        self.scores = np.full((count, depth), -np.inf, dtype=np.float32)
        self.vectors = np.zeros((count, depth, dim), dtype=np.float32)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Look at some more rows; ids must rise from call to call, as ties go to the lower."""
        scores = self.questions @ vectors.T
        beaten = scores > self.scores[:, -1:]
        for row in np.flatnonzero(beaten.any(axis=1)).tolist():
            new = np.flatnonzero(beaten[row])
            merged = np.concatenate([self.scores[row], scores[row, new]])
            keep = np.argsort(-merged, kind="stable")[: self.ids.shape[1]]
            self.ids[row] = np.concatenate([self.ids[row], ids[new]])[keep]
            self.vectors[row] = np.concatenate([self.vectors[row], vectors[new]])[keep]
            self.scores[row] = merged[keep]

    def relevant(self, row: int) -> Ids:
        """Return the ids of a question's best rows, and of those equal to the last of them."""
        there = self.ids[row] >= 0
        last = self.scores[row][there][:RECALL_AT].min(initial=np.inf)
        found: Ids = self.ids[row][there & (self.scores[row] >= last - _TIE)]
        return found

    def recalls(self, found: Sequence[Ids]) -> NDArray[np.float64]:
        """Return (n,): how much of each question's best was found; 1 where there is nothing."""
        shares = []
        for row, ids in enumerate(found):
            relevant = self.relevant(row)
            wanted = min(RECALL_AT, len(relevant))
            hit = min(int(np.isin(ids, relevant).sum()), wanted)
            shares.append(hit / wanted if wanted else 1.0)
        return np.array(shares)


def lower_bound(shares: NDArray[np.float64]) -> float:
    """Return the mean less three standard errors: what fresh questions will hardly fall below."""
    if len(shares) == 0:
        return 0.0
    return float(shares.mean() - 3 * shares.std() / np.sqrt(len(shares)))
