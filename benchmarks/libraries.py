"""Build synthetic libraries through the public write path, once, and find them again.

    python benchmarks/libraries.py [--rows 10000]

A library lies in build/benchmarks/library-ROWS beside a stamp that says how it was made and how
long that took. A build that was interrupted goes on where it stopped; a library whose stamp
does not fit is made anew.
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import synthetic
from measuring import WORK, say, seconds, size
from numpy.typing import NDArray
from synthetic import FOLDER, SPACE, Block, Synthetic

from mmsearch.core import Ids, Modality, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind, TextRow
from mmsearch.index.store import IndexStore

_STAMP = "benchmark.json"
_MEAN_PICTURE = 3_000_000  # bytes
_FIRST_TIME = 1_100_000_000 * 10**9  # ns since 1970


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a library was made. Seconds are of work done, added up over interruptions.

    `write_seconds` for committing the rows, `index_seconds` for the index files. `kind` is that
    of the index when it was asked for, else empty.
    """

    rows: int
    sentences: int
    kind: str = ""
    version: int = synthetic.VERSION
    write_seconds: float = 0.0
    index_seconds: float = 0.0
    done: bool = False

    @property
    def source(self) -> Synthetic:
        """The generator of the library's vectors."""
        return Synthetic(self.rows, self.sentences)


@dataclass(frozen=True, slots=True)
class Built:
    """A finished library and its stamp."""

    directory: Path
    stamp: Stamp


