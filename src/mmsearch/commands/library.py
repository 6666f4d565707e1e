"""`mmsearch status` and `mmsearch failures`: what is in the library, and what is not."""

import json
import os
from typing import TYPE_CHECKING

import typer

from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.commands.results import one_line

if TYPE_CHECKING:
    from mmsearch.retrieval.status import Status


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(name="status")(status)
    app.command(name="failures")(failures)


def status(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """Say what is in the library: how many pictures and sentences, from where, by which model."""
    from mmsearch.retrieval.status import read_status

    found = read_status(library_directory(library))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    for line in _status_lines(found):
        typer.echo(line.encode("utf-8", "surrogateescape"))  # a name need not be text


def failures(library: LibraryOption = None, as_json: JsonOption = False) -> None:
    """List the files that could not be indexed: path, a tab, the reason.

    Each is tried again when it changes, or with `mmsearch index --retry`.
    """
    from mmsearch.index.catalog import Catalog

    with Catalog.open(library_directory(library)) as catalog:
        found = catalog.failures()
    if as_json:
        rows = [
            {
                "path": os.fsdecode(f.path),
                "reason": f.reason,
                "size": f.size,
                "digest": f.digest,
                "when": f.when,
            }
            for f in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for failure in found:
        typer.echo(os.fsencode(one_line(os.fsdecode(failure.path))) + b"\t", nl=False)
        typer.echo(one_line(failure.reason))


def _status_lines(found: "Status") -> list[str]:
    place = one_line(str(found.directory))
    if not found.made:
        return [f"library   {place}", "empty: run mmsearch index PATH"]
    lines = [
        f"library   {place} ({found.bytes / 1e6:.1f} MB, revision {found.revision})",
        f"items     {found.items:,}: {found.images:,} images, {found.texts:,} texts",
        f"model     {_model_line(found)}",
    ]
    if found.waiting:
        lines.append(f"waiting   {found.waiting:,} items to encode: run mmsearch index")
    if found.failed:
        lines.append(f"failed    {found.failed:,}: mmsearch failures says which and why")
    if found.offline:
        lines.append(f"offline   {found.offline:,} items whose folder is not there now")
    if found.set_aside:
        lines.append(
            f"aside     {found.set_aside / 1e6:.1f} MB in quarantine, to delete when you like"
        )
    lines += _source_lines(found)
    if found.items == 0:
        lines.append("empty: run mmsearch index PATH")
    return lines


def _model_line(found: "Status") -> str:
    if found.space is None:
        return "none yet"
    at = "" if found.model in (None, found.space.name) else f" from {found.model}"
    return f"{found.space.name}, {found.space.dim} dimensions{at}"


def _source_lines(found: "Status") -> list[str]:
    """Return the places that items come from, then captions and the files that say them."""
    lines = []
    for root in found.roots:
        path = one_line(root.path)
        lines.append(f"{root.kind.value:<9} {path}{' (offline)' if root.offline else ''}")
    if found.captioned:
        fused = f", fused into {found.fused:,} with weight {found.fuse:g}" if found.fused else ""
        lines.append(f"captioned {found.captioned:,} images{fused}")
    return [*lines, *(f"captions  {one_line(file)}" for file in found.captions)]
