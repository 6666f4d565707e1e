"""Items by the words of their names, folders, sentences, captions and labels: SQLite's FTS5.

The table `words` has a row an item, kept by triggers. Words are compared as its tokenizer has
them: without case and diacritics, runs of letters and digits. What has several runs, such as
`black-and-white`, stands for exactly these in a row.

Ranked by BM25 (Robertson and Zaragoza 2009, section 3.3; k1 1.2, b 0.75 as FTS5 has them), the
count of a word being the sum of the weights of the columns that it stands in. What is damaged in
`words` may be missed; items are verified by whoever reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Ids, Matches, Modality
from mmsearch.index.session import Session
from mmsearch.index.vectors import id_list

WEIGHTS: Final = {"name": 2, "folder": 1, "text": 3, "caption": 3, "label": 4}
"""How much a word in a column counts: the more, the more deliberately it was said of this item.

A label was chosen for the picture, a caption describes it; a name may be a camera's number, and
a folder says the same of all its pictures.
"""

_ALL_IDS: Final = "group_concat(rowid)"
_ROW: Final = np.dtype([("id", np.int64), ("score", np.float64)])
_SCORE: Final = f"-bm25(words, {', '.join(map(str, WEIGHTS.values()))})"
_FEW: Final = 4096  # ids that SQLite is always told: a set of many takes long to make


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: an item that has one of `finding` and, of no group in `without`, all.

    It is ranked by `finding` and `ranking` together.
    """

    finding: tuple[str, ...]
    ranking: tuple[str, ...] = ()
    without: tuple[tuple[str, ...], ...] = ()


def ranked(session: Session, wanted: Wanted, modality: Modality, among: Ids | None) -> Matches:
    """Return all items of a modality that have the words, best first, ties by id.

    Scores are BM25, higher is better. `among` (sorted) restricts to those ids: None is no
    filter, empty finds nothing.
    """
    either = (*wanted.finding, *wanted.ranking)
    rows = _rows(session, f"rowid, {_SCORE}", either, _Asked(wanted, modality, among))
    table = np.array(rows, dtype=_ROW)
    keep = held_by(table["id"], among)
    ids, scores = table["id"][keep], table["score"][keep].astype(np.float32)
    order = np.lexsort((ids, -scores))
    return Matches(ids[order], scores[order])


def found(session: Session, wanted: Wanted, modality: Modality, among: Ids | None) -> Ids:
    """Return the ids of `ranked`, sorted: a few times as fast."""
    rows = _rows(session, _ALL_IDS, wanted.finding, _Asked(wanted, modality, among))
    ids = _ids(rows)
    kept: Ids = ids[held_by(ids, among)]
    return kept


def held_by(ids: Ids, among: Ids | None) -> NDArray[np.bool_]:
    """Say of each id whether it is among some, which are sorted; None: all are."""
    if among is None:
        return np.ones(len(ids), dtype=np.bool_)
    if len(among) == 0:
        return np.zeros(len(ids), dtype=np.bool_)
    place = np.minimum(np.searchsorted(among, ids), len(among) - 1)
    return np.equal(among[place], ids)


@dataclass(frozen=True, slots=True)
class _Asked:
    wanted: Wanted
    modality: Modality
    among: Ids | None


def _rows(
    session: Session, columns: str, either: Sequence[str], asked: _Asked
) -> list[tuple[Any, ...]]:
    """Return some columns of what has one of the words, is wanted, and may be among the ids."""
    wanted, among = asked.wanted, asked.among
    if not wanted.finding or (among is not None and len(among) == 0):
        return []
    where, values = "words MATCH ?", [_any(either)]
    if len(either) > len(wanted.finding) or wanted.without:
        where += " AND +rowid IN (SELECT rowid FROM words WHERE words MATCH ?)"
        values.append(_expression(wanted))
    if among is not None and _pays(session, wanted, among):
        # The sign keeps SQLite from running the whole match once for each id.
        where += " AND +rowid IN (SELECT value FROM json_each(?))"
        values.append(id_list(among))
    if _has_others(session, asked.modality):
        where += " AND (SELECT modality FROM items WHERE id = words.rowid) = ?"
        values.append(asked.modality.value)
    return session.rows(f"SELECT {columns} FROM words WHERE {where}", *values)


def _pays(session: Session, wanted: Wanted, among: Ids) -> bool:
    """Say whether to tell SQLite of a filter, so that it scores no row in vain; else NumPy is."""
    return len(among) <= max(_FEW, sum(count(session, word) for word in wanted.finding))


def held(session: Session) -> int:
    """Return how many items there are, from the tallies."""
    return int(session.rows("SELECT sum(rows) FROM item_tallies")[0][0])


def count(session: Session, word: str) -> int:
    """Return how many items have a word."""
    query = "SELECT count(*) FROM words WHERE words MATCH ?"
    return int(session.rows(query, quoted(word))[0][0])


def having(session: Session, word: str) -> Ids:
    """Return the ids of the items that have a word, sorted."""
    query = f"SELECT {_ALL_IDS} FROM words WHERE words MATCH ?"
    return _ids(session.rows(query, quoted(word)))


def _ids(rows: Sequence[tuple[Any, ...]]) -> Ids:
    """Return the sorted ids of `_ALL_IDS`: one text is read in half the time of as many rows."""
    text = rows[0][0] if rows else None
    ids: Ids = np.fromstring(text or "", dtype=np.int64, sep=",")
    ids.sort()
    return ids


def quoted(word: str) -> str:
    """Return a word as FTS5 takes it: a string, whatever it holds, and no syntax."""
    plain = word.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return '"' + plain.replace('"', '""') + '"'


def _expression(wanted: Wanted) -> str:
    found = _any(wanted.finding)
    if not wanted.without:
        return found
    groups = [" AND ".join(quoted(word) for word in group) for group in wanted.without]
    return f"({found}) NOT ({' OR '.join(f'({group})' for group in groups)})"


def _any(words: Sequence[str]) -> str:
    return " OR ".join(quoted(word) for word in words)


def _has_others(session: Session, modality: Modality) -> bool:
    """Say whether the library has items of another modality, too."""
    query = "SELECT ifnull(sum(rows), 0) FROM item_tallies WHERE modality <> ?"
    return bool(session.rows(query, modality.value)[0][0])
