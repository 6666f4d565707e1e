"""`mmsearch duplicates`: what the library holds more than once."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.border import EXIT_NOTHING, say
from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.commands.question_options import UnderOption, WhereOption
from mmsearch.errors import InputError

if TYPE_CHECKING:
    from mmsearch.core import Ids, Modality
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.duplicates import Duplicates
    from mmsearch.retrieval.stars import Nearness


class Kind(StrEnum):
    """Which items to look at."""

    IMAGES = "images"
    TEXTS = "texts"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="duplicates")(duplicates)


def duplicates(
    exact: Annotated[bool, typer.Option("--exact", help="Only files with the same bytes.")] = False,
    near: Annotated[bool, typer.Option("--near", help="Only pictures that look the same.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="X",
            help="Cosine that near pictures have at least. [default: 0.9]",
            show_default=False,
        ),
    ] = None,
    distance: Annotated[
        int | None,
        typer.Option(
            "--distance",
            metavar="BITS",
            help="Bits of 64 in which their fingerprints differ at most, up to 11. [default: 11]",
            show_default=False,
        ),
    ] = None,
    under: UnderOption = None,
    where: WhereOption = None,
    kind: Annotated[
        Kind, typer.Option("--for", help="Look among images or, for exact ones, texts.")
    ] = Kind.IMAGES,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    null: Annotated[
        bool,
        typer.Option(
            "-0", "--null", help="Print paths, each ended by a zero byte, a group by one more."
        ),
    ] = False,
    library: LibraryOption = None,
) -> None:
    """List pictures that the library holds more than once. Nothing is deleted or changed.

    Groups of files with the same bytes come first, then groups of pictures that look the same:
    the best first, which has most pixels, then bytes, then is the oldest; each other with its
    cosine to the best and the bits in which their fingerprints differ. The exit code is 1 when
    there are none.
    """
    from mmsearch.commands import duplicates_view as view
    from mmsearch.core import Modality
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.duplicates import Wanted, find_duplicates

    form = view.form(as_json=as_json, as_csv=as_csv, null=null)
    modality = Modality.TEXT if kind is Kind.TEXTS else Modality.IMAGE
    nearness = _nearness(threshold, distance) if near or not exact else None
    if kind is Kind.TEXTS:
        if near or threshold is not None or distance is not None:
            raise InputError("near duplicates are of pictures; leave out --for texts")
        nearness = None
    if nearness is None and (threshold, distance) != (None, None):
        raise InputError("--threshold and --distance are for near duplicates; leave out --exact")
    with Catalog.open(library_directory(library)) as catalog, catalog.snapshot():
        among = _among(catalog, (under, where), modality)
        wanted = Wanted(exact or not near, nearness, modality, among)
        found = find_duplicates(catalog, wanted)
    sys.stdout.buffer.write(view.printed(found, form))
    sys.stdout.buffer.flush()
    _say(found, near=nearness is not None)
    if not (found.exact or found.near):
        raise typer.Exit(EXIT_NOTHING)


def _nearness(threshold: float | None, distance: int | None) -> "Nearness":
    from mmsearch.retrieval.duplicates import DEFAULT
    from mmsearch.retrieval.stars import Nearness

    return Nearness(
        DEFAULT.threshold if threshold is None else threshold,
        DEFAULT.distance if distance is None else distance,
    )


def _among(
    catalog: "Catalog", asked: tuple[list[Path] | None, list[str] | None], modality: "Modality"
) -> "Ids | None":
    """Return the ids that the filters leave, None without filters."""
    from mmsearch.commands.filters import FilterFlags, condition
    from mmsearch.index.where.select import select

    under, where = asked
    wanted = condition(FilterFlags(under=tuple(under or ()), where=tuple(where or ())))
    return None if wanted is None else select(catalog, wanted, modality).ids


def _say(found: "Duplicates", *, near: bool) -> None:
    from mmsearch.commands.duplicates_view import summary

    say(summary(found, near=near))
    if found.unread:
        say(
            f"{found.unread:,} pictures were indexed by an older version and not compared; "
            "`mmsearch index` reads what is missing"
        )
    if found.cut:
        say(
            f"{found.cut:,} plain pictures look too much alike to compare each with all others; "
            "--under or --where narrows the search"
        )
