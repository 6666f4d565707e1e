"""Checksums of the catalog's own rows: SQLite does not notice a flipped bit inside a value."""

import json
import zlib
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

ItemValues: TypeAlias = tuple[int, str, int | None, bytes | None, str | None, bytes, int, int]
"""The values of ITEM_COLUMNS."""

ITEM_COLUMNS: Final = "id, modality, root_id, path, text, digest, size, mtime_ns"
FAILURE_COLUMNS: Final = "path, root_id, reason, size, mtime_ns, digest, at"
PHOTO_COLUMNS: Final = (
    "item_id, width, height, taken, camera, latitude, longitude, fingerprint"  # signed
)
LABEL_COLUMNS: Final = "item_id, name, source, score"
CAPTION_COLUMNS: Final = "item_id, place, text"
FUSED_COLUMNS: Final = "space_id, item_id, weight, captions, vector"


class DamagedRowError(Exception):
    """What the catalog holds does not match its checksums; `database.explained` translates it."""


def item_checksum(values: ItemValues) -> int:
    """Return the CRC-32 of an item's row; -1 when a value has a type that no row has."""
    number, modality, root_id, path, text, digest, size, mtime_ns = values
    head = f"{number}|{modality}|{root_id}|{size}|{mtime_ns}|".encode()
    try:
        content = path if path is not None else (text or "").encode()
        return zlib.crc32(content, zlib.crc32(digest, zlib.crc32(head)))
    except (TypeError, AttributeError):  # a flipped bit can make a number of a text
        return -1


def checked_item(values: ItemValues, crc: int | None) -> ItemValues:
    """Return an item's row. Raises DamagedRowError when it does not match its checksum."""
    if item_checksum(values) != crc:
        raise DamagedRowError(f"the row of item {values[0]} does not match its checksum")
    return values


def checked(row: Sequence[Any], what: str, *, place: int = 0) -> Sequence[Any]:
    """Return a row without its checksum, the last value.

    Raises DamagedRowError when it does not match; `what` and the item's id in that `place` say
    of what the row is.
    """
    if row_checksum(row[:-1]) != row[-1]:
        raise DamagedRowError(f"{what} of item {row[place]} does not match its checksum")
    return row[:-1]


def row_checksum(values: Sequence[Any]) -> int:
    """Return the CRC-32 of any row: of its values as a JSON array, bytes as hex."""
    plain = [value.hex() if isinstance(value, bytes) else value for value in values]
    return zlib.crc32(json.dumps(plain, separators=(",", ":")).encode())
