"""Where the time of an indexing run goes, and what it is waiting for."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

_WINDOW_SECONDS: Final = 10.0
_STEP_SECONDS: Final = 0.5


class Slow(StrEnum):
    """What a run can wait for."""

    DECODING = "decoding"
    NETWORK = "the network"
    DISK = "the disk"


@dataclass(slots=True)
class Timing:
    """Seconds of a run by stage.

    Stages go on side by side, so that they may add up to more than `total`, which is by the
    clock. `scan`: find out what there is to do, by the clock. `read` (by the clock), `decode` and
    `preprocess` (colours, turning, resizing; of a processor) are those of the decoding processes.
    `encode`: the network, normalising included, summed over batches. `commit`: vectors, rows and
    syncs. `waited`: what kept the run from going on meanwhile, by the clock.
    """

    total: float = 0.0
    scan: float = 0.0
    read: float = 0.0
    decode: float = 0.0
    preprocess: float = 0.0
    encode: float = 0.0
    commit: float = 0.0
    waited: dict[Slow, float] = field(default_factory=dict)

    def wait(self, slow: Slow, seconds: float) -> None:
        """Note that the run waited."""
        self.waited[slow] = self.waited.get(slow, 0.0) + seconds

    def merge(self, other: "Timing") -> None:
        """Add another run's seconds."""
        for name in _STAGES:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for slow, seconds in other.waited.items():
            self.wait(slow, seconds)

    def as_dict(self) -> dict[str, float]:
        """Return seconds by stage, and what was waited for as `waited: …`."""
        stages = {name: getattr(self, name) for name in _STAGES}
        waits = {f"waited: {slow}": seconds for slow, seconds in self.waited.items()}
        return {name: round(seconds, 3) for name, seconds in {**stages, **waits}.items()}


_STAGES: Final = [each.name for each in fields(Timing) if each.name != "waited"]


@contextmanager
def waiting(timing: Timing, slow: Slow) -> Iterator[None]:
    """Count the time inside as waiting."""
    began = time.monotonic()
    try:
        yield
    finally:
        timing.wait(slow, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the encoding is: `done` of `total` items.

    The rate is that of the last ten seconds; `waiting_for` what most of them went into, None
    while nothing was waited for.
    """

    done: int
    total: int
    images_per_second: float
    waiting_for: Slow | None = None

    @property
    def seconds_left(self) -> float:
        """What remains, at this rate."""
        return (self.total - self.done) / max(self.images_per_second, 1e-9)


@dataclass(frozen=True, slots=True)
class _Moment:
    """How far a run was at a time."""

    time: float
    done: int
    waited: dict[Slow, float]


class Pace:
    """How fast a run of `total` items is just now."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._moments = deque([_Moment(time.monotonic(), 0, {})])

    def progress(self, done: int, timing: Timing) -> Progress:
        """Return how far it is."""
        now = _Moment(time.monotonic(), done, dict(timing.waited))
        while len(self._moments) > 1 and now.time - self._moments[1].time >= _WINDOW_SECONDS:
            self._moments.popleft()
        first = self._moments[0]
        if now.time - self._moments[-1].time >= _STEP_SECONDS:
            self._moments.append(now)
        waits = {slow: now.waited[slow] - first.waited.get(slow, 0.0) for slow in now.waited}
        return Progress(
            done,
            self._total,
            (done - first.done) / max(now.time - first.time, 1e-9),
            max(waits, key=lambda slow: waits[slow]) if any(waits.values()) else None,
        )
