"""What stands at the path of a root, and whether it is what was indexed there.

A known root that is missing or empty is taken for an unmounted drive. Hidden files that are no
pictures, such as a file manager or an administrator leaves in a mount point, do not fill a
folder. A visible file does: so the catalog remembers on which file system a folder was, and a
folder on another one that holds nothing of what is known counts as unmounted, too. The other
file system alone says little, for its name may change whenever a drive is mounted.
"""

import os
import stat
from enum import StrEnum

from mmsearch.index import selection
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Root, RootKind
from mmsearch.retrieval.candidates import has_picture_suffix


class Presence(StrEnum):
    """What stands at a path. SPECIAL is neither file nor folder."""

    FOLDER = "folder"
    FILE = "file"
    EMPTY = "empty"
    MISSING = "missing"
    SPECIAL = "special"


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
            return Presence.FOLDER if any(map(_counts, entries)) else Presence.EMPTY
    except OSError:  # it is there; the scan will report why it cannot be entered
        return Presence.FOLDER


def _counts(entry: os.DirEntry[bytes]) -> bool:
    """Say whether a folder with this entry is not empty."""
    return (
        not entry.name.startswith(b".")
        or entry.is_dir(follow_symlinks=False)
        or has_picture_suffix(entry.name)
    )


def is_there(path: bytes) -> bool:
    """Say whether something stands at a path, and no empty folder."""
    return presence(path) not in (Presence.MISSING, Presence.EMPTY)


def stands(catalog: Catalog, root: Root) -> bool:
    """Say whether a root that holds items is at hand, and not unmounted or away."""
    if root.kind is not RootKind.FOLDER:
        return presence(root.raw) is not Presence.MISSING
    return is_there(root.raw) and not is_stranger(catalog, root)


def is_stranger(catalog: Catalog, root: Root) -> bool:
    """Say whether a folder is on another file system than it was, without any known picture.

    So is the mount point of an unmounted drive with a stray file in it. A folder whose file
    system an older version did not note is judged by its pictures alone.
    """
    if root.kind is not RootKind.FOLDER or is_same_place(catalog, root):
        return False
    known = selection.paths(catalog, root.raw)
    return bool(known) and not any(map(os.path.lexists, known))


def is_same_place(catalog: Catalog, root: Root) -> bool:
    """Say whether a root is on the file system that was noted last."""
    return filesystem(root.raw) == catalog.setting(_setting(root.id))


def note_place(catalog: Catalog, root_id: int, path: bytes) -> None:
    """Note on which file system a root is, found as what it was; inside a transaction."""
    now = filesystem(path)
    if now != catalog.setting(_setting(root_id)):
        catalog.set_setting(_setting(root_id), now)


def forget_place(catalog: Catalog, root_id: int) -> None:
    """Drop the note of a root that is removed; inside a transaction."""
    with catalog.transaction() as db:
        db.execute("DELETE FROM settings WHERE key = ?", (_setting(root_id),))


def filesystem(path: bytes) -> str:
    """Return what tells a path's file system from others; "" when the path is not there.

    The identifier that the file system has of itself; where it has none, as on networks, the
    number of its device.
    """
    try:
        own = os.statvfs(path).f_fsid
        return f"{own:x}" if own else f"device {os.stat(path).st_dev}"  # noqa: PTH116 - bytes
    except OSError:
        return ""


def _setting(root_id: int) -> str:
    return f"filesystem:{root_id}"
