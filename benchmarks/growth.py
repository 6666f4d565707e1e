"""Show how the cost of each step grows with the library.

    python benchmarks/growth.py [--rows 1000 10000] [--files 2000]

For every size: a cold query process (with a small network, so that storage is what is timed),
queries in one process, opening, adding 1,000 pictures to a copy (committing them and bringing the
index up to date), disk. Rescans need files and are measured for the sizes up to --files; above
100,000 most of these are hard links.
The last column is the exponent of the growth between the smallest and the largest size: 0 is
constant, 1 linear.
"""

import argparse
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import measuring
import numpy as np
from libraries import Built, batch, build, disk, remember_model
from linked import link, linked_library
from measuring import WORK, Facts, keep, measure, mmsearch_command, say, seconds, size, table
from networks import question, small_folder
from searching import ask_singly
from synthetic import SPACE, Synthetic
from trees import library, plant, rescan

from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, RootKind
from mmsearch.index.store import IndexStore

ADDED = 1000
REAL_FILES = 100_000
_MORE = b"/more"
STEPS = {
    "cold query": "seconds",
    "query in one process": "seconds",
    "open": "seconds",
    "open and first answer": "seconds",
    "rescan": "seconds",
    "add 1,000: commit": "seconds",
    "add 1,000: index": "seconds",
    "query after adding": "seconds",
    "catalog": "bytes",
    "index": "bytes",
}

_OPEN = """
import json, sys, time
from pathlib import Path
import numpy as np
from mmsearch.core import Modality, Space
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
directory, query = Path(sys.argv[1]), np.ones((1, int(sys.argv[2])), dtype=np.float32)
began = time.perf_counter()
catalog = Catalog.open(directory)
store, space = IndexStore(catalog, directory), catalog.space()
opened = time.perf_counter()
store.search(space, Modality.IMAGE, query / len(query[0]) ** 0.5, 10)
print(json.dumps([opened - began, time.perf_counter() - began]))
"""


def cost(rows: int, *, queries: int, runs: int) -> Facts:
    """Return what every step costs at one size, in seconds and bytes."""
    built = build(rows)
    remember_model(built.directory, small_folder())
    say(f"measuring {rows:,} rows")
    cold = [
        measure(mmsearch_command("query", question(turn), "--library", built.directory))
        for turn in range(runs + 1)
    ][1:]
    opened = [_open(built.directory) for _ in range(runs + 1)][1:]
    sizes = disk(built.directory)
    vectors = built.stamp.source.queries(queries)
    with Catalog.open(built.directory) as catalog:
        _, spent = ask_singly(IndexStore(catalog, built.directory), vectors)
    return {
        "rows": rows,
        "cold query": statistics.median(run.wall for run in cold),
        "query in one process": float(np.median(spent)),
        "open": statistics.median(pair[0] for pair in opened),
        "open and first answer": statistics.median(pair[1] for pair in opened),
        **add(built, queries),
        **sizes,
    }


def add(built: Built, queries: int) -> Facts:
    """Add pictures to a copy of a library; return the seconds of each step."""
    copy = WORK / "growing"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(built.directory, copy)
    try:
        with Catalog.open(copy, write=True) as catalog:
            store = IndexStore(catalog, copy)
            store.refresh(SPACE)  # the copy's files have other inodes; they are compared once
            rows = _fresh(catalog)
            began = time.perf_counter()
            catalog.commit(rows)
            committed = time.perf_counter()
            store.refresh(SPACE)
            indexed = time.perf_counter()
            _, spent = ask_singly(store, built.stamp.source.queries(queries))
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    return {
        "add 1,000: commit": committed - began,
        "add 1,000: index": indexed - committed,
        "query after adding": float(np.median(spent)),
    }


def rescan_cost(files: int, runs: int) -> float:
    """Return the seconds of `mmsearch index` on so many unchanged files.

    Above 100,000 most of them are further names of a few files.
    """
    if files > REAL_FILES:
        tree = link(files)
        directory = linked_library(tree)
    else:
        tree = plant(files, max(1, files // 10))
        directory = library(tree)
    rescan(tree, directory)
    seen = [rescan(tree, directory, unchanged=files).wall for _ in range(runs)]
    return statistics.median(seen)


def exponent(costs: Sequence[Facts], step: str) -> float | None:
    """Return the growth of a step from the first to the last size that has it."""
    having = [fact for fact in costs if fact.get(step)]
    if len(having) < 2:
        return None
    first, last = having[0], having[-1]
    return math.log(last[step] / first[step]) / math.log(last["rows"] / first["rows"])


def growth_table(costs: Sequence[Facts]) -> str:
    """Return the table of all steps at all sizes."""
    header = ["step", *(f"{fact['rows']:,}" for fact in costs), "exponent"]
    rows = []
    for step, unit in STEPS.items():
        shown = seconds if unit == "seconds" else size
        cells = [shown(fact[step]) if fact.get(step) else "not measured" for fact in costs]
        power = exponent(costs, step)
        rows.append([step, *cells, "" if power is None else f"{power:.2f}"])
    return table(header, rows)


def _fresh(catalog: Catalog) -> Batch:
    """Return pictures that no synthetic library has."""
    block = Synthetic(ADDED, sentences=0, seed=1).block(0)
    root = catalog.add_root(_MORE, RootKind.FOLDER)
    rows = batch(block, root, 0)
    files = (replace(row, path=_MORE + row.path) for row in rows.files)
    return replace(rows, files=tuple(files))


def _open(directory: Path) -> tuple[float, float]:
    run = measure([sys.executable, "-c", _OPEN, directory, str(SPACE.dim)])
    opened, answered = json.loads(run.output)
    return opened, answered


def main() -> None:
    """Measure every size, print, keep."""
    parser = argparse.ArgumentParser(description="Show how costs grow with the library.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--files", type=int, default=2_000, help="rescan up to so many real files")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    costs = []
    for rows in sorted(asked.rows):
        fact = cost(rows, queries=asked.queries, runs=asked.runs)
        if rows <= asked.files:
            fact["rescan"] = rescan_cost(rows, asked.runs)
        costs.append(fact)
    say("\n" + growth_table(costs))
    if max(asked.rows) > asked.files:
        say(f"\nrescans were measured up to {asked.files:,} files; --files N makes more")
    keep("growth", {"machine": measuring.machine(), "costs": costs})


if __name__ == "__main__":
    main()
