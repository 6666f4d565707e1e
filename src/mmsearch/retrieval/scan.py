"""Walk files and folders for pictures, tolerating whatever a disk holds.

Paths are bytes throughout, since a file name need not be text. The order is that of the names'
bytes, depth first, so that two scans of the same tree agree.
"""

import errno
import fnmatch
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from mmsearch.retrieval.files import open_regular
from mmsearch.retrieval.formats import RAW_SUFFIXES, looks_like_picture

# fmt: off
SUFFIXES: Final = RAW_SUFFIXES | frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2",
    ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm",
    ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
})
# fmt: on
_SNIFF: Final = 16
_LONGEST_SUFFIX: Final = 6
_LEADS_NOWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_SEPARATOR: Final = os.fsencode(os.sep)

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


def absolute(path: str | bytes | os.PathLike[str]) -> bytes:
    """Return the real path as bytes: absolute, symbolic links resolved as far as they go."""
    return os.path.realpath(os.fsencode(path))


def contains(folder: bytes, path: bytes) -> bool:
    """Say whether `path` is `folder` or lies below it; both absolute."""
    return path == folder or path.startswith(folder.rstrip(_SEPARATOR) + _SEPARATOR)


def outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Drop the paths that lie below another one; keep the order of the rest, each once."""
    unique = list(dict.fromkeys(paths))
    return [p for p in unique if not any(q != p and contains(q, p) for q in unique)]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which names a scan passes over: `exclude` globs, and `hidden` names unless wanted."""

    exclude: tuple[str, ...] = ()
    hidden: bool = False

    def skips(self, path: bytes, root: bytes) -> bool:
        """Say whether this entry, compared by name and by path below the root, is left out."""
        name = os.path.basename(path)  # noqa: PTH119 - bytes
        if name.startswith(b".") and not self.hidden:
            return True
        if not self.exclude:
            return False
        texts = (os.fsdecode(name), os.fsdecode(path[len(root) :].lstrip(_SEPARATOR)))
        return any(
            fnmatch.fnmatch(text, glob.rstrip("/")) for glob in self.exclude for text in texts
        )


EVERYTHING: Final = Filter()


def scan(paths: Sequence[bytes], names: Filter = EVERYTHING) -> Iterator[Found | Unreadable]:
    """Yield every picture file under the absolute `paths`, each once.

    Files are taken by suffix or, when the name has no real one, by content. Links are followed
    last, and only to what was not met under its own name; a link to a folder above is not
    followed. A device, FIFO, socket or dangling link is reported when it is named in `paths` or
    has a picture's suffix; so is whatever cannot be entered. A file that vanishes meanwhile is
    left out. A path given explicitly is taken whatever its name is.
    """
    walk = _Walk(tuple(outermost(paths)), names)
    for path in walk.roots:
        try:
            status = os.stat(path)  # noqa: PTH116 - bytes
        except OSError as error:
            yield Unreadable(path, path, _reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from walk.folder(path, path)
        elif stat.S_ISREG(status.st_mode):
            yield Found(path, path, status.st_size, status.st_mtime_ns)
        else:
            yield Unreadable(path, path, f"not a file or folder but {_kind(status.st_mode)}")
    yield from walk.follow_links()


class _Walk:
    """One walk: what it has entered, and the links it has put off."""

    def __init__(self, roots: tuple[bytes, ...], names: Filter) -> None:
        self.roots = roots
        self._names = names
        self._entered: set[Identity] = set()
        self._links: deque[tuple[bytes, bytes]] = deque()

    def folder(self, top: bytes, root: bytes) -> Iterator[Found | Unreadable]:
        """Yield what lies in and below the folder `top`, its files before its folders."""
        pending = [top]
        while pending:
            folder = pending.pop()
            try:
                entries = self._list(folder)
            except OSError as error:
                if error.errno not in _LEADS_NOWHERE:
                    yield Unreadable(folder, root, _reason(error))
                continue
            below: list[bytes] = []
            for entry in entries:
                if not self._names.skips(entry.path, root):
                    yield from self._entry(entry, root, below)
            pending.extend(reversed(below))

    def follow_links(self) -> Iterator[Found | Unreadable]:
        """Yield what only links lead to."""
        while self._links:
            path, root = self._links.popleft()
            target = os.path.realpath(path)
            if any(contains(target, r) for r in self.roots):
                continue
            try:
                status = os.stat(target)  # noqa: PTH116 - bytes
                if stat.S_ISDIR(status.st_mode):
                    yield from self.folder(path, root)
                elif stat.S_ISREG(status.st_mode) and not self._met(target):
                    yield Found(path, root, status.st_size, status.st_mtime_ns)
            except OSError as error:
                if error.errno not in _LEADS_NOWHERE:
                    yield Unreadable(path, root, _reason(error))

    def _list(self, folder: bytes) -> list[os.DirEntry[bytes]]:
        """Return the sorted entries, none when the folder was entered before."""
        identity = _identity(folder)
        if identity in self._entered:
            return []
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        self._entered.add(identity)
        return entries

    def _entry(
        self, entry: os.DirEntry[bytes], root: bytes, below: list[bytes]
    ) -> Iterator[Found | Unreadable]:
        """Yield a picture file; put a folder into `below` and a link aside."""
        try:
            if entry.is_dir() and not entry.is_symlink():
                below.append(entry.path)
            elif not entry.is_dir() and not entry.is_file():
                yield from _special(entry, root)
            elif entry.is_symlink() and (entry.is_dir() or _is_picture(entry.path)):
                self._links.append((entry.path, root))
            elif not entry.is_symlink() and _is_picture(entry.path):
                status = entry.stat()
                yield Found(entry.path, root, status.st_size, status.st_mtime_ns)
        except OSError as error:
            if error.errno not in _LEADS_NOWHERE:
                yield Unreadable(entry.path, root, _reason(error))

    def _met(self, target: bytes) -> bool:
        """Say whether this real file was yielded already, under its own name."""
        parent, name = os.path.split(target)
        return _identity(parent) in self._entered and (
            self._names.hidden or not name.startswith(b".")
        )


def _special(entry: os.DirEntry[bytes], root: bytes) -> Iterator[Unreadable]:
    """Report what is neither file nor folder, where its name promises a picture."""
    if os.fsdecode(os.path.splitext(entry.path)[1]).lower() not in SUFFIXES:  # noqa: PTH122
        return
    mode = entry.stat(follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        yield Unreadable(entry.path, root, "a link that leads nowhere")
    elif not stat.S_ISREG(mode):
        yield Unreadable(entry.path, root, f"not a file or folder but {_kind(mode)}")


def _identity(folder: bytes) -> Identity:
    status = os.stat(folder)  # noqa: PTH116 - bytes
    return status.st_dev, status.st_ino


def _is_picture(path: bytes) -> bool:
    suffix = os.fsdecode(os.path.splitext(path)[1]).lower()  # noqa: PTH122 - bytes
    if suffix in SUFFIXES:
        return True
    if suffix and not suffix[1:].isdigit() and len(suffix) <= _LONGEST_SUFFIX:
        return False
    try:
        with open_regular(path) as file:
            return looks_like_picture(file.read(_SNIFF))
    except PermissionError:
        return False


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"
