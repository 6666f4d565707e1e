"""Conditions answered row by row in Python: a second reading of the documentation, without SQL."""

import math
import os
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeAlias

from mmsearch.conditions import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Known,
    Near,
    Not,
    OneOf,
    Operator,
    Under,
    Value,
)
from mmsearch.core import Modality, Photo

Plain: TypeAlias = bytes | int | float


@dataclass(frozen=True)
class Row:
    """Everything a catalog knows of an item."""

    id: int
    modality: Modality
    path: bytes | None = None
    text: str | None = None
    size: int = 0
    mtime_ns: int = 0
    photo: Photo | None = None
    labels: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()

    @cached_property
    def values(self) -> dict[str, list[Plain]]:
        """Return the values of each column but the dates; texts as bytes."""
        found: dict[str, list[Plain]] = {
            "id": [self.id],
            "modality": [self.modality.value.encode()],
            "size": [self.size],
            "label": [label.encode() for label in self.labels],
            "caption": [caption.encode() for caption in self.captions],
        }
        if self.text is not None:
            found["text"] = [self.text.encode()]
        if self.path is not None:
            found |= _of_path(self.path)
        if self.photo is not None:
            found |= _of_photo(self.photo)
        return found

    def clock(self, column: str) -> str | None:
        """Return a date's column as ISO 8601 to the second, None where it is unknown."""
        taken = None if self.photo is None else self.photo.taken
        if column != "modified" and taken is not None:
            return (datetime(1970, 1, 1) + timedelta(seconds=taken)).isoformat()  # noqa: DTZ001
        if column == "taken" or self.path is None:
            return None
        local = datetime.fromtimestamp(self.mtime_ns // 10**9)  # noqa: DTZ006 - as documented
        return local.isoformat()


def _of_path(path: bytes) -> dict[str, list[Plain]]:
    folder, name = os.path.split(path)
    stem, dot, extension = name.rpartition(b".")
    found: dict[str, list[Plain]] = {"path": [path], "name": [name], "folder": [folder]}
    if dot and stem and extension:
        found["extension"] = [extension]
    return found


def _of_photo(photo: Photo) -> dict[str, list[Plain]]:
    found: dict[str, list[Plain]] = {
        "width": [photo.width],
        "height": [photo.height],
        "aspect": [photo.width / photo.height],
        "megapixels": [photo.width * photo.height / 1_000_000],
    }
    known = {"latitude": photo.latitude, "longitude": photo.longitude}
    found |= {name: [value] for name, value in known.items() if value is not None}
    if photo.camera is not None:
        found["camera"] = [photo.camera.encode()]
    return found


def holds(condition: Condition, row: Row) -> bool:
    """Say whether a condition holds for a row."""
    match condition:
        case AllOf(parts):
            return all(holds(part, row) for part in parts)
        case AnyOf(parts):
            return any(holds(part, row) for part in parts)
        case Not(inner):
            return not holds(inner, row)
        case Compare(column, operator, value):
            return _compares(row, column, operator, value)
        case OneOf(column, values):
            return any(_compares(row, column, Operator.EQUAL, value) for value in values)
        case _:
            return _stands(condition, row)


def _stands(condition: Known | Under | Near, row: Row) -> bool:
    match condition:
        case Known(column):
            if column in {"date", "taken", "modified"}:
                return row.clock(column) is not None
            return bool(row.values.get(column))
        case Under(path):
            raw = os.fsencode(path).rstrip(b"/")
            return row.path is not None and (row.path == raw or row.path.startswith(raw + b"/"))
        case Near():
            return row.photo is not None and _is_near(condition, row.photo)


def _compares(row: Row, column: str, operator: Operator, value: Value) -> bool:
    if column in {"date", "taken", "modified"}:
        shown = row.clock(column)
        wanted = str(value).replace(" ", "T")
        return shown is not None and _ordered(shown[: len(wanted)], operator, wanted)
    wanted_plain: Plain = os.fsencode(value) if isinstance(value, str) else value
    if column == "extension" and isinstance(wanted_plain, bytes):
        wanted_plain = wanted_plain.removeprefix(b".")
    if column == "folder" and operator is not Operator.LIKE and wanted_plain != b"/":
        wanted_plain = wanted_plain.rstrip(b"/") if isinstance(wanted_plain, bytes) else 0
    if column == "label" and operator is Operator.EQUAL and not str(value).isascii():
        folded = unicodedata.normalize("NFC", str(value)).casefold()
        return folded in [label.casefold() for label in row.labels]
    return any(_matches(one, operator, wanted_plain) for one in row.values.get(column, []))


def _matches(one: Plain, operator: Operator, wanted: Plain) -> bool:
    if isinstance(one, bytes) and isinstance(wanted, bytes):
        if operator is Operator.LIKE:
            return like(characters(wanted.lower()), characters(one.lower()))
        return _ordered(one.lower(), operator, wanted.lower())
    return _ordered(one, operator, wanted)


def _ordered(one: object, operator: Operator, other: object) -> bool:
    low: bool = one < other  # type: ignore[operator]
    return {
        Operator.EQUAL: one == other,
        Operator.UNEQUAL: one != other,
        Operator.BELOW: low,
        Operator.AT_MOST: low or one == other,
        Operator.ABOVE: not low and one != other,
        Operator.AT_LEAST: not low,
    }[operator]


def _is_near(near: Near, photo: Photo) -> bool:
    """Compare the angle between two places as vectors, not by haversines."""
    if photo.latitude is None or photo.longitude is None:
        return False
    a, b = _vector(photo.latitude, photo.longitude), _vector(near.latitude, near.longitude)
    cross = (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])
    angle = math.atan2(math.hypot(*cross), sum(x * y for x, y in zip(a, b, strict=True)))
    return 6371.0088 * angle <= near.kilometres


def _vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    up, along = math.radians(latitude), math.radians(longitude)
    return math.cos(up) * math.cos(along), math.cos(up) * math.sin(along), math.sin(up)


def characters(raw: bytes) -> list[int]:
    """Read bytes as SQLite reads text: what is not UTF-8 is a character, too.

    A first byte takes all continuation bytes that follow; what comes to no character that may
    be written like that is U+FFFD, and a continuation byte on its own stands for itself.
    """
    found, place = [], 0
    while place < len(raw):
        code = raw[place]
        place += 1
        if code >= 0xC0:
            code = _first_bits(code)
            while place < len(raw) and raw[place] & 0xC0 == 0x80:
                code = (code << 6) + (raw[place] & 0x3F) & 0xFFFFFFFF
                place += 1
            if code < 0x80 or code & 0xFFFFF800 == 0xD800 or code & 0xFFFFFFFE == 0xFFFE:
                code = 0xFFFD
        found.append(code)
    return found


def _first_bits(byte: int) -> int:
    for mask, bits in ((0xE0, 0x1F), (0xF0, 0x0F), (0xF8, 0x07), (0xFC, 0x03), (0xFE, 0x01)):
        if byte & mask == mask << 1 & 0xFF:
            return byte & bits
    return 0


def like(pattern: list[int], text: list[int]) -> bool:
    """Say whether all of a text is like a pattern of `%` and `_`."""
    reached = {0}  # places in the text up to which the pattern so far fits
    for code in pattern:
        if code == ord("%"):
            reached = set(range(min(reached, default=len(text) + 1), len(text) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(text) and code in (ord("_"), text[n])}
    return len(text) in reached
