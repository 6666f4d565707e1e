"""Measure what searching by words costs, and what it brings.

    python benchmarks/hybrid.py speed [--items 100000] [--runs 30]
    python benchmarks/hybrid.py effect [--model mini] [--data ../shared/data]

`speed` asks a library of synthetic pictures with captions of a Zipf vocabulary in one process:
by vectors, by words and by both, for words that few and many items have. All searches are timed
in turn, in one run. `effect` indexes the 1,000 dev photos of Flickr8k in a folder that is deleted
afterwards, attaches the first caption to some of them, asks with the second one of each, and
prints R@K of the three modes: over all photos, those with a caption, and those without.
"""

import argparse
import csv
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measuring import WORK, say

import mmsearch
from mmsearch.core import Hit, Ids, Matches, Modality, Mode, Query, TextTerm, Vectors
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.hybrid import Blending, Search
from mmsearch.retrieval.wording import Wording

DIM = 512
SPACE = mmsearch.Space("hybrid", DIM, "ab" * 32)
VOCABULARY = 5000
KS = (1, 5, 10)
SHARES = (0.1, 0.3, 1.0)


def _unit(rows: Vectors) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _word(rank: int) -> str:
    return f"w{rank:04}"


def library_of(items: int) -> Path:
    """Return a library of so many pictures, half of which have a caption; made once."""
    library = WORK / f"hybrid-{items}"
    made = library / "made"
    if made.exists():
        return library
    say(f"making a library of {items:,} pictures")
    generator = np.random.default_rng(0)
    shares = 1 / (np.arange(VOCABULARY) + 5.0)
    shares /= shares.sum()
    with Catalog.open(library, write=True) as catalog:
        catalog.set_space(SPACE)
        root = catalog.add_root("/photos", RootKind.FOLDER)
        for start in range(0, items, 5000):
            numbers = range(start, min(items, start + 5000))
            vectors = _unit(generator.standard_normal((len(numbers), DIM)).astype(np.float32))
            rows = [
                FileRow(f"/photos/{n % 300:03}/IMG_{n:07}.jpg".encode(), root, 1, 1, f"{n:064x}", v)
                for n, v in zip(numbers, vectors, strict=True)
            ]
            catalog.commit(Batch(files=tuple(rows)))
            texts = generator.choice(VOCABULARY, (len(numbers), 12), p=shares)
            captions = {
                n + 1: (" ".join(map(_word, words)),)
                for n, words in zip(numbers, texts.tolist(), strict=True)
                if n % 2
            }
            attributes.set_captions(catalog, captions)
        IndexStore(catalog, library).refresh(SPACE)
    made.touch()
    return library


