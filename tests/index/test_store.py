"""The index store: whatever happens to its files, the answer is that of the catalog."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import OTHER, one_hot, picture, sentence, unit_rows

from mmsearch.core import Ids, Matches, Modality, Space, Vectors
from mmsearch.errors import ConfigError, SpaceMismatchError
from mmsearch.index import generation as files
from mmsearch.index import store as store_module
from mmsearch.index.ann import FlatIndex
from mmsearch.index.catalog import Catalog
from mmsearch.index.exact import ExactIndex
from mmsearch.index.policy import Policy
from mmsearch.index.rows import Batch, Generation, RootKind, Stamp
from mmsearch.index.store import IndexStore

DIM = 16
WIDE = Space("wide", DIM, "cc" * 32)
FILES = Policy(scan_below=0)  # else nobody would open the files of a library this small
IMAGE, TEXT = Modality.IMAGE, Modality.TEXT
QUERIES = unit_rows(3, DIM, seed=99)


def pictures(start: int, rows: Vectors) -> Batch:
    """Return a batch of pictures, numbered from `start`."""
    return Batch(files=tuple(picture(f"/photos/{start + n}", row) for n, row in enumerate(rows)))


@pytest.fixture
def library(directory: Path) -> Path:
    """Return a closed library of 300 pictures and 5 sentences with index files."""
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(WIDE)
        catalog.add_root("/photos", RootKind.FOLDER)
        catalog.commit(pictures(0, unit_rows(300, DIM)))
        texts = unit_rows(5, DIM, seed=1)
        catalog.commit(Batch(texts=tuple(sentence(f"s{n}", row) for n, row in enumerate(texts))))
        IndexStore(catalog, directory, FILES).refresh(WIDE)
    return directory


def index_file(directory: Path, modality: Modality = IMAGE) -> Path:
    """Return the one index file of a modality."""
    (path,) = directory.glob(f"index/*/{modality}/*.faiss")
    return path


def oracle(catalog: Catalog, modality: Modality, k: int, among: Ids | None = None) -> list[Matches]:
    """Return what the specification answers from the catalog's rows."""
    exact = ExactIndex(DIM)
    exact.add(*catalog.all_vectors(WIDE, modality))
    return exact.search(QUERIES, k, among=among)


def assert_answers_as_the_catalog(
    directory: Path, *, warning: str | None = None, policy: Policy = FILES
) -> None:
    """Compare a fresh reader with the specification, to the last bit."""
    with Catalog.open(directory) as catalog:
        store = IndexStore(catalog, directory, policy)
        for modality in Modality:
            for k in (1, 10, 10**9):
                found = store.search(WIDE, modality, QUERIES, k)
                for one, other in zip(oracle(catalog, modality, k), found, strict=True):
                    np.testing.assert_array_equal(one.ids, other.ids)
                    np.testing.assert_array_equal(one.scores, other.scores)
        if warning is None:
            assert store.warnings == []
        else:
            assert len(store.warnings) == 1
            assert warning in store.warnings[0]


def test_a_written_index_answers_as_the_catalog(library: Path) -> None:
    assert_answers_as_the_catalog(library)


def test_the_index_file_is_used(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "scan", None)
    with Catalog.open(library) as catalog:
        (found, *_) = IndexStore(catalog, library, FILES).search(WIDE, IMAGE, QUERIES, 10)
    assert len(found.ids) == 10


def test_looking_for_changes_does_not_read_every_vector(library: Path) -> None:
    with Catalog.open(library) as catalog:
        statements: list[str] = []
        catalog._connection.set_trace_callback(statements.append)
        catalog.vector_table(WIDE, IMAGE).changed(1)
        catalog._connection.set_trace_callback(None)
        plans = [catalog.rows(f"EXPLAIN QUERY PLAN {sql}") for sql in statements]
        steps = " ".join(str(row[-1]) for plan in plans for row in plan)
    assert "vectors_1_image_revision (revision>?)" in steps
    assert "removals_since (space_id=? AND modality=? AND revision>?)" in steps
    assert "SCAN" not in steps


def test_files_have_their_place_and_number(library: Path) -> None:
    names = sorted(str(path.relative_to(library)) for path in library.glob("index/**/*.*"))
    assert names == [
        "index/cccccccccccccccc/image/00000001.faiss",
        "index/cccccccccccccccc/text/00000002.faiss",
    ]


def test_a_digest_that_is_no_file_name_does_no_harm() -> None:
    name = files.file_name(Space("evil", 4, "../../etc"), IMAGE, 3)
    assert ".." not in name
    assert name.startswith("index/")


