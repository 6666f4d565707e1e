"""The faults: what is done, how often in every test run, and how often in a soak."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.faults import captioned, corruption, disk, kills, migration, writers

Run: TypeAlias = Callable[[random.Random, Path], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of fault. `run` does one case in an empty folder and raises when something is lost.

    `each` is how many faults (kills, operations) a case has at least; `ci` and `soak` count
    faults, not cases. `skip` says why it cannot run here, empty when it can.
    """

    name: str
    run: Run
    ci: int
    soak: int
    each: int = 1
    skip: str = ""

    @property
    def ci_cases(self) -> int:
        """Return how many cases a test run has."""
        return -(-self.ci // self.each)


def generator(name: str, case: int, seed: int = 0) -> random.Random:
    """Return the generator of a scenario's case: the same one every time."""
    return random.Random(f"{seed}/{name}/{case}")


def _kill(name: str, run: Run, ci: int, soak: int) -> Scenario:
    return Scenario(name, run, ci, soak, kills.KILLS)


_NO_SHIM: Final = disk.shim_reason()

SCENARIOS: Final = (
    *(
        _kill(f"kill at {name}", kills.in_commit(name), 5, 400)
        for name in ("after-vectors", "mid-transaction", "before-commit", "after-commit")
    ),
    *(
        _kill(f"kill at {name}", kills.in_index_write(name), 5, 400)
        for name in ("mid-index-write", "before-rename", "after-rename")
    ),
    _kill("kill at mid-migration", migration.in_migration, 5, 400),
    Scenario("kill in a large index file", kills.in_large_index, 1, 20),
    _kill("kill while indexing", kills.in_indexing, 10, 500),
    _kill("kill while forgetting", kills.in_forgetting, 5, 250),
    _kill("kill while rebuilding", kills.in_rebuilding, 5, 250),
    _kill("kill while fusing", captioned.in_fusing, 5, 250),
    Scenario("full file system", disk.full_tmpfs, 2, 40, skip=disk.tmpfs_reason()),
    Scenario("file too large", disk.largest_file, 2, 40),
    Scenario("full at the k-th write", disk.full_write, 2, 40, skip=_NO_SHIM),
    Scenario("k-th write fails", disk.failed_write, 2, 40, skip=_NO_SHIM),
    Scenario("k-th sync fails", disk.failed_sync, 2, 40, skip=_NO_SHIM),
    Scenario("truncation", corruption.truncation, 25, 500),
    Scenario("bit flip", corruption.bit_flip, 25, 500),
    *(
        Scenario(f"{count} writers", writers.taking_turns(count), 80, 2000, count * each)
        for count, each in writers.EACH.items()
    ),
    Scenario("reading along", writers.reading_along, 40, 1000, writers.POLLS),
    Scenario("killed at work", writers.killed_at_work, 3, 60),
)


def scenario(name: str) -> Scenario:
    """Return the scenario of a name. Raises KeyError."""
    return {each.name: each for each in SCENARIOS}[name]
