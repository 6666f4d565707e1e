"""What the Exif block of a picture says: when, with what and where it was taken.

Read from the bytes, tag by tag, as Exif 2.32 (CIPA DC-008) lays them out. Pillow would unpack
every value that a block claims to hold, which one made for it can let take all memory and hours;
here a tag that is not asked for costs nothing, and a value has at most `_LONGEST` bytes.
"""

import math
import re
import struct
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

_LONGEST: Final = 512
_MOST_ENTRIES: Final = 4096  # of a directory; cameras write some dozens
_LONGEST_CAMERA: Final = 100
_FIRST_YEAR: Final = 1800
_PREFIX: Final = b"Exif\0\0"

_MAKE, _MODEL, _DATE_TIME = 0x010F, 0x0110, 0x0132
_EXIF, _GPS = 0x8769, 0x8825
_ORIGINAL, _DIGITIZED = 0x9003, 0x9004
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
_FIRST: Final = frozenset([_MAKE, _MODEL, _DATE_TIME, _EXIF, _GPS])
_TIMES: Final = frozenset([_ORIGINAL, _DIGITIZED])
_PLACES: Final = frozenset([_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE])

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8, 13: 4}
"""Bytes of a value, by type; other types are asked for by nobody."""
_TEXTS: Final = (1, 2, 7)  # ASCII, and what some write instead
_RATIONALS: Final = {5: "II", 10: "ii"}
_POINTERS: Final = {3: "H", 4: "I", 9: "i", 13: "I"}
_DATE: Final = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", re.ASCII)
_UNPRINTABLE: Final = re.compile(r"[\s\0-\x1f\x7f-\x9f]+")

_Value: TypeAlias = tuple[int, bytes]
"""The type of a tag's value, and its bytes."""


@dataclass(frozen=True, slots=True)
class Exif:
    """What a block says, as in `core.Photo`; None where it says nothing that can be believed."""

    taken: int | None = None
    camera: str | None = None
    latitude: float | None = None
    longitude: float | None = None


def read_exif(block: bytes) -> Exif:
    """Return what an Exif block says, with or without its prefix; whatever it holds."""
    directories = _Directories(block.removeprefix(_PREFIX))
    first = directories.read(directories.first, _FIRST)
    exif = directories.read(directories.pointer(first, _EXIF), _TIMES)
    gps = directories.read(directories.pointer(first, _GPS), _PLACES)
    dates = (exif.get(_ORIGINAL), exif.get(_DIGITIZED), first.get(_DATE_TIME))
    taken = next((time for date in dates if (time := _time(_text(date))) is not None), None)
    latitude = directories.degrees(gps, _LATITUDE, b"NS", 90)
    longitude = directories.degrees(gps, _LONGITUDE, b"EW", 180)
    if latitude is None or longitude is None:
        latitude = longitude = None
    return Exif(
        taken, _camera(_text(first.get(_MAKE)), _text(first.get(_MODEL))), latitude, longitude
    )


class _Directories:
    """The directories of tags in a block. `first`: where the first is, 0 when there is none."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._order = {b"II": "<", b"MM": ">"}.get(block[:2], "")
        self.first = (
            int(struct.unpack_from(f"{self._order}I", block, 4)[0]) if self._is_whole() else 0
        )

    def _is_whole(self) -> bool:
        return bool(self._order) and len(self._block) >= 8

    def read(self, at: int, wanted: frozenset[int]) -> dict[int, _Value]:
        """Return those of the `wanted` tags that the directory at a place holds."""
        if not 8 <= at <= len(self._block) - 2:
            return {}
        (count,) = struct.unpack_from(f"{self._order}H", self._block, at)
        whole = (len(self._block) - at - 2) // 12
        found: dict[int, _Value] = {}
        for number in range(min(count, whole, _MOST_ENTRIES)):
            entry = at + 2 + 12 * number
            tag, kind, length = struct.unpack_from(f"{self._order}HHI", self._block, entry)
            if tag in wanted and tag not in found:
                found[tag] = (kind, self._bytes(entry + 8, _SIZES.get(kind, 0) * length))
        return found

    def _bytes(self, at: int, size: int) -> bytes:
        """Return a value: in its entry when it fits there, else where that points to."""
        if size > _LONGEST:
            return b""
        if size > 4:
            (at,) = struct.unpack_from(f"{self._order}I", self._block, at)
        return self._block[at : at + size]

    def pointer(self, directory: Mapping[int, _Value], tag: int) -> int:
        """Return where a directory is that another one names; 0 when it names none."""
        kind, content = directory.get(tag, (0, b""))
        letter = _POINTERS.get(kind)
        if letter is None or len(content) != struct.calcsize(f"<{letter}"):
            return 0
        return int(struct.unpack(f"{self._order}{letter}", content)[0])

    def degrees(self, gps: Mapping[int, _Value], tag: int, signs: bytes, most: int) -> float | None:
        """Return degrees north or east; the letter of the tag before gives the sign.

        None when a part is missing or they are out of range. Minutes and seconds of 0/0, which
        is how some cameras write that they do not know, count as none.
        """
        letter = gps.get(tag - 1, (0, b""))[1][:1].upper()
        kind, content = gps.get(tag, (0, b""))
        if kind not in _RATIONALS or len(content) != 24 or not letter or letter not in signs:
            return None
        numbers = struct.unpack(f"{self._order}{_RATIONALS[kind] * 3}", content)
        parts = [_quotient(*numbers[n : n + 2]) for n in (0, 2, 4)]
        value = parts[0] + parts[1] / 60 + parts[2] / 3600
        if numbers[1] == 0 or min(parts) < 0 or max(parts[1:]) > 60 or not value <= most:
            return None
        return -value if letter == signs[1:] and value else value


def _quotient(numerator: int, denominator: int) -> float:
    if denominator == 0:
        return 0.0 if numerator == 0 else math.inf
    return numerator / denominator


def _text(value: _Value | None) -> str:
    """Return a text up to its first NUL, printable, on one line."""
    kind, content = value or (0, b"")
    if kind not in _TEXTS:
        return ""
    text = content.partition(b"\0")[0].decode("utf-8", "ignore")
    return "".join(c for c in _UNPRINTABLE.sub(" ", text) if c.isprintable()).strip()


def _time(text: str) -> int | None:
    """Return seconds since 1970 on the camera's clock; None for what is no time."""
    found = _DATE.match(text)
    if found is None:
        return None
    try:
        year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
        moment = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 - no zone
    except ValueError:  # the 31st of February, or all zeros
        return None
    return timegm(moment.timetuple()) if moment.year >= _FIRST_YEAR else None


def _camera(make: str, model: str) -> str | None:
    """Return maker and model in one, the maker's name once."""
    known = make.split(" ", maxsplit=1)[0].casefold()
    name = model if model.casefold().startswith(known) and model else f"{make} {model}"
    return name.strip()[:_LONGEST_CAMERA].rstrip() or None
