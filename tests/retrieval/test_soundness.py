"""Check and repair as a whole: what is kept, what is set aside, what a kill leaves."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.index.conftest import (
    SPACE,
    behind,
    fill,
    one_hot,
    picture,
    prepared,
)

from mmsearch.core import Modality, Space
from mmsearch.errors import InputError, LibraryBusyError, UnsoundLibraryError
from mmsearch.index import database, salvage, watermark
from mmsearch.index.catalog import Catalog
from mmsearch.index.lock import WriterLock
from mmsearch.index.rows import Batch
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.soundness import check, repair


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Return a closed library of five pictures, a sentence and a failure; its model is unknown."""
    directory = tmp_path / "library"
    with prepared(directory) as catalog:
        fill(catalog, 6)
        catalog.commit(Batch(gone=(6,)))
        with catalog.transaction() as db:
            db.execute("INSERT INTO forgotten VALUES (CAST('/photos/secret' AS BLOB))")
        IndexStore(catalog, directory).refresh(SPACE)
    return directory


def errors(directory: Path) -> list[str]:
    """Return what is wrong, but for the model, which these libraries do not have."""
    found = [f.what for f in check(directory) if f.is_error]
    return [what for what in found if not what.startswith("the model")]


def test_an_absent_and_a_half_made_library_have_nothing_to_check(tmp_path: Path) -> None:
    assert list(check(tmp_path / "absent")) == []
    (tmp_path / database.FILE).touch()
    assert list(check(tmp_path)) == []
    assert repair(tmp_path).done == []


def test_a_sound_library_is_left_alone(library: Path) -> None:
    before = {path: path.read_bytes() for path in library.rglob("*") if path.is_file()}
    assert repair(library).done == []
    after = {path: path.read_bytes() for path in library.rglob("*") if path.is_file()}
    assert before.keys() == after.keys()
    assert not list(library.glob("quarantine"))


def test_damaged_rows_are_left_out_and_all_others_kept(library: Path) -> None:
    behind(
        library,
        "UPDATE items SET size = 77 WHERE id = 2",
        "UPDATE vectors_1_image SET vector = zeroblob(8) WHERE item_id = 3",
    )
    damaged = (library / database.FILE).read_bytes()
    result = repair(library)
    assert result.lost == {2: "/photos/1"}
    assert errors(library) == []
    with Catalog.open(library) as catalog:
        assert sorted(catalog.items(range(1, 9))) == [1, 3, 4, 5, 7]
        known = catalog.known_files(1)
        assert [path for path, file in known.items() if not file.encoded] == [b"/photos/2"]
        assert [failure.path for failure in catalog.failures()] == [b"/photos/bad"]
        assert catalog.rows("SELECT path FROM forgotten") == [(b"/photos/secret",)]
        assert catalog.space() == SPACE
        assert catalog.roots()[0].path == "/photos"
    (aside,) = library.glob(f"quarantine/*/{database.FILE}")
    assert aside.read_bytes() == damaged
    assert not list(library.glob("repair.tmp"))


def test_ids_never_go_back(library: Path) -> None:
    behind(library, "DELETE FROM items WHERE id = 7", "UPDATE library SET revision = 0")
    repair(library)
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(files=(picture("/photos/new", one_hot(0)),)))
        assert catalog.known_files(1)[b"/photos/new"].id == 8
        assert catalog.revision > 2


def test_ids_never_go_back_even_when_the_counter_is_damaged(library: Path) -> None:
    behind(library, "UPDATE sqlite_sequence SET seq = 2 WHERE name = 'items'")
    repair(library)
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(files=(picture("/photos/new", one_hot(0)),)))
        assert catalog.known_files(1)[b"/photos/new"].id > 1_000_000


def test_tallies_and_indexes_are_mended_in_place(library: Path) -> None:
    behind(library, "UPDATE tallies SET rows = 3")
    result = repair(library)
    assert result.done[0] == "made tallies, checksums and b-tree indexes anew"
    assert errors(library) == []
    assert not list(library.glob("quarantine"))


