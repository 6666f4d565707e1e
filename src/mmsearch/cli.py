"""The command line: assemble the commands, and turn errors into one line and an exit code."""

import os
import sys
from typing import Final, NoReturn

import typer

from mmsearch.errors import MMSearchError, UnsoundLibraryError

EXIT_INPUT: Final = 2
EXIT_UNSOUND: Final = 3
EXIT_INTERRUPTED: Final = 130

app = typer.Typer(
    name="mmsearch",
    help="Train a joint space of pictures and sentences, index both, search either way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Train a joint space of pictures and sentences, index both, search either way."""


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 nothing found, 2 input error, 3 unsound."""
    try:
        app()
    except MMSearchError as error:
        print(f"mmsearch: error: {error}", file=sys.stderr)  # noqa: T201 - the error border
        code = EXIT_UNSOUND if isinstance(error, UnsoundLibraryError) else EXIT_INPUT
    except KeyboardInterrupt:
        print("mmsearch: interrupted", file=sys.stderr)  # noqa: T201 - the error border
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
