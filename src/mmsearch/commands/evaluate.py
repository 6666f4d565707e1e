"""`mmsearch evaluate`: measure how well a model finds captions for images and back."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mmsearch.commands.evaluation_view import OutputFormat
from mmsearch.retrieval.captions.data import DataFormat

_SHOWN_PROBLEMS = 10


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="evaluate")(evaluate)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="Model folder, training run, or the name of an added model.")
    ],
    data: Annotated[
        Path,
        typer.Argument(help="Captioned images: a folder, or a CSV, JSONL, JSON or token file."),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Split to measure, or all. [default: test, else dev, else the whole data]",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option("--folds", min=1, help="Average over this many consecutive runs of images."),
    ] = 1,
    output_format: Annotated[
        OutputFormat, typer.Option("--format", help="What to print.")
    ] = OutputFormat.TABLE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as JSON, as --format json.")
    ] = False,
    layout: Annotated[
        DataFormat | None,
        typer.Option(
            "--data-format", help="Layout of DATA; detected if not given.", show_default=False
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder to look the pictures up in.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the bootstrap.")] = 0,
) -> None:
    """Measure a model on captioned images: R@1/5/10, median and mean rank, rsum.

    Both ways: i2t finds captions for an image, t2i images for a caption. Ties count against
    the model. Every R@K comes with a 95 % interval (images resampled) and the figure of a
    random ranking.
    """
    from mmsearch.commands.evaluation_view import Heading, lines, progress
    from mmsearch.retrieval.captions import load_captions
    from mmsearch.retrieval.evaluate import EvaluationSettings, choose_split
    from mmsearch.retrieval.evaluate import evaluate as measure
    from mmsearch.retrieval.models import load_encoder

    settings = EvaluationSettings(folds=folds, seed=seed)
    encoder = load_encoder(model)
    captioned = load_captions(data, format=layout, images=images)
    chosen, selected = choose_split(captioned, split)
    _tell(f"warning: {warning}" for warning in captioned.warnings)
    with progress(sys.stderr) as on_progress:
        result = measure(encoder, selected, settings, on_progress)
    result = replace(result, problems=(*captioned.problems, *result.problems))
    _tell(f"left out: {problem}" for problem in result.problems[:_SHOWN_PROBLEMS])
    if len(result.problems) > _SHOWN_PROBLEMS:
        _tell([f"left out: {len(result.problems) - _SHOWN_PROBLEMS} more; --json lists all"])
    heading = Heading(encoder.space.name, model, data.resolve().name, chosen)
    for line in lines(result, heading, OutputFormat.JSON if as_json else output_format):
        typer.echo(line)


def _tell(messages: Iterable[str]) -> None:
    for message in messages:
        typer.echo(message, err=True)