def build(rows: int, sentences: int | None = None, *, kind: str = "", fresh: bool = False) -> Built:
    """Return the library of so many rows, made now unless it is there.

    `sentences` None is 20,000, fewer for a small library. `kind` is a kind of index, empty the
    one that the library chooses. `fresh` makes it anew.
    """
    wanted = Stamp(rows, min(20_000, rows // 5) if sentences is None else sentences, kind)
    directory = WORK / "-".join(part for part in ("library", str(rows), kind) if part)
    stamp = _read_stamp(directory)
    if fresh or stamp is None or _asked(stamp) != _asked(wanted):
        shutil.rmtree(directory, ignore_errors=True)
        stamp = wanted
    if not stamp.done:
        say(f"building a library of {rows:,} pictures and {stamp.sentences:,} sentences")
        stamp = _index(directory, _write(directory, stamp))
    return Built(directory, stamp)


def remember_model(directory: Path, model: Path) -> None:
    """Note which model folder encodes questions for a library, as `index` does."""
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_setting(f"model:{SPACE.digest}", str(model))


def brute_force(
    catalog: Catalog, queries: Vectors, k: int, among: Sequence[Ids | None]
) -> list[Vectors]:
    """Return for each filter the k best scores (n, k) of every query, over the catalog's rows.

    Float32 sums: compare scores with a tolerance. Fewer than k rows leave -inf.
    """
    best = [np.full((len(queries), k), -np.inf, dtype=np.float32) for _ in among]
    kept = [None if ids is None else _bitmap(ids) for ids in among]
    with catalog.snapshot():
        for ids, vectors in catalog.vector_table(SPACE, Modality.IMAGE).chunks():
            scores = queries @ vectors.T
            for number, bitmap in enumerate(kept):
                chosen = scores if bitmap is None else scores[:, _held(bitmap, ids)]
                both = np.concatenate([best[number], chosen], axis=1)
                best[number] = -np.partition(-both, k - 1, axis=1)[:, :k]
    return [-np.sort(-rows, axis=1) for rows in best]


def _bitmap(ids: Ids) -> NDArray[np.bool_]:
    bits = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.bool_)
    bits[ids] = True
    return bits


def _held(bitmap: NDArray[np.bool_], ids: Ids) -> NDArray[np.bool_]:
    return np.asarray((ids < len(bitmap)) & bitmap[np.minimum(ids, len(bitmap) - 1)])


def disk(directory: Path) -> dict[str, int]:
    """Return the bytes of the catalog and of the index files."""
    files = [file for file in directory.rglob("*") if file.is_file()]
    return {
        "catalog": sum(f.stat().st_size for f in files if f.name.startswith("catalog.sqlite")),
        "index": sum(f.stat().st_size for f in files if f.suffix == ".faiss"),
    }


def batch(block: Block, root: int, first_sentence: int) -> Batch:
    """Return what one commit writes of a block."""
    generator = np.random.default_rng([9, block.number])
    sizes = generator.lognormal(np.log(_MEAN_PICTURE), 0.6, len(block.images)).astype(int)
    files = []
    for n, (vector, topic) in enumerate(zip(block.images, block.topics, strict=True)):
        number = block.number * synthetic.BLOCK + n
        path = synthetic.picture_path(number, int(topic))
        files.append(
            FileRow(
                path=path,
                root_id=root,
                size=int(sizes[n]),
                mtime_ns=_FIRST_TIME + number * 600 * 10**9,
                digest=hashlib.sha256(path).hexdigest(),
                vector=vector,
            )
        )
    texts = []
    for n, vector in enumerate(block.texts):
        text = synthetic.sentence(first_sentence + n)
        digest = hashlib.sha256(text.encode()).hexdigest()
        texts.append(TextRow(text=text, root_id=None, digest=digest, vector=vector))
    return Batch(files=tuple(files), texts=tuple(texts))


def _asked(stamp: Stamp) -> tuple[int, int, str, int]:
    return stamp.rows, stamp.sentences, stamp.kind, stamp.version


def _write(directory: Path, stamp: Stamp) -> Stamp:
    """Commit the blocks that are not there yet, one each."""
    with Catalog.open(directory, write=True) as catalog:
        if catalog.space() is None:
            catalog.set_space(SPACE)
        root = catalog.add_root(FOLDER, RootKind.FOLDER)
        counts = catalog.counts()
        there, texts = counts.images, counts.texts
        _keep_stamp(directory, stamp)
        for number in range(there // synthetic.BLOCK, stamp.source.blocks):
            rows = batch(stamp.source.block(number), root, texts)
            began = time.perf_counter()
            catalog.commit(rows)
            spent = stamp.write_seconds + time.perf_counter() - began
            stamp = replace(stamp, write_seconds=spent)
            texts += len(rows.texts)
            _keep_stamp(directory, stamp)
            if number % 10 == 9:
                say(f"  {(number + 1) * synthetic.BLOCK:,} rows in {seconds(spent)}")
    return stamp


def _index(directory: Path, stamp: Stamp) -> Stamp:
    with Catalog.open(directory, write=True) as catalog:
        if stamp.kind:
            from mmsearch.index.policy import SETTING_KIND, IndexKind

            catalog.set_setting(SETTING_KIND, IndexKind(stamp.kind).value)
        store = IndexStore(catalog, directory)
        began = time.perf_counter()
        store.refresh(SPACE)
        stamp = replace(stamp, index_seconds=time.perf_counter() - began, done=True)
        for warning in store.warnings:
            say(f"  warning: {warning}")
    _keep_stamp(directory, stamp)
    say(f"  written in {seconds(stamp.write_seconds)}, indexed in {seconds(stamp.index_seconds)}")
    return stamp


def _read_stamp(directory: Path) -> Stamp | None:
    try:
        return Stamp(**json.loads((directory / _STAMP).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _keep_stamp(directory: Path, stamp: Stamp) -> None:
    (directory / _STAMP).write_text(json.dumps(asdict(stamp)) + "\n")


def main() -> None:
    """Build a library and say what it takes."""
    parser = argparse.ArgumentParser(description="Build a synthetic library.")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--kind", default="", help="of the index; by the number of rows")
    parser.add_argument("--fresh", action="store_true", help="build anew")
    asked = parser.parse_args()
    built = build(asked.rows, kind=asked.kind, fresh=asked.fresh)
    for name, count in disk(built.directory).items():
        say(f"{name}: {size(count)}, {count / asked.rows:.0f} B a picture")


if __name__ == "__main__":
    main()
