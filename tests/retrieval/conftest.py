"""An empty library, open for writing or as its users have it, and a drive to unmount."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.retrieval.fakes import FakeEncoder

from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.report import IngestReport


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "library", write=True) as opened:
        yield opened


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


def opened(directory: Path, encoder: FakeEncoder) -> Library:
    """Open the library in a directory; an absent one is made."""
    Catalog.open(directory, write=True).close()
    catalog = Catalog.open(directory)
    return Library(catalog, IndexStore(catalog, directory), encoder)


@pytest.fixture
def library(tmp_path: Path, encoder: FakeEncoder) -> Iterator[Library]:
    with opened(tmp_path / "library", encoder) as made:
        yield made


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Path]:
    """A mounted tmpfs of its own."""
    point = tmp_path / "drive"
    point.mkdir()
    if os.getuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root and mount(8)")
    if subprocess.run(["mount", "-t", "tmpfs", "drive", point], check=False).returncode:
        pytest.skip("this system does not let root mount a tmpfs")
    yield point
    subprocess.run(["umount", point], check=False, capture_output=True)


def counts(**given: int) -> dict[str, int]:
    """Return the counts of a report that has none but those given."""
    return IngestReport().as_dict() | given
