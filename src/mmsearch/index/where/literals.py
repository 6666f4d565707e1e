"""What the values of a condition mean: texts in quotes, numbers with units."""

import math
from typing import Final

from mmsearch.errors import QueryError
from mmsearch.index.where.columns import Column

_LONGEST_NUMBER: Final = 40  # characters


def text(written: str) -> str:
    """Return what stands between quotes; a doubled quote is one."""
    quote = written[0]
    return written[1:-1].replace(quote * 2, quote)


def number(written: str) -> int | float:
    """Return a number: whole unless it has a point or an exponent. Raises QueryError."""
    if len(written) > _LONGEST_NUMBER:
        raise QueryError(f"a number of {len(written):,} characters")
    if written.lstrip("+-").isdigit():
        return int(written)
    value = float(written)
    if not math.isfinite(value):
        raise QueryError(f"{written} is too large a number")
    return value


def whole(written: str) -> int:
    """Return a whole number. Raises QueryError for another one."""
    value = number(written)
    if not isinstance(value, int):
        raise QueryError(f"{written} is no whole number")
    return value


def measured(written: str, unit: str, column: Column) -> int | float:
    """Return a number of some unit in the column's own: 1.5MB are 1,500,000 bytes exactly.

    Raises QueryError for a unit that the column does not have.
    """
    factor = column.units.get(unit.lower())
    if factor is None:
        known = f"it takes {', '.join(column.units)}" if column.units else "it takes none"
        raise QueryError(f'"{unit[:20]}" is no unit of {column.name}; {known}')
    number(written)
    from decimal import Decimal

    value = Decimal(written) * factor
    return int(value) if value == value.to_integral_value() else float(value)
