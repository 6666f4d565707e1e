"""Places where a test can kill the process, to prove that nothing is lost there.

`MMSEARCH_FAILPOINT=NAME` or `NAME:N` ends the process with SIGKILL the N-th time (by default the
first) that it reaches the place called NAME. Without the variable a place costs one comparison.
"""

import os
import signal
import sys
from typing import Final

VARIABLE: Final = "MMSEARCH_FAILPOINT"
NAMES: Final = (
    "after-vectors",  # a commit's vectors are written, its items' failures are not
    "mid-transaction",  # the revision is counted up, nothing else is written
    "before-commit",
    "after-commit",
    "mid-index-write",  # part of an index file is written
    "before-rename",  # the index file is whole and durable, under its temporary name
    "after-rename",  # it has its name, and the catalog does not know it
    "mid-migration",  # some statements of a migration have run
)

_name, _, _count = os.environ.get(VARIABLE, "").partition(":")
_left = int(_count) if _count.isdecimal() else 1
if _name and _name not in NAMES:
    sys.exit(f"{VARIABLE}={_name} is unknown; choose from {', '.join(NAMES)}")


def reach(name: str) -> None:
    """Die here, when the environment says so."""
    global _left  # noqa: PLW0603 - the countdown of the process
    if name == _name:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
