"""Ranges of sizes as one word: `2MP..`, `..500kB`, `2MP..12MP`."""

import re
from typing import Final

from mmsearch.conditions import AllOf, Compare, Condition, Operator
from mmsearch.errors import QueryError
from mmsearch.index.where import literals
from mmsearch.index.where.columns import COLUMNS, Column

_RANGE: Final = re.compile(r"\s*(.*?)\s*\.\.\s*(.*?)\s*", re.DOTALL)
_BOUND: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([A-Za-z]*)")


def parse_size(text: str) -> Condition:
    """Return the condition that a range of megapixels or of bytes means, both ends included.

    Raises QueryError for what is no range, or is one of both.
    """
    found = _RANGE.fullmatch(text)
    if found is None or not any(found.groups()):
        raise QueryError(f"{text[:40]!r} is no range; write 2MP.., ..12MP, 2MP..12MP or ..500kB")
    low, high = found.groups()
    bounds = [
        (operator, *_bound(end))
        for operator, end in ((Operator.AT_LEAST, low), (Operator.AT_MOST, high))
        if end
    ]
    if len({column for _, column, _ in bounds}) > 1:
        raise QueryError(f"{text[:40]!r} begins with pixels and ends with bytes, or the reverse")
    parts = [Compare(column, operator, value) for operator, column, value in bounds]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _bound(text: str) -> tuple[str, int | float]:
    """Return which column an end of a range is of, and its value in the column's unit."""
    found = _BOUND.fullmatch(text)
    column = None if found is None else _measuring(found[2])
    if found is None or column is None:
        raise QueryError(f"{text[:40]!r} is no size; write 12MP, 500kB, 2MB or 1GiB")
    return column.name, literals.measured(found[1], found[2], column)


def _measuring(unit: str) -> Column | None:
    for column in (COLUMNS["megapixels"], COLUMNS["size"]):
        if unit.lower() in column.units:
            return column
    return None
