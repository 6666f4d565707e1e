"""`mmsearch forget` and `mmsearch prune`: take things out of the library on purpose."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.commands.results import one_line
from mmsearch.core import Modality
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.index.catalog import Catalog
    from mmsearch.index.compaction import Reclaimed
    from mmsearch.retrieval.forget import Holding
    from mmsearch.retrieval.prune import Leftovers

_INTERRUPTED = 130
_DECLINED = 1
_BYTES = ("utf-8", "surrogateescape")

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(name="forget")(forget)
    app.command(name="prune")(prune)


def forget(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            readable=False,
            help="Folders, pictures and files of sentences; they need not exist any more.",
            show_default=False,
        ),
    ] = None,
    numbers: Annotated[
        list[int] | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="An item by its id in query --json; can be repeated.",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRunOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove from the library what lies at or under a path. No file is touched.

    What is forgotten inside a folder that stays does not come back with the next index run; it
    does when its own path is indexed again.
    """
    from mmsearch.index.catalog import Catalog
    from mmsearch.index.compaction import Reclaimed, reclaim
    from mmsearch.retrieval.forget import forget as remove

    if not paths and not numbers:
        raise InputError("say what to forget: mmsearch forget PATH")
    directory = library_directory(library)
    with Catalog.open(directory) as catalog:  # a wrong path is refused without a lock
        found = _found(catalog, paths or [], numbers or [])
    finished, space = True, Reclaimed()
    if not dry_run:
        with Catalog.open(directory, write=True) as catalog:
            found = _found(catalog, paths or [], numbers or [])
            finished = remove(catalog, found)
            space = reclaim(catalog) if finished else space
    if as_json:
        typer.echo(json.dumps(_forgotten(found) | {"freed": space.freed}, indent=2))
    elif finished:
        _print(_forget_lines(found, "would remove" if dry_run else "removed"))
        _print(_space_lines(space))
    if not finished:
        _say_interrupted()


def prune(
    spaces: Annotated[
        bool,
        typer.Option("--spaces", help="Also remove the vectors of models used before."),
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    dry_run: DryRunOption = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what is gone for good: items on drives and in folders that are not there any more.

    Also failures of files that were deleted, and folders without anything. Says how much first,
    and asks. A drive that is only unplugged now would have to be indexed anew. The exit code is 1
    when the answer is no.
    """
    from mmsearch.index.catalog import Catalog
    from mmsearch.index.compaction import Reclaimed, reclaim
    from mmsearch.retrieval.prune import prune as remove
    from mmsearch.retrieval.prune import survey

    directory = library_directory(library)
    with Catalog.open(directory) as catalog:
        found = survey(catalog, spaces=spaces)
    if not as_json:
        _print(_prune_lines(found) or ["there is nothing to prune"])
    removed, space = not (dry_run or found.is_empty), Reclaimed()
    if removed:
        if not yes:
            _ask()
        with Catalog.open(directory, write=True) as catalog:
            finished = remove(catalog, found)
            space = reclaim(catalog) if finished else space
        if not finished:
            _say_interrupted()
    if as_json:
        record = _leftovers(found) | {"removed": removed, "freed": space.freed}
        typer.echo(json.dumps(record, indent=2))
    elif removed:
        _print(["removed", *_space_lines(space)])


def _found(catalog: "Catalog", paths: Sequence[Path], numbers: Sequence[int]) -> "list[Holding]":
    from mmsearch.retrieval.forget import find, find_items

    with catalog.snapshot():
        found = [*find(catalog, paths), *find_items(catalog, numbers)]
    return list({(h.path, h.texts): h for h in found}.values())


def _ask() -> None:
    if not _is_terminal():
        raise InputError("nothing was removed; to remove this without being asked, give --yes")
    if not typer.confirm("Remove this from the library?", err=True):
        typer.echo("mmsearch: nothing was removed", err=True)
        raise typer.Exit(_DECLINED)


def _say_interrupted() -> None:
    typer.echo("mmsearch: the same command goes on from here", err=True)
    raise typer.Exit(_INTERRUPTED)


def _forget_lines(found: "Iterable[Holding]", done: str) -> list[str]:
    return [
        f"{done} {_amounts(len(h.images), len(h.texts), len(h.failures))}"
        + (f": {os.fsdecode(h.path)}" if h.path else "")
        for h in found
    ]


def _forgotten(found: "Sequence[Holding]") -> dict[str, object]:
    return {
        "images": sum(len(h.images) for h in found),
        "texts": sum(len(h.texts) for h in found),
        "failures": sum(len(h.failures) for h in found),
        "paths": [os.fsdecode(h.path) for h in found if h.path],
        "roots": [root.path for h in found for root in h.roots],
        "remembered": [os.fsdecode(h.path) for h in found if h.comes_back],
    }


def _space_lines(space: "Reclaimed") -> list[str]:
    if space.freed:
        return [f"gave {space.freed / 1e6:,.1f} MB back to the disk"]
    if space.kept:
        return [f"the library keeps its size: {space.kept / 1e6:,.1f} MB are free for new items"]
    return []


def _prune_lines(found: "Leftovers") -> list[str]:
    lines = [
        f"{_amounts(len(a.images), len(a.texts), 0)} of {a.root.path}, which is not there now"
        for a in found.absent
    ]
    lines += [
        f"{root.path} from the places to look at; it is not there now" for root in found.empty
    ]
    if found.failures:
        lines.append(f"{_counted(len(found.failures), 'failure')} of files that are gone")
    if found.forgotten:
        lines.append(f"{_counted(len(found.forgotten), 'forgotten path')} without a file")
    lines += [f"{_counted(s.vectors, 'vector')} of the model {s.space.name}" for s in found.spaces]
    return [f"to remove: {line}" for line in lines]


def _leftovers(found: "Leftovers") -> dict[str, object]:
    return {
        "images": found.count(Modality.IMAGE),
        "texts": found.count(Modality.TEXT),
        "offline": [
            {"path": a.root.path, "images": len(a.images), "texts": len(a.texts)}
            for a in found.absent
        ],
        "empty": [root.path for root in found.empty],
        "failures": len(found.failures),
        "forgotten": len(found.forgotten),
        "spaces": [{"name": s.space.name, "vectors": s.vectors} for s in found.spaces],
    }


def _amounts(images: int, texts: int, failures: int) -> str:
    named = [(images, "image"), (texts, "text"), (failures, "failure")]
    return ", ".join(_counted(n, name) for n, name in named if n) or "no items"


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(one_line(line).encode(*_BYTES))


def _is_terminal() -> bool:
    return sys.stdin.isatty()
