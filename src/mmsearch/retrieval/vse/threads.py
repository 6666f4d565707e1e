"""How many threads a process may use."""

import os


def available_cores() -> int:
    """Return the cores that this process may run on, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
