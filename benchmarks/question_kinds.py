"""Time every kind of question beside a plain one: whole processes, and in a warm process.

    python benchmarks/question_kinds.py [--items 100000] [--runs 7]

A library of synthetic pictures with dates, cameras, sizes, labels and captions is made once in
build/benchmarks. Vectors are drawn around the model's own text vectors. A run of a kind is a plain
`mmsearch query` process and one of that kind, in turn; the table has the medians in seconds and
their ratio. The warm columns are the same through `Library.search`, in milliseconds. Every question
is new.
"""

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measuring import WORK
from query_cold import questions

import mmsearch
from mmsearch.core import Photo
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, LabelChange, LabelSource, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.models import canonical_spec, load_encoder

_DAY = 86_400
_FIRST = 1_262_304_000  # 2010-01-01
_CHUNK = 5_000


@dataclass(frozen=True)
class Kind:
    """A kind of question: the words after `mmsearch`, where {} is a new sentence."""

    name: str
    words: tuple[str, ...]


KINDS = (
    Kind("plain", ("query", "{}")),
    Kind("plus and minus", ("query", "{}", "--plus", "0.5:{}", "--minus", "{}")),
    Kind("with an item", ("query", "{}", "--item", "77")),
    Kind("similar", ("similar", "77")),
    Kind("any modality", ("query", "{}", "--for", "any")),
    Kind("filter, 0.1 %", ("query", "{}", "--where", "camera = 'Rare One'")),
    Kind("filter, 10 %", ("query", "{}", "--where", "width < 1300")),
    Kind("filter, 90 %", ("query", "{}", "--where", "width >= 1300")),
    Kind("filter, folder", ("query", "{}", "--under", "/photos/007")),
    Kind("filter, dates", ("query", "{}", "--after", "2014", "--before", "2016")),
    Kind("filter, label", ("query", "{}", "--label", "holiday")),
    Kind("filter, caption", ("query", "{}", "--where", "caption LIKE '%dog%'")),
    Kind("text", ("query", "{}", "--mode", "text")),
    Kind("hybrid", ("query", "{}", "--mode", "hybrid")),
    Kind("hybrid, 90 %", ("query", "{}", "--mode", "hybrid", "--where", "width >= 1300")),
    Kind("cut-off", ("query", "{}", "--cutoff", "mark")),
    Kind("by date, in days", ("query", "{}", "--sort", "date", "--group", "day")),
    Kind("explained", ("query", "{}", "--explain")),
    Kind("all of it", (
        "query", "{}", "--plus", "0.5:{}", "--minus", "{}", "--mode", "hybrid", "--after", "2012",
        "--where", "width >= 1300 AND NOT label = 'holiday'", "--cutoff", "mark", "--explain",
    )),
)  # fmt: skip


def library_of(items: int, model: str) -> Path:
    """Return a library with so many pictures that do not exist; made once."""
    library = WORK / f"questions-{items}"
    stamp = library / "benchmark.made"
    if not stamp.exists():
        shutil.rmtree(library, ignore_errors=True)
        _fill(library, items, model)
        stamp.touch()
    return library


def _fill(library: Path, items: int, model: str) -> None:
    generator = np.random.default_rng(0)
    encoder = load_encoder(model)
    centres = encoder.encode_texts(questions(300, generator))
    with Catalog.open(library, write=True) as catalog:
        catalog.set_space(encoder.space)
        catalog.set_setting(f"model:{encoder.space.digest}", canonical_spec(model))
        root = catalog.add_root("/photos", RootKind.FOLDER)
        for start in range(0, items, _CHUNK):
            count = min(_CHUNK, items - start)
            vectors = centres[generator.integers(0, len(centres), count)]
            noise = generator.normal(size=vectors.shape).astype(np.float32)
            vectors = vectors + noise * (0.7 / encoder.space.dim**0.5)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = [_row(root, start + n, vector, generator) for n, vector in enumerate(vectors)]
            catalog.commit(Batch(files=tuple(rows)))
        numbers = [row[0] for row in catalog.rows("SELECT id FROM items ORDER BY id")]
        attributes.set_labels(
            catalog,
            [LabelChange(n, "holiday", LabelSource.USER, None) for n in numbers if n % 20 == 0],
        )
        texts = questions(len(numbers), generator)
        attributes.set_captions(
            catalog, {n: (text,) for n, text in zip(numbers, texts, strict=True) if n % 2}
        )
        IndexStore(catalog, library).refresh(encoder.space)


