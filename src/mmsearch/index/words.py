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
from typing import Final

import numpy as np

from mmsearch.core import Ids, Matches, Modality
from mmsearch.index.session import Session
from mmsearch.index.vectors import id_list

WEIGHTS: Final = {"name": 2, "folder": 1, "text": 3, "caption": 3, "label": 4}
"""How much a word in a column counts: the more, the more deliberately it was said of this item.

A label was chosen for the picture, a caption describes it; a name may be a camera's number, and
a folder says the same of all its pictures.
"""

NO_MATCHES: Final = Matches(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

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
    if not wanted.finding or (among is not None and len(among) == 0):
        return NO_MATCHES
    either = _any((*wanted.finding, *wanted.ranking))
    where, values = "words MATCH ?", [either]
    if wanted.ranking or wanted.without:
        where += " AND +rowid IN (SELECT rowid FROM words WHERE words MATCH ?)"
        values.append(_expression(wanted))
    if among is not None and _pays(session, wanted, among):
        # The sign keeps SQLite from running the whole match once for each id.
        where += " AND +rowid IN (SELECT value FROM json_each(?))"
        values.append(id_list(among))
    if _has_others(session, modality):
        where += " AND (SELECT modality FROM items WHERE id = words.rowid) = ?"
        values.append(modality.value)
    rows = session.rows(f"SELECT rowid, {_SCORE} FROM words WHERE {where}", *values)
    return _sorted(rows, among)


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


def having(session: Session, word: str, among: Ids | None = None) -> Ids:
    """Return the ids of the items that have a word, sorted; of those `among` when given."""
    query, values = "SELECT rowid FROM words WHERE words MATCH ?", [quoted(word)]
    if among is not None:
        query += " AND +rowid IN (SELECT value FROM json_each(?))"
        values.append(id_list(among))
    return np.array([row[0] for row in session.rows(query, *values)], dtype=np.int64)


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


def _sorted(rows: Sequence[tuple[int, float]], among: Ids | None) -> Matches:
    table = np.array(rows, dtype=_ROW)
    ids, scores = table["id"], table["score"].astype(np.float32)
    if among is not None:
        place = np.minimum(np.searchsorted(among, ids), len(among) - 1)
        keep = among[place] == ids
        ids, scores = ids[keep], scores[keep]
    order = np.lexsort((ids, -scores))
    return Matches(ids[order], scores[order])
