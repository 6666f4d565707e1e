"""Networks by themselves: full precision and 8 bits, as converted and simplified.

    python benchmarks/precision.py [--batches 1 8 32] [--runs 5]

Items a second of each tower at several batch sizes, on all cores, the networks taking turns; and
whole processes that load the text tower for one sentence: seconds and peak memory. Without a
library, decoding or search: the limit that indexing and queries can come near.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from measuring import (
    Facts,
    FailedError,
    Run,
    alternate,
    keep,
    machine,
    measure,
    say,
    size,
    table,
)
from networks import PLAIN, clip_folder, int8_folder

from mmsearch.core import Modality
from mmsearch.retrieval.encoder import OnnxEncoder, Precision, Use
from mmsearch.retrieval.folder import read_model_folder

_SENTENCE = "a photo of a dog and a red ball on the beach"
_ONCE = """
import sys
from pathlib import Path
from mmsearch.retrieval.encoder import OnnxEncoder, Precision, Use
from mmsearch.retrieval.folder import read_model_folder
use = Use(once=True, precision=Precision(sys.argv[2]))
OnnxEncoder(read_model_folder(Path(sys.argv[1])), use).encode_texts([sys.argv[3]])
"""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Time full-precision and 8-bit networks.")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    int8 = int8_folder()
    if int8 is None:
        raise FailedError("the 8-bit networks did not pass their check")
    networks = {
        "as converted": (PLAIN, Precision.FP32),
        "simplified": (clip_folder(), Precision.FP32),
        "8 bits": (int8, Precision.INT8),
    }
    facts: Facts = {"machine": machine()}
    facts["rates"] = {
        tower.value: {
            str(batch): _rates(networks, tower, batch, asked.runs) for batch in asked.batches
        }
        for tower in Modality
    }
    facts["cold"] = alternate(
        {name: _cold(folder, precision) for name, (folder, precision) in networks.items()},
        asked.runs,
    )
    facts["figures"] = dict(read_model_folder(int8).int8)
    keep("precision", facts)
    say(_shown(facts))


def _rates(
    networks: dict[str, tuple[Path, Precision]], tower: Modality, batch: int, runs: int
) -> dict[str, float]:
    """Return items a second of each network: the best of some turns, after one to warm up."""
    encoders = {
        name: OnnxEncoder(read_model_folder(folder), Use(precision=precision))
        for name, (folder, precision) in networks.items()
    }
    least = dict.fromkeys(encoders, float("inf"))
    for turn in range(runs + 1):
        for name, encoder in encoders.items():
            taken = encoder.seconds(tower, batch)
            if turn > 0:
                least[name] = min(least[name], taken)
    rates = {name: batch / taken for name, taken in least.items()}
    say(f"{tower.value}, batch {batch}: {rates}")
    return rates


def _cold(folder: Path, precision: Precision) -> Callable[[int], Run]:
    """Return a process that loads the text tower and encodes one sentence, to be run in turn."""

    def run(_: int) -> Run:
        return measure([sys.executable, "-c", _ONCE, folder, precision.value, _SENTENCE])

    return run


def _shown(facts: Facts) -> str:
    names = list(facts["cold"])
    rows: list[Sequence[str]] = [
        [f"{tower}, batch of {batch}, a second", *(f"{rates[name]:.1f}" for name in names)]
        for tower, batches in facts["rates"].items()
        for batch, rates in batches.items()
    ]
    rows.append(["cold process, s", *(f"{facts['cold'][name].wall:.2f}" for name in names)])
    rows.append(["its peak", *(size(facts["cold"][name].peak) for name in names)])
    return table(["", *names], rows)


if __name__ == "__main__":
    main()
