"""Fused vectors: one of a picture and its captions stands in the place of the picture's own.

The row of a picture in the table of vectors is what is searched. When it is fused, a row of
`fused` keeps the picture's own vector, the weight, and a digest of the captions: what is needed
to take it apart again, and to see that it is no longer what was asked for.

A weight is that of the captions, 0 <= weight < 1; 0 fuses nothing. What is wanted is a setting.
A second setting for each space says up to which revision everything is as wanted, apart from
some pictures whose captions have changed, so that a run without news looks at nothing.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mmsearch.core import Ids, Modality, Space, Vectors
from mmsearch.errors import ConfigError
from mmsearch.index import database, failpoints
from mmsearch.index.checksums import FUSED_COLUMNS, checked, row_checksum
from mmsearch.index.vectors import HALF, id_list, pack, table_name

if TYPE_CHECKING:
    import sqlite3

    from mmsearch.index.catalog import Catalog

SETTING: Final = "fuse:caption"
_SETTLED: Final = "fused:"  # and the digest of a space
_MOST_CHANGED: Final = 1000  # settings are small: when more change, all captions are looked at
_IDS: Final = "(SELECT value FROM json_each(?))"
_FUSED: Final = "SELECT item_id FROM fused INDEXED BY fused_item WHERE space_id = ?"


@dataclass(frozen=True, slots=True)
class Fused:
    """What the vector of a picture was fused of.

    `captions`: their digest, 32 bytes. `own`: the picture's own vector, (dim,) float32.
    """

    weight: float
    captions: bytes
    own: Vectors


@dataclass(frozen=True, slots=True)
class Change:
    """The vector of a picture that is searched from now on, (dim,) float32.

    `fused` None: it is the picture's own.
    """

    item_id: int
    vector: Vectors
    fused: Fused | None


@dataclass(frozen=True, slots=True)
class _Settled:
    """Up to which revision everything is fused with a weight, apart from the pictures `changed`."""

    weight: float
    revision: int
    changed: tuple[int, ...] = ()

    @classmethod
    def of(cls, value: str | None) -> "_Settled | None":
        """Return what a setting says; None when nothing is settled."""
        if value is None:
            return None
        weight, revision, changed = json.loads(value)
        return cls(weight, revision, tuple(changed))

    def as_json(self) -> str:
        """Return the setting."""
        return json.dumps([self.weight, self.revision, sorted(self.changed)])


def checked_weight(weight: float) -> float:
    """Return a weight of captions. Raises ConfigError when it is none."""
    if not 0 <= weight < 1:
        raise ConfigError(f"the weight of captions must be at least 0 and below 1, not {weight:g}")
    return float(weight)


def captions_digest(captions: Sequence[str]) -> bytes:
    """Return the SHA-256 of captions, as a JSON array in UTF-8 without spaces."""
    return hashlib.sha256(
        json.dumps(list(captions), ensure_ascii=False, separators=(",", ":")).encode()
    ).digest()


def wanted_weight(catalog: "Catalog") -> float:
    """Return the weight with which the library fuses captions; 0: not at all."""
    setting = catalog.setting(SETTING)
    return 0.0 if setting is None else float(setting)


def set_wanted_weight(catalog: "Catalog", weight: float) -> None:
    """Remember the weight, unless it is the library's already. Raises ConfigError."""
    if checked_weight(weight) != wanted_weight(catalog):
        catalog.set_setting(SETTING, repr(float(weight)))


def fused_count(catalog: "Catalog", space: Space) -> int:
    """Return how many pictures have a fused vector in a space."""
    query = "SELECT count(*) FROM fused INDEXED BY fused_item WHERE space_id = ?"
    return int(catalog.rows(query, _space_id(catalog, space))[0][0])


def fused_rows(catalog: "Catalog", space: Space, ids: Sequence[int] | Ids) -> dict[int, Fused]:
    """Return of what the vectors of pictures were fused, of those that are."""
    rows = catalog.rows(
        f"SELECT {FUSED_COLUMNS}, crc FROM fused WHERE space_id = ? AND item_id IN {_IDS}",
        _space_id(catalog, space),
        id_list(ids),
    )
    found: dict[int, Fused] = {}
    with database.explained(catalog.directory):
        for row in rows:
            _, number, weight, captions, own = checked(row, "a fused vector", place=1)
            vector = np.frombuffer(own, dtype=HALF).astype(np.float32)
            found[number] = Fused(weight, captions, vector)
    return found


