"""Reading goes on where the disk is full: not even SQLite's shared memory fits there."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults import disk
from tests.retrieval.onnx_models import make_model

from mmsearch.index.failpoints import VARIABLE

pytestmark = pytest.mark.skipif(bool(disk.tmpfs_reason()), reason=disk.tmpfs_reason())


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system that a test fills up."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "mmsearch", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def run(*arguments: str | Path, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    """Run the console script."""
    return subprocess.run(
        [Path(sys.executable).parent / "mmsearch", *arguments],
        env={**os.environ, VARIABLE: failpoint},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "with a log to replay"])
def test_a_library_on_a_full_disk_is_read_as_before(
    full: Path, tmp_path: Path, killed: bool
) -> None:
    model, texts = tmp_path / "colours", tmp_path / "texts.txt"
    make_model(model)
    texts.write_text("red\ngreen\nblue\n")
    library = tmp_path / "library"
    indexed = ("index", "--texts", texts, "--model", model, "--library", library)
    done = run(*indexed, failpoint="after-commit:4" if killed else "")
    assert done.returncode == (-signal.SIGKILL if killed else 0), done.stderr
    log = library / "catalog.sqlite-wal"
    assert killed == (log.exists() and log.stat().st_size > 0)
    asked = ("query", "red", "--for", "texts", "--json", "--library")
    shutil.copytree(library, full / "library")  # before reading mends what was left
    expected = run(*asked, library)
    assert expected.returncode == 0, expected.stderr
    with (full / "filler").open("wb", buffering=0) as filler:
        while (free := shutil.disk_usage(full).free) > 0:
            filler.write(bytes(free))
    found = run(*asked, full / "library")
    assert (found.returncode, found.stdout) == (0, expected.stdout), found.stderr
    assert run("status", "--library", full / "library").returncode == 0
    assert run("check", "--library", full / "library").returncode == 0
    refused = run(*indexed[:-1], full / "library")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "space" in refused.stderr
