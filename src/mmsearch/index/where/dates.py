"""Dates as people write them: a date is the whole of what it names.

2024 is a year, 2024-06 a month, 2024-06-01T12 an hour. Seconds are counted from
1970-01-01T00:00 on the clock at hand, without a zone: a camera's clock, or the local one.
"""

import re
from datetime import date, datetime, timedelta
from typing import Final

from mmsearch.errors import QueryError

_FORM: Final = re.compile(
    "([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})(?:[Tt ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2}))?)?)?)?)?"
)
_WIDTHS: Final = (86_400, 3_600, 60, 1)  # seconds of a day, an hour, a minute, a second
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a clock without a zone
_SECOND: Final = timedelta(seconds=1)
_LAST_YEAR: Final = 9998  # the year after the last one must be a year, too
_INT64: Final = 2**63 - 1


def span(text: str) -> tuple[int, int]:
    """Return the first second of what a date names, and the first one after it.

    Raises QueryError for what is no date.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise QueryError(
            f"{text[:40]!r} is no date; write 2024, 2024-06, 2024-06-01 or 2024-06-01T12:30"
        )
    parts = [int(part) for part in found.groups() if part is not None]
    try:
        year, month, day, hour, minute, second = parts + [1, 1, 1, 0, 0, 0][len(parts) :]
        begin = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - no zone
    except ValueError as error:
        raise QueryError(f"there is no {text[:40]}: {error}") from error
    if begin.year > _LAST_YEAR:
        raise QueryError(f"{text[:40]} is too late; years go up to {_LAST_YEAR}")
    start = (begin - _EPOCH) // _SECOND
    return start, start + _width(begin, len(parts))


def _width(begin: datetime, parts: int) -> int:
    """Return how many seconds a date of so many parts covers."""
    match parts:
        case 1:
            return (begin.replace(year=begin.year + 1) - begin) // _SECOND
        case 2:
            later = begin + timedelta(days=31)
            return (later.replace(day=1) - begin) // _SECOND
        case _:
            return _WIDTHS[parts - 3]


def instant_ns(seconds: int) -> int:
    """Return the nanoseconds of Unix time at which the local clock first shows so many seconds.

    A time that the clock leaves out in spring counts as if it went on until then. Before and
    after what a 64-bit number holds: the first or last one.
    """
    shown = _EPOCH + timedelta(seconds=seconds)
    try:
        unix = round(shown.timestamp())
    except (OverflowError, ValueError, OSError):  # at the ends of the calendar
        unix = seconds
    return max(-_INT64, min(_INT64, unix * 1_000_000_000))


def days_before(days: int, today: date | None = None) -> str:
    """Return the date so many days before today. Raises QueryError before the first year."""
    begin = date.today() if today is None else today  # noqa: DTZ011 - the user's own day
    try:
        return (begin - timedelta(days=days)).isoformat()
    except OverflowError as error:
        raise QueryError(f"{days} days ago there was no calendar") from error
