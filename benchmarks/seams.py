"""One `mmsearch query` with a clock at its seams: run by `where_time_goes.py`, not by hand.

    python benchmarks/seams.py BEGAN QUERY-ARGUMENTS...

It calls what the console script calls, in a process of its own, and writes as its last line on
stderr the moments, in seconds since BEGAN (the parent's clock when it started the process; on
Linux all processes share one). A moment is taken where one part calls the next: nothing is
asked of the code in between but to run.
"""

import sys
import time

_NAMED = time.perf_counter()

MOMENTS: dict[str, float] = {}


def mark(name: str) -> None:
    """Note the first time that this place is passed."""
    MOMENTS.setdefault(name, time.perf_counter())


def watch(owner: object, name: str, before: str = "", after: str = "") -> None:
    """Have a function note when it is entered and left."""
    function = getattr(owner, name)

    def watched(*values: object, **named: object) -> object:
        if before:
            mark(before)
        found = function(*values, **named)
        if after:
            mark(after)
        return found

    setattr(owner, name, watched)


def prepare() -> None:
    """Import what a query imports, in its order, then put clocks between its parts."""
    import mmsearch.cli
    import mmsearch.commands.plain_query

    mmsearch.cli._hasten()  # noqa: SLF001 - what the console script does first
    from mmsearch.commands import answering
    from mmsearch.retrieval import ahead, encoder, library

    watch(ahead, "load_runtime", "opened", "runtime imported")
    watch(encoder.Tokens, "encode", "loaded")
    watch(encoder.Tower, "run", after="encoded")
    watch(encoder, "give_back_memory", after="let go")
    watch(library.Library, "search", after="searched")
    watch(answering, "_write", after="printed")
    mark("imported")


def main() -> None:
    """Run the query and write the moments."""
    began = float(sys.argv.pop(1))
    mark("interpreter started")
    MOMENTS["interpreter started"] = _NAMED
    prepare()
    from mmsearch.cli import main as query

    try:
        query()
    finally:
        mark("ended")
        import json

        since = {name: moment - began for name, moment in MOMENTS.items()}
        sys.stderr.write(f"\n{json.dumps(since)}\n")


if __name__ == "__main__":
    main()
