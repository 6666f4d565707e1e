"""Compare searches with hnswlib and usearch on the same vectors, one thread each.

    python benchmarks/against_ann.py [--rows 10000] [--queries 300]

The libraries hold vectors in memory and know nothing of files, filters by SQL or crashes; mmsearch
answers through `IndexStore.search`, which reads its index from disk and every candidate's vector
from the catalog. Questions are of the other modality, recall is against brute force, and the
tools take turns. Each is swept over its own setting; speeds are compared at equal recall, that of
the others read off between the two nearest settings. The peers are installed into build/peers.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import measuring
import numpy as np
from libraries import Built, build
from measuring import PEERS, WORK, Facts, keep, say, seconds, size, table
from numpy.typing import NDArray
from searching import K, recall
from synthetic import SPACE, VERSION

from mmsearch.core import Ids, Matches, Modality, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore

_PACKAGES = ("hnswlib==0.8.0", "usearch>=2.16,<3", "numkong")
_LINKS = 16
_EFFORT = 200  # while building
_SWEEP = (16, 32, 64, 128, 256, 512, 1024)
_TARGET = 0.5
_BATCH = 32

Search = Callable[[Vectors], NDArray[np.int64]]
"""Queries (n, DIM) to ids (n, K)."""


@dataclass(frozen=True, slots=True)
class Point:
    """A tool at one setting. `single` and `batched` in questions a second."""

    tool: str
    setting: str
    recall: float
    single: float
    batched: float


@dataclass(frozen=True, slots=True)
class Data:
    """The catalog's vectors, the questions, and the K best scores of each (n, K)."""

    ids: Ids
    vectors: Vectors
    queries: Vectors
    truth: Vectors


def install_peers() -> None:
    """Install the peers beside each other unless they are there, and make them importable."""
    if not (PEERS / "usearch").is_dir():
        say("installing hnswlib and usearch")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(PEERS)]
        subprocess.run([*pip, *_PACKAGES], check=True)
    sys.path.insert(0, str(PEERS))


def read(built: Built, queries: int) -> Data:
    """Return the pictures' vectors and questions about them."""
    with Catalog.open(built.directory) as catalog:
        ids, vectors = catalog.all_vectors(SPACE, Modality.IMAGE)
    asked = built.stamp.source.queries(queries)
    best = [np.sort(-np.partition(-(row @ vectors.T), K - 1)[:K])[::-1] for row in asked]
    return Data(ids, vectors, asked, np.array(best, dtype=np.float32))


def hnswlib_index(data: Data) -> tuple[Any, Facts]:
    """Return hnswlib's index, built or read, and what it took."""
    import hnswlib

    file = WORK / f"ann-{VERSION}-{len(data.ids)}-{_LINKS}-{_EFFORT}.hnswlib"
    index = hnswlib.Index(space="ip", dim=SPACE.dim)
    began = time.perf_counter()
    if file.exists():
        index.load_index(str(file), max_elements=len(data.ids))
        spent = None
    else:
        index.init_index(len(data.ids), M=_LINKS, ef_construction=_EFFORT)
        index.add_items(data.vectors, np.arange(len(data.ids)), num_threads=1)
        spent = time.perf_counter() - began
        index.save_index(str(file))
    index.set_num_threads(1)
    return index, _noted("hnswlib", file.stat().st_size, spent, len(data.ids))


def usearch_index(data: Data) -> tuple[Any, Facts]:
    """Return usearch's index, built or read, and what it took."""
    from usearch.index import Index

    file = WORK / f"ann-{VERSION}-{len(data.ids)}-{_LINKS}-{_EFFORT}.usearch"
    index = Index(
        ndim=SPACE.dim, metric="ip", dtype="f16", connectivity=_LINKS, expansion_add=_EFFORT
    )
    began = time.perf_counter()
    if file.exists():
        index.load(str(file))
        spent = None
    else:
        index.add(np.arange(len(data.ids)), data.vectors, threads=1)
        spent = time.perf_counter() - began
        index.save(str(file))
    return index, _noted("usearch", file.stat().st_size, spent, len(data.ids))


def _noted(tool: str, count: int, spent: float | None, rows: int) -> Facts:
    """Return size and building time, the latter remembered from when it was built."""
    file = WORK / f"ann-{VERSION}-{rows}-{tool}.seconds"
    if spent is not None:
        file.write_text(f"{spent}\n")
    taken = float(file.read_text()) if file.exists() else None
    return {"tool": tool, "bytes": count, "build_seconds": taken}


def peers(data: Data) -> tuple[dict[tuple[str, str], Search], list[Facts]]:
    """Return a search for every peer and setting."""
    small, small_facts = hnswlib_index(data)
    large, large_facts = usearch_index(data)

    def hnswlib_search(effort: int) -> Search:
        def search(queries: Vectors) -> NDArray[np.int64]:
            small.set_ef(effort)
            labels = small.knn_query(queries, k=K, num_threads=1)[0]
            return np.asarray(data.ids[labels.astype(np.int64)])

        return search

    def usearch_search(effort: int) -> Search:
        def search(queries: Vectors) -> NDArray[np.int64]:
            large.expansion_search = effort
            keys = large.search(queries, K, threads=1).keys
            return np.asarray(data.ids[keys.astype(np.int64).reshape(len(queries), K)])

        return search

    searches: dict[tuple[str, str], Search] = {}
    for effort in _SWEEP:
        if effort <= len(data.ids):
            searches["hnswlib", f"ef {effort}"] = hnswlib_search(effort)
            searches["usearch", f"ef {effort}"] = usearch_search(effort)
    return searches, [small_facts, large_facts]


def time_searches(data: Data, searches: dict[tuple[str, str], Search]) -> list[Point]:
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


def own_search(store: IndexStore) -> Search:
    """Return the search of a library as it is."""

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
    asked = parser.parse_args()
    install_peers()
    built = build(asked.rows)
    data = read(built, asked.queries)
    say("building the peers' indexes, one thread each, unless they are there")
    searches, facts = peers(data)
    own = built.stamp.index_seconds
    with Catalog.open(built.directory) as catalog:
        store = IndexStore(catalog, built.directory)
        searches["mmsearch", "default"] = own_search(store)
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
