"""Which items a condition holds for: their ids, before anything is ranked."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mmsearch.conditions import AllOf, Condition, Under
from mmsearch.core import Ids, Modality
from mmsearch.errors import QueryError
from mmsearch.index.registry import Registry
from mmsearch.index.where import functions
from mmsearch.index.where.lists import listed
from mmsearch.index.where.show import show
from mmsearch.index.where.sql import compiled

_KEPT: Final = 8  # selections that are remembered
_SHORT: Final = 8  # a list is short that has one item of so many
_NOTHING: Final[Ids] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Selection:
    """The items of a modality for which a condition holds.

    `ids` sorted, not to be changed. `total`: the items of the modality. `unread`: the pictures
    among these of which nothing but the file is known, because they were indexed by an older
    version; None where the condition does not ask. `plan`: one line that says what was chosen.
    """

    ids: Ids
    total: int
    unread: int | None
    plan: str


def select(catalog: Registry, condition: Condition, modality: Modality) -> Selection:
    """Return the items of a modality for which a condition holds.

    Raises QueryError when the condition names an unknown column or compares it with what it
    is not, UnsoundLibraryError when the catalog is damaged.
    """
    chosen = compiled(condition)
    with catalog.snapshot():
        catalog.define(functions.FUNCTIONS if chosen.functions else {})
        total = _total(catalog, modality)
        ids = _ids(catalog, condition, modality, total)
        ids.setflags(write=False)
        unread = _unread(catalog, total) if chosen.photos and modality is Modality.IMAGE else None
    plan = f"{len(ids):,} of {total:,} {modality.value}s: {show(condition)}"
    return Selection(ids, total, unread, plan)


def _ids(catalog: Registry, condition: Condition, modality: Modality, total: int) -> Ids:
    """Return the sorted ids of a modality's items for which a condition holds.

    What an index lists is asked for on its own: SQL goes through the other terms once, and not
    again for every row of a list, unless the list is short.
    """
    parts = condition.conditions if isinstance(condition, AllOf) else (condition,)
    rest = tuple(part for part in parts if listed(part) is None)
    found: Ids | None = None
    for part in parts:
        if part not in rest:
            some = _listed_ids(catalog, part, modality)
            found = some if found is None else np.intersect1d(found, some, assume_unique=True)
    if found is None or (rest and 0 < _SHORT * len(found) <= total):
        return _row_ids(catalog, condition, modality)
    if len(found) == 0 or not rest:
        return found
    others = _row_ids(catalog, AllOf(rest), modality)
    return np.intersect1d(found, others, assume_unique=True)


def _listed_ids(catalog: Registry, part: Condition, modality: Modality) -> Ids:
    some = listed(part)
    if some is None or (isinstance(part, Under) and modality is not Modality.IMAGE):
        return _NOTHING
    if isinstance(part, Under):  # the index alone is read: every path is a picture's
        query = f"SELECT group_concat(item_id) FROM ({some.sql})"
        return _read(catalog, query, *some.values)
    query = (
        f"SELECT group_concat(item_id) FROM ({some.sql}) CROSS JOIN items ON items.id = item_id "
        "WHERE items.modality = ?"
    )
    return _read(catalog, query, *some.values, modality.value)


def _row_ids(catalog: Registry, condition: Condition, modality: Modality) -> Ids:
    chosen = compiled(condition)
    photos = "LEFT JOIN photos ON photos.item_id = items.id" if chosen.photos else ""
    query = (
        f"SELECT group_concat(items.id) FROM items {photos} "
        f"WHERE items.modality = ? AND {chosen.sql}"
    )
    return _read(catalog, query, modality.value, *chosen.values)


def _read(catalog: Registry, query: str, *values: object) -> Ids:
    """Return sorted ids that come as one text: a row of Python's for each takes twice as long."""
    ((text,),) = catalog.rows(query, *values)
    ids = np.fromstring(text or "", dtype=np.int64, sep=",")
    ids.sort()
    return ids


def _total(catalog: Registry, modality: Modality) -> int:
    rows = catalog.rows("SELECT rows FROM item_tallies WHERE modality = ?", modality.value)
    return int(rows[0][0])


def _unread(catalog: Registry, images: int) -> int:
    ((read,),) = catalog.rows("SELECT count(*) FROM photos")
    return images - int(read)


class Selector:
    """Selections of one catalog: the last ones are kept until the catalog changes."""

    def __init__(self, catalog: Registry) -> None:
        self._catalog = catalog
        self._moment = (-1, -1)
        self._kept: dict[tuple[Condition, Modality], Selection] = {}

    def select(self, condition: Condition, modality: Modality) -> Selection:
        """Return what the function `select` does."""
        key = (condition, modality)
        try:
            hash(key)
        except RecursionError as error:
            raise QueryError("the condition is nested too deep") from error
        with self._catalog.snapshot():
            if self._moment != self._catalog.moment():
                self._moment = self._catalog.moment()
                self._kept.clear()
            found = self._kept.pop(key, None) or select(self._catalog, condition, modality)
        self._kept[key] = found  # the last one is the one to be dropped last
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return found
