"""Which items a library has already: by path, or by root and digest."""

from collections.abc import Iterable, Sequence
from typing import Final

from mmsearch.core import Modality
from mmsearch.index import selection
from mmsearch.index.registry import Registry
from mmsearch.index.vectors import id_list, table_name

_PARAMETERS: Final = 500  # of one statement, below SQLite's oldest limit of 999


def by_path(session: Registry, paths: Sequence[bytes]) -> dict[bytes, int]:
    """Return the ids of the pictures at those paths that there are."""
    found: dict[bytes, int] = {}
    for start in range(0, len(paths), _PARAMETERS):
        some = paths[start : start + _PARAMETERS]
        marks = ", ".join("?" * len(some))
        found.update(session.rows(f"SELECT path, id FROM items WHERE path IN ({marks})", *some))
    return found


def by_digest(session: Registry, root_id: int | None, digests: Sequence[str]) -> dict[str, int]:
    """Return the ids of those sentences of a root that there are; None: added from Python."""
    found: dict[str, int] = {}
    for start in range(0, len(digests), _PARAMETERS):
        some = [bytes.fromhex(digest) for digest in digests[start : start + _PARAMETERS]]
        marks = ", ".join("?" * len(some))
        rows = session.rows(
            f"SELECT digest, id FROM items WHERE digest IN ({marks}) "
            "AND text IS NOT NULL AND ifnull(root_id, 0) = ?",
            *some,
            root_id or 0,
        )
        found.update((digest.hex(), number) for digest, number in rows)
    return found


def encoded(session: Registry, modality: Modality, ids: Iterable[int]) -> set[int]:
    """Return those of the ids that have a vector in the current space."""
    current = session.rows("SELECT space_id FROM library WHERE space_id IS NOT NULL")
    if not current:
        return set()
    rows = session.rows(
        f"SELECT item_id FROM {table_name(current[0][0], modality)} "
        "WHERE item_id IN (SELECT value FROM json_each(?))",
        id_list(ids),
    )
    return {row[0] for row in rows}


def waiting(session: Registry, modality: Modality) -> int:
    """Return how many items of a modality have no vector in the current space."""
    current = session.rows("SELECT space_id FROM library WHERE space_id IS NOT NULL")
    return selection.waiting(session, current[0][0], modality) if current else 0
