"""The files of captions that a library knows, so that what changes in them is noticed."""

import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Final

from mmsearch.index.registry import Registry

if TYPE_CHECKING:
    import sqlite3

SETTING: Final = "captions:files"


@dataclass(frozen=True, slots=True)
class CaptionFile:
    """A file or folder of captions as it was when it was read last.

    `path` is absolute, decoded by `os.fsdecode`. `stamp` changes when the file does. `absent`:
    how many of its pictures the library did not hold; `last_id`: the highest id that the library
    had given then.
    """

    path: str
    stamp: str
    absent: int
    last_id: int


def caption_files(registry: Registry) -> list[CaptionFile]:
    """Return the files, that which was given last at the end."""
    setting = registry.setting(SETTING)
    return [] if setting is None else [CaptionFile(*row) for row in json.loads(setting)]


def set_caption_files(registry: Registry, files: Iterable[CaptionFile]) -> None:
    """Remember the files, in this order."""
    value = json.dumps([astuple(file) for file in files])  # ASCII: a path need not be text
    if value != registry.setting(SETTING):
        registry.set_setting(SETTING, value)


def last_id(registry: Registry) -> int:
    """Return the highest id that the library has given to an item; 0 when there was none."""
    rows = registry.rows("SELECT seq FROM sqlite_sequence WHERE name = 'items'")
    return int(rows[0][0]) if rows else 0


def to_read_again(connection: "sqlite3.Connection") -> None:
    """Note that all files are to be read again: what was read of them may be lost."""
    row = connection.execute("SELECT value FROM settings WHERE key = ?", (SETTING,)).fetchone()
    try:
        files = [CaptionFile(*known) for known in json.loads(row[0])] if row else []
    except (ValueError, TypeError):  # a damaged setting that was kept as it was read
        return
    if files:
        value = json.dumps([astuple(replace(file, stamp="")) for file in files])
        connection.execute("UPDATE settings SET value = ? WHERE key = ?", (value, SETTING))
