"""The command line as typer sees it: every command with its flags, behind the error border."""

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from mmsearch.commands.border import EXIT_INPUT, EXIT_INTERRUPTED, discard_output, exit_code, say

_ClickException: Any = typer.BadParameter.__mro__[2]  # typer brings its own click, or uses click's

MODULES: Final = {
    "index": "indexing",
    "query": "search",
    "similar": "similar",
    "label": "label",
    "status": "library",
    "failures": "library",
    "forget": "removal",
    "prune": "removal",
    "check": "soundness",
    "repair": "soundness",
    "duplicates": "duplicates",
    "export": "transfer",
    "import": "transfer",
    "merge": "transfer",
    "tune": "tuning",
    "train": "train",
    "evaluate": "evaluate",
    "models": "models",
    "demo": "demo",
}
"""Where each command is registered, in the order of the help."""


class Commands(TyperGroup):
    """The commands, which end with an exit code and, after an error, one line on stderr."""

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run the command line and exit; see `border.exit_code`."""
        extra["standalone_mode"] = False
        sys.exit(exit_code(lambda: self._code(args, extra)))

    def _code(self, args: Sequence[str] | None, extra: dict[str, Any]) -> int:
        try:
            code = super().main(args, **extra)
        except _ClickException as error:
            if error.format_message():  # empty: the help was asked for by giving no command
                say(_usage_line(error))
            return EXIT_INPUT
        except typer.Abort:
            return EXIT_INTERRUPTED
        return code if isinstance(code, int) else 0

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a reader of the output that went away is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            discard_output()
            raise typer.Exit(0) from error


def build(modules: Iterable[str]) -> typer.Typer:
    """Return the command line with the commands of some modules of `mmsearch.commands`."""
    application = typer.Typer(
        name="mmsearch",
        cls=Commands,
        no_args_is_help=True,
        rich_markup_mode="markdown",  # the other markup would swallow "[default: ...]"
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


def _usage_line(error: Any) -> str:
    """Return a usage error in one line, with the command whose help explains it."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "mmsearch"
    return f"error: {message}. See: {command} --help"