def test_a_damaged_index_file_is_set_aside_and_written_anew(library: Path) -> None:
    file = min(library.glob("index/*/image/*.faiss"))
    content = file.read_bytes()[:-1]
    file.write_bytes(content)
    repair(library)
    assert errors(library) == []
    assert file.with_suffix(".damaged").read_bytes() == content


def test_a_catalog_that_is_no_database_leaves_an_empty_library(library: Path) -> None:
    content = b"not a database, certainly not. " * 2000
    (library / database.FILE).write_bytes(content)
    assert errors(library)
    repair(library)
    assert errors(library) == []
    (aside,) = library.glob(f"quarantine/*/{database.FILE}")
    assert aside.read_bytes() == content
    with Catalog.open(library) as catalog:
        assert catalog.counts().items == 0


def test_a_header_written_over_loses_nothing(library: Path) -> None:
    file = library / database.FILE
    file.write_bytes(b"x" * 100 + file.read_bytes()[100:])
    repair(library)
    assert errors(library) == []
    with Catalog.open(library) as catalog:
        assert catalog.counts().items == 6


def test_a_page_written_over_loses_its_rows_alone(tmp_path: Path) -> None:
    directory = tmp_path / "library"
    with prepared(directory) as catalog:
        many = tuple(picture(f"/photos/{n:05d}", one_hot(n)) for n in range(3000))
        catalog.commit(Batch(files=many))
    file = directory / database.FILE
    content = bytearray(file.read_bytes())
    page = content.index(b"/photos/01500") // database.PAGE_SIZE * database.PAGE_SIZE
    content[page : page + database.PAGE_SIZE] = bytes(database.PAGE_SIZE)
    file.write_bytes(content)
    result = repair(directory)
    assert errors(directory) == []
    assert 0 < len(result.lost) < 300
    with Catalog.open(directory) as opened:
        assert opened.counts().images == 3000 - len(result.lost)


def test_a_newer_and_a_foreign_library_are_refused(library: Path, tmp_path: Path) -> None:
    behind(library, "INSERT INTO _sqlite_migrations VALUES (9, 'mmsearch', 'more', '2030')",
           "PRAGMA user_version = 9")  # fmt: skip
    assert ["newer" in what for what in errors(library)] == [True]
    with pytest.raises(UnsoundLibraryError, match="newer"):
        repair(library)


def test_a_repair_waits_for_nobody(library: Path) -> None:
    behind(library, "UPDATE library SET revision = 0")
    from mmsearch.index.lock import WriterLock

    lock = WriterLock(library)
    with pytest.raises(LibraryBusyError):
        repair(library)
    lock.release()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(library: Path) -> None:
    behind(library, "UPDATE library SET revision = 0")
    before = (library / database.FILE).read_bytes()
    assert "new catalog" in repair(library, dry_run=True).done[0]
    assert (library / database.FILE).read_bytes() == before


