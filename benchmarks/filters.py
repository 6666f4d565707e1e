"""Measure filters: what a selection costs, what a search among it costs, and what it finds.

    python benchmarks/filters.py [--rows 100000] [--queries 100]

The library is that of `scale.py` with facts and labels: a picture's date goes by its topic, so
that dates select what lies together in the space, and its width and labels are drawn at random.
A selection is made once for a condition and kept until the library changes: `first` is the
time of the first one, `again` that of the next. Recall is against brute force over the catalog.
"""

import argparse
import shutil
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import measuring
import numpy as np
from libraries import brute_force, build
from measuring import WORK, Facts, say, seconds, table
from searching import K, ask_singly, recall
from synthetic import FOLDER

from mmsearch.core import Modality, Photo, Vectors
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import LabelChange, LabelSource
from mmsearch.index.store import IndexStore
from mmsearch.index.where.grammar import parse_condition
from mmsearch.index.where.select import Selector, select

_DAY = 86_400
_CHUNK = 20_000
_TIMES = 5  # a selection is made; the median counts
_LABELS = {"thousandth": 0.001, "tenth": 0.1, "most": 0.9}


@dataclass(frozen=True, slots=True)
class Filtered:
    """How questions under one condition were answered.

    `rows` is how many it selects; `first` and `again` are seconds of selecting, `search` the
    median seconds of a search among them; `recall` is recall@K.
    """

    condition: str
    rows: int
    first: float
    again: float
    search: float
    recall: float


def library_of(rows: int) -> tuple[Path, Vectors]:
    """Return a library with facts and labels, made once, and questions for it."""
    built = build(rows)
    directory = WORK / f"filters-{rows}"
    stamp = directory / "benchmark.filters"
    if not stamp.exists():
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(built.directory, directory)
        _describe(directory)
        stamp.touch()
    return directory, built.stamp.source.queries(1000)


def _describe(directory: Path) -> None:
    """Add facts to every picture, and labels to some."""
    generator = np.random.default_rng(3)
    with Catalog.open(directory, write=True) as catalog:
        rows = catalog.rows("SELECT id, path FROM items WHERE modality = 'image' ORDER BY id")
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            attributes.set_photos(
                catalog, {number: _photo(path, generator) for number, path in some}
            )
        order = generator.permutation([number for number, _ in rows])
        for label, share in _LABELS.items():
            chosen = order[: round(share * len(order))].tolist()
            for start in range(0, len(chosen), _CHUNK):
                attributes.set_labels(
                    catalog,
                    [
                        LabelChange(number, label, LabelSource.USER, None)
                        for number in chosen[start : start + _CHUNK]
                    ],
                )


def _photo(path: bytes, generator: np.random.Generator) -> Photo:
    """Return the facts of a picture, taken on the day that its topic counts; 90 % are wide."""
    topic = int(path[len(f"{FOLDER}/topic-") :].split(b"/")[0])
    wide = generator.random() < 0.9
    height, second = generator.integers(1000, 4000), generator.integers(0, _DAY)
    return Photo(
        int(generator.integers(2000, 6000) if wide else generator.integers(500, 2000)),
        int(height),
        topic * _DAY + int(second),
        f"Camera {topic % 9}",
        float(generator.uniform(-60, 70)),
        float(generator.uniform(-180, 180)),
        int(generator.integers(0, 1 << 62)),
    )


def conditions(catalog: Catalog) -> list[str]:
    """Return conditions that hold for 0.1 %, 10 % and 90 %, at random and of whole topics."""
    days = np.array(
        [row[0] for row in catalog.rows(f"SELECT taken / {_DAY} FROM photos ORDER BY taken")]
    )
    tenth, most = (_date(int(days[int(share * len(days))])) for share in (0.1, 0.9))
    return [
        *(f"label = '{label}'" for label in _LABELS),
        f"date < {tenth}",
        f"date < {most}",
        "width >= 2000",
        f"under('{FOLDER}')",
        "camera LIKE '%3'",
        "near(48.2, 16.4, 2000)",
        "name LIKE '%7.jpg'",
        f"date < {most} AND width >= 2000 AND NOT label = 'tenth'",
        "label = 'nothing'",
    ]


def _date(days: int) -> str:
    return str(np.datetime64(days, "D"))


def measure(directory: Path, queries: Vectors) -> tuple[list[Filtered], float]:
    """Ask all questions under each condition; return that and a plain search's median seconds."""
    with Catalog.open(directory) as catalog:
        store = IndexStore(catalog, directory)
        plain = statistics.median(ask_singly(store, queries)[1])
        texts = conditions(catalog)
        chosen = [select(catalog, parse_condition(text), Modality.IMAGE).ids for text in texts]
        best = brute_force(catalog, queries, K, chosen)
        measured = []
        for text, ids, truth in zip(texts, chosen, best, strict=True):
            first, again = selecting(catalog, text)
            matches, spent = ask_singly(store, queries, ids)
            search = statistics.median(spent)
            measured.append(Filtered(text, len(ids), first, again, search, recall(matches, truth)))
    return measured, plain


def selecting(catalog: Catalog, text: str) -> tuple[float, float]:
    """Return the median seconds of selecting for the first time, and again."""
    first, again = [], []
    for _ in range(_TIMES):
        selector = Selector(catalog)
        for times in (first, again):
            began = time.perf_counter()
            selector.select(parse_condition(text), Modality.IMAGE)
            times.append(time.perf_counter() - began)
    return statistics.median(first), statistics.median(again)


def report(rows: int, measured: list[Filtered], plain: float) -> None:
    """Print the table."""
    lines = [
        [
            f"`{one.condition}`",
            f"{one.rows / rows:.1%}",
            seconds(one.first),
            seconds(one.again),
            seconds(one.search),
            f"{(one.again + one.search) / plain:.2f}",
            f"{one.recall:.4f}",
        ]
        for one in measured
    ]
    header = ["condition", "selects", "first", "again", "search", "to plain", "recall@10"]
    say(f"\n{rows:,} pictures; a plain search takes {seconds(plain)}\n")
    say(table(header, lines))


def main() -> None:
    """Build, measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure filters.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=100)
    asked = parser.parse_args()
    directory, queries = library_of(asked.rows)
    measured, plain = measure(directory, queries[: asked.queries])
    report(asked.rows, measured, plain)
    facts: Facts = {
        "rows": asked.rows,
        "queries": asked.queries,
        "machine": measuring.machine(),
        "plain": plain,
        "filters": [asdict(one) for one in measured],
    }
    measuring.keep(f"filters-{asked.rows}", facts)


if __name__ == "__main__":
    main()
