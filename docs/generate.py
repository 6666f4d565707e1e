"""Write the parts of the documentation that the code knows best, or check that they are current.

docs/cli.md comes from the commands' help (names, helps, choices and defaults alone, which do not
change with the version of typer), the table of settings in docs/training.md from `TrainConfig`.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer

from mmsearch.cli import app
from mmsearch.retrieval.vse.config import PRESETS, TrainConfig, preset

DOCS = Path(__file__).parent
SETTINGS = re.compile("(?<=<!-- settings -->\n).*?(?=<!-- /settings -->)", re.DOTALL)
PLACEHOLDERS: dict[Any, str] = {int: "N", float: "X", Path: "PATH"}
_EMPTY: tuple[Any, ...] = (None, "", (), [])
HEAD = """\
# The commands

Written by `make docs` from the commands' `--help`; change the help, not this page.
Results go to stdout; progress and warnings go to stderr. Every command takes `--help`.

Exit codes: 0 found or done, 1 nothing found, 2 usage or input error, 3 the library is unsound.
"""


def pages() -> dict[Path, str]:
    """Return what each page should hold."""
    training = DOCS / "training.md"
    table = f"\n{settings_table()}\n\n"
    return {
        DOCS / "cli.md": command_reference(),
        training: SETTINGS.sub(lambda _: table, training.read_text(encoding="utf-8")),
    }


def settings_table() -> str:
    """Return every setting of a training run with its value in each preset."""
    presets = {name: preset(name) for name in PRESETS}
    rows = [f"| setting | {' | '.join(f'`{name}`' for name in presets)} | what |"]
    rows.append("|---" * (2 + len(presets)) + "|")
    for setting in fields(TrainConfig):
        if setting.name == "preset":
            continue
        values = [_shown(getattr(config, setting.name)) for config in presets.values()]
        rows.append(f"| `{setting.name}` | {' | '.join(values)} | {setting.metadata['help']} |")
    return "\n".join(rows)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.4g}" if isinstance(value, float) else str(value) or "none"


def command_reference() -> str:
    """Return the page of the commands."""
    root = typer.main.get_command(app)
    return "\n".join([HEAD, *(_section(name, command) for name, command in commands(root))])


def commands(group: Any, prefix: str = "mmsearch") -> Iterator[tuple[str, Any]]:
    """Yield every visible command that does something, by its full name, in help's order."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _section(name: str, command: Any) -> str:
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    hints = get_type_hints(inspect.unwrap(command.callback))
    arguments = [param for param in shown if param.param_type_name == "argument"]
    options = [param for param in shown if param.param_type_name == "option"]
    options = [param for param in options if param.name != "help"]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *map(_placeholder, arguments)])
    parts = [f"## {name}", "", inspect.cleandoc(command.help or "").strip(), ""]
    parts += ["```", usage, "```", ""]
    rows = [_row(_placeholder(param), param, hints) for param in arguments]
    rows += [_row(_flags(param, hints.get(param.name)), param, hints) for param in options]
    return "\n".join([*parts, *rows, *([""] if rows else [])])


def _placeholder(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper().strip("[]{}.").replace("_", "-")
    many = "..." if argument.nargs == -1 else ""
    return f"{name}{many}" if argument.required else f"[{name}]{many}"


def _flags(option: Any, hint: Any) -> str:
    named = ", ".join(option.opts)
    if option.secondary_opts:
        named += " / " + ", ".join(option.secondary_opts)
    if getattr(option, "is_flag", False):
        return named
    kinds = {hint, *get_args(hint)}
    value = next((PLACEHOLDERS[kind] for kind in kinds if kind in PLACEHOLDERS), option.name)
    return f"{named} {(option.metavar or value).upper().replace('_', '-')}"


def _row(label: str, param: Any, hints: dict[str, Any]) -> str:
    notes = []
    choices = _choices(hints.get(param.name))
    if choices:
        notes.append("one of " + ", ".join(f"`{choice.value}`" for choice in choices))
    if param.required:
        notes.append("required")
    elif not (param.default in _EMPTY or param.default is False or callable(param.default)):
        notes.append(f"default `{_plain(param.default)}`")
    if getattr(param, "envvar", None):
        notes.append(f"else from `${param.envvar}`")
    text = " ".join((getattr(param, "help", None) or "").split())
    return f"- `{label}`: {text}" + (f" ({'; '.join(notes)})" if notes else "")


def _choices(hint: Any) -> list[Enum]:
    kinds = [hint, *get_args(hint)]
    return [
        choice
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, Enum)
        for choice in kind
    ]


def _plain(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` return 1 when one is not current."""
    stale = {
        page: text
        for page, text in pages().items()
        if not page.exists() or page.read_text(encoding="utf-8") != text
    }
    if arguments == ["--check"]:
        for page in stale:
            sys.stderr.write(f"docs/{page.name} is not what the code says; run: make docs\n")
        return 1 if stale else 0
    for page, text in stale.items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
