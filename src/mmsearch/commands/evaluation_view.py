"""What an evaluation looks like: the papers' table, JSON, a CLIP_benchmark row, progress."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from mmsearch.retrieval.evaluate import Evaluation, OnProgress
    from mmsearch.retrieval.metrics import Bootstrap, Intervals, Metrics

_DIRECTION = "{:>7} {:>6} {:>6} {:>6} {:>7}"
_ROW = "{:<10}" + _DIRECTION + "  |" + _DIRECTION + "  | {:>6}"
_COLUMNS = ("R@1", "R@5", "R@10", "MedR", "MeanR")


class OutputFormat(StrEnum):
    """How the figures are printed."""

    TABLE = "table"
    JSON = "json"
    CLIP_BENCHMARK = "clip-benchmark"


@dataclass(frozen=True, slots=True)
class Heading:
    """What was measured: the model's name and spec, the data's name, the split."""

    model: str
    spec: str
    data: str
    split: str


def lines(result: "Evaluation", heading: Heading, form: OutputFormat) -> list[str]:
    """Return what goes to stdout."""
    match form:
        case OutputFormat.TABLE:
            return table(result, heading)
        case OutputFormat.JSON:
            return [json.dumps(document(result, heading), indent=2, ensure_ascii=False)]
        case OutputFormat.CLIP_BENCHMARK:
            return [json.dumps(clip_benchmark_row(result, heading), ensure_ascii=False)]
        case _:
            assert_never(form)


def document(result: "Evaluation", heading: Heading) -> dict[str, object]:
    """Return the figures with their names; R@K in percent, ranks from 1."""
    return {
        **result.as_dict(),
        "model": heading.model,
        "data": heading.data,
        "split": heading.split,
    }


def clip_benchmark_row(result: "Evaluation", heading: Heading) -> dict[str, object]:
    """Return a result file of CLIP_benchmark: recalls as fractions, image retrieval is t2i.

    The captions' language is not known, so `language` is empty.
    """
    recalls: dict[str, float] = {}
    for k in (1, 5, 10):
        recalls[f"image_retrieval_recall@{k}"] = round(
            getattr(result.metrics.t2i, f"r{k}") / 100, 6
        )
        recalls[f"text_retrieval_recall@{k}"] = round(getattr(result.metrics.i2t, f"r{k}") / 100, 6)
    return {
        "dataset": f"{heading.data}/{heading.split}",
        "model": heading.model,
        "pretrained": heading.spec,
        "task": "zeroshot_retrieval",
        "metrics": recalls,
        "language": "",
    }


def table(result: "Evaluation", heading: Heading) -> list[str]:
    """Return the table of the papers, with the interval and chance below the figures."""
    found = result.metrics
    folds = f", mean of {result.folds} folds" if result.folds > 1 else ""
    size = f"{found.images} images, {found.captions} captions{folds}"
    return [
        f"{heading.model} on {heading.data}, {heading.split}: {size}",
        f"{'':<10}{'i2t (image -> captions)':^36}  |{'t2i (caption -> images)':^36}  |",
        _ROW.format("", *_COLUMNS, *_COLUMNS, "rsum"),
        _figures("model", found),
        _bounds("95 % from", result.intervals, 0),
        _bounds("95 % to", result.intervals, 1),
        _figures("chance", result.chance),
    ]


def _figures(label: str, found: "Metrics") -> str:
    cells = [
        f"{value:.1f}"
        for one in (found.i2t, found.t2i)
        for value in (one.r1, one.r5, one.r10, one.medr, one.meanr)
    ]
    return _ROW.format(label, *cells, f"{found.rsum:.1f}")


def _bounds(label: str, drawn: "Bootstrap", side: int) -> str:
    def cells(one: "Intervals") -> list[str]:
        return [*(f"{bound[side]:.1f}" for bound in (one.r1, one.r5, one.r10)), "", ""]

    return _ROW.format(label, *cells(drawn.i2t), *cells(drawn.t2i), f"{drawn.rsum[side]:.1f}")


@contextmanager
def progress(stream: IO[str]) -> Iterator["OnProgress"]:
    """Show a bar with items a second and the time left; nothing where it is no terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(file=stream)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, rate="")
            elapsed = bars.tasks[tasks[what]].elapsed or 0.0
            rate = f"{done / elapsed:.1f}/s" if elapsed > 0.5 else ""
            bars.update(tasks[what], completed=done, total=total, rate=rate)

        yield show
