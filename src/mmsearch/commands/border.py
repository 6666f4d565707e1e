"""The error border: what mmsearch raises on purpose is one line on stderr and an exit code.

It knows nothing of the command line's parser, so that a plain query need not load one.
"""

import os
import sys
from collections.abc import Callable
from typing import Final

from mmsearch.commands.results import one_line
from mmsearch.errors import MMSearchError, UnsoundLibraryError

EXIT_NOTHING: Final = 1
EXIT_INPUT: Final = 2
EXIT_UNSOUND: Final = 3
EXIT_INTERRUPTED: Final = 130


def exit_code(work: Callable[[], int]) -> int:
    """Do some work and return its exit code: 0 done, 1 nothing found, 2 input error, 3 unsound."""
    try:
        code = work()
        sys.stdout.flush()
    except MMSearchError as error:
        say(f"error: {error}")
        return EXIT_UNSOUND if isinstance(error, UnsoundLibraryError) else EXIT_INPUT
    except BrokenPipeError:
        discard_output()
        return 0
    except ImportError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        code = EXIT_INTERRUPTED  # in a module in C, which makes this of it
    except OSError as error:
        say(f"error: {error}")
        return EXIT_INPUT
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:
        say("interrupted; what was finished is kept")
    return code


def open_closed_streams() -> None:
    """Let a standard stream that was closed lead nowhere, and no file or socket take its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", errors="replace"))


def say(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"mmsearch: {one_line(message)}\n")
    sys.stderr.flush()


def discard_output() -> None:
    """Let what is still buffered go nowhere, for the interpreter flushes once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
