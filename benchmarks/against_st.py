"""Compare with sentence-transformers: pictures a second, and a question in a cold process.

    python benchmarks/against_st.py [--photos 256] [--rows 20000]

Both run the same randomly initialised CLIP ViT-B/32, ours converted from theirs. Their pictures a
second leave out the loading of the model; ours are those of a whole `mmsearch index` process,
the library written to disk included. The vectors that are searched are the same.
"""

import argparse
import shutil
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path

import measuring
import numpy as np
import peer_st
from libraries import build, remember_model
from measuring import WORK, Facts, Run, keep, measure, mmsearch_command, say, seconds, size
from networks import new_question
from peer_rclip import from_catalog
from photos import Photos, draw_photos


def compare_encoding(photos: Photos, runs: int) -> Facts:
    """Encode a folder of pictures with both tools, in turn."""
    rates: list[float] = []

    def theirs(_: int) -> Run:
        rate, run = peer_st.encode(photos.folder)
        rates.append(rate)
        return run

    say(f"{photos.count} pictures of {photos.width} x {photos.height}")
    seen = measuring.alternate(
        {"mmsearch": lambda _: _index(photos), "sentence-transformers": theirs}, runs
    )
    ours = photos.count / seen["mmsearch"].wall
    rate = sorted(rates[1:])[len(rates[1:]) // 2]
    return {
        "photos": photos.count,
        "ours": ours,
        "theirs": rate,
        "ratio": ours / rate,
        **{name: asdict(summary) for name, summary in seen.items()},
    }


def compare_queries(rows: int, runs: int) -> Facts:
    """Ask both tools, in a process a question, about the same vectors."""
    library = build(rows).directory
    remember_model(library, peer_st.our_folder().path)
    pictures = list(from_catalog(library))
    vectors = np.stack([picture.vector for picture in pictures])
    paths = [picture.path for picture in pictures]
    files = peer_st.save(vectors, paths, WORK / f"sentence-transformers-{rows}")
    say(f"cold queries, {rows:,} pictures")
    command = partial(mmsearch_command, "query", "--library", library)
    seen = measuring.alternate(
        {
            "mmsearch": lambda _: measure(command(new_question())),
            "sentence-transformers": lambda _: peer_st.query(new_question(), *files),
        },
        runs,
    )
    ratio = seen["mmsearch"].wall / seen["sentence-transformers"].wall
    return {"rows": rows, "ratio": ratio, **{name: asdict(each) for name, each in seen.items()}}


def _index(photos: Photos) -> Run:
    library = Path(tempfile.mkdtemp(prefix="mmsearch-benchmark-"))
    try:
        model = peer_st.our_folder().path
        command = mmsearch_command("index", photos.folder, "--model", model, "--library", library)
        return measure(command)
    finally:
        shutil.rmtree(library)


def main() -> None:
    """Install, build, measure, print, keep."""
    parser = argparse.ArgumentParser(description="Compare with sentence-transformers.")
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    peer_st.install()
    peer_st.our_folder()
    encoding = compare_encoding(draw_photos(asked.photos, 640, 480), asked.runs)
    queries = compare_queries(asked.rows, asked.runs)
    say(
        f"pictures a second: mmsearch {encoding['ours']:.1f} (whole process), "
        f"sentence-transformers {encoding['theirs']:.1f} (loading left out): "
        f"{encoding['ratio']:.2f} times as fast"
    )
    for name in ("mmsearch", "sentence-transformers"):
        each = queries[name]
        say(f"cold query, {asked.rows:,}: {name} {seconds(each['wall'])}, {size(each['peak'])}")
    machine = measuring.machine("torch", "transformers", "tokenizers")
    facts = {"machine": machine, "version": peer_st.VERSION}
    keep("sentence-transformers", {**facts, "encoding": encoding, "queries": queries})


if __name__ == "__main__":
    main()
