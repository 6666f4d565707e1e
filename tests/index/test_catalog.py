"""The catalog: what was committed is there, exactly, and nothing else."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.index.conftest import OTHER, SPACE, digest, one_hot, picture, sentence, unit_rows

from mmsearch.core import Item, Modality, Space
from mmsearch.errors import ConfigError, InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import (
    Batch,
    Counts,
    Failure,
    KnownFile,
    KnownText,
    MovedRow,
    Root,
    RootKind,
    TextRow,
    TouchedRow,
)

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT


def test_a_committed_picture_is_read_back(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a.jpg", one_hot(0)),)))
    expected = Item(1, IMAGE, "/photos", "/photos/a.jpg", None, digest("/photos/a.jpg"), 10, 1_000)
    assert catalog.items([1, 99]) == {1: expected}
    assert catalog.revision == 1


def test_a_committed_sentence_is_read_back(catalog: Catalog) -> None:
    root = catalog.add_root("/captions.txt", RootKind.TEXTS)
    catalog.commit(
        Batch(texts=(sentence("ein Hund läuft", one_hot(1), root), sentence("a cat", one_hot(2))))
    )
    assert catalog.items([1, 2]) == {
        1: Item(1, TEXT, "/captions.txt", None, "ein Hund läuft", digest("ein Hund läuft"), 15, 0),
        2: Item(2, TEXT, None, None, "a cat", digest("a cat"), 5, 0),
    }


def test_vectors_come_back_as_their_exact_float16_values(catalog: Catalog) -> None:
    rows = unit_rows(3, 4)
    catalog.commit(Batch(files=tuple(picture(f"/photos/{n}", row) for n, row in enumerate(rows))))
    expected = rows.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(catalog.vectors(SPACE, [3, 1]), expected[[2, 0]])
    ids, everything = catalog.all_vectors(SPACE, IMAGE)
    assert ids.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(everything, expected)


def test_an_item_without_a_vector_is_named(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="item 7 has no vector in the space toy"):
        catalog.vectors(SPACE, [7])


@pytest.mark.parametrize(
    "name", [b"caf\xe9.jpg", b"two\nlines.jpg", b"tab\t.jpg", "日本.jpg".encode(), b"-rf"]
)
def test_any_file_name_survives(catalog: Catalog, name: bytes) -> None:
    path = b"/photos/" + name
    catalog.commit(Batch(files=(picture(path, one_hot(0)),)))
    item = catalog.items([1])[1]
    assert item.path is not None
    assert os.fsencode(item.path) == path
    assert set(catalog.known_files(1)) == {path}


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=50).filter(lambda name: b"\0" not in name))
def test_any_bytes_are_a_path(catalog: Catalog, name: bytes) -> None:
    path = b"/photos/" + name
    catalog.commit(Batch(files=(picture(path, one_hot(0)),)))
    known = catalog.known_files(1)[path]
    item = catalog.items([known.id])[known.id]
    assert item.path is not None
    assert os.fsencode(item.path) == path


def test_known_files_are_those_under_the_root_whoever_found_them(catalog: Catalog) -> None:
    inner = catalog.add_root("/photos/inner", RootKind.FOLDER)
    single = catalog.add_root("/photos/inner/a", RootKind.FILE)
    beside = catalog.add_root("/photos/inner-not", RootKind.FOLDER)
    catalog.commit(
        Batch(
            files=(
                picture("/photos/inner/a", one_hot(0)),
                picture("/photos/b", one_hot(1)),
                picture("/photos/inner-not/c", one_hot(2), root_id=beside),
            )
        )
    )
    assert catalog.known_files(inner) == {
        b"/photos/inner/a": KnownFile(
            1, b"/photos/inner/a", 10, 1_000, digest("/photos/inner/a"), encoded=True
        )
    }
    assert set(catalog.known_files(single)) == {b"/photos/inner/a"}
    assert set(catalog.known_files(1)) == {b"/photos/inner/a", b"/photos/b", b"/photos/inner-not/c"}


def test_a_root_at_the_top_of_the_file_system_holds_everything(catalog: Catalog) -> None:
    top = catalog.add_root("/", RootKind.FOLDER)
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    assert set(catalog.known_files(top)) == {b"/photos/a"}


def test_a_changed_file_keeps_its_id_and_gets_a_new_vector(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(1), content="new"),)))
    assert catalog.items([1])[1].digest == digest("new")
    np.testing.assert_array_equal(catalog.vectors(SPACE, [1]), [one_hot(1)])
    assert catalog.counts().images == 1


def test_a_changed_file_loses_its_vector_in_another_space(catalog: Catalog) -> None:
    catalog.commit(
        Batch(files=(picture("/photos/a", one_hot(0)), picture("/photos/b", one_hot(1))))
    )
    catalog.set_space(OTHER)
    assert [known.encoded for known in catalog.known_files(1).values()] == [False, False]
    catalog.commit(
        Batch(
            files=(
                picture("/photos/a", one_hot(0, 3), content="new"),
                picture("/photos/b", one_hot(1, 3)),
            )
        )
    )
    assert catalog.all_vectors(SPACE, IMAGE)[0].tolist() == [2]
    assert catalog.all_vectors(OTHER, IMAGE)[0].tolist() == [1, 2]


def test_two_spaces_live_side_by_side(catalog: Catalog) -> None:
    catalog.set_space(OTHER)
    assert catalog.space() == OTHER
    assert catalog.spaces() == [SPACE, OTHER]
    catalog.set_space(Space("toy renamed", 4, SPACE.digest))
    assert catalog.spaces() == [Space("toy renamed", 4, SPACE.digest), OTHER]


def test_a_space_the_library_never_held_is_a_mismatch(catalog: Catalog) -> None:
    with pytest.raises(SpaceMismatchError, match=r"no vectors of the model other \(it holds toy\)"):
        catalog.all_vectors(OTHER, IMAGE)
    with pytest.raises(SpaceMismatchError, match="5 dimensions here and 4 in"):
        catalog.set_space(Space("toy", 5, SPACE.digest))


def test_a_renamed_file_keeps_its_id_and_vector(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.commit(Batch(moved=(MovedRow(1, b"/photos/b", 1, 2_000),)))
    item = catalog.items([1])[1]
    assert (item.path, item.mtime_ns) == ("/photos/b", 2_000)
    np.testing.assert_array_equal(catalog.vectors(SPACE, [1]), [one_hot(0)])


def test_two_files_can_swap_their_names(catalog: Catalog) -> None:
    catalog.commit(
        Batch(files=(picture("/photos/a", one_hot(0)), picture("/photos/b", one_hot(1))))
    )
    catalog.commit(
        Batch(moved=(MovedRow(1, b"/photos/b", 1, 1_000), MovedRow(2, b"/photos/a", 1, 1_000)))
    )
    assert {number: item.path for number, item in catalog.items([1, 2]).items()} == {
        1: "/photos/b",
        2: "/photos/a",
    }


def test_a_file_renamed_over_another_replaces_it(catalog: Catalog) -> None:
    catalog.commit(
        Batch(files=(picture("/photos/a", one_hot(0)), picture("/photos/b", one_hot(1))))
    )
    catalog.commit(Batch(moved=(MovedRow(1, b"/photos/b", 1, 1_000),)))
    assert list(catalog.items([1, 2])) == [1]


def test_a_new_file_may_take_the_name_of_a_moved_one(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.commit(
        Batch(
            moved=(MovedRow(1, b"/photos/b", 1, 1_000),),
            files=(picture("/photos/a", one_hot(1), content="new"),),
        )
    )
    assert {known.path: known.id for known in catalog.known_files(1).values()} == {
        b"/photos/a": 2,
        b"/photos/b": 1,
    }


def test_a_touched_file_changes_its_time_alone(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.commit(Batch(touched=(TouchedRow(1, 5_000),)))
    assert catalog.items([1])[1].mtime_ns == 5_000


def test_the_id_of_a_deleted_item_is_never_given_again(catalog: Catalog) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.commit(Batch(gone=(1,)))
    assert catalog.all_vectors(SPACE, IMAGE)[0].tolist() == []
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    assert list(catalog.items([1, 2])) == [2]


def test_copies_are_found_by_their_digest(catalog: Catalog) -> None:
    catalog.commit(
        Batch(
            files=(
                picture("/photos/a", one_hot(0), content="same"),
                picture("/photos/b", one_hot(0), content="same"),
                picture("/photos/c", one_hot(1)),
            )
        )
    )
    found = catalog.files_by_digest([digest("same"), digest("absent")])
    assert {key: [known.path for known in files] for key, files in found.items()} == {
        digest("same"): [b"/photos/a", b"/photos/b"]
    }


def test_a_sentence_is_one_item_of_its_root(catalog: Catalog) -> None:
    root = catalog.add_root("/captions.txt", RootKind.TEXTS)
    twice = (sentence("a dog", one_hot(0), root), sentence("a dog", one_hot(0), root))
    catalog.commit(Batch(texts=twice))
    catalog.commit(Batch(texts=(*twice, sentence("a dog", one_hot(0)))))
    assert catalog.known_texts(root) == {
        digest("a dog"): KnownText(1, digest("a dog"), encoded=True)
    }
    assert [text.id for text in catalog.known_texts(None).values()] == [2]


def test_a_sentence_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        TextRow("broken \udcff", None, digest("broken"), one_hot(0))


def test_a_failure_stands_until_its_file_is_indexed_or_cleared(catalog: Catalog) -> None:
    failures = tuple(
        Failure(path, "truncated", 5, 6, digest("broken"), 1)
        for path in (b"/photos/a", b"/photos/b", b"/photos/c")
    )
    catalog.commit(Batch(failures=failures))
    assert [f.path for f in catalog.failures()] == [b"/photos/a", b"/photos/b", b"/photos/c"]
    first = catalog.failures(root_id=1)[0]
    assert (first.reason, first.size, first.mtime_ns, first.digest) == (
        "truncated",
        5,
        6,
        digest("broken"),
    )
    assert first.when.endswith("+00:00")
    assert catalog.failures(root_id=9) == []
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),), cleared=(b"/photos/c",)))
    assert [failure.path for failure in catalog.failures()] == [b"/photos/b"]


def test_counts_tell_pictures_sentences_failures_and_what_is_offline(catalog: Catalog) -> None:
    away = catalog.add_root("/away", RootKind.FOLDER)
    catalog.commit(
        Batch(
            files=(
                picture("/photos/a", one_hot(0)),
                picture("/away/b", one_hot(1), root_id=away),
            ),
            texts=(sentence("a dog", one_hot(0)),),
            failures=(Failure(b"/photos/c", "empty", 0, 0),),
        )
    )
    catalog.set_offline(away, True)
    assert catalog.counts() == Counts(images=2, texts=1, failed=1, offline=1)
    assert catalog.counts().items == 3


@pytest.mark.parametrize(
    ("away", "offline"),
    [(["/photos"], 3), (["/photos/sub"], 2), (["/photos", "/photos/sub"], 3), (["/photos-b"], 1)],
)
def test_every_picture_in_a_root_that_is_away_is_offline_once(
    catalog: Catalog, away: list[str], offline: int
) -> None:
    inner = catalog.add_root("/photos/sub", RootKind.FOLDER)
    catalog.add_root("/photos-b", RootKind.FOLDER)
    catalog.commit(
        Batch(
            files=(
                picture("/photos/a", one_hot(0)),
                picture("/photos/sub/b", one_hot(1)),
                picture("/photos/sub/c", one_hot(2), root_id=inner),
                picture("/photos-b/d", one_hot(3)),
            )
        )
    )
    for root in catalog.roots():
        catalog.set_offline(root.id, root.path in away)
    assert catalog.counts().offline == offline


def test_a_root_is_added_once_and_is_online_when_added_again(catalog: Catalog) -> None:
    catalog.set_offline(1, True)
    assert catalog.roots() == [Root(1, "/photos", RootKind.FOLDER, offline=True)]
    assert catalog.add_root(b"/photos", RootKind.FOLDER) == 1
    assert catalog.roots() == [Root(1, "/photos", RootKind.FOLDER, offline=False)]


def test_settings_are_kept(catalog: Catalog) -> None:
    assert catalog.setting("model") is None
    catalog.set_setting("model", "mini")
    catalog.set_setting("model", "other")
    assert catalog.setting("model") == "other"


@pytest.mark.parametrize(
    "vector",
    [np.ones(3, np.float32), np.array([np.nan, 0, 0, 0], np.float32), np.full(4, 1e6, np.float32)],
    ids=["too narrow", "NaN", "beyond float16"],
)
def test_a_batch_with_a_bad_vector_changes_nothing(
    catalog: Catalog, vector: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    bad = Batch(files=(picture("/photos/b", vector),), gone=(1,))
    with pytest.raises(ConfigError, match="a vector"):
        catalog.commit(bad)
    assert list(catalog.items([1, 2])) == [1]
    assert catalog.revision == 1


def test_a_vector_without_a_space_is_refused(directory: Path) -> None:
    with Catalog.open(directory, write=True) as catalog:
        root = catalog.add_root("/photos", RootKind.FOLDER)
        with pytest.raises(ConfigError, match="no space yet"):
            catalog.commit(Batch(files=(picture("/photos/a", one_hot(0), root_id=root),)))


def test_a_large_batch_is_one_commit(catalog: Catalog) -> None:
    rows = unit_rows(1500, 4)
    catalog.commit(Batch(files=tuple(picture(f"/photos/{n}", row) for n, row in enumerate(rows))))
    assert catalog.counts().images == 1500
    assert catalog.revision == 1
    assert len(catalog.items(range(1, 1501))) == 1500
    assert len(catalog.files_by_digest([digest(f"/photos/{n}") for n in range(1500)])) == 1500


def test_a_catalog_open_for_reading_refuses_to_write(catalog: Catalog, directory: Path) -> None:
    with (
        Catalog.open(directory) as reader,
        pytest.raises(InputError, match="open for reading only"),
    ):
        reader.commit(Batch(gone=(1,)))


def test_writing_inside_a_snapshot_is_a_programming_error(catalog: Catalog) -> None:
    with catalog.snapshot(), pytest.raises(RuntimeError, match="snapshot"):
        catalog.set_setting("model", "mini")


def test_the_file_has_the_promised_settings(catalog: Catalog, directory: Path) -> None:
    catalog.commit(Batch(files=(picture("/photos/a", one_hot(0)),)))
    catalog.close()
    assert sorted(path.name for path in directory.iterdir()) == [
        "catalog.commits",
        "catalog.sqlite",
        "writer.lock",
    ]
    connection = sqlite3.connect(directory / "catalog.sqlite")
    try:
        assert connection.execute("PRAGMA page_size").fetchone() == (16384,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
