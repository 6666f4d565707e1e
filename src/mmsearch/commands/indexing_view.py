"""What indexing looks like: progress on stderr, and a summary."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeAlias

from mmsearch.index.rows import Counts, Failure
from mmsearch.retrieval.presence import is_there
from mmsearch.retrieval.report import IngestReport
from mmsearch.retrieval.timing import Progress, Timing

OnProgress: TypeAlias = Callable[[Progress], None]
SPARSE_SECONDS: Final = 10.0
LONG_SECONDS: Final = 60.0
"""After a run as long as this the summary says where the time went."""


@contextmanager
def progress(stream: IO[str], *, quiet: bool) -> Iterator[OnProgress]:
    """Show pictures done, their rate, what they wait for and the time left.

    A bar where the stream is a terminal, elsewhere a line every ten seconds.
    """
    if quiet:
        yield lambda _: None
    elif stream.isatty():
        with _bar(stream) as show:
            yield show
    else:
        yield _sparse(stream)


@contextmanager
def _bar(stream: IO[str]) -> Iterator[OnProgress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[pace]}"),
    )
    with rich.Progress(*columns, console=Console(file=stream), transient=True) as bars:
        task = bars.add_task("looking for what is new", total=None, pace="")

        def show(now: Progress) -> None:
            bars.update(
                task,
                description="images",
                completed=now.done,
                total=now.total,
                pace=_pace(now),
            )

        yield show


def _sparse(stream: IO[str]) -> OnProgress:
    last = time.monotonic()

    def show(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < SPARSE_SECONDS:
            return
        last = time.monotonic()
        stream.write(f"{now.done:,} of {now.total:,} images, {_pace(now)}\n")
        stream.flush()

    return show


def _pace(now: Progress) -> str:
    """Return the rate, the time left and what is waited for."""
    rate = f"{_rate(now.images_per_second)}/s"
    left = f"{_duration(now.seconds_left)} left" if now.images_per_second > 0 else ""
    slow = f"waiting for {now.waiting_for}" if now.waiting_for else ""
    return ", ".join(part for part in (rate, left, slow) if part)


def _rate(images_per_second: float) -> str:
    return f"{images_per_second:.{0 if images_per_second >= 10 else 1}f}"


def _duration(seconds: float) -> str:
    """Return 42 s, 12 min or 3 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def time_spent(report: IngestReport) -> str:
    """Return where the time of a run went, in one line."""
    timing = report.timing
    stages = [
        f"{name} {getattr(timing, name):.1f} s"
        for name in ("scan", "read", "decode", "preprocess", "encode", "commit")
    ]
    line = f"took {_duration(timing.total)}: {', '.join(stages)} (side by side)"
    return f"{line}; waited for {_waits(timing)}" if timing.waited else line


def _waits(timing: Timing) -> str:
    longest = sorted(timing.waited, key=lambda slow: -timing.waited[slow])
    return ", ".join(f"{slow} {timing.waited[slow]:.1f} s" for slow in longest)


def summary(report: IngestReport, counts: Counts) -> list[str]:
    """Return what a run did, and what the library holds now."""
    parts = [f"{count:,} {name}" for name, count in report.as_dict().items() if count]
    held = f"{counts.images:,} images, {counts.texts:,} texts"
    return [", ".join(parts) or "nothing to index", f"the library holds {held}"]


def update_line(report: IngestReport) -> str:
    """Return what one update of a watched library did, with the time of day."""
    parts = [
        f"{count:,} {name}"
        for name, count in report.as_dict().items()
        if count and name != "unchanged"
    ]
    return f"{time.strftime('%H:%M:%S')} {', '.join(parts) or 'nothing to index'}"


def offline_line(root: Path) -> str:
    """Say why a root's items are offline, and what to do when they are gone for good."""
    state = "is missing or empty"
    if is_there(os.fsencode(root)):
        state = "holds no known picture and is on another file system, as if not mounted"
    return f"{root} {state}; its items are kept, and `mmsearch prune` removes them for good"


def failure_line(failure: Failure) -> str:
    """Return a file that could not be indexed, and why."""
    return f"{os.fsdecode(failure.path)}: {failure.reason}"
