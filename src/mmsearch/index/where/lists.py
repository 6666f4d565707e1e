"""Terms that an index answers on its own, as a list of items."""

import os
from itertools import chain

from mmsearch.conditions import Compare, Condition, Operator, Under
from mmsearch.index import selection
from mmsearch.index.where.bounds import check_path
from mmsearch.index.where.columns import COLUMNS, check
from mmsearch.index.where.texts import Fragment, label_equals


def listed(condition: Condition) -> Fragment | None:
    """Return SQL of which each row is the `item_id` of an item for which a condition holds.

    No item comes twice. None for a condition that no index answers. Raises QueryError for a
    text or path that there cannot be.
    """
    match condition:
        case Under(path):
            return under(path)
        case Compare(name, Operator.EQUAL, value) if name.lower() == "label":
            column = COLUMNS["label"]
            check(column, Operator.EQUAL, value)
            test = label_equals(column, str(value))
            return Fragment(f"SELECT DISTINCT item_id FROM labels WHERE {test.sql}", test.values)
        case _:
            return None


def under(path: str) -> Fragment:
    """Return the pictures at or under a path. Raises QueryError unless it is absolute.

    The list is made first wherever it stands: SQLite would go through the rows of a whole
    library in the order of their paths, which takes ten times as long as in that of their ids.
    """
    check_path(path)
    raw = os.fsencode(path).rstrip(b"/") or b"/"
    tests, values = zip(*selection.at_or_under(raw), strict=True)
    parts = [f"SELECT id AS item_id FROM items WHERE {test}" for test in tests]
    return Fragment(" UNION ALL ".join(parts), tuple(chain.from_iterable(values)))
