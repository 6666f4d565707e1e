"""The columns that a condition may name, and what may be compared with them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mmsearch.conditions import Operator, Value
from mmsearch.core import Modality
from mmsearch.errors import QueryError
from mmsearch.index.where import dates

LONGEST_TEXT: Final = 20_000
"""Characters of a condition, and of each text in it."""

_LONGEST_PATTERN: Final = 1_000  # SQLite calls itself for every % of one


class Kind(StrEnum):
    """What a column's values are, as messages call them."""

    TEXT = "a text"
    NUMBER = "a number"
    DATE = "a date"


class Source(StrEnum):
    """Where a column's values lie. A label or caption is one of any number that an item has."""

    ITEM = "items"
    PHOTO = "photos"
    LABELS = "labels"
    CAPTIONS = "captions"


@dataclass(frozen=True, slots=True)
class Column:
    """A documented column. `sql` is its value in a row of `items`, `photos` or its own table.

    A `raw` one is cut from a path: bytes that need not be UTF-8. `units`: what a number may be
    followed by, in lower case, and how many of the column's own unit that is. `choices`: all
    the values there are.
    """

    name: str
    kind: Kind
    source: Source
    sql: str
    help: str
    raw: bool = False
    units: Mapping[str, int] = field(default_factory=dict)
    choices: tuple[str, ...] = ()


_BYTES: Final = {
    "b": 1,
    **{f"{letter}b": 1000**n for n, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**n for n, letter in enumerate("kmgt", start=1)},
}
_PIXELS: Final = {"px": 1}

_ALL: Final = (
    Column("id", Kind.NUMBER, Source.ITEM, "items.id", "the item's number"),
    Column(
        "modality",
        Kind.TEXT,
        Source.ITEM,
        "items.modality",
        "'image' or 'text'",
        choices=tuple(modality.value for modality in Modality),
    ),
    Column("path", Kind.TEXT, Source.ITEM, "items.path", "a picture's absolute path", raw=True),
    Column(
        "name",
        Kind.TEXT,
        Source.ITEM,
        "mmsearch_name(items.path)",
        "the last part of the path",
        raw=True,
    ),
    Column(
        "folder",
        Kind.TEXT,
        Source.ITEM,
        "mmsearch_folder(items.path)",
        "the path without the last part",
        raw=True,
    ),
    Column(
        "extension",
        Kind.TEXT,
        Source.ITEM,
        "mmsearch_extension(items.path)",
        "what follows the last dot of the name; unknown without one",
        raw=True,
    ),
    Column(
        "size",
        Kind.NUMBER,
        Source.ITEM,
        "items.size",
        "bytes of the file or sentence (2MB, 500kB, 1GiB)",
        units=_BYTES,
    ),
    Column(
        "modified",
        Kind.DATE,
        Source.ITEM,
        "CASE WHEN items.path IS NOT NULL THEN items.mtime_ns END",
        "when a picture's file was changed last, in local time",
    ),
    Column("taken", Kind.DATE, Source.PHOTO, "photos.taken", "the camera's time, from EXIF alone"),
    Column("date", Kind.DATE, Source.PHOTO, "", "`taken` where it is known, else `modified`"),
    Column(
        "width",
        Kind.NUMBER,
        Source.PHOTO,
        "photos.width",
        "pixels, of the picture upright",
        units=_PIXELS,
    ),
    Column(
        "height",
        Kind.NUMBER,
        Source.PHOTO,
        "photos.height",
        "pixels, of the picture upright",
        units=_PIXELS,
    ),
    Column(
        "aspect",
        Kind.NUMBER,
        Source.PHOTO,
        "CAST(photos.width AS REAL) / photos.height",
        "width divided by height",
    ),
    Column(
        "megapixels",
        Kind.NUMBER,
        Source.PHOTO,
        "photos.width * photos.height / 1000000.0",
        "millions of pixels (12, 12MP)",
        units={"mp": 1},
    ),
    Column("camera", Kind.TEXT, Source.PHOTO, "photos.camera", "maker and model, from EXIF"),
    Column("latitude", Kind.NUMBER, Source.PHOTO, "photos.latitude", "degrees north, from EXIF"),
    Column("longitude", Kind.NUMBER, Source.PHOTO, "photos.longitude", "degrees east, from EXIF"),
    Column("label", Kind.TEXT, Source.LABELS, "labels.name", "any of the item's labels"),
    Column("caption", Kind.TEXT, Source.CAPTIONS, "captions.text", "any of a picture's captions"),
    Column("text", Kind.TEXT, Source.ITEM, "items.text", "a sentence itself"),
)
COLUMNS: Final[Mapping[str, Column]] = {column.name: column for column in _ALL}


def column_named(name: str) -> Column:
    """Return a column, whatever the case of its name. Raises QueryError that lists near ones."""
    column = COLUMNS.get(name.lower())
    if column is None:
        from difflib import get_close_matches

        near = get_close_matches(name.lower(), COLUMNS, cutoff=0.6)
        known = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(COLUMNS)}"
        raise QueryError(f'there is no column "{name[:40]}"; {known}')
    return column


def check(column: Column, operator: Operator, value: Value) -> None:
    """Raise QueryError unless a column can be compared with a value like that."""
    if operator is Operator.LIKE and column.kind is not Kind.TEXT:
        raise QueryError(f"{column.name} is {column.kind}; LIKE compares texts")
    if column.kind is Kind.NUMBER:
        _check_number(column, value)
        return
    if not isinstance(value, str):
        raise QueryError(f"{column.name} is {column.kind}, and {value!r} is a number")
    if column.kind is Kind.DATE:
        dates.span(value)
        return
    check_text(value)
    if operator is Operator.LIKE and len(value) > _LONGEST_PATTERN:
        raise QueryError(
            f"a pattern of {len(value):,} characters; at most {_LONGEST_PATTERN:,} can be"
        )
    if column.choices and operator is not Operator.LIKE and value.lower() not in column.choices:
        raise QueryError(f"{column.name} is {' or '.join(map(repr, column.choices))}")


def _check_number(column: Column, value: Value) -> None:
    if isinstance(value, str | bool) or not isinstance(value, int | float):
        raise QueryError(f"{column.name} is a number, and {str(value)[:40]!r} is a text")
    if not math.isfinite(value):
        raise QueryError(f"{column.name} is a number, and {value} is none")


def check_text(value: str) -> None:
    """Raise QueryError for a text that nothing in a catalog can be compared with."""
    if len(value) > LONGEST_TEXT:
        raise QueryError(f"a text of {len(value):,} characters; at most {LONGEST_TEXT:,} can be")
    if "\0" in value:
        raise QueryError("a text with a zero byte; no name has one")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise QueryError(f"a text that is not valid Unicode: {value[:40]!r}") from error
