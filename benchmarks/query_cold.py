"""Time whole `mmsearch query` processes on a library of synthetic pictures.

    python benchmarks/query_cold.py [--items 10000] [--runs 7] [--model mini]

Vectors are drawn from a few hundred clusters around the model's own text vectors, so that scores
look like real ones; every run asks something new. Prints the median and the range of wall and
CPU seconds and the peak memory of the process, as the operating system accounts for them.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.models import canonical_spec, load_encoder

WORDS = ("dog", "cat", "child", "man", "woman", "ball", "grass", "water", "beach", "snow", "bike")


def questions(count: int, generator: np.random.Generator) -> list[str]:
    """Draw sentences of four different words."""
    return [" ".join(generator.choice(WORDS, 4, replace=False)) for _ in range(count)]


def fill(library: Path, model: str, items: int) -> None:
    """Write a library of pictures that do not exist."""
    generator = np.random.default_rng(0)
    encoder = load_encoder(model)
    centres = encoder.encode_texts(questions(300, generator))
    with Catalog.open(library, write=True) as catalog:
        catalog.set_space(encoder.space)
        catalog.set_setting(f"model:{encoder.space.digest}", canonical_spec(model))
        root = catalog.add_root("/photos", RootKind.FOLDER)
        for start in range(0, items, 1000):
            count = min(1000, items - start)
            noise = generator.normal(size=(count, encoder.space.dim)).astype(np.float32)
            vectors = centres[generator.integers(0, len(centres), count)]
            vectors = vectors + noise * (0.7 / encoder.space.dim**0.5)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            rows = [
                FileRow(
                    root_id=root,
                    path=f"/photos/{start + n:07}.jpg".encode(),
                    digest=f"{start + n:064x}",
                    size=1,
                    mtime_ns=1,
                    vector=vector,
                )
                for n, vector in enumerate(vectors)
            ]
            catalog.commit(Batch(files=tuple(rows)))
        IndexStore(catalog, library).refresh(encoder.space)


def ask(library: Path, text: str) -> tuple[float, float]:
    """Run one query process; return wall and CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command = [sys.executable, "-m", "mmsearch", "query", text, "--library", str(library)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main() -> None:
    """Fill a library, ask it, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", default="mini")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        fill(library, asked.model, asked.items)
        texts = questions(asked.runs + 1, np.random.default_rng(1))
        timed = [ask(library, text) for text in texts][1:]
    for name, values in zip(("wall", "cpu"), zip(*timed, strict=True), strict=True):
        print(
            f"{name}: median {statistics.median(values):.2f} s "
            f"({min(values):.2f} to {max(values):.2f}), {asked.runs} runs, {asked.items} items"
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
