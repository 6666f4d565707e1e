"""The flags that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

LibraryOption = Annotated[
    Path | None,
    typer.Option(
        "--library",
        metavar="DIR",
        help="Directory of the library. [default: $MMSEARCH_LIBRARY, else the user's data folder]",
        show_default=False,
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="SPEC",
        help="Model: a name, the source it was added from, a model folder or a training run. "
        "[default: the library's own, else $MMSEARCH_MODEL, else the default, else mini]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def library_directory(given: Path | None) -> Path:
    """Return the directory of the library that the flags and the environment mean."""
    from mmsearch.retrieval.opening import default_directory

    return default_directory() if given is None else given
