"""What is known of items beside their vectors: facts of pictures, labels, captions.

Functions of a session. Every row that is read is compared with its checksum; a row that does
not match is an unsound library, not a result.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from mmsearch.core import Ids, Modality, Photo
from mmsearch.errors import InputError
from mmsearch.index import database
from mmsearch.index.checksums import (
    CAPTION_COLUMNS,
    ITEM_COLUMNS,
    LABEL_COLUMNS,
    PHOTO_COLUMNS,
    checked,
    checked_item,
    row_checksum,
)
from mmsearch.index.fusing import unsettle
from mmsearch.index.rows import KnownFile, Label, LabelChange, LabelSource, require_unicode
from mmsearch.index.session import Session
from mmsearch.index.vectors import id_list, table_name

_IDS: Final = "(SELECT value FROM json_each(?))"
_ALL_READ: Final = (  # ten times as fast as looking for each picture's
    "SELECT rows = (SELECT count(*) FROM photos) FROM item_tallies WHERE modality = 'image'"
)
_UNSIGNED: Final = 1 << 64
_ADD_LABEL: Final = (
    f"INSERT INTO labels ({LABEL_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (item_id, name) DO UPDATE SET "
    "source = excluded.source, score = excluded.score, crc = excluded.crc "
    "WHERE excluded.source = 'user' OR labels.source = 'auto'"
)
_REMOVE_LABEL: Final = (
    "DELETE FROM labels WHERE item_id = ? AND name = ? AND (? = 'user' OR source = 'auto')"
)


def photos(session: Session, ids: Sequence[int] | Ids) -> dict[int, Photo]:
    """Return what is known of pictures; those of which nothing is are not among them."""
    query = f"SELECT {PHOTO_COLUMNS}, crc FROM photos WHERE item_id IN {_IDS}"
    rows = _checked(session, "the facts", query, id_list(ids))
    return {row[0]: _photo(row[1:]) for row in rows}


def labels(session: Session, ids: Sequence[int] | Ids) -> dict[int, tuple[Label, ...]]:
    """Return the labels of those items that have some, sorted by name."""
    query = f"SELECT {LABEL_COLUMNS}, crc FROM labels WHERE item_id IN {_IDS} ORDER BY name"
    found: dict[int, tuple[Label, ...]] = {}
    for number, name, source, score in _checked(session, "a label", query, id_list(ids)):
        found[number] = (*found.get(number, ()), Label(name, LabelSource(source), score))
    return found


def captions(session: Session, ids: Sequence[int] | Ids) -> dict[int, tuple[str, ...]]:
    """Return the captions of those pictures that have some, in their order."""
    query = f"SELECT {CAPTION_COLUMNS}, crc FROM captions WHERE item_id IN {_IDS} ORDER BY place"
    found: dict[int, tuple[str, ...]] = {}
    for number, _, text in _checked(session, "a caption", query, id_list(ids)):
        found[number] = (*found.get(number, ()), text)
    return found


def captioned_count(session: Session) -> int:
    """Return how many pictures have captions."""
    return int(session.rows("SELECT count(DISTINCT item_id) FROM captions")[0][0])


def label_counts(session: Session) -> dict[str, int]:
    """Return how many items have each label, by name."""
    rows = _checked(session, "a label", f"SELECT {LABEL_COLUMNS}, crc FROM labels")
    return dict(sorted(Counter(name for _, name, _, _ in rows).items()))


def without_photo(session: Session) -> list[KnownFile]:
    """Return the encoded pictures whose facts were never read, sorted by id.

    An older version encoded them. Those that wait to be encoded are read then.
    """
    current = session.rows("SELECT space_id FROM library WHERE space_id IS NOT NULL")
    if not current or session.rows(_ALL_READ) == [(1,)]:
        return []
    table = table_name(current[0][0], Modality.IMAGE)
    rows = session.rows(
        f"SELECT {ITEM_COLUMNS}, crc FROM items WHERE modality = 'image' "
        "AND NOT EXISTS (SELECT 1 FROM photos WHERE item_id = items.id) "
        f"AND EXISTS (SELECT 1 FROM {table} WHERE item_id = items.id) ORDER BY id"
    )
    with database.explained(session.directory):
        items = [checked_item(row[:8], row[8]) for row in rows]
    return [
        KnownFile(number, path or b"", size, mtime_ns, digest.hex(), encoded=True)
        for number, _, _, path, _, digest, size, mtime_ns in items
    ]


def set_photos(session: Session, facts: Mapping[int, Photo]) -> None:
    """Keep what pictures' files say of them. Needs a session open for writing."""
    with session.transaction() as db:
        write_photos(db.conn, facts.items())


