"""`mmsearch models`: the models on this machine, and adding to them."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.options import JsonOption
from mmsearch.errors import ModelError

if TYPE_CHECKING:
    from mmsearch.retrieval.folder import ModelFolder

_LABEL = 14

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a model, as `models list` shows it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        no_args_is_help=True, help="Add, show and remove models.", rich_markup_mode="markdown"
    )
    group.command(name="list")(list_models)
    group.command(name="add")(add)
    group.command(name="show")(show)
    group.command(name="remove")(remove)
    group.command(name="default")(default)
    app.add_typer(group, name="models")


def list_models(as_json: JsonOption = False) -> None:
    """List the models that have a name: name, dimensions, size, what it is, path.

    What it is: the default, bundled with mmsearch, int8 when it has 8-bit networks.
    """
    from mmsearch.retrieval.folder import read_model_folder
    from mmsearch.retrieval.models import SPEC, installed_models

    chosen = _default_name()
    rows: list[dict[str, object]] = []
    for model in installed_models():
        try:
            folder = read_model_folder(model.path)
        except ModelError as error:
            typer.echo(f"mmsearch: warning: {error}", err=True)
            continue
        rows.append(
            {
                "name": model.name,
                "dim": folder.space.dim,
                "bytes": _bytes(folder),
                "default": model.name == chosen,
                "bundled": model.bundled,
                "int8": _int8(folder),
                "source": folder.source.get(SPEC),
                "path": str(model.path),
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        marks = ", ".join(mark for mark in ("default", "bundled", "int8") if row[mark]) or "-"
        size = f"{int(str(row['bytes'])) / 1e6:,.1f} MB"
        typer.echo(f"{row['name']}\t{row['dim']}\t{size}\t{marks}\t{row['path']}")


def add(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="open_clip:ARCH/TAG, open_clip:ARCH//FILE.safetensors, hf:ORG/NAME[@REVISION], "
            "or a folder: a training run, a model folder, a transformers or open_clip model, "
            "an ONNX pair.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model. [default: from the source]", show_default=False),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Try 8-bit networks; keep those that pass their check.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --int8: your pictures, to fit and check on.",
            show_default=False,
        ),
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="Use it when nobody says which model.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a model that has the name already.")
    ] = False,
) -> None:
    """Add a model from another project, a training run or a folder, and print its name.

    This is the only command that uses the network, and for hf: and open_clip:ARCH/TAG only.
    What was fetched is kept when it is interrupted, and gone on with by the same command.
    """
    from mmsearch.commands.adding_view import added_lines, watching
    from mmsearch.retrieval.adding import AddOptions, add_model

    options = AddOptions(
        name=name, int8=int8, calibrate=calibrate, default=default, replace=replace
    )
    with watching(sys.stderr) as watch:
        folder = add_model(source, options, watch)
    for line in added_lines(folder):
        typer.echo(line, err=True)
    typer.echo(folder.name)


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Name, model folder or training run. "
            "[default: $MMSEARCH_MODEL, else the default, else mini]",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model: where it comes from, what it learnt from, how well it does, its licence."""
    from mmsearch.retrieval.folder import read_model_folder
    from mmsearch.retrieval.models import resolve_model

    folder = read_model_folder(resolve_model(name))
    if as_json:
        typer.echo(json.dumps(_document(folder), indent=2))
        return
    for label, value in _document(folder).items():
        for line in _lines(label, value):
            typer.echo(line)


def remove(
    name: NameArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Remove it although the library was indexed with it.")
    ] = False,
) -> None:
    """Delete an added model from the disk. Libraries stay; those indexed with it need it to search.

    Whether the library of $MMSEARCH_LIBRARY, or the user's, was, is looked at first.
    """
    from mmsearch.retrieval.managing import find_model, remove_model
    from mmsearch.retrieval.models import default_model

    find_model(name)
    if not force:
        _refuse_used(name)
    was_default = default_model() == name
    freed = remove_model(name)
    typer.echo(f"removed {name}: {freed / 1e6:,.1f} MB freed", err=True)
    if was_default:
        typer.echo(f"the default is now {_default_name()}", err=True)


def default(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Name of the new default.", show_default=False),
    ] = None,
) -> None:
    """Print the model that is used when nobody says which, or choose another.

    A library keeps to the model that it was indexed with, whatever the default is.
    """
    from mmsearch.retrieval.managing import set_default_model
    from mmsearch.retrieval.models import MODEL_VARIABLE

    if name is not None:
        set_default_model(name)
    if os.environ.get(MODEL_VARIABLE):
        typer.echo(
            f"{MODEL_VARIABLE} is set to {os.environ[MODEL_VARIABLE]}, which is used instead",
            err=True,
        )
    typer.echo(_default_name())


def _default_name() -> str:
    from mmsearch.retrieval.models import DEFAULT_MODEL, default_model

    return default_model() or DEFAULT_MODEL


def _refuse_used(name: str) -> None:
    """Raise ModelError when the library at hand was indexed with a model."""
    from mmsearch.commands.options import library_directory
    from mmsearch.retrieval.status import read_status

    found = read_status(library_directory(None))
    if found.made and found.model == name:
        raise ModelError(
            f"the library {found.directory} was indexed with {name} and could not be searched "
            f"without it; encode it with another model first, or: mmsearch models remove {name} "
            "--force"
        )


def _document(folder: "ModelFolder") -> dict[str, object]:
    image = folder.preprocessing
    return {
        "name": folder.name,
        "dim": folder.space.dim,
        "digest": folder.space.digest,
        "path": str(folder.path),
        "bytes": _bytes(folder),
        "image": None
        if image is None
        else {
            "size": list(image.size),
            "resize": image.resize.value,
            "interpolation": image.interpolation.value,
        },
        "text": {
            "length": folder.text.length,
            "cleaning": [step.value for step in folder.text.cleaning],
        },
        "source": dict(folder.source),
        "data": dict(folder.data),
        "metrics": dict(folder.metrics),
        "int8": dict(folder.int8),
        "licence": folder.licence,
    }


def _int8(folder: "ModelFolder") -> list[str]:
    towers = {"image": folder.image_int8_path, "text": folder.text_int8_path}
    return [name for name, path in towers.items() if path is not None]


def _bytes(folder: "ModelFolder") -> int:
    return sum(stamp.bytes for stamp in folder.files.values())


def _lines(label: str, value: object) -> list[str]:
    """Return a fact as lines: label, then the value; a nested one indented below."""
    if isinstance(value, Mapping):
        nested = [line for key, inner in value.items() for line in _lines(str(key), inner)]
        return [label, *(f"  {line}" for line in nested)] if nested else []
    if value in (None, "", []):
        return []
    shown = _joined(value) if isinstance(value, list) else str(value)
    first, *rest = shown.splitlines()
    return [f"{label:<{_LABEL - 1}} {first}", *(" " * _LABEL + line for line in rest)]


def _joined(values: list[object]) -> str:
    """Return a list in words: sides of a picture, or else its parts."""
    sides = all(isinstance(value, int) for value in values)
    return (" x " if sides else ", ").join(map(str, values))
