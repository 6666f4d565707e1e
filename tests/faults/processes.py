"""The installed console script as a process of its own: run it, start it, kill it."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import AnyStr, Final

from mmsearch.index.failpoints import VARIABLE

SCRIPT: Final = Path(sys.executable).with_name("mmsearch")
SECONDS: Final = 600  # a process that takes longer hangs
BUSY: Final = 2  # the exit code of an input error, a second writer's among them


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, below zero for a signal, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL

    def __str__(self) -> str:
        return f"exit {self.code}: {self.err.strip()[-2000:]}"


def start(
    *arguments: str | Path, variables: Mapping[str, str] | None = None, largest: int | None = None
) -> subprocess.Popen[str]:
    """Start `mmsearch ARGUMENTS` with its output piped.

    `variables` are added to the environment; no file may grow beyond `largest` bytes.
    """

    process = subprocess.Popen(
        [SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(variables),
    )
    if largest is not None:  # long before the interpreter has loaded what writes
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (largest, largest))
    return process


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without the caller's settings of mmsearch, and with `variables`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MMSEARCH_")}
    return {**kept, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **(variables or {})}


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a process.

    Seconds in which this process was awake are counted: somebody may stop it and the other one,
    and go on later.
    """
    for _ in range(SECONDS):
        with suppress(subprocess.TimeoutExpired):
            out, err = process.communicate(timeout=1.0)
            return Ended(process.returncode, out, err)
    process.kill()
    process.communicate()
    raise AssertionError(f"hung for {SECONDS} seconds: {process.args!r}")


@contextmanager
def gone_after(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """Leave nothing of a process behind, however what is done with it ends: no child, no pipe."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was written and not read
                    pipe.close()
        process.wait()


def run(
    *arguments: str | Path, variables: Mapping[str, str] | None = None, largest: int | None = None
) -> Ended:
    """Run `mmsearch ARGUMENTS` to its end, whatever that is; `start` has the parameters."""
    return ended(start(*arguments, variables=variables, largest=largest))


def failpoint(name: str, nth: int = 1) -> dict[str, str]:
    """Return the variable that kills a process the `nth` time it reaches a place."""
    return {VARIABLE: f"{name}:{nth}"}
