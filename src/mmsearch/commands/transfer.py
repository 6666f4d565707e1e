"""`mmsearch export`, `import` and `merge`: items with their vectors, in and out of libraries."""

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsearch.commands.border import say
from mmsearch.commands.options import JsonOption, LibraryOption, library_directory
from mmsearch.commands.question_options import UnderOption, WhereOption
from mmsearch.commands.results import one_line

if TYPE_CHECKING:
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval.exporting import Exported
    from mmsearch.retrieval.importing import Imported, OnChunk
    from mmsearch.retrieval.transfer.records import Chosen

_SHOW_EVERY = 20_000  # rows


class Format(StrEnum):
    """What an export is written as."""

    PARQUET = "parquet"
    NPY = "npy"


class Kind(StrEnum):
    """Which items to export."""

    IMAGES = "images"
    TEXTS = "texts"


MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="OLD=NEW",
        help="What lay below the folder OLD lies below NEW here; can be repeated.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(name="export")(export)
    app.command(name="import")(import_)
    app.command(name="merge")(merge)


def export(
    target: Annotated[
        str,
        typer.Argument(
            help="A file that ends with .parquet, or a folder that ends with /.",
            show_default=False,
        ),
    ],
    file_format: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="parquet: one file; npy: a folder of a NumPy array and lines of JSON. "
            "[default: by the name]",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option("--for", help="Only images or texts. [default: both]", show_default=False),
    ] = None,
    under: UnderOption = None,
    where: WhereOption = None,
    wide: Annotated[
        bool,
        typer.Option(
            "--float32", help="Write vectors as float32, for programs that do not know float16."
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an export of the same name.")
    ] = False,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what is in the library, with the vectors, to a file that other programs can read.

    Paths, sentences, digests, facts of pictures, labels, captions, and the vector of each item:
    that of the picture alone where it is fused with its captions. Parquet needs pyarrow:
    `pip install 'mmsearch[parquet]'`. `mmsearch import` puts it all into a library again.
    """
    from mmsearch.index.catalog import Catalog
    from mmsearch.retrieval import exporting

    wanted = (
        exporting.format_of(target)
        if file_format is None
        else exporting.FileFormat(file_format.value)
    )
    options = exporting.ExportOptions(wanted, wide=wide, force=force)
    with Catalog.open(library_directory(library)) as catalog, catalog.snapshot():
        chosen = _chosen(catalog, kind, (under, where))
        done = exporting.export(catalog, Path(target), chosen, options)
    if as_json:
        _print_json(_exported(done, target))
    else:
        space = done.manifest.space
        typer.echo(
            f"exported {_items(done.rows)} of the model {space.name if space else ''} to "
            f"{one_line(target)}"
        )
    if done.waiting:
        say(f"{_items(done.waiting)} without a vector left out; `mmsearch index` encodes them")


def import_(
    source: Annotated[
        Path,
        typer.Argument(help="A file or folder that export wrote.", show_default=False),
    ],
    maps: MapOption = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="The folder that pictures belong to that come without one, from other programs.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="SPEC",
            help="The model that the vectors are of. [default: what the export says]",
            show_default=False,
        ),
    ] = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put exported items with their vectors into a library; nothing is encoded.

    All of it is checked before anything is written. The library must be of the same model, or
    new. Pictures need not be there: folders that are not count as unmounted. Of a path that the
    library has already with another content, the file that was changed last is kept. Labels come
    together; captions come to pictures that have none.
    """
    from mmsearch.retrieval.importing import import_items, open_source
    from mmsearch.retrieval.paths import absolute
    from mmsearch.retrieval.transfer.moving import Arrival, parse_map

    arrival = Arrival(parse_map(maps or ()), None if root is None else absolute(root))
    done = import_items(
        library_directory(library),
        open_source(source),
        model=model,
        arrival=arrival,
        on_chunk=_progress(),
    )
    _show(done, as_json=as_json)


def merge(
    other: Annotated[
        Path, typer.Argument(help="The library whose items are to come.", show_default=False)
    ],
    maps: MapOption = None,
    library: LibraryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the items of another library into this one; nothing is encoded, the other stays.

    Both must be of the same model. What both have is kept as this one has it, except files that
    changed later there; labels come together, a person's before a model's. Cut short, the same
    command goes on.
    """
    from mmsearch.retrieval.merging import merge as put_together
    from mmsearch.retrieval.transfer.moving import Arrival, parse_map

    done = put_together(
        other,
        library_directory(library),
        arrival=Arrival(parse_map(maps or ())),
        on_chunk=_progress(),
    )
    _show(done.imported, as_json=as_json)
    if done.waiting:
        say(f"{_items(done.waiting)} of {other} without a vector stayed behind")


def _chosen(
    catalog: "Catalog", kind: Kind | None, asked: tuple[list[Path] | None, list[str] | None]
) -> "Chosen":
    from mmsearch.commands.filters import FilterFlags, condition
    from mmsearch.core import Modality
    from mmsearch.retrieval.transfer.records import Chosen

    match kind:
        case Kind.IMAGES:
            modalities: tuple[Modality, ...] = (Modality.IMAGE,)
        case Kind.TEXTS:
            modalities = (Modality.TEXT,)
        case None:
            modalities = tuple(Modality)
    under, where = asked
    wanted = condition(FilterFlags(under=tuple(under or ()), where=tuple(where or ())))
    if wanted is None:
        return Chosen(modalities)
    from mmsearch.index.where.select import select

    return Chosen(modalities, {m: select(catalog, wanted, m).ids for m in modalities})


def _progress() -> "OnChunk | None":
    """Return what says how many rows are done, where someone is watching."""
    if not sys.stderr.isatty():
        return None
    said = 0

    def show(done: int) -> None:
        nonlocal said
        if done - said >= _SHOW_EVERY:
            said = done
            say(f"{done:,} items")

    return show


def _show(done: "Imported", *, as_json: bool) -> None:
    placed = done.placed
    if as_json:
        _print_json(asdict(placed) | {"space": done.space.name, "model": done.model})
    else:
        parts = [
            f"{number:,} {what}"
            for number, what in (
                (placed.new, "new"),
                (placed.replaced, "replaced by newer ones"),
                (placed.unchanged, "there already"),
                (placed.kept, "kept, for the one here is newer"),
                (placed.forgotten, "left out, for they were forgotten here"),
                (placed.missing, "left out, for they have no digest and cannot be read"),
            )
            if number
        ]
        typer.echo(f"items: {'; '.join(parts) or 'none'}")
    for warning in done.warnings:
        say(warning)
    if done.model is None and placed.new:
        say(
            f"the model {done.space.name} is not on this machine, and questions need it: add it "
            "with `mmsearch models add`, or give --model"
        )


def _exported(done: "Exported", target: str) -> dict[str, Any]:
    space = done.manifest.space
    return {
        "path": target,
        "items": done.rows,
        "waiting": done.waiting,
        "space": None if space is None else asdict(space),
    }


def _print_json(record: dict[str, Any]) -> None:
    typer.echo(json.dumps(record, indent=2))


def _items(number: int) -> str:
    return f"{number:,} item{'' if number == 1 else 's'}"
