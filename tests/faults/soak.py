"""Run the fault matrix many times: `python -m tests.faults.soak`; `make soak` does.

Goes round the scenarios until each has its count or the time is up. What was done is kept in a
state file after each case, and the next run goes on from there. A case that fails keeps its
folder; the command that repeats it is printed.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.matrix import SCENARIOS, Scenario, generator, scenario

from mmsearch.errors import MMSearchError

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
_FAULTS: Final = (AssertionError, MMSearchError, sqlite3.Error, OSError, subprocess.SubprocessError)
_BUGS: Final = (LookupError, TypeError, ValueError, AttributeError, RuntimeError)  # of either side


@dataclass(frozen=True, slots=True)
class Failed:
    """A case that failed, and what it said."""

    name: str
    case: int
    said: str


@dataclass(slots=True)
class Soak:
    """What was done so far: cases by scenario, from one seed."""

    seed: int
    cases: dict[str, int] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)

    def next_case(self, some: list[Scenario]) -> Scenario | None:
        """Return the scenario that is furthest from its count; None when all are there."""
        open_ones = [s for s in some if not s.skip and self.faults(s) < s.soak]
        return min(open_ones, key=lambda s: self.faults(s) / s.soak, default=None)

    def faults(self, one: Scenario) -> int:
        """Return how many faults of a scenario were done."""
        return self.cases.get(one.name, 0) * one.each

    def save(self, file: Path) -> None:
        """Write the state, wholly or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        temporary.replace(file)


def load(file: Path, seed: int) -> Soak:
    """Return the state to go on from: a new one when there is none of this seed."""
    if not file.exists():
        return Soak(seed)
    found = json.loads(file.read_text(encoding="utf-8"))
    if found["seed"] != seed:
        return Soak(seed)
    return Soak(seed, found["cases"], [Failed(**each) for each in found["failures"]])


def run_case(one: Scenario, case: int, seed: int) -> str:
    """Run a case; return what went wrong, empty when nothing did."""
    folder = Path(tempfile.mkdtemp(prefix=f"mmsearch-{one.name.replace(' ', '-')}-{case}-"))
    try:
        one.run(generator(one.name, case, seed), folder)
    except (*_FAULTS, *_BUGS) as error:
        traceback.print_exc()
        again = f"--only '{one.name}' --case {case} --seed {seed}"
        _say(f"FAILED; kept in {folder}; again: python -m tests.faults.soak {again}")
        return f"{error!r}"[:2000]
    shutil.rmtree(folder)
    return ""


def soak(state: Soak, some: list[Scenario], file: Path, minutes: float) -> None:
    """Run cases until all counts are reached or the time is up."""
    deadline = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline and (one := state.next_case(some)) is not None:
        case = state.cases.get(one.name, 0)
        if said := run_case(one, case, state.seed):
            state.failures.append(Failed(one.name, case, said))
        state.cases[one.name] = case + 1
        state.save(file)


def table(state: Soak, some: list[Scenario]) -> str:
    """Return what was done, a line a scenario."""
    lines = [f"{'fault':28} {'done':>6} {'of':>6} {'failed':>6}"]
    for one in some:
        failed = sum(failure.name == one.name for failure in state.failures)
        note = f"  skipped: {one.skip}" if one.skip else ""
        lines.append(f"{one.name:28} {state.faults(one):6} {one.soak:6} {failed:6}{note}")
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Read the flags, soak, print the table; return 1 when a case ever failed."""
    parser = argparse.ArgumentParser(description="Run the fault matrix many times.")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most so long")
    parser.add_argument("--only", choices=[one.name for one in SCENARIOS], help="one scenario")
    parser.add_argument("--case", type=int, help="one case of --only, without touching the state")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, default=Path("build/soak.json"))
    given = parser.parse_args()
    some = [scenario(given.only)] if given.only else list(SCENARIOS)
    if given.case is not None:
        if not given.only:
            parser.error("--case needs --only")
        return int(bool(run_case(some[0], given.case, given.seed)))
    state = load(given.state, given.seed)
    soak(state, some, given.state, given.minutes)
    _say(table(state, some))
    return int(bool(state.failures))


if __name__ == "__main__":
    sys.exit(main())