def speed(items: int, runs: int) -> None:
    """Print the median milliseconds of each kind of search."""
    with Catalog.open(library_of(items)) as catalog:
        store = IndexStore(catalog, catalog.directory)
        generator = np.random.default_rng(1)
        most = np.sort(generator.choice(items, items * 9 // 10, replace=False)).astype(np.int64) + 1
        sets = {
            "one rare word": (_word(3000),),
            "one of 1 %": (_word(60),),
            "one of 10 %": (_word(2),),
            "rare and frequent": (_word(0), _word(900), _word(2)),
            "four of 1 to 10 %": (_word(1), _word(5), _word(20), _word(60)),
            "a camera's name": ("IMG_0000123.jpg",),
        }
        print("| words | items | plain | text | hybrid | plain, of 90 % | hybrid, of 90 % |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for name, words in sets.items():
            found = len(_blend(catalog, Wording(Mode.TEXT, words), _no_vectors, None, items)[0].ids)
            kinds = _kinds(catalog, store, words, most)
            spent: list[list[float]] = [[] for _ in kinds]
            for _ in range(runs):
                vector = _unit(generator.standard_normal((1, DIM)).astype(np.float32))
                for times, kind in zip(spent, kinds, strict=True):
                    began = time.perf_counter()
                    kind(vector)
                    times.append(time.perf_counter() - began)
            medians = [f"{1000 * statistics.median(times):.1f}" for times in spent]
            print(f"| {name} | {found:,} | {' | '.join(medians)} |")


def _kinds(
    catalog: Catalog, store: IndexStore, words: tuple[str, ...], most: Ids
) -> Sequence[Callable[[Vectors], object]]:
    def nearest(vector: Vectors) -> Search:
        return lambda k, among: store.search(SPACE, Modality.IMAGE, vector, k, among=among)[0]

    return (
        lambda vector: nearest(vector)(10, None),
        lambda vector: _blend(catalog, Wording(Mode.TEXT, words), nearest(vector), None),
        lambda vector: _blend(catalog, Wording(Mode.HYBRID, words), nearest(vector), None),
        lambda vector: nearest(vector)(10, most),
        lambda vector: _blend(catalog, Wording(Mode.HYBRID, words), nearest(vector), most),
    )


def _no_vectors(_: int, __: Ids | None) -> Matches:
    return Matches(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


def _blend(
    catalog: Catalog, wording: Wording, nearest: Search, among: Ids | None, k: int = 10
) -> tuple[Matches, object]:
    blending = Blending(catalog, wording, Modality.IMAGE)
    return blending.rank(nearest, lambda search, k: search(k, among), k)


def effect(model: str, data: Path) -> None:
    """Print R@K by vectors, by words and by both."""
    captions: dict[str, list[str]] = {}
    with (data / "flickr8k" / "captions_dev.csv").open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            captions.setdefault(row["image"], []).append(row["caption"])
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for name in captions:
            (photos / name).symlink_to((data / "flickr8k" / "images" / name).resolve())
        with mmsearch.open(Path(folder) / "library", model=model) as library:
            say("indexing")
            library.add(photos / name for name in captions)
            _effects(library, captions)


def _effects(library: mmsearch.Library, captions: dict[str, list[str]]) -> None:
    rows = library.catalog.rows("SELECT path, id FROM items")
    ids = {os.path.basename(os.fsdecode(path)): number for path, number in rows}  # noqa: PTH119
    questions = {ids[name]: texts[1] for name, texts in captions.items()}
    first = {ids[name]: texts[0] for name, texts in captions.items()}
    print("| photos with a caption | mode | R@1, 5, 10 | of those | of the others |")
    print("| ---: | --- | ---: | ---: | ---: |")
    _row("none", Mode.VECTOR, _ranks(library, questions, Mode.VECTOR), set())
    for share in SHARES:
        drawn = np.random.default_rng(0).random(len(first)) < share
        chosen = {n for n, has in zip(sorted(first), drawn.tolist(), strict=True) if has}
        with Catalog.open(library.directory, write=True) as catalog:
            attributes.set_captions(
                catalog, {n: (text,) if n in chosen else () for n, text in first.items()}
            )
        for mode in (Mode.TEXT, Mode.HYBRID):
            _row(f"{len(chosen) / 10:.0f} %", mode, _ranks(library, questions, mode), chosen)


def _ranks(library: mmsearch.Library, questions: dict[int, str], mode: Mode) -> dict[int, int]:
    """Return the place of each question's photo among the first ten, 1 is best; 11 for none."""
    places = {}
    for number, text in questions.items():
        hits: list[Hit] = library.search(Query((TextTerm(text),), max(KS), mode=mode))
        found = [hit.item.id for hit in hits]
        places[number] = found.index(number) + 1 if number in found else max(KS) + 1
    return places


def _row(name: str, mode: Mode, places: dict[int, int], chosen: set[int]) -> None:
    groups = (places, places.keys() & chosen, places.keys() - chosen if chosen else ())
    cells = [
        ", ".join(f"{100 * sum(places[n] <= k for n in group) / len(group):.1f}" for k in KS)
        if group
        else ""
        for group in groups
    ]
    print(f"| {name} | {mode} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure searching by words.")
    parser.add_argument("what", choices=("speed", "effect"))
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--model", default="mini")
    default = Path(os.environ.get("MMSEARCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=default)
    asked = parser.parse_args()
    if asked.what == "speed":
        speed(asked.items, asked.runs)
    else:
        effect(asked.model, asked.data)


if __name__ == "__main__":
    main()
