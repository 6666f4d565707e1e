"""Keep a library up to date while the disk changes.

watchfiles reports what happens below the folders; single pictures, files of sentences and the
folders' own identity (a drive unplugged, a folder replaced) are looked at every second. Where an
event says what changed, only that is looked at again; where it does not, the whole folder is. The
right to write is held during an update alone, and waited for when another process has it.
"""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from mmsearch.errors import DataError, InputError, LibraryBusyError, MissingExtraError
from mmsearch.index.rows import Root, RootKind
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.ignore import FILE as IGNORE_FILE
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.paths import Scope, absolute, contains, outermost
from mmsearch.retrieval.report import IngestOptions, IngestReport

TICK_MS: Final = 1000
"""How often a look is taken at what no event tells of."""
_QUIET_MS: Final = 300  # without an event, before an update begins
_LONGEST_MS: Final = 3000  # that an update is put off while events keep coming
_MOST: Final = 500  # touched paths; for more, a walk of the whole folder is cheaper

Stamp: TypeAlias = tuple[int, ...] | None
"""How a path looked; None: it was not there."""


@dataclass(slots=True)
class _Pending:
    """What has to be looked at again: roots as a whole, files of sentences, single paths."""

    roots: set[bytes] = field(default_factory=set)
    texts: set[bytes] = field(default_factory=set)
    touched: set[bytes] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.roots or self.texts or self.touched)


def check_installed() -> None:
    """Raise MissingExtraError unless watchfiles is there."""
    try:
        import watchfiles  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtraError("watchfiles", "watch") from error


def watch(
    library: Library,
    places: Sequence[Path],
    options: IngestOptions,
    say: Callable[[str], None],
) -> Iterator[IngestReport]:
    """Update the library whenever something changes; yield each update that changed it.

    `places` are roots of the library; without any, all are watched. Never ends by itself:
    KeyboardInterrupt does it, and an update that was interrupted says so. `say` takes warnings.
    Raises InputError when the system cannot watch so many folders.
    """
    return _Watch(library, [absolute(place) for place in places], options, say).updates()


class _Watch:
    """What is watched, and what was seen of it."""

    def __init__(
        self,
        library: Library,
        places: Sequence[bytes],
        options: IngestOptions,
        say: Callable[[str], None],
    ) -> None:
        self._library = library
        self._places = Scope(places or [b"/"])
        self._options = options
        self._say = say
        self._own = absolute(library.directory)
        self._waiting = False
        self._seen = self._state()

    def updates(self) -> Iterator[IngestReport]:
        """Yield the updates. Watches anew whenever a folder has come, gone or been replaced."""
        pending = _Pending()
        while True:
            roots = self._roots()
            stamps = {root.raw: _stamp(root) for root in roots}
            folders = [r.raw for r in roots if r.kind is RootKind.FOLDER and stamps[r.raw]]
            self._collect(pending, roots, ())  # what changed before the stamps were taken
            with closing(_events(outermost(folders))) as events:
                for touched in events:
                    now = {root.raw: _stamp(root) for root in roots}
                    changed = [root for root in roots if now[root.raw] != stamps[root.raw]]
                    self._collect(pending, changed, touched)
                    report = self._update(pending) if pending else None
                    if report is not None:
                        pending = _Pending()
                        if self._has_changed() or report.captioned or report.interrupted:
                            yield report
                    stamps = now
                    if any(root.kind is RootKind.FOLDER for root in changed):
                        break

    def _roots(self) -> list[Root]:
        return [root for root in self._library.catalog.roots() if self._places.holds(root.raw)]

    def _collect(
        self, pending: _Pending, changed: Iterable[Root], touched: Iterable[bytes]
    ) -> None:
        for root in changed:
            (pending.texts if root.kind is RootKind.TEXTS else pending.roots).add(root.raw)
        pending.touched.update(path for path in touched if not contains(self._own, path))

    def _update(self, pending: _Pending) -> IngestReport | None:
        """Bring the library up to date; None when that has to wait for another process."""
        report = IngestReport()
        try:
            known = {r.raw for r in self._library.catalog.roots() if r.kind is RootKind.TEXTS}
            for file in sorted(pending.texts & known):
                report.merge(self._sentences(file))
            paths = _narrowed(pending, [r for r in self._roots() if r.kind is RootKind.FOLDER])
            if paths and not report.interrupted:
                report.merge(self._library.look_again(paths, self._options))
        except LibraryBusyError as error:
            if not self._waiting:
                self._say(f"waiting: {error}")
            self._waiting = True
            return None
        self._waiting = False
        return report

    def _sentences(self, file: bytes) -> IngestReport:
        try:
            return self._library.add_texts(file, self._options)
        except DataError as error:  # somebody is writing it; the next change is looked at again
            self._say(str(error))
            return IngestReport()

    def _has_changed(self) -> bool:
        before, self._seen = self._seen, self._state()
        return before != self._seen

    def _state(self) -> tuple[object, ...]:
        catalog = self._library.catalog
        return catalog.revision, *((root.id, root.offline) for root in catalog.roots())


def _narrowed(pending: _Pending, folders: Sequence[Root]) -> list[bytes]:
    """Return the paths to look at again; a root where an event does not tell enough.

    That is so for links, which may lead anywhere, and after a great many events.
    """
    whole = set(pending.roots)
    paths: set[bytes] = set()
    real: dict[bytes, bool] = {}
    for path in pending.touched:
        folder, name = os.path.split(path)
        if folder not in real:
            real[folder] = os.path.realpath(folder) == folder
        if not real[folder] or os.path.islink(path):  # noqa: PTH114 - bytes
            whole.update(root.raw for root in folders if contains(root.raw, path))
        else:
            paths.add(folder if name == IGNORE_FILE else path)
    if len(paths) > _MOST:
        scope = Scope(paths)
        return [root.raw for root in folders if scope.holds(root.raw) or _any(paths, root)]
    return sorted(whole | paths)


def _any(paths: Iterable[bytes], root: Root) -> bool:
    return any(contains(root.raw, path) for path in paths)


def _stamp(root: Root) -> Stamp:
    """Return how a root looks: a folder's identity, of a file also its size and time."""
    try:
        status = os.stat(root.raw)  # noqa: PTH116 - bytes
    except OSError:
        return None
    identity = (status.st_dev, status.st_ino)
    if root.kind is RootKind.FOLDER:
        return identity
    return (*identity, status.st_size, status.st_mtime_ns)


def _events(folders: Sequence[bytes]) -> Generator[set[bytes], None, None]:
    """Yield the paths that something happened to, none at least every second.

    Ends when it can watch no longer, so that the caller looks at everything and watches anew.
    """
    if not folders:
        while True:
            time.sleep(TICK_MS / 1000)
            yield set()
    from watchfiles import watch as watch_files

    try:
        for changes in watch_files(
            *(_as_text(folder) for folder in folders),
            watch_filter=None,
            debounce=_LONGEST_MS,
            step=_QUIET_MS,
            rust_timeout=TICK_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
        ):
            yield {os.fsencode(path) for _, path in changes}
    except FileNotFoundError:  # a folder went away just now
        time.sleep(TICK_MS / 1000)
    except RuntimeError:  # the name of what changed is not text
        yield set()
    except OSError as error:
        raise InputError(
            f"cannot watch {shown(folders[0])}: {error}; on Linux, fs.inotify.max_user_watches "
            "limits how many folders can be watched"
        ) from error


def _as_text(folder: bytes) -> str:
    try:
        return folder.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"cannot watch {shown(folder)}: its name is not text") from error
