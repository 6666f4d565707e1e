"""How `mmsearch label` prints labels: the whole list, and those of some items."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from mmsearch.commands.results import one_line

if TYPE_CHECKING:
    from mmsearch.core import Item
    from mmsearch.index.rows import Label


def print_counts(counts: Mapping[str, int], *, as_json: bool, as_csv: bool) -> None:
    """Print all labels, each with how many items have it."""
    if as_json:
        rows = [{"label": name, "items": count} for name, count in counts.items()]
        typer.echo(json.dumps(rows, indent=2))
    elif as_csv:
        _print_csv([["label", "items"], *([name, count] for name, count in counts.items())])
    else:
        for name, count in counts.items():
            typer.echo(f"{count}\t{one_line(name)}")


def print_labels(
    rows: "Sequence[tuple[Item, Sequence[Label]]]", *, as_json: bool, as_csv: bool
) -> None:
    """Print items with their labels, those without labels as well."""
    if as_json:
        typer.echo(json.dumps([_record(item, some) for item, some in rows], indent=2))
    elif as_csv:
        head = ["id", "path", "text", "label", "source", "score"]
        _print_csv([head, *(line for item, some in rows for line in _csv_rows(item, some))])
    else:
        for item, some in rows:
            names = "; ".join(one_line(each.name) for each in some)
            name = one_line(item.path or item.text or "")
            typer.echo(f"{name}\t{names}".encode("utf-8", "surrogateescape"))


def _record(item: "Item", labels: "Sequence[Label]") -> dict[str, object]:
    return {
        "id": item.id,
        **({"text": item.text} if item.path is None else {"path": item.path}),
        "labels": [
            {"name": each.name, "source": each.source.value, "score": each.score} for each in labels
        ],
    }


def _csv_rows(item: "Item", labels: "Sequence[Label]") -> list[list[object]]:
    place = [item.id, item.path or "", item.text or ""]
    return [[*place, each.name, each.source.value, each.score] for each in labels]


def _print_csv(rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    typer.echo(text.getvalue().encode("utf-8", "surrogateescape"), nl=False)