KILL = """
import os, signal, sys
from pathlib import Path
calls = 0
def audit(event, arguments):
    global calls
    if event in {"open", "os.rename", "os.remove", "shutil.copyfile", "os.mkdir"}:
        if any(str(sys.argv[1]) in str(argument) for argument in arguments):
            calls += 1
            if calls == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
from mmsearch.retrieval.soundness import repair
sys.addaudithook(audit)
repair(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_a_repair_killed_anywhere_leaves_the_old_library_or_the_new_one(
    library: Path, tmp_path: Path
) -> None:
    behind(library, "UPDATE items SET size = 77 WHERE id = 2")
    for call in range(1, 200):
        copy = tmp_path / f"copy{call}"
        shutil.copytree(library, copy)
        done = subprocess.run(
            [sys.executable, "-c", KILL, str(copy), str(call)],
            env=os.environ, capture_output=True, check=False,
        )  # fmt: skip
        killed = done.returncode == -signal.SIGKILL
        assert killed or done.returncode == 0, done.stderr
        if killed:
            with pytest.raises(UnsoundLibraryError) if errors(copy) else Catalog.open(copy):
                Catalog.open(copy).items([1, 2])
            repair(copy)
        assert errors(copy) == [], call
        assert not salvage.interrupted(copy)
        with Catalog.open(copy) as catalog:
            assert sorted(catalog.items(range(1, 9))) == [1, 3, 4, 5, 7]
        if not killed:
            break
    assert call > 10


def test_a_catalog_that_was_deleted_is_a_finding(library: Path) -> None:
    (library / database.FILE).unlink()
    assert len(errors(library)) == 1
    assert "empty or gone" in errors(library)[0]


def test_a_damaged_vector_is_not_called_the_models_doing(library: Path) -> None:
    behind(library, "UPDATE vectors_1_text SET vector = zeroblob(8)")
    assert not [f.what for f in check(library) if "not of length one" in f.what]
    assert "vector of item" in errors(library)[0]


def test_a_note_of_commits_that_is_gone_is_mentioned_and_written_by_the_next_change(
    library: Path,
) -> None:
    note = library / watermark.NAME
    note.unlink()
    assert errors(library) == []
    assert [f.what for f in check(library) if watermark.NAME in f.what]
    with Catalog.open(library, write=True) as catalog:
        catalog.set_setting("a", "b")
    assert not [f.what for f in check(library) if watermark.NAME in f.what]


def test_a_repair_that_fails_leaves_nothing_that_fills_the_disk(library: Path) -> None:
    behind(library, "UPDATE vectors_1_text SET vector = zeroblob(8)")
    (library / database.QUARANTINE).write_bytes(b"")
    before = sorted(path.name for path in library.iterdir())
    with pytest.raises(InputError, match="what is there stands"):
        repair(library)
    assert sorted(path.name for path in library.iterdir()) == before
    assert errors(library)


def test_a_reader_from_before_a_repair_does_not_answer_from_the_old_catalog(
    library: Path,
) -> None:
    with Catalog.open(library) as reader:
        behind(library, "UPDATE items SET size = 77 WHERE id = 2")
        reader.all_vectors(SPACE, Modality.IMAGE)
        repair(library)
        with pytest.raises(UnsoundLibraryError, match="replaced it while it was open"):
            reader.all_vectors(SPACE, Modality.IMAGE)
    assert errors(library) == []


def test_another_librarys_catalog_is_found_and_accepted_by_a_repair(
    library: Path, tmp_path: Path
) -> None:
    with prepared(tmp_path / "other") as other:
        for _ in range(20):
            fill(other, 1)
    shutil.copy(tmp_path / "other" / database.FILE, library / database.FILE)
    assert "it is another library's" in errors(library)[0]
    assert "accepted another library's catalog" in repair(library).done
    assert errors(library) == []


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_file_in_the_place_of_a_folder_of_index_files_is_set_aside(
    library: Path, depth: int
) -> None:
    (index,) = (file for file in library.glob("index/*/image/*.faiss"))
    place = library.joinpath(*index.relative_to(library).parts[:depth])
    shutil.rmtree(place)
    place.write_text("not a folder", encoding="utf-8")
    name = str(place.relative_to(library))
    assert f"{name} is no folder: no index file can be written there" in errors(library)
    assert f"set {name} aside, which is no folder" in repair(library).done
    assert errors(library) == []
    assert place.with_suffix(".damaged").read_text(encoding="utf-8") == "not a folder"
    assert index.parent.is_dir()


def test_a_repair_keeps_the_lock_until_the_index_files_are_written(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh, tried = IndexStore.refresh, []

    def refreshed(store: IndexStore, space: Space) -> None:
        with pytest.raises(LibraryBusyError):
            WriterLock(library)
        tried.append(space)
        refresh(store, space)

    monkeypatch.setattr(IndexStore, "refresh", refreshed)
    next(library.glob("index/*/image/*.faiss")).unlink()
    assert [line[:5] for line in repair(library).done] == ["forgo", "wrote"]
    assert tried == [SPACE]
    WriterLock(library).release()
