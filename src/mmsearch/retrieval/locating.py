"""Which items of a library the names in somebody's file mean."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import RootKind
from mmsearch.retrieval.captions.listed import Entry


def locate(catalog: Catalog, entries: Sequence[Entry]) -> list[int | None]:
    """Return the id of the picture that each entry names, None where the library has none.

    Names are looked for where the layouts have them, then below the library's folders. All first
    candidates are asked for, then all second ones: a query for hundreds.
    """
    folders = [Path(root.path) for root in catalog.roots() if root.kind is RootKind.FOLDER]
    found: list[int | None] = [None] * len(entries)
    waiting = [(place, entry.candidates(folders)) for place, entry in enumerate(entries)]
    real = _RealPaths()
    while waiting:
        asked = [(place, rest, next(rest, None)) for place, rest in waiting]
        paths = [(place, rest, real.of(path)) for place, rest, path in asked if path is not None]
        ids = selection.ids_at(catalog, [path for _, _, path in paths])
        for place, _, path in paths:
            found[place] = ids.get(path)
        waiting = [(place, rest) for place, rest, path in paths if path not in ids]
    return found


class _RealPaths:
    """Real paths of many files in few folders."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> bytes:
        """Return the path without links; the file need not be there."""
        text = os.fspath(path)
        if os.path.islink(text):  # noqa: PTH114 - asked of every picture
            return os.fsencode(os.path.realpath(text))
        folder, name = os.path.split(text)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.fsencode(os.path.join(self._folders[folder], name))  # noqa: PTH118
