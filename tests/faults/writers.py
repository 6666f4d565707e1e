"""Writers that take turns, readers that look on, and a writer that dies while it works."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tests.faults import oracle
from tests.faults.libraries import BATCH, Place, check_completed, check_kept, check_sound, supplies
from tests.faults.oracle import State
from tests.faults.processes import (
    BUSY,
    SECONDS,
    Ended,
    ended,
    environment,
    gone_after,
    run,
    start,
)
from tests.faults.readers import READINGS, Readers
from tests.faults.watcher import Watcher

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore

Run: TypeAlias = Callable[[random.Random, Path], None]
POLLS: Final = 20  # of a case, at least
EACH: Final = {2: 20, 8: 5}  # sentences that each of so many writers adds
_PROCESS: Final = Path(__file__).with_name("writer_process.py")
_K: Final = 7
_BETWEEN: Final = 3  # polls, from one command that reads to the next
_ATTEMPTS: Final = 5  # to stop a writer before it has ended


def taking_turns(writers: int) -> Run:
    """Return a case of so many writers, each adding its own sentences, and one reader."""

    def write(rng: random.Random, folder: Path) -> None:
        place = Place(folder)
        place.draw(2 * BATCH)
        place.write_texts(rng.randint(1, 20))
        before = check_completed(place, State(), place.index(), rng)
        mine = rng.sample(range(100, 600), writers * EACH[writers])
        shares = [[supplies().sentences[n] for n in mine[w::writers]] for w in range(writers)]
        with Watcher(place.library) as watcher, ExitStack() as left:
            processes = [_start_writer(place.library, share) for share in shares]
            for process in processes:
                left.enter_context(gone_after(process))
            endings = [ended(process) for process in processes]
            seen = watcher.stop()
        pids = {str(process.pid) for process in processes}
        for share, ending in zip(shares, endings, strict=True):
            assert ending.code == 0, ending
            assert ending.out.splitlines() == share
            _check_refusals(ending, pids)
        place.texts += mine
        now = check_sound(place, before, rng)
        check_kept(place, seen, now)
        _, wanted = place.wanted()
        assert set(now.places("text")) == wanted
        assert len(now.rows) == len(before.rows) + len(mine)
        assert now.revision == before.revision + len(mine)

    return write


def _start_writer(library: Path, sentences: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, _PROCESS, library, supplies().model, *sentences],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def _check_refusals(ending: Ended, pids: set[str]) -> None:
    """Expect each refusal to name another writer, unless that was just taking the lock."""
    for refusal in json.loads(ending.err):
        named = re.match(r"process (\d+|unknown) is writing to the library", refusal)
        assert named is not None, refusal
        assert named[1] in pids | {"unknown"}, refusal


def killed_at_work(rng: random.Random, folder: Path) -> None:
    """Stop a writer in the middle, meet it with others, kill it: the lock is free at once."""
    place, state = Place(folder), State()
    place.draw(10 * BATCH)
    with Watcher(place.library) as watcher, ExitStack() as left:
        for _ in range(_ATTEMPTS):
            writer = left.enter_context(gone_after(start(*place.arguments())))
            _wait(partial(_has_written, writer, watcher, len(state.rows)))
            time.sleep(rng.uniform(0.0, 0.02))
            writer.send_signal(signal.SIGSTOP)
            if writer.poll() is None:
                break
            state = check_completed(place, state, ended(writer), rng)  # it was faster
            place.draw(20 * BATCH)
        assert writer.poll() is None, "every run ended before it was stopped"
        second = place.index()
        assert second.code == BUSY, second
        assert f"process {writer.pid} is writing" in second.err, second
        answer = run("query", "red", "--json", "--library", place.library)
        assert (answer.code, answer.err) == (0, ""), answer
        seen = watcher.stop()
        writer.kill()
        ending = ended(writer)
        assert ending.killed, ending
    after = check_sound(place, seen, rng)
    check_completed(place, after, place.index(), rng)


def _has_written(writer: subprocess.Popen[str], watcher: Watcher, known: int) -> bool:
    """Say whether more is in the library than was known, or the writer has ended."""
    return len(watcher.seen.rows) > known or writer.poll() is not None


def _wait(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, "nothing happened for a minute"
        time.sleep(0.001)


def reading_along(rng: random.Random, folder: Path) -> None:
    """Poll a library during a long write: every answer is right for what was committed."""
    place = Place(folder)
    place.draw(BATCH)
    state = check_completed(place, State(), place.index(), rng)
    place.draw(30 * BATCH)
    readers = Readers(place.library, rng.randrange(len(READINGS)))
    polls = _polls(place.library, rng)
    count = 0
    with closing(polls), gone_after(start(*place.arguments())) as writer:
        while writer.poll() is None or count < POLLS:
            next(polls)
            count += 1
            if count % _BETWEEN == 1 and writer.poll() is None:
                readers.ask()
        ending = ended(writer)
    state = check_completed(place, state, ending, rng)
    readers.check(state)


def _polls(library: Path, rng: random.Random) -> Generator[None, None, None]:
    """Search again and again, now and then with a catalog opened anew."""
    known: dict[int, NDArray[np.float32]] = {}
    while True:
        with Catalog.open(library) as catalog:
            store = IndexStore(catalog, library)
            for _ in range(rng.randint(1, 30)):
                _poll(catalog, store, known, rng)
                yield


def _poll(
    catalog: Catalog, store: IndexStore, known: dict[int, NDArray[np.float32]], rng: random.Random
) -> None:
    """Compare one answer with brute force over one moment; nothing known may be missing."""
    space = catalog.space()
    assert space is not None
    query = np.random.default_rng(rng.randrange(2**32)).standard_normal((1, space.dim))
    unit = (query / np.linalg.norm(query)).astype(np.float32)
    with catalog.snapshot():
        ids, matrix = catalog.all_vectors(space, Modality.IMAGE)
        (found,) = store.search(space, Modality.IMAGE, unit, _K)
    expected = oracle.brute_force(ids, matrix, unit[0], _K)
    assert expected == list(zip(found.ids.tolist(), found.scores.tolist(), strict=True))
    now = dict(zip(ids.tolist(), matrix, strict=True))
    assert all(np.array_equal(now[number], row) for number, row in known.items()), "rows vanished"
    known.update(now)
    assert store.warnings == []
