"""Texts in SQL, and above all the parts of a path, which is bytes that need not be UTF-8.

A function that is called for every row costs more than everything else, so a part of a path is
compared by what the whole path begins or ends with, wherever that says the same.
"""

import os
import unicodedata
from dataclasses import dataclass
from typing import Final

from mmsearch.index.where.columns import Column

TEXT: Final = "CAST(? AS TEXT)"
"""A bound text: as bytes, because not every path is valid Unicode."""

_WILD: Final = frozenset(b"%_/")
_NEVER: Final = "0"


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL and the values of its marks."""

    sql: str
    values: tuple[object, ...] = ()


def as_text(column: Column) -> str:
    """Return a text column's value as text, whatever its bytes are."""
    return f"CAST({column.sql} AS TEXT)" if column.raw else column.sql


def raw_pattern(column: Column, value: str) -> bytes:
    """Return the bytes of what a text column is like; an extension is one without its dot."""
    if not column.raw:
        return value.encode("utf-8", "surrogateescape")
    raw = os.fsencode(value)
    return raw.removeprefix(b".") if column.name == "extension" else raw


def raw_text(column: Column, value: str) -> bytes:
    """Return the bytes that a text column is compared with: `.jpg` as jpg, `/a/` as /a."""
    raw = raw_pattern(column, value)
    return (raw.rstrip(b"/") or raw[:1]) if column.name == "folder" else raw


def label_equals(column: Column, value: str) -> Fragment:
    """Return whether a label equals a text in any case, as labels of any case are one.

    SQLite knows the case of A to Z. Beyond, each name is folded once instead of each row: LIMIT
    keeps the test out of the list of names.
    """
    if value.isascii():
        return Fragment(f"{column.sql} COLLATE NOCASE = {TEXT}", (raw_text(column, value),))
    folded = unicodedata.normalize("NFC", value).casefold()
    names = "SELECT DISTINCT name FROM labels LIMIT -1"
    return Fragment(
        f"{column.sql} IN (SELECT name FROM ({names}) "
        "WHERE mmsearch_folded(CAST(name AS BLOB)) = ?)",
        (folded.encode("utf-8", "surrogateescape"),),
    )


def path_equals(column: Column, raw: bytes) -> Fragment:
    """Return whether a part of a path equals a text."""
    match column.name:
        case "path":
            return Fragment(f"({as_text(column)} = {TEXT} COLLATE NOCASE)", (raw,))
        case "folder":
            return _in_folder(raw)
        case "name":
            return _ends(b"/" + raw)
        case _:
            return _has_extension(raw)


def _in_folder(raw: bytes) -> Fragment:
    if not raw:
        return Fragment(_NEVER)
    start = raw.rstrip(b"/") + b"/"
    return Fragment(
        f"(CAST(substr(items.path, 1, ?) AS TEXT) = {TEXT} COLLATE NOCASE "
        "AND instr(substr(items.path, ?), X'2F') = 0)",
        (len(start), start, len(start) + 1),
    )


def _has_extension(raw: bytes) -> Fragment:
    if b"." in raw:
        return Fragment(_NEVER)
    end = _ends(b"." + raw)
    if end.sql == _NEVER:
        return end
    named = "substr(items.path, ?, 1) <> X'2F'"  # else the dot is the first of the name
    return Fragment(f"({end.sql} AND {named})", (*end.values, -len(raw) - 2))


def _ends(raw: bytes) -> Fragment:
    if len(raw) == 1 or b"/" in raw[1:]:
        return Fragment(_NEVER)  # no part of a path is empty or has a slash
    return Fragment(
        f"(CAST(substr(items.path, ?) AS TEXT) = {TEXT} COLLATE NOCASE)", (-len(raw), raw)
    )


def path_like(column: Column, raw: bytes) -> Fragment:
    """Return whether a part of a path is like a pattern; most rows show it by the whole path."""
    whole = f"CAST(items.path AS TEXT) LIKE {TEXT}"
    match column.name:
        case "path":
            return Fragment(f"({whole})", (raw,))
        case "name" if raw[:1] == b"%" and not _WILD.intersection(raw[1:]):
            return Fragment(f"({whole})", (raw,))  # the end of the name is that of the path
        case "name":
            around = b"%/" + raw
        case "folder":
            around = raw + b"%"
        case _:
            around = b"%." + raw
    part = f"{as_text(column)} LIKE {TEXT}"
    return Fragment(f"(CASE WHEN {whole} THEN {part} END)", (around, raw))