def _row(root: int, number: int, vector: "np.ndarray", generator: np.random.Generator) -> FileRow:
    """Return a picture: one in a thousand by a rare camera, one in ten narrower than 1300."""
    width = int(generator.integers(1000, 4000)) if number % 10 else 1200
    width = max(width, 1300) if number % 10 else width
    photo = Photo(
        width,
        int(generator.integers(1000, 4000)),
        _FIRST + int(generator.integers(0, 4000)) * _DAY,
        "Rare One" if number % 1000 == 0 else f"Camera {number % 7}",
        None,
        None,
        int(generator.integers(0, 1 << 62)),
    )
    return FileRow(
        root_id=root,
        path=f"/photos/{number // 1000:03}/{number:07}.jpg".encode(),
        digest=f"{number:064x}",
        size=1_000_000 + number,
        mtime_ns=1_500_000_000 * 10**9,
        vector=vector,
        photo=photo,
    )


class Asker:
    """Asks questions that were never asked before."""

    def __init__(self, library: Path) -> None:
        self.library = library
        self._generator = np.random.default_rng(1)

    def words(self, kind: Kind) -> list[str]:
        """Return the command line of one new question."""
        return [
            word.replace("{}", questions(1, self._generator)[0]) if "{}" in word else word
            for word in kind.words
        ]

    def cold(self, kind: Kind) -> float:
        """Return the seconds of a whole process."""
        command = [sys.executable, "-m", "mmsearch", *self.words(kind)]
        began = time.perf_counter()
        subprocess.run(
            [*command, "--library", str(self.library)],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - began

    def pairs(self, kind: Kind, runs: int) -> tuple[float, float]:
        """Return the median seconds of plain questions and of this kind, asked in turn."""
        times = [(self.cold(KINDS[0]), self.cold(kind)) for _ in range(runs + 1)][1:]
        plain, other = zip(*times, strict=True)
        return statistics.median(plain), statistics.median(other)


def warm_filters(library: Path, runs: int) -> None:
    """Print milliseconds of filtered questions in a process that has asked before."""
    wheres = ["", *(k.words[3] for k in KINDS if k.words[2:3] == ("--where",))]
    with mmsearch.open(library) as opened:
        rng = np.random.default_rng(2)
        times: dict[str, list[float]] = {where: [] for where in wheres}
        for text in questions(runs + 2, rng):
            for where in wheres:
                began = time.perf_counter()
                opened.search(text, where=where or None)
                times[where].append(time.perf_counter() - began)
    print("\n| warm, in one process | median ms |\n|---|---:|")
    for where, values in times.items():
        print(f"| {where or 'plain'} | {1000 * statistics.median(values[2:]):.1f} |")


def main(words: Sequence[str] | None = None) -> None:
    """Ask, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--only", help="part of a kind's name")
    given = parser.parse_args(words)
    asker = Asker(library_of(given.items, given.model))
    print(f"{given.items:,} pictures, medians of {given.runs} pairs of processes\n")
    print("| question | plain, s | this kind, s | ratio |\n|---|---:|---:|---:|")
    for kind in KINDS[1:]:
        if given.only and given.only not in kind.name:
            continue
        plain, other = asker.pairs(kind, given.runs)
        print(f"| {kind.name} | {plain:.3f} | {other:.3f} | {other / plain:.2f} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\npeak memory of a process: {peak:.0f} MB")
    warm_filters(asker.library, given.runs)


if __name__ == "__main__":
    main()
