"""Time processes, describe the machine, keep results: what the benchmarks share.

A process is started by a small one of its own, because Linux counts the memory of whoever starts
a process into its peak. Results are JSON files in `RESULTS`; `results.py` makes the tables.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "benchmarks"
RESULTS = WORK / "results"
PEERS = ROOT / "build" / "peers"

Facts: TypeAlias = dict[str, Any]

_SETTINGS = ("OMP_", "OPENBLAS_", "MKL_", "PYTHON", "TOKENIZERS_", "MMSEARCH_")
_STARTER = """
import json, os, sys, time
began = time.perf_counter()
child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
seen = {"wall": time.perf_counter() - began, "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024, "code": os.waitstatus_to_exitcode(status)}
os.write(int(os.environ["MEASURED"]), json.dumps(seen).encode())
"""


class FailedError(Exception):
    """A measured command did not end as it should."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process: `wall` and `cpu` in seconds, `peak` resident memory in bytes, its output."""

    wall: float
    cpu: float
    peak: int
    output: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Runs of one command: medians, the range of wall seconds, the highest peak in bytes."""

    wall: float
    wall_min: float
    wall_max: float
    cpu: float
    peak: int
    runs: int


def measure(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    codes: Sequence[int] = (0,),
) -> Run:
    """Run a command to its end, in the environment of a user's shell.

    Settings of this shell that would change what is measured are left out: of threads, and
    against keeping compiled modules. Raises FailedError for an exit code not in `codes`.
    """
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _STARTER, *map(str, command)],
            env={**users_environment(), **(env or {}), "MEASURED": str(write)},
            cwd=cwd,
            pass_fds=(write,),
            capture_output=True,
            check=False,
        )
        os.close(write)
        with os.fdopen(read, "rb", closefd=False) as stream:
            seen = json.loads(stream.read() or b'{"code": null}')
    finally:
        os.close(read)
    if seen["code"] not in codes:
        tail = done.stderr.decode(errors="replace").strip()[-800:]
        raise FailedError(f"{command[0]} ended with {seen['code']}: {tail}")
    return Run(seen["wall"], seen["cpu"], seen["peak"], done.stdout.decode(errors="replace"))


def users_environment() -> dict[str, str]:
    """Return the variables of this shell that do not change what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
    return {**kept, "PYTHONPYCACHEPREFIX": str(WORK / "pycache")}  # not beside the sources


def summarise(runs: Sequence[Run]) -> Summary:
    """Return medians and extremes of one or more runs."""
    walls = [run.wall for run in runs]
    return Summary(
        wall=statistics.median(walls),
        wall_min=min(walls),
        wall_max=max(walls),
        cpu=statistics.median(run.cpu for run in runs),
        peak=max(run.peak for run in runs),
        runs=len(runs),
    )


def alternate(commands: Mapping[str, Callable[[int], Run]], runs: int) -> dict[str, Summary]:
    """Run several commands in turn, each `runs` times after one that is not counted.

    Taking turns gives all of them the same machine, whatever else happens on it.
    """
    seen: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            run = command(turn)
            say(f"  {name}: {run.wall:.2f} s, {run.peak / 1e6:.0f} MB")
            if turn > 0:
                seen[name].append(run)
    return {name: summarise(found) for name, found in seen.items()}


def drop_caches() -> None:
    """Write back and empty the page cache. Raises PermissionError unless root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def mmsearch_command(*arguments: str | Path) -> list[str]:
    """Return the command line of this environment's console script."""
    script = Path(sys.executable).with_name("mmsearch")
    if not script.exists():
        raise FailedError("mmsearch is not installed beside this interpreter; run: make bench")
    return [str(script), *map(str, arguments)]


def machine(*packages: str) -> Facts:
    """Describe the machine and the versions of packages, without names of hosts or places.

    `first`: what was measured went before the machine's other work.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    versions = {name: _version(name) for name in ("numpy", "faiss-cpu", "onnxruntime", *packages)}
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": versions,
        "load": round(os.getloadavg()[0], 2),
        "first": os.sched_getscheduler(0) != os.SCHED_OTHER or os.nice(0) < 0,
    }


def keep(name: str, facts: Facts) -> Path:
    """Write one benchmark's result as JSON; return the file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(facts, indent=2, default=_plain) + "\n")
    say(f"kept in {file.relative_to(ROOT)}")
    return file


def say(message: str) -> None:
    """Print one line of progress at once."""
    print(message, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def size(count: float) -> str:
    """Return a number of bytes for people: decimal units."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count:.0f} B"


def seconds(value: float) -> str:
    """Return a duration for people."""
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1e3:.3g} ms"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _version(package: str) -> str:
    for distribution in importlib.metadata.distributions(path=[str(PEERS), *sys.path]):
        if distribution.metadata["Name"].lower().replace("_", "-") == package:
            return distribution.version
    return "?"


def _plain(value: object) -> Facts:
    if isinstance(value, Run | Summary):
        return asdict(value)
    raise TypeError(f"{value!r} cannot be kept")
