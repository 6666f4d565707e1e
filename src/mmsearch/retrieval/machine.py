"""What was measured once on this machine, kept in one JSON file below the user's cache.

    from mmsearch.retrieval.machine import batch_size

    size = asked or batch_size(encoder, Modality.IMAGE, say=print)

measures the first time that a network is used here (at most some four seconds) and reads the
file from then on. What is kept can be lost or thrown away at any time: a damaged file is begun
anew, and one that cannot be written costs the next run a measurement.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from mmsearch.core import Encoder, Modality
from mmsearch.retrieval.processors import quiet

CACHE_VARIABLE: Final = "MMSEARCH_CACHE"
DEFAULT_BATCH: Final = 32
"""For an encoder whose networks cannot be timed."""
BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
_FORMAT: Final = 1
_MOST_SUBJECTS: Final = 200
_BUDGET_SECONDS: Final = 4.0
_ALIKE: Final = 0.99
_WORSE: Final = 0.9

Say = Callable[[str], None]


@runtime_checkable
class Timed(Protocol):
    """An encoder whose networks can be timed."""

    def subject(self, tower: Modality, /) -> str:
        """Name what is measured: the network's bytes, the runtime, its provider, the threads."""
        ...

    def seconds(self, tower: Modality, count: int, /) -> float:
        """Return the seconds that one batch of `count` items takes, all in one piece."""
        ...


class Machine:
    """Facts by subject and name, in a file. A new object reads it when it is first asked."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._facts: dict[str, dict[str, object]] | None = None

    def recall(self, subject: str, name: str) -> object | None:
        """Return what was kept, None when nothing was."""
        if self._facts is None:
            self._facts = _read(self.file)
        return self._facts.get(subject, {}).get(name)

    def keep(self, subject: str, name: str, value: object) -> None:
        """Keep something that JSON can hold, on disk unless the disk does not take it.

        Of two processes that keep something in the same moment, one's may be lost.
        """
        facts = _read(self.file) | (self._facts or {})
        newest = {**facts.pop(subject, {}), name: value}
        facts[subject] = newest
        for oldest in list(facts)[:-_MOST_SUBJECTS]:
            del facts[oldest]
        self._facts = facts
        with suppress(OSError):
            _write(self.file, {"format": _FORMAT, "measured": facts})


def this_machine() -> Machine:
    """Return what is kept for this user: below $MMSEARCH_CACHE, else the platform's cache."""
    override = os.environ.get(CACHE_VARIABLE)
    if override:
        return Machine(Path(override) / "machine.json")
    from platformdirs import user_cache_path

    return Machine(user_cache_path("mmsearch") / "machine.json")


def batch_size(
    encoder: Encoder, tower: Modality, *, machine: Machine | None = None, say: Say | None = None
) -> int:
    """Return how many items at once this machine encodes fastest; measured when first asked.

    What is measured on a busy machine is used and not kept. `say` takes a line when a measurement
    begins. An encoder whose networks cannot be timed gets
    `DEFAULT_BATCH`. Raises ModelError when the network cannot be used.
    """
    if not isinstance(encoder, Timed):
        return DEFAULT_BATCH
    machine = machine or this_machine()
    subject = encoder.subject(tower)
    known = machine.recall(subject, "batch_size")
    if type(known) is int and known in BATCH_SIZES:
        return known
    if say is not None:
        say(f"measuring once how many {tower.value}s at a time are fastest here ...")
    settled = quiet()
    encoder.seconds(tower, 1)  # loads the network
    found = best_batch(lambda count: encoder.seconds(tower, count))
    if settled:
        machine.keep(subject, "batch_size", found)
    return found


def best_batch(seconds: Callable[[int], float], *, budget: float = _BUDGET_SECONDS) -> int:
    """Return the smallest batch whose throughput is within 1 % of the best that was measured.

    `seconds(count)` times one batch; each size is timed twice, the quicker counts. Larger sizes
    are left out once two in a row were a tenth below the best, or when the next one would take
    the sum of times beyond `budget` seconds.
    """
    rates: dict[int, float] = {}
    spent, worse = 0.0, 0
    for size in BATCH_SIZES:
        times = seconds(size), seconds(size)
        rates[size] = size / max(min(times), 1e-9)
        spent += sum(times)
        worse = worse + 1 if rates[size] < _WORSE * max(rates.values()) else 0
        if worse == 2 or spent + 2 * sum(times) > budget:
            break
    enough = _ALIKE * max(rates.values())
    return min(size for size, rate in rates.items() if rate >= enough)


def _read(file: Path) -> dict[str, dict[str, object]]:
    """Return the facts of a file; none when it is absent, damaged or of another version."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, Mapping) or document.get("format") != _FORMAT:
        return {}
    measured = document.get("measured")
    if not isinstance(measured, Mapping):
        return {}
    return {name: dict(facts) for name, facts in measured.items() if isinstance(facts, Mapping)}


def _write(file: Path, document: Mapping[str, object]) -> None:
    import tempfile  # of no use to a query, which only reads

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=".machine-", delete=False
    ) as stream:
        partial = Path(stream.name)
    try:
        partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
