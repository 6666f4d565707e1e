"""Compare searches with hnswlib and usearch on the same vectors, one thread each.

    python benchmarks/against_ann.py [--rows 10000] [--queries 300]

The libraries hold vectors in memory and know nothing of files, filters by SQL or crashes; mmsearch
answers through `IndexStore.search`, which reads its index from disk and every candidate's vector
from the catalog. Questions are of the other modality, recall is against brute force, and the
tools take turns. Each is swept over its own setting; speeds are compared at equal recall, that of
the others read off between the two nearest settings. The peers are installed into build/peers.
"""

import argparse
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import measuring
import numpy as np
from libraries import Built, build
from measuring import Facts, keep, mmsearch_command, say, seconds, size, table
from numpy.typing import NDArray
from peer_ann import Data, Search, Searches, install_peers, peers, read
from searching import K, recall
from synthetic import SPACE

from mmsearch.core import Matches, Modality, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore

_TARGET = 0.5
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Point:
    """A tool at one setting. `single` and `batched` in questions a second."""

    tool: str
    setting: str
    recall: float
    single: float
    batched: float


def time_searches(data: Data, searches: Searches) -> list[Point]:
    """Measure all searches, the tools in turn, twice; the better time of each counts."""
    points: dict[tuple[str, str], Point] = {}
    for _ in range(2):
        for (tool, setting), search in searches.items():
            point = _point(data, tool, setting, search)
            known = points.get((tool, setting))
            if known is not None:
                single, batched = max(known.single, point.single), max(known.batched, point.batched)
                point = Point(tool, setting, point.recall, single, batched)
            points[tool, setting] = point
    return list(points.values())


def _point(data: Data, tool: str, setting: str, search: Search) -> Point:
    search(data.queries[:5])
    began = time.perf_counter()
    found = [search(query[np.newaxis])[0] for query in data.queries]
    single = len(data.queries) / (time.perf_counter() - began)
    began = time.perf_counter()
    for start in range(0, len(data.queries), _BATCH):
        search(data.queries[start : start + _BATCH])
    batched = len(data.queries) / (time.perf_counter() - began)
    return Point(tool, setting, recall(_scored(data, found), data.truth), single, batched)


def _scored(data: Data, found: Sequence[NDArray[np.int64]]) -> list[Matches]:
    """Return answers with their true scores, whatever the tool believes."""
    answers = []
    for query, ids in zip(data.queries, found, strict=True):
        rows = data.vectors[np.searchsorted(data.ids, ids)]
        answers.append(Matches(ids, np.asarray(rows @ query, dtype=np.float32)))
    return answers


def own_searches(built: Built, recalls: Sequence[float], opened: ExitStack) -> Searches:
    """Return the searches of a library as it is, and of copies tuned for other recalls."""
    searches = {("mmsearch", "default"): _own_search(built.directory, opened)}
    for wanted in recalls:
        copy = built.directory.with_name(f"{built.directory.name}-tuned-{wanted:g}")
        shutil.rmtree(copy, ignore_errors=True)
        opened.callback(shutil.rmtree, copy, ignore_errors=True)
        shutil.copytree(built.directory, copy)
        tune = mmsearch_command("tune", "--recall", f"{wanted:g}", "--library", copy)
        measuring.measure(tune)
        searches["mmsearch", f"tuned for {wanted:g}"] = _own_search(copy, opened)
    return searches


def _own_search(directory: Path, opened: ExitStack) -> Search:
    catalog = opened.enter_context(Catalog.open(directory))
    store = IndexStore(catalog, directory)

    def search(queries: Vectors) -> NDArray[np.int64]:
        matches = store.search(SPACE, Modality.IMAGE, queries, K)
        return np.stack([match.ids for match in matches])

    return search


