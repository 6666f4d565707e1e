"""How much memory a command and all the processes that it starts have at once."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from measuring import FailedError, Run, users_environment

_EVERY: Final = 0.1
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def measure_tree(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Run:
    """Run a command; `peak` is the largest sum of resident memory over its processes.

    Looked at ten times a second; pages that processes share are counted in each. `cpu` is what
    all of them took. Raises FailedError unless it succeeds.
    """
    before, began = os.times(), time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**users_environment(), **(env or {})},
        cwd=cwd,
    )
    peak = [0]
    ended = threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, ended, peak))
    sampler.start()
    output, errors = process.communicate()
    wall, after = time.perf_counter() - began, os.times()
    ended.set()
    sampler.join()
    if process.returncode:
        raise FailedError(f"{command[0]} ended with {process.returncode}: {errors[-800:]}")
    cpu = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return Run(wall, cpu, peak[0], output)


def _sample(process: int, ended: threading.Event, peak: list[int]) -> None:
    while not ended.wait(_EVERY):
        peak[0] = max(peak[0], sum(map(_resident, family(process))))


def family(process: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # gone meanwhile
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found = [process]
    for each in found:
        found += parents.get(each, [])
    return found


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except OSError:
        return 0
