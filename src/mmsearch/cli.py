"""The command line: assemble the commands, and turn errors into one line and an exit code.

`main` imports only the module of the command that was asked for, so that a query does not pay
for the flags of training; `app` is the whole command line.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from mmsearch.commands.results import one_line
from mmsearch.errors import MMSearchError, UnsoundLibraryError

EXIT_INPUT: Final = 2
EXIT_UNSOUND: Final = 3
EXIT_INTERRUPTED: Final = 130

_ClickException: Any = typer.BadParameter.__mro__[2]  # typer brings its own click, or uses click's

MODULES: Final = {
    "index": "indexing",
    "query": "search",
    "status": "library",
    "failures": "library",
    "forget": "removal",
    "prune": "removal",
    "check": "soundness",
    "repair": "soundness",
    "tune": "tuning",
    "train": "train",
    "evaluate": "evaluate",
    "models": "models",
    "demo": "demo",
}
"""Where each command is registered, in the order of the help."""


class Commands(TyperGroup):
    """The error border: every error that mmsearch raises on purpose is one line and a code."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run the command line and exit: 0 done, 1 nothing found, 2 input error, 3 unsound."""
        extra["standalone_mode"] = False
        sys.exit(self._code(args, extra))

    def _code(self, args: Sequence[str] | None, extra: dict[str, Any]) -> int:
        try:
            code = super().main(args, **extra)
            sys.stdout.flush()
        except MMSearchError as error:
            _say(f"error: {error}")
            return EXIT_UNSOUND if isinstance(error, UnsoundLibraryError) else EXIT_INPUT
        except _ClickException as error:
            if error.format_message():  # empty: the help was asked for by giving no command
                _say(_usage_line(error))
            return EXIT_INPUT
        except BrokenPipeError:
            _discard_output()
            return 0
        except OSError as error:
            _say(f"error: {error}")
            return EXIT_INPUT
        except (KeyboardInterrupt, typer.Abort):
            code = EXIT_INTERRUPTED
        if code == EXIT_INTERRUPTED:
            _say("interrupted; what was finished is kept")
        return code if isinstance(code, int) else 0

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a reader of the output that went away is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            _discard_output()
            raise typer.Exit(0) from error


def build(modules: Iterable[str]) -> typer.Typer:
    """Return the command line with the commands of some modules of `mmsearch.commands`."""
    application = typer.Typer(
        name="mmsearch",
        cls=Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    application.callback()(root)
    for module in dict.fromkeys(modules):
        import_module(f"mmsearch.commands.{module}").register(application)
    return application


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"mmsearch {version('mmsearch')}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
        ),
    ] = False,
) -> None:
    """Train a joint space of pictures and sentences, index both, search either way."""


def main() -> None:
    """Run the command line on the arguments of the process."""
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    module = MODULES.get(asked or "")
    try:
        build([module] if module else MODULES.values())()
    except KeyboardInterrupt:  # while modules were being imported
        sys.exit(EXIT_INTERRUPTED)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'mmsearch.cli' has no attribute {name!r}")
    globals()["app"] = application = build(MODULES.values())
    return application


def _say(message: str) -> None:
    typer.echo(f"mmsearch: {one_line(message)}", err=True)


def _usage_line(error: Any) -> str:
    """Return a usage error in one line, with the command whose help explains it."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mmsearch"
    return f"error: {message}. See: {command} --help"


def _discard_output() -> None:
    """Let what is still buffered go nowhere, for the interpreter flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
