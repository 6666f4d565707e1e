"""Items of a library as people name them: by id, or by the path of a file."""

import os
from typing import Final

from mmsearch.core import Item
from mmsearch.errors import InputError
from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.paths import absolute

_MOST_DIGITS: Final = 18  # of an id: SQLite's have no more than 19


def named_item(catalog: Catalog, name: str) -> Item:
    """Return the item that a text names: digits are an id, all else is a picture's path.

    Raises InputError when the library has no such item.
    """
    if name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS:
        numbers = [int(name)]
        missing = f"the library has no item {name}; `mmsearch query --json` shows ids"
    else:
        numbers = selection.ids(catalog, [("path = ?", (path,)) for path in _paths(name)])
        missing = (
            f"{name} is not in the library; index it, or ask with the picture itself: "
            "mmsearch query --image FILE"
        )
    found = catalog.items(numbers[:1])
    if not found:
        raise InputError(missing)
    return found[numbers[0]]


def _paths(name: str) -> list[bytes]:
    """Return how a library may have a path: links resolved, or the file itself being a link."""
    real = absolute(name)
    folder, base = os.path.split(os.fsencode(name))
    return sorted({real, os.path.join(absolute(folder or b"."), base)})  # noqa: PTH118 - bytes
