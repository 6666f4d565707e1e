"""`mmsearch tune`: how a library is searched, measured with the questions people ask."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.commands.results import one_line

if TYPE_CHECKING:
    from mmsearch.retrieval.tuning import Tuned

_COLUMNS: Final = (
    "modality",
    "kind",
    "rows",
    "lists",
    "probed",
    "candidates",
    "recall@10",
    "ms a query",
)


class KindChoice(StrEnum):
    """Which kind of index is asked for."""

    AUTO = "auto"
    FLAT = "flat"
    IVF_SQ8 = "ivf-sq8"
    IVF_RABITQ = "ivf-rabitq"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="tune")(tune)


def tune(
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            metavar="SHARE",
            help="Share of the true ten best to find, above 0 and at most 1. "
            "[default: as set before, else 0.99]",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        KindChoice | None,
        typer.Option(
            "--kind",
            help="Kind of index; auto chooses by the number of items. "
            "[default: as set before, else auto]",
            show_default=False,
        ),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Sentences to measure with, text, CSV or JSONL. "
            "[default: those of the library, else plain ones made up for it]",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose how the library is searched: the fastest way that finds what it should.

    Compares searches with brute force, with sentences that look for pictures and pictures that
    look for sentences. What is asked for is remembered and holds for later indexing, too.
    Searching goes on meanwhile.
    """
    from mmsearch.retrieval.tuning import TuneOptions
    from mmsearch.retrieval.tuning import tune as tuned

    options = TuneOptions(recall, None if kind is None else kind.value, queries)
    rows = tuned(library_directory(library), options)
    for warning in shortfalls(rows):
        typer.echo(f"mmsearch: warning: {warning}", err=True)
    if as_json:
        typer.echo(json.dumps([row.as_dict() for row in rows], indent=2))
        return
    for line in _lines(rows):
        typer.echo(line)


def _lines(rows: "list[Tuned]") -> list[str]:
    """Return the table, and below it where the questions were from."""
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(_COLUMNS))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    return [*table, "", *(one_line(_origin(row)) for row in rows)]


def _cells(row: "Tuned") -> tuple[str, ...]:
    return (
        row.modality.value,
        row.kind.value,
        f"{row.rows:,}",
        "all, exact" if row.nlist is None else f"{row.nlist:,}",
        "-" if row.nprobe is None else f"{row.nprobe:,}",
        "-" if row.candidates is None else f"{row.candidates:,}",
        "not measured" if row.recall is None else f"{row.recall:.4f}",
        "-" if row.milliseconds is None else f"{row.milliseconds:.2f}",
    )


def shortfalls(rows: "list[Tuned]") -> list[str]:
    """Return a sentence for each index that was measured below its target."""
    return [
        f"the {row.modality.value} index found {row.recall:.4f} of what it should, below "
        f"{row.target:g}: these questions are harder than those that it was chosen with; "
        "ask for a higher --recall"
        for row in rows
        if row.recall is not None and row.recall < row.target
    ]


def _origin(row: "Tuned") -> str:
    if row.questions == 0:
        careful = "exact" if row.nlist is None else "careful parameters"
        return f"{row.modality.value}: nothing of the other modality to measure with; {careful}"
    return (
        f"{row.modality.value}: measured with {row.questions} questions ({row.origin}), "
        f"target {row.target:g}"
    )
