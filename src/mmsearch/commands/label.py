"""`mmsearch label`: give, take and list the labels of items."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.auto_labels import auto_labelling, give_labels
from mmsearch.commands.border import EXIT_INPUT, EXIT_NOTHING, say
from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.conditions import Condition
    from mmsearch.core import Ids
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.labelling import LabelReport

_MOST_DIGITS = 18  # of an id


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="label")(label)


def label(
    items: Annotated[
        list[str] | None,  # no paths: these would take the ./ away
        typer.Argument(
            metavar="[PATH|ID]...",
            help="Pictures, folders and files of sentences, or ids as in query --json. A path that "
            "is all digits is written ./2024.",
            show_default=False,
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            "--add", metavar="NAME", help="A label to give; can be repeated.", show_default=False
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove",
            metavar="NAME",
            help="A label to take away; can be repeated.",
            show_default=False,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="EXPR",
            help="Only items for which this holds, as in query; without a PATH, all of them.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Give the labels that a CSV or JSONL file lists: path or id, and labels.",
            show_default=False,
        ),
    ] = None,
    auto: Annotated[
        Path | None,
        typer.Option(
            "--auto",
            metavar="FILE",
            help="Let the model give the labels of a file, one a line, to the pictures they fit.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="X",
            help="With --auto: the cosine from which on a picture has a label. [default: found "
            "for each label by what is usual for it in this library]",
            show_default=False,
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            "--template",
            metavar="TEXT",
            help="With --auto: what the model is asked, with {} for the label. [default: {}]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --auto: say what would be given, give nothing.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List all labels, each with how many items have it.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print lists as CSV.")] = False,
) -> None:
    """Give labels to pictures and sentences, take them away, and list them.

    With --auto the model gives them; what it gave under these names before is replaced, labels
    given by hand stay. Of a folder, all pictures below it are meant. Without --add and --remove
    the labels of the items are printed. Labels are compared without regard to case. Everything
    that one command changes is changed at once, or not at all. The exit code is 2 when a row of
    a file was left out, 1 when there was nothing to list or no label fits.
    """
    directory = library_directory(library)
    if as_json and as_csv:
        raise InputError("--json and --csv exclude each other; give one of them")
    changing = bool(add or remove)
    asked = bool(items or where is not None)
    _require_one_task(sum((source is not None, auto is not None, listed, changing or asked)))
    if changing and not asked:
        raise InputError("say what to label: mmsearch label PATH --add NAME, or --where EXPR")
    labelling = auto_labelling(auto, template, threshold, dry_run=dry_run)
    if labelling is not None:
        give_labels(directory, labelling, as_json=as_json)
    elif listed:
        _list(directory, as_json=as_json, as_csv=as_csv)
    elif source is not None:
        _report(_from_file(directory, source), as_json=as_json)
    elif changing:
        _report(_change(directory, items or [], where, add or [], remove or []), as_json=as_json)
    else:
        _show(directory, items or [], where, as_json=as_json, as_csv=as_csv)


def _require_one_task(tasks: int) -> None:
    if tasks == 0:
        raise InputError(
            "say what to do: mmsearch label PATH --add NAME, mmsearch label --from FILE, "
            "mmsearch label --auto FILE, or mmsearch label --list"
        )
    if tasks > 1:
        raise InputError(
            "--from, --auto, --list, and items to label or show exclude each other; give one of "
            "them"
        )


def _from_file(directory: Path, file: Path) -> "LabelReport":
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.labelling import label_from

    with Catalog.open(directory):  # an absent library is not made
        pass
    with Catalog.open(directory, write=True) as catalog:
        return label_from(catalog, file)


def _change(
    directory: Path,
    items: Sequence[str],
    where: str | None,
    add: Sequence[str],
    remove: Sequence[str],
) -> "LabelReport":
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.labelling import clean_label
    from mmsearch.retrieval.labelling import label as change

    for name in (*add, *remove):
        clean_label(name)
    condition = _condition(where)
    with Catalog.open(directory) as catalog:  # a wrong path is refused without a lock
        _chosen(catalog, items, condition)
    with Catalog.open(directory, write=True) as catalog:
        chosen = _chosen(catalog, items, condition)
        return change(catalog, chosen, add=add, remove=remove)


def _condition(where: str | None) -> "Condition | None":
    from mmsearch.commands.filters import FilterFlags, condition

    return condition(FilterFlags(where=() if where is None else (where,)))


def _chosen(catalog: "Catalog", items: Sequence[str], where: "Condition | None") -> "Ids":
    from mmsearch.retrieval.labelling import chosen

    return chosen(catalog, [_item(catalog, word) for word in items], where)


def _item(catalog: "Catalog", text: str) -> str | int:
    """Return what a word names: digits alone are an id, unless something has that path, too."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return text
    from mmsearch.retrieval.forget import find

    try:
        find(catalog, [text])
    except InputError:
        return int(text)
    if not catalog.items([int(text)]):
        return text
    raise InputError(
        f"{text} may be an item or a path of the library; write the path as ./{text}, and the "
        f'item as --where "id = {text}"'
    )


def _report(report: "LabelReport", *, as_json: bool) -> None:
    """Print what was changed, and on stderr the rows that were left out."""
    for problem in report.problems:
        say(f"error: {problem}")
    if as_json:
        record = {
            "items": report.items,
            "given": report.given,
            "taken": report.taken,
            "problems": [{"where": p.where, "reason": p.reason} for p in report.problems],
        }
        typer.echo(json.dumps(record, indent=2))
    else:
        items = f"{report.items:,} item{'' if report.items == 1 else 's'}"
        labels = f"{report.given:,} label{'' if report.given == 1 else 's'}"
        typer.echo(f"{items}: {labels} given, {report.taken:,} taken away")
    if report.problems:
        raise typer.Exit(EXIT_INPUT)


def _list(directory: Path, *, as_json: bool, as_csv: bool) -> None:
    from mmsearch.commands.label_view import print_counts
    from mmsearch.index import attributes
    from mmsearch.index.catalog import Catalog

    with Catalog.open(directory) as catalog:
        counts = attributes.label_counts(catalog)
    print_counts(counts, as_json=as_json, as_csv=as_csv)
    if not counts:
        say("there are no labels; `mmsearch label PATH --add NAME` gives one")
        raise typer.Exit(EXIT_NOTHING)


def _show(
    directory: Path, items: Sequence[str], where: str | None, *, as_json: bool, as_csv: bool
) -> None:
    """Print the labels of some items, those without labels as well."""
    from mmsearch.commands.label_view import print_labels
    from mmsearch.index import attributes
    from mmsearch.index.catalog import Catalog

    condition = _condition(where)
    with Catalog.open(directory) as catalog, catalog.snapshot():
        ids = _chosen(catalog, items, condition)
        found = catalog.items(ids)
        labels = attributes.labels(catalog, ids)
    rows = [(found[n], labels.get(n, ())) for n in ids.tolist() if n in found]
    print_labels(rows, as_json=as_json, as_csv=as_csv)
    if not rows:
        say("nothing was found; `mmsearch status` lists the library's folders")
        raise typer.Exit(EXIT_NOTHING)
