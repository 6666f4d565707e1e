"""Paths as bytes, for a name need not be text: what lies in what, and what is passed over."""

import fnmatch
import os
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from mmsearch.errors import InputError

_SEPARATOR: Final = os.fsencode(os.sep)


def absolute(path: str | bytes | os.PathLike[str]) -> bytes:
    """Return the real path as bytes: absolute, symbolic links resolved as far as they go.

    Raises InputError for a name that no file can have.
    """
    try:
        return os.path.realpath(os.fsencode(path))
    except ValueError as error:  # a zero byte
        raise InputError(f"no file can have the name {os.fsencode(path)!r}") from error


def contains(folder: bytes, path: bytes) -> bool:
    """Say whether `path` is `folder` or lies below it; both absolute."""
    return path == folder or path.startswith(folder.rstrip(_SEPARATOR) + _SEPARATOR)


def is_gone(path: bytes) -> bool:
    """Say whether nothing is at a path; False where that cannot be known, for want of a right."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


class Scope:
    """A set of places, and whether a path is one of them or lies below one."""

    def __init__(self, places: Iterable[bytes]) -> None:
        self._places = frozenset(places)

    def holds(self, path: bytes) -> bool:
        """Say whether the path is a place or lies below one; costs as much as the path is deep."""
        return bool(self._places) and any(step in self._places for step in upwards(path))


def upwards(path: bytes) -> Iterable[bytes]:
    """Yield an absolute path and the folders above it, up to the root of the file system."""
    yield path
    while len(path) > 1:
        path = os.path.dirname(path)  # noqa: PTH120 - bytes
        yield path


def outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Drop the paths that lie below another one; keep the order of the rest, each once."""
    unique = dict.fromkeys(paths)
    return [p for p in unique if not any(q in unique for q in upwards(p) if q != p)]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which names a scan passes over.

    `exclude`: globs of names or of paths below the root. `hidden`: names that begin with a dot
    are wanted. `forgotten`: paths that were removed on purpose, or whose drive is not mounted.
    """

    exclude: tuple[str, ...] = ()
    hidden: bool = False
    forgotten: frozenset[bytes] = frozenset()

    def veils(self, path: bytes) -> bool:
        """Say whether this entry is left out unless it is named itself: hidden or forgotten."""
        name = os.path.basename(path)  # noqa: PTH119 - bytes
        return (name.startswith(b".") and not self.hidden) or path in self.forgotten

    @property
    def by_path(self) -> bool:
        """Whether more than the first byte of a name has to be looked at."""
        return bool(self.exclude or self.forgotten)

    def skips(self, path: bytes, root: bytes) -> bool:
        """Say whether this entry, compared by name and by path below the root, is left out."""
        if self.veils(path):
            return True
        if not self.exclude:
            return False
        name = os.path.basename(path)  # noqa: PTH119 - bytes
        texts = (os.fsdecode(name), os.fsdecode(path[len(root) :].lstrip(_SEPARATOR)))
        return any(
            fnmatch.fnmatch(text, glob.rstrip("/")) for glob in self.exclude for text in texts
        )


EVERYTHING: Final = Filter()


def separate(paths: Iterable[bytes], names: Filter) -> list[bytes]:
    """Drop the paths that a scan of another one comes to, as `outermost` does.

    What lies in a hidden or forgotten place below another path is kept: no scan enters there.
    """
    unique = dict.fromkeys(paths)
    return [path for path in unique if not is_entered(path, unique, names)]


def is_entered(path: bytes, among: Container[bytes], names: Filter) -> bool:
    """Say whether the scan of one of the folders `among`, above the path, comes to the path.

    By what is hidden or forgotten on the way alone, and not by globs.
    """
    for step in upwards(path):
        if step != path and step in among:
            return True
        if names.veils(step):
            return False
    return False
