"""Run as a script: add sentences one commit at a time, taking turns with other writers.

Arguments: library, model, sentences. Prints each sentence when its commit has returned, and
at the end, as JSON on stderr, whom it had to wait for.
"""

import json
import sys
import time
from pathlib import Path

from mmsearch.errors import LibraryBusyError
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.opening import open_library


def main(library: Path, model: Path, sentences: list[str]) -> None:
    """Add the sentences."""
    refusals: list[str] = []
    with open_library(library, model=model) as opened:
        for sentence in sentences:
            while (refusal := _refused(opened, sentence)) is not None:
                refusals.append(refusal)
                time.sleep(0.002)
            sys.stdout.write(f"{sentence}\n")
            sys.stdout.flush()
    json.dump(refusals, sys.stderr)


def _refused(library: Library, sentence: str) -> str | None:
    """Add a sentence; return the message of whoever is writing instead."""
    try:
        library.add_texts([sentence])
    except LibraryBusyError as error:
        return str(error)
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