def test_newer_changed_and_removed_rows_count(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(pictures(300, np.concatenate([QUERIES, unit_rows(10, DIM, seed=5)])))
        best = IndexStore(catalog, library, FILES).search(WIDE, IMAGE, QUERIES, 1)
        assert [found.ids.tolist() for found in best] == [[306], [307], [308]]
        changed = picture("/photos/7", QUERIES[0], content="new")
        catalog.commit(Batch(files=(changed,), gone=(306, 3, 4)))
        IndexStore(catalog, library, FILES).refresh(WIDE)  # too little has changed for a new file
    assert index_file(library).name == "00000001.faiss"
    assert_answers_as_the_catalog(library)


def test_many_changes_make_a_new_generation_in_place_of_the_old(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(gone=tuple(range(1, 101))))
        IndexStore(catalog, library, FILES).refresh(WIDE)
        assert catalog.rows("SELECT count(*) FROM removals") == [(0,)]
    assert index_file(library).name == "00000003.faiss"
    assert_answers_as_the_catalog(library)


def test_an_empty_modality_has_no_file(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(gone=tuple(range(1, 301))))
        IndexStore(catalog, library, FILES).refresh(WIDE)
    assert list(library.glob("index/*/image/*")) == []
    assert_answers_as_the_catalog(library)


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [Path.unlink, flip_bit, cut_short, empty, replace_by_a_folder]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_file_costs_time_and_never_the_answer(
    library: Path, damage: Callable[[Path], None]
) -> None:
    damage(index_file(library))
    assert_answers_as_the_catalog(library, warning="`mmsearch index` rebuilds it")


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_writer_sets_a_damaged_file_aside_and_rebuilds(
    library: Path, damage: Callable[[Path], None]
) -> None:
    path = index_file(library)
    damage(path)
    with Catalog.open(library, write=True) as catalog:
        store = IndexStore(catalog, library, FILES)
        store.refresh(WIDE)
        assert store.warnings == []
    assert path.with_suffix(".damaged").exists() == (damage is not Path.unlink)
    assert index_file(library).name == "00000003.faiss"
    assert_answers_as_the_catalog(library)


def test_an_older_file_under_the_recorded_name_is_noticed(library: Path) -> None:
    path = index_file(library)
    other = FlatIndex(DIM)
    other.add(np.arange(1, 301, dtype=np.int64), unit_rows(300, DIM, seed=7))
    with path.open("wb") as file:
        other.write(file.write)
    assert_answers_as_the_catalog(library, warning="missing or damaged")


@pytest.mark.parametrize("wrong", ["vectors", "ids"])
def test_a_file_that_passes_its_check_but_disagrees_is_not_believed(
    library: Path, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = index_file(library)
    other = FlatIndex(DIM)
    first = 1 if wrong == "vectors" else 1001
    ids = np.arange(first, first + 300, dtype=np.int64)
    other.add(ids, unit_rows(300, DIM, seed=7 if wrong == "vectors" else 0))
    with path.open("wb") as file:
        other.write(file.write)
    monkeypatch.setattr(files, "check", lambda _path, known: known.stamp)
    assert_answers_as_the_catalog(library, warning="missing or damaged")


def test_a_large_file_is_believed_by_its_stamp_and_checked_when_it_was_touched(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_FULL_CHECK", 0)
    path = index_file(library)
    with Catalog.open(library) as catalog:
        known = files.recorded(catalog, WIDE, IMAGE)
    assert known is not None
    assert files.check(path, known) == known.stamp
    flip_bit(path)
    assert files.check(path, known) is None


def test_a_copied_library_is_sound_and_stamped_anew(library: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(library, copy)
    assert_answers_as_the_catalog(copy)
    with Catalog.open(copy, write=True) as catalog:
        before = files.recorded(catalog, WIDE, IMAGE)
        IndexStore(catalog, copy, FILES).refresh(WIDE)
        after = files.recorded(catalog, WIDE, IMAGE)
    assert before is not None
    assert after is not None
    assert (before.number, before.stamp != after.stamp) == (after.number, True)


def test_a_library_without_index_files_is_scanned(directory: Path) -> None:
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(WIDE)
        catalog.add_root("/photos", RootKind.FOLDER)
        catalog.commit(pictures(0, unit_rows(50, DIM)))
    assert_answers_as_the_catalog(directory)
    warns = Policy(scan_below=0, warn_from=50)
    assert_answers_as_the_catalog(directory, warning="`mmsearch index` writes it", policy=warns)


def test_an_empty_library_finds_nothing(catalog: Catalog, directory: Path) -> None:
    store = IndexStore(catalog, directory, FILES)
    store.refresh(Space("toy", 4, "aa" * 32))
    (found,) = store.search(Space("toy", 4, "aa" * 32), IMAGE, one_hot(0)[np.newaxis], 5)
    assert found.ids.tolist() == []
    assert not (directory / "index").exists()


@pytest.mark.parametrize("few", [0, 1024], ids=["by the index", "by the catalog"])
@pytest.mark.parametrize("count", [0, 1, 40, 305], ids=lambda count: f"{count} ids")
def test_a_filter_gives_the_catalogs_answer(library: Path, few: int, count: int) -> None:
    policy = Policy(scan_below=0, few=few)
    among = np.asarray(np.random.default_rng(count).permutation(400)[:count], dtype=np.int64)
    with Catalog.open(library) as catalog:
        found = IndexStore(catalog, library, policy).search(WIDE, IMAGE, QUERIES, 10, among=among)
        for one, other in zip(oracle(catalog, IMAGE, 10, among), found, strict=True):
            np.testing.assert_array_equal(one.ids, other.ids)
            np.testing.assert_array_equal(one.scores, other.scores)


def test_hundreds_of_copies_are_ordered_by_id(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(pictures(1000, np.repeat(QUERIES[:1], 400, axis=0)))
        IndexStore(catalog, library, FILES).refresh(WIDE)
    assert index_file(library).name == "00000003.faiss"
    assert_answers_as_the_catalog(library)


def test_modalities_do_not_mix(library: Path) -> None:
    with Catalog.open(library) as catalog:
        (found, *_) = IndexStore(catalog, library, FILES).search(WIDE, TEXT, QUERIES, 10)
    assert sorted(found.ids.tolist()) == [301, 302, 303, 304, 305]


def test_another_space_and_a_wrong_width_are_refused(library: Path) -> None:
    with Catalog.open(library) as catalog:
        store = IndexStore(catalog, library, FILES)
        with pytest.raises(SpaceMismatchError, match="no vectors of the model other"):
            store.search(OTHER, IMAGE, unit_rows(1, 3), 1)
        with pytest.raises(ConfigError, match="do not fit 16 dimensions"):
            store.search(WIDE, IMAGE, unit_rows(1, 3), 1)


def test_an_open_reader_follows_the_writer(library: Path) -> None:
    with Catalog.open(library) as reader, Catalog.open(library, write=True) as writer:
        store = IndexStore(reader, library, FILES)
        store.search(WIDE, IMAGE, QUERIES, 1)
        writer.commit(pictures(300, np.repeat(QUERIES, 40, axis=0)))
        (found, *_) = store.search(WIDE, IMAGE, QUERIES, 1)
        assert found.ids.tolist() == [306]
        IndexStore(writer, library, FILES).refresh(WIDE)
        writer.commit(Batch(gone=(306,)))
        (found, *_) = store.search(WIDE, IMAGE, QUERIES, 1)
        assert found.ids.tolist() == [307]
        assert store.warnings == []


def test_a_file_replaced_under_a_readers_eyes_is_no_damage(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = files.check

    def replaced_meanwhile(path: Path, known: Generation) -> Stamp | None:
        monkeypatch.setattr(files, "check", check)
        with Catalog.open(library, write=True) as writer:
            writer.commit(Batch(gone=tuple(range(1, 101))))
            IndexStore(writer, library, FILES).refresh(WIDE)
        return check(path, known)

    monkeypatch.setattr(files, "check", replaced_meanwhile)
    assert_answers_as_the_catalog(library)


def test_an_index_that_cannot_be_written_is_a_warning(library: Path) -> None:
    shutil.rmtree(library / "index")
    (library / "index").touch()
    with Catalog.open(library, write=True) as catalog:
        store = IndexStore(catalog, library, FILES)
        store.refresh(WIDE)
    assert [warning.split(" (")[0] for warning in store.warnings] == [
        "the image index could not be written",
        "the text index could not be written",
    ]
    (library / "index").unlink()
    assert_answers_as_the_catalog(library)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "index" / "1.faiss"

    def write_half() -> None:
        with files.written(path) as writer:
            writer.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert list(path.parent.iterdir()) == []


def test_what_a_crash_left_behind_is_swept_away(library: Path) -> None:
    folder = index_file(library).parent
    for name in ("00000009.faiss", "00000009.tmp"):
        (folder / name).touch()
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(gone=tuple(range(1, 101))))
        IndexStore(catalog, library, FILES).refresh(WIDE)
    assert [path.name for path in folder.iterdir()] == ["00000003.faiss"]
