"""Odd and broken pictures through the whole of indexing, all in one folder.

What the decoder alone makes of them is in test_decode.py, test_colour.py and test_formats.py;
what is odd about names and file systems in test_odd_file_systems.py. Pictures that may not be
read, FIFOs, sockets and links are in test_scan.py and test_ingest.py.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval import hostile
from tests.retrieval.fakes import FakeEncoder
from tests.retrieval.onnx_models import make_model

from mmsearch.core import Pixels, Vectors
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Failure
from mmsearch.index.store import IndexStore
from mmsearch.retrieval import pipeline
from mmsearch.retrieval.guard import GuardedDecoder
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.plan import Task
from mmsearch.retrieval.reading import Reading, read_task
from mmsearch.retrieval.report import IngestReport

SOUND = hostile.sound()
BOMBS = hostile.bombs()
BROKEN = hostile.broken() | BOMBS
SECONDS = 20
MEGABYTES = 100

pytestmark = pytest.mark.timeout(60)


class Watcher(FakeEncoder):
    """Keeps the pixels that it is given, in their own size: nothing is resized."""

    def __init__(self) -> None:
        super().__init__(size=hostile.SIDE)
        self.seen: list[Pixels] = []

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Keep the pixels, and encode them as the fake does."""
        self.seen += images
        return super().encode_images(images)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of indexing the folder: pixels and failures by file name, and the seconds."""

    library: Library
    folder: Path
    report: IngestReport
    pixels: dict[str, Pixels]
    failures: dict[str, Failure]
    seconds: float


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Index everything sound and everything broken at once."""
    folder = tmp_path_factory.mktemp("hostile")
    directory = tmp_path_factory.mktemp("library")
    for name, data in [*_data(SOUND), *_data(BROKEN)]:
        (folder / name).write_bytes(data)
    watcher = Watcher()
    Catalog.open(directory, write=True).close()
    catalog = Catalog.open(directory)
    with Library(catalog, IndexStore(catalog, directory), watcher) as library:
        began = time.perf_counter()
        report = library.add(folder)
        seconds = time.perf_counter() - began
        # Contents that are equal are encoded once; these all differ, in the order of the paths.
        pixels = dict(zip(sorted(SOUND), watcher.seen, strict=True))
        failures = {Path(os.fsdecode(f.path)).name: f for f in report.failures}
        yield Run(library, folder, report, pixels, failures, seconds)


def _data(
    files: dict[str, hostile.Sound] | dict[str, hostile.Broken],
) -> Iterator[tuple[str, bytes]]:
    for name, file in files.items():
        yield name, file.data


def test_the_whole_folder_is_indexed_in_seconds(run: Run) -> None:
    counts = run.report.as_dict()
    assert counts["new"] == counts["encoded"] == len(SOUND)
    assert counts["failed"] == len(BROKEN)
    assert run.library.catalog.counts().images == len(SOUND)
    assert set(run.failures) == set(BROKEN)
    assert run.seconds < SECONDS


@pytest.mark.parametrize("name", sorted(SOUND))
def test_a_picture_that_is_odd_but_whole_comes_out_as_drawn(run: Run, name: str) -> None:
    expected, found = SOUND[name].pixels.astype(int), run.pixels[name].astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= SOUND[name].tolerance


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_file_is_a_failure_with_a_reason_of_one_line(run: Run, name: str) -> None:
    failure = run.failures[name]
    assert re.search(BROKEN[name].reason, failure.reason)
    assert failure.reason.isprintable()
    assert "Traceback" not in failure.reason
    assert failure.size == len(BROKEN[name].data)


def test_the_catalog_keeps_every_failure_with_what_the_file_held(run: Run) -> None:
    kept = {Path(os.fsdecode(f.path)).name: f for f in run.library.catalog.failures()}
    assert set(kept) == set(BROKEN)
    assert {name for name, f in kept.items() if f.digest is None} == {"empty.jpg"}


def test_nothing_is_decoded_again_until_it_changes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counting(task: Task, decoder: GuardedDecoder) -> Reading:
        if task.found.size:  # an empty file leaves no digest to know it by
            decoded.append(task.found.size)
        return read_task(task, decoder)

    monkeypatch.setattr(pipeline, "read_task", counting)
    again = run.library.add(run.folder)
    assert decoded == []
    assert (again.unchanged, again.failed) == (len(SOUND), len(BROKEN))
    mended = run.folder / "bomb.png"
    mended.write_bytes(hostile.encoded(hostile.noise(20), "PNG"))
    try:
        then = run.library.add(run.folder)
        assert decoded == [mended.stat().st_size]
        assert (then.new, then.unchanged, then.failed) == (1, len(SOUND), len(BROKEN) - 1)
    finally:
        mended.write_bytes(BROKEN["bomb.png"].data)
        run.library.add(run.folder)


PEAK = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss // 1024, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def _index(folder: Path, library: Path, model: Path) -> tuple[dict[str, int], str, int]:
    """Run the console script; return its counts, its stderr and its peak memory in MB."""
    script = Path(sys.executable).with_name("mmsearch")
    words = [script, "index", folder, "--library", library, "--model", model, "--json"]
    command = [str(word) for word in words]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    *lines, peak = done.stderr.splitlines()
    return json.loads(done.stdout), "\n".join(lines), int(peak)


def test_bombs_do_not_fill_the_memory_of_the_program(tmp_path: Path) -> None:
    model = tmp_path / "model"
    make_model(model)
    harmless, bombs = tmp_path / "harmless", tmp_path / "bombs"
    for folder in (harmless, bombs):
        folder.mkdir()
        (folder / "good.png").write_bytes(hostile.encoded(hostile.DRAWN, "PNG"))
    for name, bomb in BOMBS.items():
        (bombs / name).write_bytes(bomb.data)
    for name in ("ten-thousand-frames.gif", "surplus-of-pixels.png"):
        (bombs / name).write_bytes(SOUND[name].data)
    _, _, usual = _index(harmless, tmp_path / "one", model)
    counts, stderr, peak = _index(bombs, tmp_path / "two", model)
    assert counts["new"] == 3
    assert counts["failed"] == len(BOMBS)
    assert peak < usual + MEGABYTES
    assert all(line.startswith("mmsearch: warning: ") for line in stderr.splitlines())


def test_the_program_reports_every_broken_file_and_nothing_else(tmp_path: Path, run: Run) -> None:
    model, library = tmp_path / "model", tmp_path / "library"
    make_model(model)
    counts, stderr, _ = _index(run.folder, library, model)
    assert counts["new"] == len(SOUND)
    assert counts["failed"] == len(BROKEN)
    assert "Traceback" not in stderr
    script = Path(sys.executable).with_name("mmsearch")
    listed = subprocess.run(
        [script, "failures", "--json", "--library", library], capture_output=True, check=True
    )
    rows = json.loads(listed.stdout)
    assert {Path(row["path"]).name for row in rows} == set(BROKEN)
    assert all(row["reason"].isprintable() for row in rows)
