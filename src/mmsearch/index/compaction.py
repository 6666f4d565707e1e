"""Give the space of removed rows back to the file system.

SQLite keeps the pages of removed rows for rows to come. Writing the catalog anew without them
needs as much room again for a moment, and time in proportion to what stays: it is done when more
than a quarter is free and the rest is small, and readers go on meanwhile.
"""

from dataclasses import dataclass
from typing import Final

from mmsearch.errors import InputError
from mmsearch.index.session import Session

LARGEST: Final = 256 << 20
"""Bytes that may stay for the catalog to be written anew: a few seconds."""
_SHARE: Final = 0.25  # of the pages, free
_LEAST: Final = 1 << 20  # bytes that are worth it


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a catalog's file: in all, and those that hold nothing."""

    size: int
    free: int

    @property
    def is_loose(self) -> bool:
        """Whether so much is free that the file should be smaller."""
        return self.free >= _LEAST and self.free > _SHARE * self.size


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What became of free space, in bytes: given back, or kept although it is much."""

    freed: int = 0
    kept: int = 0


def space_of(catalog: Session) -> Space:
    """Return how large a catalog's file is when its write-ahead log has been written into it."""
    ((page, pages, free),) = catalog.rows(
        "SELECT page_size, page_count, freelist_count "
        "FROM pragma_page_size, pragma_page_count, pragma_freelist_count"
    )
    return Space(page * pages, page * free)


def reclaim(catalog: Session, largest: int = LARGEST) -> Reclaimed:
    """Write a catalog anew without its free pages, when many are free and it takes moments.

    Needs a catalog open for writing. Where the disk has no room for it, nothing happens.
    """
    before = space_of(catalog)
    if not before.is_loose:
        return Reclaimed()
    if before.size - before.free > largest:
        return Reclaimed(kept=before.free)
    try:
        catalog.vacuum()
    except InputError:  # no room: the library is as it was
        return Reclaimed(kept=before.free)
    return Reclaimed(freed=before.size - space_of(catalog).size)
