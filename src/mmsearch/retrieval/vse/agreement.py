"""Whether two encoders are the same network: pure functions of their vectors."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Vectors
from mmsearch.errors import ModelError

COSINE: Final = 0.9999
CENTRED_COSINE: Final = 0.999
DIFFERENCE: Final = 1e-5
SPREAD: Final = 1e-3


@dataclass(frozen=True, slots=True)
class TowerAgreement:
    """How one tower's vectors agree with the reference, at the worst of `samples` samples.

    `cosine` between the two vectors; `centred_cosine` after the reference's mean vector is
    subtracted from both, which a common offset cannot hide; `alone` the largest difference of
    any component between a sample encoded by itself and in a batch.
    """

    samples: int
    cosine: float
    centred_cosine: float
    alone: float

    def faults(self) -> list[str]:
        """Return what is out of bounds, in words."""
        found = []
        if not self.cosine >= COSINE:
            found.append(f"cosine {self.cosine:.6f} < {COSINE}")
        if not self.centred_cosine >= CENTRED_COSINE:
            found.append(f"cosine around the mean {self.centred_cosine:.6f} < {CENTRED_COSINE}")
        if not self.alone <= DIFFERENCE:
            found.append(f"alone and in a batch differ by {self.alone:.1e} > {DIFFERENCE:.0e}")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How both towers agree; `inversion` is that of the scores between them."""

    image: TowerAgreement | None
    text: TowerAgreement
    inversion: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)

    def faults(self) -> list[str]:
        """Return what is out of bounds, in words, with tower and figures."""
        towers = {"image": self.image, "text": self.text}
        faults = [
            f"{name} tower: {fault}"
            for name, tower in towers.items()
            if tower is not None
            for fault in tower.faults()
        ]
        if not self.inversion <= DIFFERENCE:
            faults.append(f"neighbours change places by {self.inversion:.1e} > {DIFFERENCE:.0e}")
        return faults

    def check(self) -> None:
        """Raise ModelError, naming tower and figures, when anything is out of bounds."""
        faults = self.faults()
        if faults:
            raise ModelError(
                f"the exported model differs from the trained one ({'; '.join(faults)}); "
                "it was not kept"
            )


def tower_agreement(expected: Vectors, found: Vectors, alone: Vectors) -> TowerAgreement:
    """Compare unit rows (n, dim) of the reference with those found in batches and one by one.

    Samples nearer than SPREAD to the mean say nothing about the directions around it.
    """
    mean = expected.mean(axis=0)
    spread = np.linalg.norm(expected - mean, axis=1) >= SPREAD
    return TowerAgreement(
        samples=len(expected),
        cosine=_worst_cosine(expected, found),
        centred_cosine=_worst_cosine((expected - mean)[spread], (found - mean)[spread]),
        alone=float(np.abs(found - alone).max(initial=0.0)),
    )


def inversion(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return by how much the order of `found` scores contradicts the expected scores, at worst.

    Both (queries, items). 0.0 when every row is ordered alike; else the largest expected score
    gap between two items that have changed places: a tie that fell otherwise costs its gap.
    """
    order = np.argsort(-found, axis=1, kind="stable")
    ordered = np.take_along_axis(expected, order, axis=1)
    best_after = np.maximum.accumulate(ordered[:, ::-1], axis=1)[:, ::-1]
    return float((best_after - ordered).max(initial=0.0))


def _worst_cosine(a: Vectors, b: Vectors) -> float:
    """Return the smallest cosine of a row of `a` with that of `b`; two zero rows agree."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    both_zero = ~a.any(axis=1) & ~b.any(axis=1)
    return float(np.where(both_zero, 1.0, cosines).min(initial=1.0))
