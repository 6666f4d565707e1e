"""Checksums of the catalog's own rows: SQLite does not notice a flipped bit inside a value."""

import zlib
from typing import TypeAlias

ItemValues: TypeAlias = tuple[int, str, int | None, bytes | None, str | None, bytes, int, int]
"""id, modality, root_id, path, text, digest, size, mtime_ns: the columns of `items`."""


def item_checksum(values: ItemValues) -> int:
    """Return the CRC-32 of an item's row."""
    number, modality, root_id, path, text, digest, size, mtime_ns = values
    head = f"{number}|{modality}|{root_id}|{size}|{mtime_ns}|".encode()
    content = path if path is not None else (text or "").encode()
    return zlib.crc32(content, zlib.crc32(digest, zlib.crc32(head)))
