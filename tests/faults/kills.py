"""SIGKILL at the failpoints and at random times."""

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Final

from tests.faults.libraries import (
    BATCH,
    COUNT,
    Place,
    add_many,
    check_completed,
    check_kept,
    check_sound,
)
from tests.faults.oracle import (
    State,
    check_command,
    check_search,
    check_tidy,
    check_vectors,
    read_state,
)
from tests.faults.processes import Ended, ended, failpoint, run, start
from tests.faults.watcher import Watcher

KILLS: Final = 5  # of a case, each on the library that the one before has left
_GROWTH: Final = 70  # sentences: more changes than an index file is left alone with
_FOLDERS: Final = 4 * KILLS
ATTEMPTS: Final = 12  # to kill a process before it has ended
_TRANSACTIONS: Final = {"after-vectors": 6, "mid-transaction": 6, "before-commit": 10}
Run = Callable[[random.Random, Path], None]


def in_commit(name: str) -> Run:
    """Return a case that kills `index` at a failpoint of a commit."""

    def kill(rng: random.Random, folder: Path) -> None:
        place, state = Place(folder), State()
        for _ in range(KILLS):
            place.change(rng)
            nth = rng.randint(1, _TRANSACTIONS.get(name, 10))
            twin = _twin(place, name, nth)
            ending = place.index(failpoint(name, nth))
            if not ending.killed:  # there were fewer commits
                state = check_completed(place, state, ending, rng)
                place.change(rng)
                twin = _twin(place, name, 1)
                ending = place.index(failpoint(name))
            assert ending.killed, ending
            state = check_sound(place, state, rng)
            assert twin is None or _same(twin, state), (
                f"revision {state.revision} with {len(state.rows)} items; acknowledged were "
                f"{twin.revision} with {len(twin.rows)}"
            )
        check_completed(place, state, place.index(), rng)

    return kill


def _twin(place: Place, name: str, nth: int) -> State | None:
    """Return what a library holds whose writer died on the other side of the same commit.

    Between the return of one commit and the end of the next transaction nothing is written:
    killed after commit n, or before commit n + 1, a library must hold the same.
    """
    match name:
        case "after-commit":
            other = failpoint("before-commit", nth + 1)
        case "before-commit" if nth > 1:
            other = failpoint("after-commit", nth - 1)
        case _:
            return None
    copy, again = place.folder / "twin", place.folder / "again"
    shutil.rmtree(copy, ignore_errors=True)
    if place.library.exists():  # both are copies: noticing that is a transaction, too
        shutil.copytree(place.library, copy)
        shutil.copytree(place.library, again)
        shutil.rmtree(place.library)
        again.rename(place.library)
    ending = run(*place.arguments(copy), variables=other)
    assert ending.killed or ending.code == 0, ending
    return read_state(copy)


def _same(one: State, other: State) -> bool:
    return (one.revision, one.rows) == (other.revision, other.rows)


def in_index_write(name: str) -> Run:
    """Return a case that kills `index` while it writes an index file."""

    def kill(rng: random.Random, folder: Path) -> None:
        place, state = Place(folder), State()
        place.draw(40)
        for _ in range(KILLS):
            place.change(rng)
            _unsettle_indexes(place, rng)
            ending = place.index(failpoint(name))
            assert ending.killed, ending
            state = check_sound(place, state, rng, warns=True)
        state = check_completed(place, state, place.index(), rng)
        _unsettle_indexes(place, rng)
        ending = place.index(failpoint(name))
        assert ending.killed, ending
        after = check_sound(place, state, rng, warns=True)
        assert _grown_from(state, after)
        check_completed(place, after, place.index(), rng)

    return kill


def in_large_index(rng: random.Random, folder: Path) -> None:
    """Kill `index` when part of a large index file is on the disk."""
    place = Place(folder)
    place.draw(BATCH)
    check_completed(place, State(), place.index(), rng)
    reference = add_many(place.library, rng)
    state = read_state(place.library)
    parts: list[Path] = []
    for block in range(22, 40):  # small blocks stay in the process's memory
        ending = place.index(failpoint("mid-index-write", block))
        assert ending.killed, ending
        parts = [p for p in place.library.glob("index/*/text/*.tmp") if p.stat().st_size]
        if parts:
            break
    assert parts
    for done in (None, place.index()):
        assert done is None or done.code == 0, done
        assert read_state(place.library).rows == state.rows
        check_vectors(state, reference)
        check_search(place.library, state, rng, warns=done is None)
        check_command(place.library, warns=done is None)
    check_tidy(place.library)