def unsettled(catalog: "Catalog", space: Space, weight: float) -> list[int]:
    """Return the pictures that may be fused otherwise than with this weight, sorted by id.

    After `settle` those are the captioned ones with new vectors, and those whose captions have
    changed; with another weight all that have captions or are fused. When nothing has changed
    there are none, which takes no look at them.
    """
    space_id = _space_id(catalog, space)
    if weight == 0:
        return _ids(catalog, _FUSED, space_id)
    known = _Settled.of(catalog.setting(_SETTLED + space.digest))
    if known is None or known.weight != weight:
        return _ids(catalog, f"SELECT item_id FROM captions UNION {_FUSED}", space_id)
    if known.revision == catalog.revision:
        return sorted(known.changed)
    table = table_name(space_id, Modality.IMAGE)
    newer = _ids(
        catalog,
        f"SELECT item_id FROM {table} WHERE revision > ? "
        f"AND EXISTS (SELECT 1 FROM captions WHERE item_id = {table}.item_id)",
        known.revision,
    )
    return sorted({*newer, *known.changed})


def settle(catalog: "Catalog", space: Space, weight: float) -> None:
    """Note that everything is fused with this weight as of now."""
    key, value = _SETTLED + space.digest, _Settled(weight, catalog.revision).as_json()
    if weight > 0 and catalog.setting(key) != value:
        catalog.set_setting(key, value)


def unsettle(connection: "sqlite3.Connection", ids: Collection[int] | None = None) -> None:
    """Note that captions of some pictures have changed, None: of any, for every space.

    Inside the transaction that changes them.
    """
    rows = connection.execute(
        "SELECT key, value FROM settings WHERE substr(key, 1, ?) = ?", (len(_SETTLED), _SETTLED)
    ).fetchall()
    for key, value in rows:
        known = _Settled.of(value)
        changed = () if known is None or ids is None else tuple({*known.changed, *ids})
        if known is None or ids is None or len(changed) > _MOST_CHANGED:
            connection.execute("DELETE FROM settings WHERE key = ?", (key,))
        else:
            known = replace(known, changed=changed)
            connection.execute(
                "UPDATE settings SET value = ? WHERE key = ?", (known.as_json(), key)
            )


def write(catalog: "Catalog", space: Space, changes: Sequence[Change]) -> None:
    """Put other vectors in the place of pictures' vectors, in one transaction.

    They must have one. Raises ConfigError when a vector does not fit the space.
    """
    space_id = _space_id(catalog, space)
    table = table_name(space_id, Modality.IMAGE)
    fused = [
        (space_id, change.item_id, *_values(change.item_id, change.fused, space.dim))
        for change in changes
        if change.fused is not None
    ]
    with catalog.transaction() as db:
        revision = catalog.revision + 1
        db.execute("UPDATE library SET revision = ?", (revision,))
        failpoints.reach("mid-transaction")
        db.conn.executemany(
            f"UPDATE {table} SET revision = ?, crc = ?, vector = ? WHERE item_id = ?",
            [
                (revision, *pack(change.item_id, change.vector, space.dim), change.item_id)
                for change in changes
            ],
        )
        failpoints.reach("after-vectors")
        db.execute(
            f"DELETE FROM fused WHERE space_id = ? AND item_id IN {_IDS}",
            (space_id, id_list(change.item_id for change in changes)),
        )
        db.conn.executemany(
            f"INSERT INTO fused ({FUSED_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?)",
            [(*row, row_checksum(row)) for row in fused],
        )


def _values(item_id: int, fused: Fused, dim: int) -> tuple[float, bytes, bytes]:
    """Return weight, captions and vector of a row of `fused`."""
    return float(fused.weight), fused.captions, pack(item_id, fused.own, dim)[1]


def _space_id(catalog: "Catalog", space: Space) -> int:
    return catalog.vector_table(space, Modality.IMAGE).space_id


def _ids(catalog: "Catalog", query: str, *values: object) -> list[int]:
    return sorted({row[0] for row in catalog.rows(query, *values)})
