"""Where the time of a cold query goes, and how far that is from the network alone.

    python benchmarks/where_time_goes.py [--rows 20000 100000] [--runs 15]

A query runs in a process with clocks at its seams (`seams.py`), in turn with the console script,
which has none, and with the least that any such tool does: an interpreter that imports NumPy and
ONNX Runtime, loads the same network and runs it once on the same sentence. The steps add up to
the life of the process, from its start by the parent to its end; medians of each.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import measuring
from libraries import build, remember_model
from measuring import Facts, FailedError, keep, mmsearch_command, say, seconds, users_environment
from networks import CLIP, clip_folder, new_question

SEAMS = Path(__file__).with_name("seams.py")
STEPS = {
    "interpreter started": "start the interpreter",
    "imported": "import",
    "opened": "open the library",
    "runtime imported": "import",
    "loaded": "load tokenizer and network",
    "encoded": "encode",
    "let go": "give memory back",
    "searched": "search",
    "printed": "print",
    "gone": "close and exit",
}
"""What ends with each moment, in order."""
_APART = 0.05
_BARE = """
import sys, time, json
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.disable_prepacking", "1")
levels = onnxruntime.GraphOptimizationLevel
options.graph_optimization_level = levels.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(sys.argv[1], options)
tokens = numpy.array([json.loads(sys.argv[2])])
times = []
for _ in range(int(sys.argv[3])):
    began = time.perf_counter()
    session.run(None, {"tokens": tokens})
    times.append(time.perf_counter() - began)
print(json.dumps(times))
"""


def steps(library: Path) -> dict[str, float]:
    """Return the seconds of each step of one query process; they add up to its life."""
    began = time.perf_counter()
    query = ["query", new_question(), "--library", str(library)]
    done = subprocess.run(
        [sys.executable, str(SEAMS), repr(began), *query],
        env=users_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    moments: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    moments["gone"] = time.perf_counter() - began
    ordered = [0.0, *(moments[name] for name in STEPS)]
    if sorted(ordered) != ordered:
        raise FailedError(f"the seams of a query are passed in another order: {moments}")
    found = dict.fromkeys(STEPS.values(), 0.0)
    for name, (before, after) in zip(STEPS.values(), pairwise(ordered), strict=True):
        found[name] += after - before
    return found


def measured(rows: int, runs: int) -> Facts:
    """Time the steps on a library of so many pictures."""
    library = build(rows).directory
    remember_model(library, clip_folder())
    say(f"a query of {rows:,} pictures, step by step")
    seen: list[dict[str, float]] = []

    def stepwise(_: int) -> measuring.Run:
        found = steps(library)
        seen.append(found)
        return measuring.Run(sum(found.values()), 0.0, 0, "")

    command = ["query", "--library", str(library)]
    walls = measuring.alternate(
        {
            "with clocks": stepwise,
            "without": lambda _: measuring.measure(mmsearch_command(*command, new_question())),
            "the least": lambda _: _least(1),
        },
        runs,
    )
    medians = {name: statistics.median(each[name] for each in seen[1:]) for name in seen[0]}
    return {
        "rows": rows,
        "steps": medians,
        "wall": walls["without"].wall,
        "with_clocks": walls["with clocks"].wall,
        "least": walls["the least"].wall,
        "network": statistics.median(json.loads(_least(50).output)[10:]),
    }


def _least(times: int) -> measuring.Run:
    """Run a process that does nothing but load the network and run it so many times."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(CLIP / "tokenizer.json"))
    ids = tokenizer.encode(new_question()).ids
    bare = [sys.executable, "-c", _BARE, str(CLIP / "text.onnx"), json.dumps(ids), str(times)]
    return measuring.measure(bare)


def report(facts: Facts) -> None:
    """Print the steps, their sum beside the wall time, and the least."""
    found: Mapping[str, float] = facts["steps"]
    for name, spent in found.items():
        say(f"  {name:30} {seconds(spent):>8}  {spent / sum(found.values()):4.0%}")
    total = sum(found.values())
    apart = abs(total - facts["wall"]) / facts["wall"]
    within = "within" if apart <= _APART else "NOT WITHIN"
    say(f"  together {seconds(total)}; without clocks {seconds(facts['wall'])} ({within} 5 %)")
    say(f"  the least, interpreter and network alone: {seconds(facts['least'])}")
    say(f"  the network alone, loaded and warm: {seconds(facts['network'])}")


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Where the time of a cold query goes.")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--runs", type=int, default=15)
    asked = parser.parse_args()
    for rows in asked.rows:
        facts = measured(rows, asked.runs)
        report(facts)
        keep(f"where-query-{rows}", {"machine": measuring.machine("tokenizers"), **facts})


if __name__ == "__main__":
    main()
