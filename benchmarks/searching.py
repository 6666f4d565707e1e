"""Ask a library in one process: latency, throughput, recall against brute force, filters."""

import time
from dataclasses import dataclass

import numpy as np
from libraries import brute_force
from numpy.typing import NDArray
from synthetic import FOLDER, SPACE

from mmsearch.core import Ids, Matches, Modality, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore

K = 10
_TOLERANCE = 1e-6  # between a float32 and a float64 sum of unit rows
_BATCH = 32
_FOLDER_LENGTH = len(f"{FOLDER}/topic-000")


@dataclass(frozen=True, slots=True)
class Answered:
    """How one set of questions was answered, one at a time.

    `recall` is recall@K. `per_second` from the mean, `p50` and `p99` in seconds; `batched` is
    questions a second when asked 32 at once. `rows` is how many the filter leaves.
    """

    name: str
    rows: int
    recall: float
    per_second: float
    p50: float
    p99: float
    batched: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter: the ids that may be found; None is no filter."""

    name: str
    ids: Ids | None


def ask_all(
    catalog: Catalog, store: IndexStore, queries: Vectors, choices: list[Choice]
) -> list[Answered]:
    """Answer every question under every filter and compare with brute force."""
    best = brute_force(catalog, queries, K, [choice.ids for choice in choices])
    rows = catalog.counts().images
    answered = []
    for choice, truth in zip(choices, best, strict=True):
        matches, spent = ask_singly(store, queries, choice.ids)
        began = time.perf_counter()
        for start in range(0, len(queries), _BATCH):
            part = queries[start : start + _BATCH]
            store.search(SPACE, Modality.IMAGE, part, K, among=choice.ids)
        batched = len(queries) / (time.perf_counter() - began)
        answered.append(
            Answered(
                choice.name,
                rows if choice.ids is None else len(choice.ids),
                recall(matches, truth),
                1 / float(spent.mean()),
                float(np.percentile(spent, 50)),
                float(np.percentile(spent, 99)),
                batched,
            )
        )
    return answered


def ask_singly(
    store: IndexStore, queries: Vectors, among: Ids | None = None
) -> tuple[list[Matches], NDArray[np.float64]]:
    """Return each query's answer and its seconds; a few are asked beforehand to warm up."""
    for query in queries[:5]:
        store.search(SPACE, Modality.IMAGE, query[np.newaxis], K, among=among)
    answers, spent = [], []
    for query in queries:
        began = time.perf_counter()
        answers += store.search(SPACE, Modality.IMAGE, query[np.newaxis], K, among=among)
        spent.append(time.perf_counter() - began)
    return answers, np.array(spent)


def recall(answers: list[Matches], truth: Vectors) -> float:
    """Return how much of the true k best was found: (n, k) best scores, -inf where none is.

    By score, so that any of several equal rows counts.
    """
    found = wanted = 0
    for answer, best in zip(answers, truth, strict=True):
        there = best[np.isfinite(best)]
        wanted += len(there)
        if len(there):
            good = answer.scores >= there[-1] - _TOLERANCE
            found += min(int(good.sum()), len(there))
    return found / wanted if wanted else 1.0


def selections(catalog: Catalog) -> list[Choice]:
    """Return no filter, random ones of several sizes, and folders: ids that lie close."""
    ids = np.array(
        [row[0] for row in catalog.rows("SELECT id FROM items WHERE modality = 'image'")]
    )
    generator = np.random.default_rng(10)
    choices = [Choice("all", None)]
    for share, name in ((0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (0.5, "50 %")):
        count = max(1, round(len(ids) * share))
        chosen = np.sort(generator.choice(ids, count, replace=False)).astype(np.int64)
        choices.append(Choice(f"{name}, at random", chosen))
    for share, name in ((0.01, "1 %"), (0.1, "10 %")):
        choices.append(Choice(f"{name}, whole folders", _folders(catalog, len(ids) * share)))
    return choices


def _folders(catalog: Catalog, wanted: float) -> Ids:
    """Return the ids of folders, the smallest first, until there are as many as wanted."""
    counts = catalog.rows(
        "SELECT substr(path, 1, ?) AS folder, count(*) AS held FROM items "
        "WHERE modality = 'image' GROUP BY folder ORDER BY held, folder",
        _FOLDER_LENGTH,
    )
    folders: list[bytes] = []
    total = 0
    for folder, held in counts:
        folders.append(folder)
        total += held
        if total >= wanted:
            break
    found = [
        row[0]
        for folder in folders
        for row in catalog.rows(
            "SELECT id FROM items WHERE path > ? AND path < ?", folder + b"/", folder + b"0"
        )
    ]
    return np.array(sorted(found), dtype=np.int64)