def at_recall(points: Sequence[Point], wanted: float) -> tuple[float, float] | None:
    """Return (single, batched) questions a second of a tool where its recall is `wanted`.

    Between two settings, along the straight line in the logarithm of the speed. None when no
    setting gets there; the fastest setting when all are above.
    """
    ordered = sorted(points, key=lambda point: point.recall)
    above = [point for point in ordered if point.recall >= wanted]
    if not above:
        return None
    high = max((p for p in above if p.recall == above[0].recall), key=lambda p: p.single)
    below = [point for point in ordered if point.recall < wanted]
    if not below:
        fastest = max(above, key=lambda point: point.single)
        return fastest.single, fastest.batched
    low = below[-1]
    share = (wanted - low.recall) / (high.recall - low.recall)
    single, batched = (
        float(np.exp((1 - share) * np.log(one) + share * np.log(other)))
        for one, other in ((low.single, high.single), (low.batched, high.batched))
    )
    return single, batched


def compare(points: Sequence[Point]) -> list[Facts]:
    """Return, for each of our settings and each peer, the ratio of speeds at our recall."""
    compared = []
    for own in (point for point in points if point.tool == "mmsearch"):
        for tool in ("hnswlib", "usearch"):
            speed = at_recall([point for point in points if point.tool == tool], own.recall)
            compared.append(
                {
                    "setting": own.setting,
                    "recall": own.recall,
                    "peer": tool,
                    "peer_reaches": speed is not None,
                    "single_ratio": None if speed is None else own.single / speed[0],
                    "batched_ratio": None if speed is None else own.batched / speed[1],
                }
            )
    return compared


def report(points: Sequence[Point], compared: Sequence[Facts], built: Sequence[Facts]) -> None:
    """Print the tables."""
    rows = [
        [p.tool, p.setting, f"{p.recall:.4f}", f"{p.single:.0f}", f"{p.batched:.0f}"]
        for p in sorted(points, key=lambda point: (point.tool, point.recall))
    ]
    say("\n" + table(["tool", "setting", "recall@10", "a second, single", "batched"], rows))
    for fact in built:
        spent = fact["build_seconds"]
        say(f"{fact['tool']}: {size(fact['bytes'])}, built in {seconds(spent) if spent else '?'}")
    for fact in compared:
        place = f"mmsearch ({fact['setting']}) against {fact['peer']} at {fact['recall']:.4f}"
        if not fact["peer_reaches"]:
            say(f"met: {place}: the peer does not get there at any setting")
            continue
        met = "met" if fact["single_ratio"] >= _TARGET else "NOT MET"
        say(
            f"{met}: {place}: {fact['single_ratio']:.2f} x single, "
            f"{fact['batched_ratio']:.2f} x batched (at least {_TARGET})"
        )


def main() -> None:
    """Install, build, measure, print, keep."""
    parser = argparse.ArgumentParser(description="Compare with hnswlib and usearch.")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--kind", default="", help="of our index; by the number of rows")
    parser.add_argument(
        "--tuned",
        type=float,
        nargs="*",
        default=[],
        metavar="RECALL",
        help="measure copies tuned for these recalls as well (an index with lists only)",
    )
    asked = parser.parse_args()
    install_peers()
    built = build(asked.rows, kind=asked.kind)
    data = read(built, asked.queries)
    say("building the peers' indexes, one thread each, unless they are there")
    searches, facts = peers(data)
    own = built.stamp.index_seconds
    with ExitStack() as opened:
        searches |= own_searches(built, asked.tuned, opened)
        points = time_searches(data, searches)
    compared = compare(points)
    report(points, compared, facts)
    say(f"mmsearch: index built in {seconds(own)}")
    keep(
        f"ann-{asked.rows}",
        {
            "rows": asked.rows,
            "machine": measuring.machine("hnswlib", "usearch"),
            "queries": asked.queries,
            "points": [asdict(point) for point in points],
            "compared": compared,
            "peers": facts,
            "index_seconds": own,
        },
    )


if __name__ == "__main__":
    main()
