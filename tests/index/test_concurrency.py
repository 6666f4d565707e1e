"""Processes side by side: whole batches, kept promises, few imports."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from tests.faults.processes import gone_after
from tests.index.conftest import fill, one_hot, picture, prepared, unit_rows

from mmsearch.core import Modality, Space
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Failure, RootKind
from mmsearch.index.store import IndexStore

SPACE = Space("wide", 16, "dd" * 32)
BATCH = 20

WRITER = """
import sys
from pathlib import Path
import numpy as np
from mmsearch.core import Space
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind
from mmsearch.index.store import IndexStore

directory, batches = Path(sys.argv[1]), int(sys.argv[2])
with Catalog.open(directory, write=True) as catalog:
    space = Space("wide", 16, "dd" * 32)
    catalog.set_space(space)
    root = catalog.add_root("/photos", RootKind.FOLDER)
    store = IndexStore(catalog, directory)
    for batch in range(batches):
        row = np.eye(16, dtype=np.float32)[batch % 16]
        names = [b"/photos/%d-%d" % (batch, n) for n in range(20)]
        catalog.commit(
            Batch(files=tuple(FileRow(name, root, 1, 1, "%064x" % batch, row) for name in names))
        )
        print(batch, flush=True)
        if batch == batches // 2:
            sys.stdin.readline()  # until somebody has read along
        if batch % 5 == 4:
            store.refresh(space)
"""


@contextmanager
def writing(directory: Path, batches: int) -> Iterator[subprocess.Popen[str]]:
    """Let a process commit batches of 20 and print each one's number; it is gone in the end.

    Half-way it waits for a line.
    """
    command = [sys.executable, "-c", WRITER, str(directory), str(batches)]
    pipe = subprocess.PIPE
    with gone_after(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)) as process:
        yield process


@contextmanager
def opened_when_begun(process: subprocess.Popen[str], directory: Path) -> Iterator[Catalog]:
    """Open the library that a process writes after its first commit."""
    assert process.stdout is not None
    process.stdout.readline()
    with Catalog.open(directory) as catalog:
        yield catalog


def test_a_reader_sees_whole_batches_while_a_writer_commits(directory: Path) -> None:
    seen = set()
    with writing(directory, 30) as process, opened_when_begun(process, directory) as catalog:
        assert process.stdin is not None
        store = IndexStore(catalog, directory)
        while process.poll() is None:
            with catalog.snapshot():
                images, revision = catalog.counts().images, catalog.revision
            assert images == BATCH * revision
            (found,) = store.search(SPACE, Modality.IMAGE, np.eye(16, dtype=np.float32)[:1], 10)
            assert found.ids.tolist() == list(range(1, 11))
            seen.add(revision)
            process.stdin.close()
        seen.add(catalog.revision)
        assert catalog.counts().images == 30 * BATCH
        assert store.warnings == []
        assert process.returncode == 0
    assert len(seen) > 1


@pytest.mark.parametrize("read", [Catalog.counts, Catalog.waiting])
def test_what_is_counted_is_of_one_moment(
    read: Callable[[Catalog], object], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with prepared(directory) as writer:
        fill(writer, 3)
        with Catalog.open(directory) as reader:
            alone, plain, calls = read(reader), Catalog.rows, count(1)

            def overtaken(self: Catalog, query: str, *values: object) -> object:
                if self is reader:  # a writer commits before every query
                    number = next(calls)
                    writer.commit(
                        Batch(
                            files=(picture(f"/photos/new {number}", one_hot(number)),),
                            failures=(Failure(b"/photos/bad %d" % number, "broken", 1, 2),),
                        )
                    )
                return plain(self, query, *values)

            monkeypatch.setattr(Catalog, "rows", overtaken)
            seen = read(reader)
            monkeypatch.undo()
            before, after = next(calls), read(reader)
    assert before > 2  # there were several queries, so moments to fall between
    assert seen == alone
    assert after == alone or read is Catalog.counts


def test_a_killed_writer_has_kept_every_batch_it_reported(directory: Path) -> None:
    with writing(directory, 10_000) as process:
        assert process.stdout is not None
        for _ in range(12):
            reported = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
    last = int(rest[-1]) if rest else reported
    with Catalog.open(directory) as catalog:
        images = catalog.counts().images
        assert images % BATCH == 0
        assert images >= BATCH * (last + 1)
        ids, vectors = catalog.all_vectors(SPACE, Modality.IMAGE)
        expected = np.eye(16, dtype=np.float32)[(np.arange(images) // BATCH) % 16]
        assert ids.tolist() == list(range(1, images + 1))
        np.testing.assert_array_equal(vectors, expected)
    with Catalog.open(directory, write=True) as catalog:
        assert catalog.rows("PRAGMA integrity_check") == [("ok",)]
        assert catalog.revision == images // BATCH


@pytest.mark.parametrize(
    ("policy", "faiss"),
    [("Policy()", "False"), ("Policy(scan_below=0)", "True")],
    ids=["a small library", "a large one"],
)
def test_reading_and_searching_import_no_sqlite_utils(
    directory: Path, policy: str, faiss: str
) -> None:
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.add_root("/photos", RootKind.FOLDER)
        rows = enumerate(unit_rows(100, 16))
        catalog.commit(Batch(files=tuple(picture(f"/photos/{n}", row) for n, row in rows)))
        IndexStore(catalog, directory).refresh(SPACE)
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from mmsearch.core import Modality, Space\n"
        "from mmsearch.index.catalog import Catalog\n"
        "from mmsearch.index.policy import Policy\n"
        "from mmsearch.index.store import IndexStore\n"
        "directory = Path(sys.argv[1])\n"
        "print('faiss' in sys.modules)\n"
        "with Catalog.open(directory) as catalog:\n"
        "    space = catalog.space()\n"
        f"    store = IndexStore(catalog, directory, {policy})\n"
        "    (found,) = store.search(space, Modality.IMAGE, np.eye(16, dtype='f4')[:1], 3)\n"
        "    catalog.items(found.ids), catalog.counts(), catalog.failures(), catalog.roots()\n"
        "    catalog.known_files(1), catalog.known_texts(None), catalog.setting('model')\n"
        "print('faiss' in sys.modules, 'sqlite_utils' in sys.modules, len(found.ids))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False", faiss, "False", "3"]
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("program", "threads", "loaded"),
    [("mmsearch.cli", 1, "False"), ("mmsearch.cli", 2, "True"), ("mmsearch", 1, "True")],
)
def test_opening_for_writing_loads_pandas_only_where_somebody_else_could_want_it(
    program: str, threads: int, loaded: str, tmp_path: Path
) -> None:
    (tmp_path / "pandas.py").write_text("class Timestamp: pass\n", encoding="utf-8")
    code = (
        f"import sys, threading, {program}; from pathlib import Path\n"
        "from mmsearch.index.catalog import Catalog\n"
        "done = threading.Event()\n"
        f"for _ in range({threads} - 1): threading.Thread(target=done.wait).start()\n"
        "Catalog.open(Path(sys.argv[1]), write=True).close()\n"
        "print('pandas' in sys.modules)\n"
        "done.set()\n"
        "import pandas\n"
        "from sqlite_utils.db import COLUMN_TYPE_MAPPING\n"
        "print(pandas.Timestamp.__name__, pandas.Timestamp in COLUMN_TYPE_MAPPING)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "library")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert run.stdout.split() == [loaded, "Timestamp", loaded]
