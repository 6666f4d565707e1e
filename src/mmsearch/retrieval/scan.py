"""Walk files and folders for pictures, tolerating whatever a disk holds.

Paths are bytes throughout, since a file name need not be text. The order is that of the names'
bytes, depth first, so that two scans of the same tree agree.
"""

import errno
import os
import stat
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, TypeAlias

from mmsearch.retrieval import ignore
from mmsearch.retrieval.candidates import SUFFIXES, has_picture_suffix, is_picture, kind_of
from mmsearch.retrieval.paths import (
    EVERYTHING,
    Filter,
    Scope,
    contains,
    is_entered,
    outermost,
    separate,
)

_RAW_SUFFIXES: Final = frozenset(os.fsencode(suffix) for suffix in SUFFIXES)
_LEADS_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_DOT: Final = ord(".")
_NAME: Final = attrgetter("name")

Identity: TypeAlias = tuple[int, int]
"""(device, inode): what a folder is, under whichever name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to be read as a picture. `path` and `root` absolute; `size` in bytes."""

    path: bytes
    root: bytes
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A place that could not be looked into, and why."""

    path: bytes
    root: bytes
    reason: str


def scan(
    paths: Sequence[bytes],
    names: Filter = EVERYTHING,
    *,
    bases: Mapping[bytes, bytes] | None = None,
    known: Collection[bytes] = (),
) -> Iterator[Found | Unreadable]:
    """Yield every picture file under the absolute `paths`, each once.

    Files are taken by suffix or, when the name has no real one, by content. Links are followed
    last, and only to what was not met under its own name; a link to a folder above is not
    followed. A device, FIFO, socket or dangling link is reported when it is named in `paths` or
    has a picture's suffix; so is whatever cannot be entered. A file that vanishes meanwhile is
    left out. A path given explicitly is taken whatever its name is, unless a `.mmsearchignore`
    above it speaks against it: `bases` has, by path, the folder from which on those count.
    `known`: places that have scans of their own, so that no link into them is followed.
    """
    walk = _Walk(tuple(separate(paths, names)), names, known)
    for path in walk.roots:
        try:
            status = os.stat(path)  # noqa: PTH116 - bytes
            stack = _above((bases or {}).get(path, path), path, status)
        except OSError as error:
            yield Unreadable(path, path, _reason(error))
            continue
        if stack is None:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from walk.folder(path, path, stack)
        elif stat.S_ISREG(status.st_mode):
            yield Found(path, path, status.st_size, status.st_mtime_ns)
        else:
            yield Unreadable(path, path, f"not a file or folder but {kind_of(status.st_mode)}")
    yield from walk.follow_links()


def scan_entries(
    touched: Iterable[bytes],
    roots: Sequence[bytes],
    names: Filter = EVERYTHING,
    *,
    known: Collection[bytes] = (),
) -> Iterator[Found | Unreadable]:
    """Yield, as `scan` of `roots` would, the picture files at or under some paths below them.

    What is not there is passed over. A link is followed only to what lies outside of all roots.
    """
    walk = _Walk(tuple(roots), names, known)
    by_folder: dict[bytes, set[bytes]] = {}
    for path in outermost(touched):
        folder, name = os.path.split(path)
        by_folder.setdefault(folder, set()).add(name)
    for folder, chosen in by_folder.items():
        root = max((root for root in roots if contains(root, folder)), key=len)
        yield from walk.some(folder, root, chosen)
    yield from walk.follow_links()


class _Walk:
    """One walk: what it has entered, and the links it has put off."""

    def __init__(
        self, roots: tuple[bytes, ...], names: Filter, known: Collection[bytes] = ()
    ) -> None:
        self.roots = roots
        own = Scope(roots)
        self._others = frozenset(path for path in known if not own.holds(path))
        self._names = names
        self._entered: set[Identity] = set()
        self._links: deque[tuple[bytes, bytes, ignore.Stack]] = deque()

    def folder(self, top: bytes, root: bytes, stack: ignore.Stack) -> Iterator[Found | Unreadable]:
        """Yield what lies in and below the folder `top`, its files before its folders.

        `stack`: the ignore files of the folders above.
        """
        pending = [(top, stack)]
        while pending:
            folder, stack = pending.pop()
            try:
                entries = self._list(folder)
                stack = _with_own(stack, folder, entries)
            except OSError as error:
                if error.errno not in _LEADS_NOWHERE:
                    yield Unreadable(folder, root, _reason(error))
                continue
            below: list[tuple[bytes, ignore.Stack]] = []
            yield from self._entries(entries, root, stack, below)
            pending.extend(reversed(below))

    def some(self, folder: bytes, root: bytes, chosen: set[bytes]) -> Iterator[Found | Unreadable]:
        """Yield what lies at and below the chosen names of one folder in a root."""
        between = folder
        while between != root:
            if self._names.skips(between, root):
                return
            between = os.path.dirname(between)  # noqa: PTH120 - bytes
        try:
            stack = ignore.stack_above(root, os.path.join(folder, b"x"))  # noqa: PTH118 - bytes
            with os.scandir(folder) as listing:
                entries = sorted((e for e in listing if e.name in chosen), key=_NAME)
        except OSError as error:
            if error.errno not in _LEADS_NOWHERE:
                yield Unreadable(folder, root, _reason(error))
            return
        if stack is None:
            return
        below: list[tuple[bytes, ignore.Stack]] = []
        yield from self._entries(entries, root, stack, below)
        for path, inner in below:
            yield from self.folder(path, root, inner)

    def _entries(
        self,
        entries: Sequence[os.DirEntry[bytes]],
        root: bytes,
        stack: ignore.Stack,
        below: list[tuple[bytes, ignore.Stack]],
    ) -> Iterator[Found | Unreadable]:
        """Yield the picture files of one folder. This loop is what a rescan spends its time in."""
        hidden, by_path = self._names.hidden, self._names.by_path
        for entry in entries:
            name = entry.name
            dotted = name[0] == _DOT
            if (dotted and not hidden) or (by_path and self._names.skips(entry.path, root)):
                continue
            try:
                folder = bool(stack) and entry.is_dir(follow_symlinks=False)
                if stack and ignore.is_ignored(stack, entry.path, is_folder=folder):
                    continue
                if (
                    not dotted
                    and name[name.rfind(b".") :].lower() in _RAW_SUFFIXES
                    and entry.is_file(follow_symlinks=False)
                ):
                    status = entry.stat()
                    yield Found(entry.path, root, status.st_size, status.st_mtime_ns)
                else:
                    yield from self._other(entry, root, stack, below)
            except OSError as error:
                if error.errno not in _LEADS_NOWHERE:
                    yield Unreadable(entry.path, root, _reason(error))

    def follow_links(self) -> Iterator[Found | Unreadable]:
        """Yield what only links lead to."""
        while self._links:
            path, root, stack = self._links.popleft()
            target = os.path.realpath(path)
            if any(contains(target, r) for r in self.roots) or self._is_elsewhere(target):
                continue
            try:
                status = os.stat(target)  # noqa: PTH116 - bytes
                if stat.S_ISDIR(status.st_mode):
                    yield from self.folder(path, root, stack)
                elif stat.S_ISREG(status.st_mode) and not self._met(target):
                    yield Found(path, root, status.st_size, status.st_mtime_ns)
            except OSError as error:
                if error.errno not in _LEADS_NOWHERE:
                    yield Unreadable(path, root, _reason(error))

    def _is_elsewhere(self, target: bytes) -> bool:
        """Say whether the scan of another known place finds this under its own name."""
        others = self._others
        return target in others or is_entered(target, others, self._names)

    def _list(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        """Return the sorted entries, none when the folder was entered before."""
        identity = _identity(folder)
        if identity in self._entered:
            return []
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=_NAME)
        self._entered.add(identity)
        return entries

    def _other(
        self,
        entry: os.DirEntry[bytes],
        root: bytes,
        stack: ignore.Stack,
        below: list[tuple[bytes, ignore.Stack]],
    ) -> Iterator[Found | Unreadable]:
        """Yield a picture file; put a folder into `below` and a link aside."""
        if entry.is_dir() and not entry.is_symlink():
            below.append((entry.path, stack))
        elif not entry.is_dir() and not entry.is_file():
            yield from _special(entry, root)
        elif entry.is_symlink() and (entry.is_dir() or is_picture(entry.path)):
            self._links.append((entry.path, root, stack))
        elif not entry.is_symlink() and is_picture(entry.path):
            status = entry.stat()
            yield Found(entry.path, root, status.st_size, status.st_mtime_ns)

    def _met(self, target: bytes) -> bool:
        """Say whether this real file was yielded already, under its own name."""
        parent, name = os.path.split(target)
        return _identity(parent) in self._entered and (
            self._names.hidden or not name.startswith(b".")
        )


def _with_own(
    stack: ignore.Stack, folder: bytes, entries: Sequence[os.DirEntry[bytes]]
) -> ignore.Stack:
    """Return the ignore files that speak for a folder's entries. Raises OSError."""
    place = bisect_left(entries, ignore.FILE, key=_NAME)
    if place == len(entries) or entries[place].name != ignore.FILE:
        return stack
    own = ignore.read_ignore_file(folder)
    return stack if own is None else (*stack, own)


def _above(base: bytes, path: bytes, status: os.stat_result) -> ignore.Stack | None:
    """Return the ignore files above a named path, None when they leave it out. Raises OSError."""
    stack = ignore.stack_above(base, path)
    if stack and ignore.is_ignored(stack, path, is_folder=stat.S_ISDIR(status.st_mode)):
        return None
    return stack


def _special(entry: os.DirEntry[bytes], root: bytes) -> Iterator[Unreadable]:
    """Report what is neither file nor folder, where its name promises a picture."""
    if not has_picture_suffix(entry.path):
        return
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        yield Unreadable(entry.path, root, "a link that leads nowhere")
    elif not stat.S_ISREG(mode):
        yield Unreadable(entry.path, root, f"not a file or folder but {kind_of(mode)}")


def _identity(folder: bytes) -> Identity:
    status = os.stat(folder)  # noqa: PTH116 - bytes
    return status.st_dev, status.st_ino


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
