"""`mmsearch label --auto`: what the model labels, and how that is said."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from mmsearch.commands.border import EXIT_NOTHING, say
from mmsearch.commands.results import one_line
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.core import Item
    from mmsearch.retrieval.zero_shot import GivenLabel, Labelling

_EXAMPLES: Final = 3


def auto_labelling(
    file: Path | None, template: str | None, threshold: float | None, *, dry_run: bool
) -> "Labelling | None":
    """Return what the flags ask of the model, None when they ask nothing. Raises InputError."""
    if file is None:
        if threshold is not None or template is not None or dry_run:
            raise InputError("--threshold, --template and --dry-run belong to --auto FILE; add it")
        return None
    from mmsearch.retrieval.zero_shot import PLACE, Labelling, read_names

    chosen = PLACE if template is None else template
    return Labelling(read_names(file), chosen, threshold, dry_run)


def give_labels(directory: Path, labelling: "Labelling", *, as_json: bool = False) -> None:
    """Label a library's pictures with its model and print what was given.

    The exit code is 1 when no label fits. Raises what `label_library` raises.
    """
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.zero_shot import label_library

    given = label_library(directory, labelling)
    with Catalog.open(directory) as catalog:
        shown = [number for label in given for number in label.ids[:_EXAMPLES].tolist()]
        items = catalog.items(shown)
    for label in given:
        if label.unknown:
            words = ", ".join(label.unknown)
            say(f"warning: the model does not know {words}; {label.name} was given to nothing")
    if as_json:
        rows = [_as_dict(label, items) for label in given]
        typer.echo(json.dumps({"dry_run": labelling.dry_run, "labels": rows}, indent=2))
    else:
        lines = "".join(f"{line}\n" for line in _lines(given, items))
        sys.stdout.buffer.write(lines.encode("utf-8", "surrogateescape"))
    total = sum(len(label.ids) for label in given)
    if labelling.dry_run:
        say(f"{total:,} labels would be given; this was a dry run")
    if total == 0:
        raise typer.Exit(EXIT_NOTHING)


def _as_dict(label: "GivenLabel", items: "dict[int, Item]") -> dict[str, Any]:
    return {
        "label": label.name,
        "threshold": None if label.threshold is None else round(label.threshold, 4),
        "pictures": len(label.ids),
        "unknown": list(label.unknown),
        "examples": [
            {"id": number, "path": items[number].path, "score": round(score, 4)}
            for number, score in _examples(label, items)
        ],
    }


def _lines(given: "list[GivenLabel]", items: "dict[int, Item]") -> list[str]:
    """Return a line a label, in columns: name, pictures, the threshold, the best pictures."""
    names = [one_line(label.name) for label in given]
    width = max(map(len, names), default=0)
    return [
        f"{name:<{width}}  {len(label.ids):>7,}  {_shown(label, items)}".rstrip()
        for name, label in zip(names, given, strict=True)
    ]


def _shown(label: "GivenLabel", items: "dict[int, Item]") -> str:
    if label.threshold is None:
        return "fits nothing"
    best = [
        f"{one_line(Path(items[number].path or '').name)} {score:.3f}"
        for number, score in _examples(label, items)
    ]
    return f"from {label.threshold:.3f}  {', '.join(best)}"


def _examples(label: "GivenLabel", items: "dict[int, Item]") -> list[tuple[int, float]]:
    """Return (id, cosine) of the best pictures that are still there."""
    best = zip(label.ids[:_EXAMPLES].tolist(), label.scores[:_EXAMPLES].tolist(), strict=True)
    return [(number, score) for number, score in best if number in items]
