"""Reading one file."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.retrieval.fakes import FakeEncoder

from mmsearch.errors import MMSearchError
from mmsearch.retrieval.decode import Limits
from mmsearch.retrieval.guard import GuardedDecoder
from mmsearch.retrieval.plan import Kind, Task
from mmsearch.retrieval.reading import read_task
from mmsearch.retrieval.scan import Found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return a file that is there, if no picture."""
    path = tmp_path / "a.png"
    path.write_bytes(b"bytes")
    return path


@pytest.fixture
def no_file_left(picture: Path) -> Iterator[None]:
    """Let this process open no further file, now that the picture is there."""
    assert picture.exists()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _task(path: Path) -> Task:
    return Task(Found(os.fsencode(path), os.fsencode(path.parent), 1, 1), Kind.NEW)


@pytest.fixture
def decoder() -> Iterator[GuardedDecoder]:
    with GuardedDecoder(FakeEncoder().preprocessing, Limits()) as decoder:
        yield decoder


@pytest.mark.usefixtures("no_file_left")
def test_too_many_open_files_are_an_error_and_no_failing_of_the_picture(
    decoder: GuardedDecoder, picture: Path
) -> None:
    with pytest.raises(MMSearchError, match="ulimit -n"):
        read_task(_task(picture), decoder)


def test_a_file_that_vanished_is_no_failure(decoder: GuardedDecoder, tmp_path: Path) -> None:
    assert read_task(_task(tmp_path / "a.png"), decoder).vanished
    (tmp_path / "b.png").mkdir()
    reading = read_task(_task(tmp_path / "b.png"), decoder)
    assert (reading.vanished, reading.decoded.reason) == (False, "a folder")
