"""A reader that looks on from outside: what it saw was acknowledged."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.faults import oracle
from tests.faults.oracle import State

_PAUSE = 0.003  # seconds between two looks


class Watcher:
    """Reads the catalog again and again in a thread of its own, with plain sqlite3.

    Use as a context: at its end the connection is closed, as a reader's would be. `looks`
    counts the times that it saw a library, `seen` is what it saw last.
    """

    def __init__(self, library: Path) -> None:
        self.looks = 0
        self._library = library
        self.seen = State()
        self._wrong: list[BaseException] = []
        self._enough = threading.Event()
        self._release = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher")

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._enough.set()
        self._release.set()
        self._thread.join()

    def stop(self) -> State:
        """Look no more and return what was seen last; the connection stays open.

        Raises what a look raised: a reader never fails.
        """
        self._enough.set()
        if self._wrong:
            raise self._wrong[0]
        return self.seen

    def _watch(self) -> None:
        try:
            while not self._enough.is_set() and not _made(self._library):
                self._enough.wait(_PAUSE)
            if not self._enough.is_set():
                self._look_on()
        except (AssertionError, sqlite3.Error) as error:
            self._wrong.append(error)

    def _look_on(self) -> None:
        with closing(_connected(self._library)) as connection:
            while not self._enough.is_set():
                with _moment(connection):
                    now = oracle.load(connection)
                assert now.revision >= self.seen.revision, "the library went back in time"
                self.seen = now
                self.looks += 1
                self._enough.wait(_PAUSE)
            self._release.wait()


def _made(library: Path) -> bool:
    """Return whether the catalog has its tables yet."""
    try:
        with closing(_connected(library)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            return bool(version)
    except sqlite3.OperationalError:  # no such file
        return False


def _connected(library: Path) -> sqlite3.Connection:
    path = quote(str(library / oracle.FILE))
    return sqlite3.connect(f"file:{path}?mode=rw", uri=True, isolation_level=None, timeout=60.0)


@contextmanager
def _moment(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()
