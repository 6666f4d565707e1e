"""Time `mmsearch duplicates` on libraries of drawn rows, and see that it finds what was planted.

    python benchmarks/duplicates.py [--rows 10000 --rows 100000]

Vectors are those of `synthetic.py`. Fingerprints are those of drawn grey fields with the spectrum
of photos: as many pairs of them are alike, and as many have to be compared, as among real photos
(a pair in 24,000 within 11 bits; 2 pairs in 100 compared). Planted are exact copies, near copies,
plain pictures of one fingerprint that have nothing else in common, and black frames.
"""

import argparse
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import measuring
import numpy as np
from measuring import WORK, Facts, Run, mmsearch_command, say, seconds, size, table
from numpy.typing import NDArray
from synthetic import BLOCK, FOLDER, SPACE, Synthetic, picture_path

from mmsearch.core import Photo, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind

_DECAY: Final = 1.75
_SHARES: Final = {"exact": 0.02, "near": 0.05, "plain": 0.02, "black": 0.01}
_STAMP: Final = "duplicates.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Planted:
    """How many pictures of each kind a library holds."""

    rows: int
    exact: int
    near: int
    plain: int
    black: int
    version: int = _VERSION


def fingerprints(generator: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return difference hashes of drawn fields of 9 x 8 grey values."""
    across, down = np.arange(9), np.arange(8)
    strength = 1 / (1 + np.hypot(across[np.newaxis], down[:, np.newaxis])) ** _DECAY
    waves = generator.standard_normal((count, 8, 9)) * strength
    rows = np.cos(np.pi * np.outer(down + 0.5, down) / 8)
    columns = np.cos(np.pi * np.outer(across + 0.5, across) / 9)
    fields = np.einsum("yv,nvu,xu->nyx", rows, waves, columns, optimize=True)
    bits = (fields[:, :, :-1] < fields[:, :, 1:]).reshape(count, 64)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def build(rows: int) -> tuple[Path, Planted]:
    """Return the library of so many pictures, made unless it is there, and what is in it."""
    directory = WORK / f"duplicates-{rows}"
    planted = Planted(rows, **{name: round(share * rows) for name, share in _SHARES.items()})
    try:
        if json.loads((directory / _STAMP).read_text()) == asdict(planted):
            return directory, planted
    except (OSError, ValueError):
        pass
    shutil.rmtree(directory, ignore_errors=True)
    say(f"building a library of {rows:,} pictures")
    source = Synthetic(rows, 0)
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        root = catalog.add_root(FOLDER, RootKind.FOLDER)
        for number in range(source.blocks):
            catalog.commit(_batch(source, number, root))
    (directory / _STAMP).write_text(json.dumps(asdict(planted)))
    return directory, planted


def _batch(source: Synthetic, number: int, root: int) -> Batch:
    """Return a block's pictures; in each the same share is planted."""
    block = source.block(number)
    generator = np.random.default_rng([11, number])
    count = len(block.images)
    marks, vectors = fingerprints(generator, count), block.images.copy()
    digests = [hashlib.sha256(b"%d" % (number * BLOCK + n)).hexdigest() for n in range(count)]
    amounts = [round(share * count) for share in _SHARES.values()]
    exact, near, plain, black = np.split(generator.permutation(count), np.cumsum(amounts))[:4]
    first = np.setdiff1d(np.arange(count), np.concatenate([exact, near, plain, black]))
    for place, origin in zip(exact, first, strict=False):
        digests[place], marks[place], vectors[place] = (
            digests[origin],
            marks[origin],
            vectors[origin],
        )
    origins = first[len(exact) : len(exact) + len(near)]
    flips = np.uint64(1) << generator.integers(0, 64, (len(near), 5), dtype=np.uint64)
    marks[near] = marks[origins] ^ np.bitwise_xor.reduce(flips, axis=1)
    vectors[near] = _shaken(generator, vectors[origins])
    marks[plain] = 0
    marks[black], vectors[black] = 0, Synthetic(source.rows, 0).block(0).images[0]
    return Batch(
        files=tuple(
            FileRow(
                path=picture_path(number * BLOCK + n, int(block.topics[n])),
                root_id=root,
                size=3_000_000 - n,
                mtime_ns=n,
                digest=digests[n],
                vector=vectors[n],
                photo=Photo(4000, 3000, None, None, None, None, int(marks[n])),
            )
            for n in range(count)
        )
    )


def _shaken(generator: np.random.Generator, vectors: Vectors) -> Vectors:
    """Return unit rows with a cosine of about 0.95 to those given."""
    noise = generator.standard_normal(vectors.shape, dtype=np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    mixed = vectors + np.float32(0.32) * noise
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), dtype=np.float32)


def found(run: Run, planted: Planted) -> Facts:
    """Return what a run found of what was planted, as shares, and its other groups."""
    record = json.loads(run.output)
    near = [len(group["members"]) for group in record["near"]]
    return {
        "exact": sum(len(group["members"]) - 1 for group in record["exact"]) / planted.exact,
        "near": sum(n - 1 for n in near if n < planted.black) / planted.near,
        "black": max(near, default=0) / planted.black,
        "cut": record["cut"],
    }


def main() -> None:
    """Build, time, print, keep."""
    parser = argparse.ArgumentParser(description="Time the search for duplicates.")
    parser.add_argument("--rows", type=int, action="append", help="[default: 10000 and 100000]")
    asked = parser.parse_args()
    facts: Facts = {"machine": measuring.machine(), "runs": []}
    rows = []
    for count in asked.rows or [10_000, 100_000]:
        directory, planted = build(count)
        for kind in ("--exact", "--near"):
            command = mmsearch_command("duplicates", kind, "--json", "--library", directory)
            run = measuring.measure(command)
            result = found(run, planted)
            facts["runs"].append(
                {"rows": count, "kind": kind, "wall": run.wall, "cpu": run.cpu, "peak": run.peak}
                | result
            )
            part = result["exact"] if kind == "--exact" else result["near"]
            rows.append(
                [
                    *(f"{count:,}", kind, seconds(run.wall), seconds(run.cpu), size(run.peak)),
                    f"{100 * part:.1f} %",
                ]
            )
    say("\n" + table(["pictures", "asked", "wall", "CPU", "peak memory", "planted, found"], rows))
    measuring.keep("duplicates", facts)


if __name__ == "__main__":
    main()