def write_photos(connection: sqlite3.Connection, facts: Iterable[tuple[int, Photo]]) -> None:
    """Write facts, inside a transaction."""
    rows = [_photo_row(number, photo) for number, photo in facts]
    connection.executemany(
        f"INSERT OR REPLACE INTO photos ({PHOTO_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(*row, row_checksum(row)) for row in rows],
    )


def set_labels(session: Session, changes: Sequence[LabelChange]) -> None:
    """Give and take labels, in one transaction and in their order.

    What a person has given, a model neither replaces nor takes. Raises InputError when an item
    is not there; nothing is changed then.
    """
    _require(session, {change.item_id for change in changes}, "items")
    with session.transaction() as db:
        for change in changes:
            if change.remove:
                key = (change.item_id, change.name, change.source.value)
                db.execute(_REMOVE_LABEL, key)
            else:
                score = None if change.score is None else change.score + 0.0  # no negative zero
                row = (change.item_id, change.name, change.source.value, score)
                db.execute(_ADD_LABEL, (*row, row_checksum(row)))


def set_captions(session: Session, texts: Mapping[int, tuple[str, ...]]) -> None:
    """Replace the captions of pictures; an empty tuple takes them away. One transaction.

    Raises InputError when an id is no picture's or a caption is empty or not valid Unicode;
    nothing is changed then.
    """
    for text in (text for some in texts.values() for text in some):
        require_unicode(text, "the caption")
        if not text.strip():
            raise InputError("a caption is empty; leave it out")
    _require(session, texts, "items WHERE modality = 'image'")
    rows = [
        (number, place, text) for number, some in texts.items() for place, text in enumerate(some)
    ]
    with session.transaction() as db:
        db.execute(f"DELETE FROM captions WHERE item_id IN {_IDS}", (id_list(texts),))
        db.conn.executemany(
            f"INSERT INTO captions ({CAPTION_COLUMNS}, crc) VALUES (?, ?, ?, ?)",
            [(*row, row_checksum(row)) for row in rows],
        )
        unsettle(db.conn, texts)  # what was fused of other captions is to be fused anew


def _checked(session: Session, what: str, query: str, *values: object) -> Iterator[Sequence[Any]]:
    """Yield the rows of a query whose last column is their checksum."""
    rows = session.rows(query, *values)
    with database.explained(session.directory):
        for row in rows:
            yield checked(row, what)


def _photo(values: Sequence[Any]) -> Photo:
    width, height, taken, camera, latitude, longitude, signed = values
    return Photo(width, height, taken, camera, latitude, longitude, signed % _UNSIGNED)


def _photo_row(number: int, photo: Photo) -> tuple[int | float | str | None, ...]:
    """Return the values of PHOTO_COLUMNS as SQLite gives them back."""
    signed = photo.fingerprint - _UNSIGNED if photo.fingerprint >> 63 else photo.fingerprint
    place = [
        None if degrees is None else degrees + 0.0  # SQLite knows no negative zero
        for degrees in (photo.latitude, photo.longitude)
    ]
    return (number, photo.width, photo.height, photo.taken, photo.camera, *place, signed)


def _require(session: Session, ids: Iterable[int], where: str) -> None:
    """Raise InputError unless all ids are of `where`."""
    missing = session.rows(
        f"SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM {where}) LIMIT 1",
        id_list(ids),
    )
    if missing:
        what = "no picture of the library" if "WHERE" in where else "not in the library"
        raise InputError(f"item {missing[0][0]} is {what}; `mmsearch query --json` shows ids")
