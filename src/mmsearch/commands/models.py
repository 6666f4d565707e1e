"""`mmsearch models`: the models on this machine."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.commands.options import JsonOption
from mmsearch.errors import ModelError

if TYPE_CHECKING:
    from mmsearch.retrieval.folder import ModelFolder

_LABEL = 14


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="Show the models on this machine.")
    group.command(name="list")(list_models)
    group.command(name="show")(show)
    app.add_typer(group, name="models")


def list_models(as_json: JsonOption = False) -> None:
    """List the models that have a name: name, dimensions, path."""
    from mmsearch.retrieval.folder import read_model_folder
    from mmsearch.retrieval.models import installed_models

    models = []
    for model in installed_models():
        try:
            models.append((model, read_model_folder(model.path)))
        except ModelError as error:
            typer.echo(f"mmsearch: warning: {error}", err=True)
    if as_json:
        rows = [
            {"name": m.name, "dim": f.space.dim, "path": str(m.path), "bundled": m.bundled}
            for m, f in models
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    for model, folder in models:
        typer.echo(f"{model.name}\t{folder.space.dim}\t{model.path}")


def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Name, model folder or training run. [default: $MMSEARCH_MODEL, else mini]",
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


def _document(folder: "ModelFolder") -> dict[str, object]:
    image = folder.preprocessing
    return {
        "name": folder.name,
        "dim": folder.space.dim,
        "digest": folder.space.digest,
        "path": str(folder.path),
        "bytes": sum(stamp.bytes for stamp in folder.files.values()),
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
        "licence": folder.licence,
    }


def _lines(label: str, value: object) -> list[str]:
    """Return a fact as lines: label, then the value; a nested one indented below."""
    if isinstance(value, Mapping):
        nested = [line for key, inner in value.items() for line in _lines(str(key), inner)]
        return [label, *(f"  {line}" for line in nested)] if nested else []
    if value in (None, "", []):
        return []
    shown = " x ".join(map(str, value)) if isinstance(value, list) else str(value)
    first, *rest = shown.splitlines()
    return [f"{label:<{_LABEL - 1}} {first}", *(" " * _LABEL + line for line in rest)]
