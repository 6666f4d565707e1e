"""hnswlib and usearch: installed beside the project, built on the catalog's vectors, swept.

Their indexes are built by one thread with the settings that their pages recommend, and kept.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from libraries import Built
from measuring import PEERS, WORK, Facts, say
from numpy.typing import NDArray
from searching import K
from synthetic import SPACE, VERSION

from mmsearch.core import Ids, Modality, Vectors
from mmsearch.index.catalog import Catalog

_PACKAGES = ("hnswlib==0.8.0", "usearch>=2.16,<3", "numkong")
_LINKS = 16
_EFFORT = 200  # while building
_SWEEP = (16, 32, 64, 128, 256, 512, 1024)

Search = Callable[[Vectors], NDArray[np.int64]]
"""Queries (n, DIM) to ids (n, K)."""

Searches = dict[tuple[str, str], Search]
"""By tool and setting."""


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


def peers(data: Data) -> tuple[Searches, list[Facts]]:
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

    searches: Searches = {}
    for effort in _SWEEP:
        if effort <= len(data.ids):
            searches["hnswlib", f"ef {effort}"] = hnswlib_search(effort)
            searches["usearch", f"ef {effort}"] = usearch_search(effort)
    return searches, [small_facts, large_facts]
