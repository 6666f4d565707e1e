"""The command line: run the command that was asked for, and nothing that it does not need.

A plain query goes straight to its work: typer and what it loads would take longer than the
search. Every other command line is typer's, with the module of the command that it names; `app`
is the whole of it.
"""

import gc
import os
import sys
from typing import Any

from mmsearch.commands.border import EXIT_INTERRUPTED, exit_code, open_closed_streams


def main() -> None:
    """Run the command line on the arguments of the process."""
    open_closed_streams()
    try:
        code = _plain_query(sys.argv[1:])
        if code is None:
            _application(sys.argv[1:])
    except KeyboardInterrupt:  # while modules were being imported
        code = EXIT_INTERRUPTED
    sys.exit(code)


def _plain_query(words: list[str]) -> int | None:
    """Answer a `query` whose flags need no parser; None when the words are anything else."""
    if words[:1] != ["query"]:
        return None
    from mmsearch.commands.plain_query import parse

    flags = parse(words[1:])
    if flags is None:
        return None
    _hasten()
    from mmsearch.commands.answering import answer

    code = exit_code(lambda: answer(flags))
    gc.freeze()  # spare the interpreter a last look at all that was imported
    return code


def _hasten() -> None:
    """Prepare a process that is over in a moment: no garbage collection, no idle threads."""
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy starts one a processor otherwise


def _application(words: list[str]) -> None:
    """Let typer run the words; it exits."""
    from mmsearch.commands.application import MODULES, build

    asked = next((word for word in words if not word.startswith("-")), "")
    build([MODULES[asked]] if asked in MODULES else MODULES.values())()


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module 'mmsearch.cli' has no attribute {name!r}")
    from mmsearch.commands.application import MODULES, build

    globals()["app"] = application = build(MODULES.values())
    return application
