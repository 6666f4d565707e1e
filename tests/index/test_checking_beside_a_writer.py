"""`check` while another process writes: what changes meanwhile is no damage."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.index.conftest import SPACE, one_hot, picture, prepared

from mmsearch.index import checking_contents, checking_files
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking_files import check_files, files_below
from mmsearch.index.lock import NAME, is_at_work
from mmsearch.index.policy import Policy
from mmsearch.index.records import Record, records
from mmsearch.index.rows import Batch
from mmsearch.index.store import IndexStore

MOST = 1 << 31  # of a process's number


@pytest.fixture
def writer(directory: Path) -> Iterator[Catalog]:
    """A library of a picture with an index file, open for writing."""
    with prepared(directory) as opened:
        opened.commit(Batch(files=(picture("/photos/0", one_hot(0)),)))
        IndexStore(opened, directory).refresh(SPACE)
        yield opened


def replaced(writer: Catalog) -> None:
    """Add a picture, and write the index file anew in the place of the one before."""
    (before,) = writer.directory.glob("index/*/*/*.faiss")
    writer.commit(Batch(files=(picture("/photos/1", one_hot(1)),)))
    IndexStore(writer, writer.directory, Policy(changes=0)).refresh(SPACE)
    assert not before.exists()


@pytest.mark.parametrize("quick", [False, True])
def test_an_index_file_that_a_writer_replaces_is_not_missing(
    writer: Catalog, directory: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    def read(library: Path) -> list[Record]:
        found = records(library)
        monkeypatch.undo()
        replaced(writer)
        return found

    monkeypatch.setattr(checking_files, "records", read)
    assert list(check_files(directory, quick=quick)) == []


def test_an_index_file_that_goes_before_it_is_opened_is_not_missing(
    writer: Catalog, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = checking_contents._opened

    def opened(library: Path, record: Record) -> object:
        monkeypatch.undo()
        replaced(writer)
        return plain(library, record)

    monkeypatch.setattr(checking_contents, "_opened", opened)
    assert list(check_files(directory)) == []


def test_an_index_that_is_forgotten_meanwhile_is_not_missing(
    writer: Catalog, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(library: Path) -> list[Record]:
        found = records(library)
        monkeypatch.undo()
        with writer.transaction() as db:
            db.execute("DELETE FROM generations")
        for file in directory.glob("index/*/*/*.faiss"):
            file.unlink()
        return found

    monkeypatch.setattr(checking_files, "records", read)
    assert list(check_files(directory)) == []


def test_what_a_writer_is_about_to_record_is_no_leftover(writer: Catalog, directory: Path) -> None:
    (known,) = directory.glob("index/*/*/*.faiss")
    for name in ("00000009.tmp", "00000009.faiss"):
        (known.parent / name).touch()
    assert list(check_files(directory)) == []
    writer.close()
    assert len(list(check_files(directory))) == 2
    (directory / NAME).write_text(f"{MOST}\n", encoding="ascii")  # of a writer that was killed
    assert len(list(check_files(directory))) == 2


@pytest.mark.parametrize("content", ["", "nobody\n", "0\n", f"{MOST}\n", f"{MOST**4}\n"])
def test_a_lock_that_names_no_process_is_held_by_none(tmp_path: Path, content: str) -> None:
    assert not is_at_work(tmp_path)
    (tmp_path / NAME).write_text(content, encoding="ascii")
    assert not is_at_work(tmp_path)
    (tmp_path / NAME).write_text(f"{os.getpid()}\n", encoding="ascii")
    assert is_at_work(tmp_path)


def test_a_folder_that_goes_while_it_is_looked_at_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    plain = os.scandir

    def scandir(path: str) -> object:
        if path == str(tmp_path / "a"):
            monkeypatch.undo()
            shutil.rmtree(tmp_path / "a")
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert list(files_below(tmp_path)) == [tmp_path / "b" / "file"]
