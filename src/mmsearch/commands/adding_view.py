"""What adding a model looks like: its steps and the bytes that arrive, on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from mmsearch.retrieval.fetching import Watch

if TYPE_CHECKING:
    from mmsearch.retrieval.description import ModelFolder

SPARSE_SECONDS: Final = 10.0


@contextmanager
def watching(stream: IO[str]) -> Iterator[Watch]:
    """Show what goes on: a bar of bytes where the stream is a terminal, else a line at times."""
    if stream.isatty():
        with _bar(stream) as watch:
            yield watch
    else:
        yield Watch(_line(stream), _sparse(stream))


@contextmanager
def _bar(stream: IO[str]) -> Iterator[Watch]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.DownloadColumn(),
        rich.TransferSpeedColumn(),
        rich.TimeRemainingColumn(),
    )
    console = Console(file=stream)
    with rich.Progress(*columns, console=console, transient=True) as bars:
        task: Any = None

        def say(line: str) -> None:
            nonlocal task
            if task is not None:
                bars.remove_task(task)
            task = None
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        def received(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bars.add_task("fetched", total=total)
            bars.update(task, completed=done, total=total)

        yield Watch(say, received)


def _line(stream: IO[str]) -> Callable[[str], None]:
    def say(line: str) -> None:
        stream.write(line + "\n")
        stream.flush()

    return say


def _sparse(stream: IO[str]) -> Callable[[int, int], None]:
    last = time.monotonic()

    def received(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last < SPARSE_SECONDS:
            return
        last = time.monotonic()
        _line(stream)(f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB")

    return received


def added_lines(folder: "ModelFolder") -> list[str]:
    """Return what was added, and what to do next."""
    size = sum(stamp.bytes for stamp in folder.files.values())
    facts = [f"{folder.space.dim} dimensions", f"{size / 1e6:,.1f} MB"]
    if folder.int8:
        towers = {"image": folder.image_int8_path, "text": folder.text_int8_path}
        kept = [name for name, path in towers.items() if path is not None]
        facts.append(f"8-bit: {', '.join(kept) or 'none passed its check'}")
    facts.append(f"licence: {folder.licence or 'not stated'}")
    return [
        f"added {folder.name}: {', '.join(facts)}",
        f"next: mmsearch index PHOTOS --model {folder.name}",
    ]
