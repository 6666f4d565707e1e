"""Measure a synthetic library: queries cold and warm, recall, filters, memory, build, disk.

    python benchmarks/scale.py [--rows 10000] [--queries 300] [--runs 5]

Cold queries are whole `mmsearch query` processes, with a small text network and with a ViT-B/32;
every run asks something new. The page cache is warm unless --drop-caches is given (as root).
Recall is that of questions of the other modality against brute force over the catalog.
"""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

import measuring
from libraries import Built, build, disk, remember_model
from measuring import Facts, Run, Summary, mmsearch_command, say, seconds, size, table
from networks import clip_folder, question, small_folder
from searching import Answered, ask_all, selections
from synthetic import SPACE

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore

MEMORY_LIMIT = 300e6
MEMORY_ROWS = 1_000_000


def cold_queries(built: Built, runs: int, *, dropping: bool = False) -> dict[str, Summary]:
    """Time query processes with each network in turn."""

    def ask(model: Path, turn: int) -> Run:
        remember_model(built.directory, model)
        if dropping:
            measuring.drop_caches()
        asked = question(turn)
        command = mmsearch_command("query", asked, "--library", built.directory)
        return measuring.measure(command)

    small, clip = small_folder(), clip_folder()
    commands = {
        "small network": lambda turn: ask(small, turn),
        "ViT-B/32": lambda turn: ask(clip, turn),
    }
    return measuring.alternate(commands, runs)


def warm_queries(built: Built, queries: int) -> list[Answered]:
    """Ask in this process, without and with filters."""
    with Catalog.open(built.directory) as catalog:
        store = IndexStore(catalog, built.directory)
        vectors = built.stamp.source.queries(queries)
        answered = ask_all(catalog, store, vectors, selections(catalog))
        for warning in store.warnings:
            say(f"  warning: {warning}")
    return answered


def index_kind(directory: Path) -> Facts:
    """Return the kind and the parameters of the pictures' index, as the catalog records them."""
    with Catalog.open(directory) as catalog:
        rows = catalog.rows(
            "SELECT kind, parameters FROM generations JOIN spaces ON spaces.id = space_id "
            "WHERE digest = ? AND modality = ? ORDER BY number DESC LIMIT 1",
            SPACE.digest,
            Modality.IMAGE.value,
        )
    return {"kind": rows[0][0], "parameters": rows[0][1]} if rows else {"kind": "none"}


def report(facts: Facts, cold: dict[str, Summary], warm: list[Answered]) -> None:
    """Print the tables."""
    rows = [[name, seconds(s.wall), seconds(s.cpu), size(s.peak)] for name, s in cold.items()]
    say("\n" + table(["cold query", "wall", "CPU", "peak memory"], rows))
    rows = [
        [a.name, f"{a.recall:.4f}", f"{a.per_second:.0f}", seconds(a.p50), seconds(a.p99)]
        for a in warm
    ]
    say("\n" + table(["filter", "recall@10", "a second", "p50", "p99"], rows))
    held = facts["disk"]
    say(
        f"\nindex {facts['index']['kind']}: {held['index'] / facts['rows']:.0f} B a picture, "
        f"catalog {held['catalog'] / facts['rows']:.0f} B a picture; "
        f"rows written in {seconds(facts['build']['write_seconds'])}, "
        f"indexed in {seconds(facts['build']['index_seconds'])}"
    )
    for name, good in facts["targets"].items():
        say(f"{'met' if good else 'NOT MET'}: {name}")


def targets(rows: int, cold: dict[str, Summary], warm: list[Answered]) -> dict[str, bool]:
    """Say which of the targets this run meets; that on memory is for a million rows."""
    met = {
        "recall@10 at least 0.99": warm[0].recall >= 0.99,
        "filtered recall@10 at least 0.99": min(a.recall for a in warm[1:]) >= 0.99,
    }
    if rows >= MEMORY_ROWS:
        peak = max(summary.peak for summary in cold.values())
        met["peak memory of a query at most 300 MB"] = peak <= MEMORY_LIMIT
    return met


def main() -> None:
    """Build, measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure a synthetic library.")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kind", default="", help="of the index; by the number of rows")
    parser.add_argument("--fresh", action="store_true", help="build the library anew")
    parser.add_argument("--drop-caches", action="store_true", help="a cold page cache (as root)")
    asked = parser.parse_args()
    if asked.drop_caches and os.geteuid() != 0:
        parser.error("--drop-caches needs root")
    built = build(asked.rows, kind=asked.kind, fresh=asked.fresh)
    say("cold queries")
    cold = cold_queries(built, asked.runs, dropping=asked.drop_caches)
    say(f"{asked.queries} questions in one process")
    warm = warm_queries(built, asked.queries)
    facts: Facts = {
        "rows": asked.rows,
        "machine": measuring.machine(),
        "page_cache": "cold" if asked.drop_caches else "warm",
        "build": asdict(built.stamp),
        "disk": disk(built.directory),
        "index": index_kind(built.directory),
        "cold": cold,
        "queries": asked.queries,
        "warm": [asdict(answered) for answered in warm],
        "targets": targets(asked.rows, cold, warm),
    }
    report(facts, cold, warm)
    parts = ("scale", str(asked.rows), asked.kind, "cold-cache" if asked.drop_caches else "")
    measuring.keep("-".join(part for part in parts if part), facts)


if __name__ == "__main__":
    main()
