"""How large a condition may be, and which places there are."""

from typing import Final

from mmsearch.conditions import Near
from mmsearch.errors import QueryError
from mmsearch.index.where.columns import check_text

MOST_NESTED: Final = (
    20  # SQLite's parser keeps 100 symbols: 3 a level, and some 30 of what is inside
)
MOST_TERMS: Final = 500  # SQLite takes an expression that is 1,000 deep
MOST_VALUES: Final = 10_000  # SQLite takes some 32,000 bound values


def check_extent(depth: int, terms: int) -> None:
    """Raise QueryError for a condition that is too deep or has too many terms."""
    if depth > MOST_NESTED:
        raise QueryError(f"the condition is nested too deep: more than {MOST_NESTED} levels")
    if terms > MOST_TERMS:
        raise QueryError(f"the condition has too many terms: more than {MOST_TERMS}")


def check_values(values: int) -> None:
    """Raise QueryError for too many values."""
    if values > MOST_VALUES:
        raise QueryError(f"the condition has too many values: more than {MOST_VALUES:,}")


def check_path(path: str) -> None:
    """Raise QueryError unless a path is absolute."""
    check_text(path)
    if not path.startswith("/"):
        raise QueryError(f"under() needs an absolute path, not {path[:80]!r}")


def check_place(near: Near) -> None:
    """Raise QueryError unless a place is on the globe and the distance is one."""
    if not -90 <= near.latitude <= 90:
        raise QueryError(f"a latitude is from -90 to 90 degrees, not {near.latitude:g}")
    if not -180 <= near.longitude <= 180:
        raise QueryError(f"a longitude is from -180 to 180 degrees, not {near.longitude:g}")
    if not 0 <= near.kilometres < float("inf"):
        raise QueryError(f"a distance is not {near.kilometres:g} km")
