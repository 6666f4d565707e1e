"""Which of the places to index are there, and which are merely not mounted.

A known root that is missing or empty is taken for an unmounted drive: its items stay.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Root, RootKind
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.scan import contains, outermost


class Presence(StrEnum):
    """What stands at a path. SPECIAL is neither file nor folder."""

    FOLDER = "folder"
    FILE = "file"
    EMPTY = "empty"
    MISSING = "missing"
    SPECIAL = "special"


@dataclass(slots=True)
class Places:
    """Where to look. `online`: root ids by path, to be scanned; `special` has no root.

    `offline`: paths whose items must not be taken for deleted; `items_offline` counts those.
    """

    online: dict[bytes, int] = field(default_factory=dict)
    special: list[bytes] = field(default_factory=list)
    offline: list[bytes] = field(default_factory=list)
    items_offline: int = 0

    def to_scan(self) -> list[bytes]:
        """Return the paths to give to a scan."""
        return [*self.online, *self.special]


def presence(path: bytes) -> Presence:
    """Look at a path; one that cannot be reached at all counts as missing."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - bytes
    except OSError:
        return Presence.MISSING
    if stat.S_ISREG(mode):
        return Presence.FILE
    if not stat.S_ISDIR(mode):
        return Presence.SPECIAL
    try:
        with os.scandir(path) as entries:
            return Presence.FOLDER if next(entries, None) is not None else Presence.EMPTY
    except OSError:  # it is there; the scan will report why it cannot be entered
        return Presence.FOLDER


def picture_roots(catalog: Catalog) -> dict[bytes, Root]:
    """Return the library's folder and file roots by path."""
    return {
        os.fsencode(root.path): root for root in catalog.roots() if root.kind is not RootKind.TEXTS
    }


def settle(catalog: Catalog, paths: Sequence[bytes]) -> Places:
    """Decide what to scan, and record which roots are offline and which are back.

    `paths` are absolute. Raises InputError for one that does not exist and is not a known
    root; nothing is recorded then.
    """
    known = picture_roots(catalog)
    stands = {path: presence(path) for path in paths}
    for path, found in stands.items():
        if found is Presence.MISSING and path not in known:
            raise InputError(f"no such file or folder: {shown(path)}")
    places = Places()
    for path in outermost(paths):
        match stands[path]:
            case Presence.SPECIAL:
                places.special.append(path)
            case Presence.MISSING:
                _go_offline(catalog, places, path, known[path].id)
            case found:
                _settle_present(catalog, places, path, found)
    _settle_inside(catalog, places, known)
    return places


def _settle_inside(catalog: Catalog, places: Places, known: dict[bytes, Root]) -> None:
    """Look at known folders below a scanned one; each may be a mount point of its own."""
    for path, root in known.items():
        if root.kind is not RootKind.FOLDER or path in places.online:
            continue
        if not any(contains(scanned, path) for scanned in places.online):
            continue
        if presence(path) in (Presence.MISSING, Presence.EMPTY):
            _go_offline(catalog, places, path, root.id)
        elif root.offline:
            catalog.set_offline(root.id, False)


def _settle_present(catalog: Catalog, places: Places, path: bytes, found: Presence) -> None:
    kind = RootKind.FILE if found is Presence.FILE else RootKind.FOLDER
    root_id = catalog.add_root(path, kind)
    if found is Presence.EMPTY and catalog.known_files(root_id):
        _go_offline(catalog, places, path, root_id)
    else:
        places.online[path] = root_id


def _go_offline(catalog: Catalog, places: Places, path: bytes, root_id: int) -> None:
    catalog.set_offline(root_id, True)
    places.offline.append(path)
    places.items_offline += len(catalog.known_files(root_id))


def lost_with_certainty(path: bytes, roots: Sequence[bytes]) -> bool:
    """Say whether a file is no more although every root that it lies in is there."""
    holding = [root for root in roots if contains(root, path)]
    at_hand = all(
        presence(root if root != path else os.path.dirname(root)) is Presence.FOLDER  # noqa: PTH120
        for root in holding
    )
    return at_hand and not os.path.lexists(path)
