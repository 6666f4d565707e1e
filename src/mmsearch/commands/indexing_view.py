"""What indexing looks like: progress on stderr, and a summary."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeAlias

from mmsearch.index.rows import Counts, Failure
from mmsearch.retrieval.presence import is_there
from mmsearch.retrieval.report import IngestReport, Progress

OnProgress: TypeAlias = Callable[[Progress], None]
SPARSE_SECONDS: Final = 10.0


@contextmanager
def progress(stream: IO[str], *, quiet: bool) -> Iterator[OnProgress]:
    """Show pictures done, their rate and the time left.

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
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(file=stream), transient=True) as bars:
        task = bars.add_task("looking for what is new", total=None, rate="")

        def show(now: Progress) -> None:
            bars.update(
                task,
                description="images",
                completed=now.done,
                total=now.total,
                rate=f"{_rate(now)}/s",
            )

        yield show


def _sparse(stream: IO[str]) -> OnProgress:
    last = time.monotonic()

    def show(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < SPARSE_SECONDS:
            return
        last = time.monotonic()
        left = (now.total - now.done) / max(now.images_per_second, 1e-9)
        stream.write(
            f"{now.done:,} of {now.total:,} images, {_rate(now)}/s, {left / 60:.0f} min left\n"
        )
        stream.flush()

    return show


def _rate(now: Progress) -> str:
    return f"{now.images_per_second:.{0 if now.images_per_second >= 10 else 1}f}"


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