def _unsettle_indexes(place: Place, rng: random.Random) -> None:
    """Give the next writer a reason to write an index file."""
    files = sorted(place.library.glob("index/*/*/*.faiss"))
    ways = ["remove", "flip"] if files else []
    if place.texts[-1] + _GROWTH < COUNT:
        ways.append("grow")
    match rng.choice(ways) if ways else "":
        case "grow":
            place.write_texts(_GROWTH)
        case "remove":
            for file in files:
                file.unlink()
        case "flip":
            for file in files:
                content = bytearray(file.read_bytes())
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                file.write_bytes(content)


def in_indexing(rng: random.Random, folder: Path) -> None:
    """Kill `index` at random times, with and without a reader that looks on."""
    place, state = Place(folder), State()
    for _ in range(KILLS):
        place.change(rng, new=8 * BATCH)
        state = _kill_while_indexing(place, state, rng)
    check_completed(place, state, place.index(), rng)


def _kill_while_indexing(place: Place, state: State, rng: random.Random) -> State:
    """Kill a run once it may write; what a reader saw of it must be there afterwards."""
    for attempt in range(ATTEMPTS):
        watched = Watcher(place.library) if rng.random() < 0.5 else nullcontext()
        with watched as watcher:
            ending = _cut_short(place.arguments(), rng, attempt)
            seen = watcher.stop() if watcher is not None else State()
            now = read_state(place.library)
        check_kept(place, seen, now)
        if ending.killed:
            return check_sound(place, state, rng, warns=True)
        state = check_completed(place, state, ending, rng)
        place.change(rng, new=BATCH)
    raise AssertionError("every run ended before it was killed")


def _cut_short(
    command: Sequence[str | Path], rng: random.Random, attempt: int, seconds: float = 0.0
) -> Ended:
    """Run a command that takes so many seconds and kill it, the earlier the more attempts fail."""
    process = start(*command)
    with suppress(subprocess.TimeoutExpired):  # it prints little: no pipe is ever full
        process.wait(rng.uniform(0.4, 1.0) * (seconds or duration()) * 0.75**attempt)
    process.kill()
    return ended(process)


@cache
def duration() -> float:
    """Return how many seconds an undisturbed run of the usual size takes here."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        place.draw(8 * BATCH)
        began = time.monotonic()
        ending = place.index()
        assert ending.code == 0, ending
        return time.monotonic() - began


def in_rebuilding(rng: random.Random, folder: Path) -> None:
    """Kill what rebuilds index files at random times; no item may change by it."""
    place = Place(folder)
    place.draw(40)
    place.write_texts(40)
    state = check_completed(place, State(), place.index(), rng)
    kills = attempt = 0
    while kills < KILLS:
        assert attempt < ATTEMPTS, "every run ended before it was killed"
        _unsettle_indexes(place, rng)
        command = rng.choice(["index", "repair"])
        ending = _cut_short((command, "--library", place.library), rng, attempt)
        assert ending.killed or ending.code == 0, ending
        after = check_sound(place, state, rng, warns=True)
        assert _grown_from(state, after)
        state = after
        kills, attempt = (kills + 1, 0) if ending.killed else (kills, attempt + 1)
    check_completed(place, state, place.index(), rng)


def in_forgetting(rng: random.Random, folder: Path) -> None:
    """Kill `forget` at random times: each item is there or gone, and the others are as before."""
    place = Place(folder)
    place.write_texts(10)
    for number in range(_FOLDERS):
        place.draw(BATCH, within=f"folder-{number}")
    state = check_completed(place, State(), place.index(), rng)
    kills, seconds = 0, 0.0
    for number in range(_FOLDERS):
        doomed = place.photos / f"folder-{number}"
        command = ("forget", doomed, "--library", place.library)
        place.disk = {path: n for path, n in place.disk.items() if path.parent != doomed}
        if seconds and kills < KILLS:
            ending = _cut_short(command, rng, min(number, 3), seconds)
            kills += ending.killed
            assert ending.killed or ending.code == 0, ending
            after = check_sound(place, state, rng)
            assert _grown_from(after, state), "forget wrote something new"
            state = after
        began = time.monotonic()
        ending = run(*command)
        seconds = time.monotonic() - began
        assert ending.code == 0 or "holds nothing" in ending.err, ending
        state = check_sound(place, state, rng)
        assert not _holds(state, doomed)
        if kills == KILLS:
            break
    assert kills == KILLS, "every run ended before it was killed"


def _holds(state: State, folder: Path) -> bool:
    return any(path.startswith(bytes(folder) + b"/") for path in state.places("image"))


def _grown_from(before: State, after: State) -> bool:
    return all(after.rows.get(number) == row for number, row in before.rows.items())
