"""What a training run looks like in a terminal: progress on stderr, a table of epochs."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import IO, Any, Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_HEADER = "epoch    loss      lr  mining   i2t R@1   R@5  R@10 t2i R@1   R@5  R@10  rsum"
_SETTLED: Final = 0.5
"""Seconds after which a rate is worth showing."""


class TrainingView:
    """Shows a run; satisfies `RunObserver`. Bars only where stderr is a terminal."""

    def __init__(self, stream: IO[str]) -> None:
        self.console = Console(file=stream, highlight=False, soft_wrap=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task: TaskID | None = None
        self.label = ""
        self.began = 0.0
        self.images = 0
        self.done = 0
        self.headed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away, also after Ctrl-C or an error: it hides the cursor."""
        self._stop()

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Show countable work outside the loop."""
        self._start(what, done, total)
        self._advance(what, done, done - self.done)

    def on_step(self, epoch: int, step: int, steps: int, loss: float, pairs: int) -> None:
        """Show one step of an epoch."""
        self._start(f"epoch {epoch}", step, steps)
        self._advance(f"epoch {epoch}  loss {loss:.3f}", step, pairs)

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Print the epoch's line."""
        self._stop()
        if not self.headed:
            self.console.print(_HEADER, style="bold")
            self.headed = True
        self.console.print(_epoch_line(record), markup=False)

    def on_message(self, message: str) -> None:
        """Print a sentence."""
        style = "yellow" if "warning" in message else None
        self.console.print(message, style=style, markup=False)

    def _start(self, label: str, done: int, total: int) -> None:
        """Show a bar, unless it is there: what is done by now took time that nobody measured."""
        if self.task is not None and label == self.label:
            return
        self._stop()
        self.progress.start()
        self.task = self.progress.add_task(label, total=total, rate="")
        self.label, self.began = label, time.monotonic()
        self.images, self.done = 0, done

    def _advance(self, description: str, done: int, images: int) -> None:
        if self.task is None:
            return
        if done > self.done:
            self.images += images
        self.done = done
        seconds = time.monotonic() - self.began
        rate = f"{self.images / seconds:.0f} images/s" if seconds > _SETTLED else ""
        self.progress.update(self.task, description=description, completed=done, rate=rate)
        if self.progress.tasks and self.progress.tasks[0].finished:
            self._stop()

    def _stop(self) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        self.progress.stop()


def _epoch_line(record: Mapping[str, Any]) -> str:
    i2t, t2i = record["i2t"], record["t2i"]
    mark = " *" if record["rsum"] == record["best_rsum"] else ""
    return (
        f"{record['epoch']:>5} {record['loss']:7.4f} {record['lr']:7.1e}  {record['mining']:<9}"
        f"{i2t['r1']:7.1f}{i2t['r5']:6.1f}{i2t['r10']:6.1f}"
        f"{t2i['r1']:8.1f}{t2i['r5']:6.1f}{t2i['r10']:6.1f}{record['rsum']:6.1f}{mark}"
    )


def best_lines(result: Any) -> list[str]:
    """Return the closing lines of a run: best figures, where the model is, how to use it."""
    best = result.best
    figures = (
        f"best rsum {best['rsum']:.1f} in epoch {best['epoch']} "
        f"(i2t R@1 {best['i2t']['r1']:.1f}, t2i R@1 {best['t2i']['r1']:.1f}; "
        f"{best['seconds']:.0f} s of training)"
    )
    return [
        figures,
        f"run\t{result.run}",
        f"model\t{result.model}",
        f"next: mmsearch index PATH --model {result.model}",
    ]
