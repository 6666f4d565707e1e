"""How many processors there are to share the work."""

import os
from math import ceil
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_FIRST_PROCESSOR: Final = 8192
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def available_processors() -> int:
    """Return how many processors this process may run on, as its container allows.

    A container may see all processors of its host and be given the time of a few: threads
    beyond that would wait for each other.
    """
    bound = hasattr(os, "sched_getaffinity")
    seen = len(os.sched_getaffinity(0)) if bound else os.cpu_count() or 1
    return max(1, min(seen, cgroup_quota(_QUOTA) or seen))


def quiet() -> bool:
    """Return whether others left processors free during the last minute; True where unknown."""
    if not hasattr(os, "getloadavg"):
        return True
    return os.getloadavg()[0] < available_processors()


def cgroup_quota(file: Path) -> int | None:
    """Return the processors that a file `cpu.max` grants, rounded up; None: without a limit."""
    try:
        quota, period = file.read_text(encoding="ascii").split()
        return None if quota == "max" else ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def sums_overflow(file: Path = _CPUINFO) -> bool:
    """Return whether this processor adds products of 8-bit numbers up in 16 bits.

    x86 without VNNI does, and cuts off what does not fit; weights of 7 bits always fit. False
    where the system does not say.
    """
    try:
        with file.open("rb") as stream:
            lines = stream.read(_FIRST_PROCESSOR).split(b"\n")
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith(b"flags")), None)
    return flags is not None and not {b"avx512_vnni", b"avx_vnni"} & {*flags}
