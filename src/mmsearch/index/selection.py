"""Which items are meant: conditions and id sets by path, by root, by whether a root is there.

A picture belongs to every root at or above its path, whichever root it was first found through.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from mmsearch.core import Ids, Modality
from mmsearch.index.rows import Root, RootKind
from mmsearch.index.session import Session
from mmsearch.index.vectors import id_list, table_name

Condition: TypeAlias = tuple[str, tuple[object, ...]]
"""SQL on a row of `items`, with its values."""

_SEPARATOR = b"/"
_PARAMETERS = 500  # of one statement, below SQLite's oldest limit of 999


def at_or_under(path: bytes, column: str = "path") -> list[Condition]:
    """Return the conditions of which one holds for a path in `column` at or below `path`.

    Two that exclude each other, so that each is a look-up in an index.
    """
    low = path.rstrip(_SEPARATOR) + _SEPARATOR
    high = low[:-1] + b"0"  # "0" comes after "/"
    return [
        (f"{column} = ?", (path,)),
        (f"{column} >= ? AND {column} < ? AND {column} <> ?", (low, high, path)),
    ]


def of_root(root: Root) -> list[Condition]:
    """Return the conditions of which one holds for an item of a root."""
    if root.kind is RootKind.TEXTS:
        return [("root_id = ? AND modality = 'text'", (root.id,))]
    return at_or_under(root.raw)


def paths(session: Session, path: bytes) -> list[bytes]:
    """Return the paths of the pictures at or under a path."""
    return [
        row[0]
        for where, values in at_or_under(path)
        for row in session.rows(f"SELECT path FROM items WHERE {where}", *values)
    ]


def ids_at(session: Session, paths: Sequence[bytes]) -> dict[bytes, int]:
    """Return the ids of the pictures at these very paths, by path; of those that are there."""
    found: dict[bytes, int] = {}
    for start in range(0, len(paths), _PARAMETERS):
        some = paths[start : start + _PARAMETERS]
        marks = ", ".join("?" * len(some))
        found.update(session.rows(f"SELECT path, id FROM items WHERE path IN ({marks})", *some))
    return found


def ids(session: Session, conditions: Iterable[Condition]) -> list[int]:
    """Return the ids of the items for which one of the conditions holds, sorted."""
    found: set[int] = set()
    for where, values in conditions:
        found.update(row[0] for row in session.rows(f"SELECT id FROM items WHERE {where}", *values))
    return sorted(found)


def count(session: Session, conditions: Iterable[Condition]) -> int:
    """Return for how many items one of the conditions holds; they must exclude each other."""
    return sum(
        session.rows(f"SELECT count(*) FROM items WHERE {where}", *values)[0][0]
        for where, values in conditions
    )


def of_roots(session: Session, roots: Sequence[Root]) -> Ids:
    """Return the sorted ids of the items of any of the roots."""
    conditions = [condition for root in disjoint(roots) for condition in of_root(root)]
    return np.array(ids(session, conditions), dtype=np.int64)


def all_but(session: Session, left_out: Ids, modality: Modality) -> Ids:
    """Return the sorted ids of a modality's items without some."""
    rows = session.rows(
        "SELECT id FROM items WHERE modality = ? "
        "AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id",
        modality.value,
        id_list(left_out),
    )
    return np.array([row[0] for row in rows], dtype=np.int64)


def sizes(session: Session) -> set[int]:
    """Return the sizes in bytes of all pictures: what a copy or a moved file must match."""
    return {row[0] for row in session.rows("SELECT DISTINCT size FROM items WHERE path NOT NULL")}


def forgotten(session: Session) -> frozenset[bytes]:
    """Return the paths that were forgotten on purpose and must not come back by themselves."""
    return frozenset(row[0] for row in session.rows("SELECT path FROM forgotten"))


def waiting(session: Session, space_id: int, modality: Modality) -> int:
    """Return how many items of a modality have no vector in a space, from the tallies."""
    ((held,),) = session.rows("SELECT rows FROM item_tallies WHERE modality = ?", modality.value)
    ((encoded,),) = session.rows(
        "SELECT rows FROM tallies WHERE space_id = ? AND modality = ?", space_id, modality.value
    )
    return int(held - encoded)


def broken(session: Session, space_id: int) -> int:
    """Return how many items have a failure in the place of a vector in a space."""
    table = table_name(space_id, Modality.IMAGE)
    query = (
        "SELECT count(*) FROM failures JOIN items USING (path) "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE item_id = items.id)"
    )
    return int(session.rows(query)[0][0])


def disjoint(roots: Collection[Root]) -> list[Root]:
    """Return the roots without those that lie in another one."""
    kept = [root for root in roots if root.kind is RootKind.TEXTS]
    pictures = {
        root.raw.rstrip(_SEPARATOR) + _SEPARATOR: root
        for root in roots
        if root.kind is not RootKind.TEXTS
    }
    top = b""
    for path in sorted(pictures):
        if not top or not path.startswith(top):
            kept.append(pictures[path])
            top = path
    return kept


def failed(session: Session, path: bytes) -> list[bytes]:
    """Return the paths at or under a path that could not be indexed."""
    return [
        row[0]
        for where, values in at_or_under(path)
        for row in session.rows(f"SELECT path FROM failures WHERE {where} ORDER BY path", *values)
    ]
