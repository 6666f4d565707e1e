"""Which kind of index a library gets, and with which parameters one is searched."""

import json
import math
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from mmsearch.errors import ConfigError

SETTING_KIND: Final = "index:kind"
SETTING_RECALL: Final = "index:recall"
AUTOMATIC: Final = "auto"
"""The kind's setting when the number of rows decides."""

_DEFAULT_RECALL = 0.99
_HYSTERESIS = 0.8  # a kind is kept until the rows fall this far below where it began
_FEWEST_CHANGES = 64
_CHANGED = 20  # a new file is written when one row in so many has changed
_REGROWN = 2.0  # lists are trained anew when the rows have doubled or halved
_DRIFTED = 0.25  # parameters are measured anew when so many of the rows came or went


class IndexKind(StrEnum):
    """How a generation's vectors are arranged.

    FLAT: float16, every row compared. IVF_SQ8: inverted lists, 8 bits a dimension. IVF_RABITQ:
    inverted lists, RaBitQ codes of one bit a dimension.
    """

    FLAT = "flat"
    IVF_SQ8 = "ivf-sq8"
    IVF_RABITQ = "ivf-rabitq"


@dataclass(frozen=True, slots=True)
class Policy:
    """When an index is of which kind, and when a new one is written.

    `kind` None: by the number of rows. `recall` is recall@10 against brute force. Not more
    than `changes` rows are left to be searched beside an index file. Up to `scan_below` rows
    are read from the catalog, which takes less time than loading FAISS, and so are up to `few`
    ids of a filter, or `few_opened` where a flat index is open already. From `warn_from` rows on,
    a missing index file is worth a warning.
    """

    kind: IndexKind | None = None
    recall: float = _DEFAULT_RECALL
    flat_below: int = 200_000
    rabitq_from: int = 10_000_000
    changes: int = 8192
    scan_below: int = 2048
    few: int = 1024
    few_opened: int = 128
    warn_from: int = 20_000

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise ConfigError(f"the recall must be above 0 and at most 1, not {self.recall:g}")

    @classmethod
    def of_settings(cls, kind: str | None, recall: str | None) -> Self:
        """Return the policy that a library's settings ask for; what is not set is automatic.

        Raises ConfigError when they are not what `mmsearch tune` sets.
        """
        try:
            return cls(
                kind=None if kind in {None, AUTOMATIC} else IndexKind(kind or ""),
                recall=_DEFAULT_RECALL if recall is None else float(recall),
            )
        except ValueError as error:
            raise ConfigError(
                f"the library's index settings are unknown here ({error}); set them again: "
                "mmsearch tune --kind auto --recall 0.99"
            ) from error

    def choose(self, rows: int, current: IndexKind | None = None) -> IndexKind:
        """Return the kind for this many rows, in favour of the current one near a threshold."""
        if self.kind is not None:
            return self.kind
        if rows >= self.rabitq_from * _eased(current is IndexKind.IVF_RABITQ):
            return IndexKind.IVF_RABITQ
        if rows >= self.flat_below * _eased(current not in {None, IndexKind.FLAT}):
            return IndexKind.IVF_SQ8
        return IndexKind.FLAT

    def due(self, changes: int, rows: int) -> bool:
        """Return whether so many changed rows are worth a new index file."""
        return changes >= min(max(_FEWEST_CHANGES, rows // _CHANGED), self.changes)


def _eased(current: bool) -> float:
    return _HYSTERESIS if current else 1.0


@dataclass(frozen=True, slots=True)
class Parameters:
    """How the inverted lists of an index are probed, and how that was found out.

    A query looks into the `nprobe` of `nlist` lists with the highest inner product of query and
    centroid plus `slack` times the list's radius, and has the `candidates` best by code scored
    from the catalog. Where that may be too little (a filter, more results) it goes on with
    every list whose inner product plus `reach` times the radius is no less than the score to
    beat. `recall` is recall@10 as measured with `queries` questions from `origin`; None when
    there were none of the other modality. `trained` and `measured` are the rows at that time.
    """

    nlist: int
    nprobe: int
    candidates: int
    slack: float
    reach: float
    target: float
    recall: float | None
    queries: int
    origin: str
    trained: int
    measured: int

    def to_json(self) -> str:
        """Return the text that is kept with the generation."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the text again. Raises ValueError when it is not what `to_json` writes."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"{text!r} are no parameters")
        parameters = cls(**_picked(values, [field.name for field in fields(cls)]))
        if not parameters._sound():
            raise ValueError(f"{text!r} are impossible parameters")
        return parameters

    def _sound(self) -> bool:
        whole = (self.nlist, self.nprobe, self.candidates, self.trained, self.measured)
        parts = (self.slack, self.reach, self.target, self.recall or 0.0)
        return (
            all(isinstance(number, int) and number > 0 for number in whole)
            and all(isinstance(part, int | float) and math.isfinite(part) for part in parts)
            and self.nprobe <= self.nlist
        )

    def outgrown(self, rows: int) -> bool:
        """Return whether the lists were trained for far more or fewer rows."""
        return not self.trained / _REGROWN < rows < self.trained * _REGROWN

    def drifted(self, rows: int) -> bool:
        """Return whether so many rows came or went that the recall may be another."""
        return abs(rows - self.measured) > _DRIFTED * self.measured


def _picked(values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    missing = [name for name in names if name not in values]
    if missing:
        raise ValueError(f"the parameter {missing[0]} is missing")
    return {name: values[name] for name in names}
