"""Facts, labels, captions and fused vectors in a catalog that has to be made anew."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import OTHER, SPACE, behind, one_hot, picture, sentence

from mmsearch.core import Modality, Photo
from mmsearch.index import attributes, database
from mmsearch.index.caption_files import CaptionFile, caption_files, set_caption_files
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.checksums import row_checksum
from mmsearch.index.recounting import recount
from mmsearch.index.rows import Batch, LabelChange, LabelSource
from mmsearch.index.salvage import Salvaged, salvage

PHOTO = Photo(4000, 3000, 1_700_000_000, "X100", 48.5, 11.5, (1 << 64) - 1)
COUNT = 6


@pytest.fixture
def library(catalog: Catalog, directory: Path) -> Path:
    """Return a closed library of six pictures that have everything, and a labelled sentence."""
    files = tuple(
        replace(picture(f"/photos/{n}.png", one_hot(n)), photo=PHOTO) for n in range(COUNT)
    )
    catalog.commit(Batch(files=files, texts=(sentence("a dog", one_hot(1)),)))
    ids = range(1, COUNT + 1)
    attributes.set_captions(catalog, {n: (f"caption {n}", "another") for n in ids})
    attributes.set_labels(
        catalog, [LabelChange(n, "sea", LabelSource.USER, None) for n in (*ids, COUNT + 1)]
    )
    with catalog.transaction() as db:
        for number in ids:
            own = np.array([1, 0, 0, number], dtype="<f2").tobytes()
            row = (1, number, 0.25, b"d" * 32, own)
            db.execute("INSERT INTO fused VALUES (?, ?, ?, ?, ?, ?)", (*row, row_checksum(row)))
    catalog.close()
    return directory


def salvaged(library: Path) -> Salvaged:
    done = salvage(library)
    assert [finding for finding in check_catalog(library) if finding.is_error] == []
    return done


def rows(library: Path, table: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(library / database.FILE)
    found = connection.execute(f"SELECT * FROM {table} ORDER BY item_id").fetchall()
    connection.close()
    return found


TABLES = ("photos", "labels", "captions", "fused")


def test_everything_sound_is_kept_to_the_letter(library: Path) -> None:
    before = {table: rows(library, table) for table in TABLES}
    done = salvaged(library)
    assert {table: rows(library, table) for table in TABLES} == before
    assert (done.dropped_rows, done.lost, done.vectors) == ({}, {}, COUNT + 1)


def test_the_words_are_made_anew(library: Path) -> None:
    behind(library, "UPDATE words_data SET block = zeroblob(length(block))")
    salvaged(library)
    with Catalog.open(library) as catalog:
        query = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid"
        assert len(catalog.rows(query, "label:sea")) == COUNT + 1
        assert catalog.rows(query, 'caption:"caption 3"') == [(3,)]
        assert len(catalog.rows(query, "folder:photos AND name:png")) == COUNT


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("photos", "UPDATE photos SET width = 1 WHERE item_id = 2"),
        ("labels", "UPDATE labels SET name = 'tea' WHERE item_id = 2"),
        ("captions", "UPDATE captions SET text = 'x' WHERE item_id = 2 AND place = 0"),
        ("fused", "UPDATE fused SET weight = 0.5 WHERE item_id = 2"),
    ],
)
def test_damaged_rows_are_found_counted_and_left_out(
    library: Path, table: str, statement: str
) -> None:
    before = rows(library, table)
    behind(library, statement)
    (finding,) = [f for f in check_catalog(library) if f.is_error and "words" not in f.what]
    assert finding.what == f"the row of item 2 in {table} does not match its checksum"
    done = salvaged(library)
    assert done.dropped_rows == {table: 1}
    left = rows(library, table)
    assert len(left) == len(before) - 1
    assert set(left) < set(before)


def test_labels_on_a_page_that_is_gone_are_counted(library: Path) -> None:
    connection = sqlite3.connect(library / database.FILE)
    query = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = 'labels'"
    ((page,),) = connection.execute(query).fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with (library / database.FILE).open("r+b") as file:
        file.seek((page - 1) * database.PAGE_SIZE)
        file.write(b"\x0a\0\0\0\0" + database.PAGE_SIZE.to_bytes(2, "big") + b"\0")
    assert salvaged(library).dropped_rows == {"labels": COUNT + 1}
    assert rows(library, "labels") == []


def test_files_of_captions_are_read_again_for_what_was_lost(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        set_caption_files(catalog, [CaptionFile("/photos/c.csv", "stamp", 1, 6)])
    behind(library, "UPDATE captions SET text = 'x' WHERE item_id = 2 AND place = 0")
    assert salvaged(library).dropped_rows == {"captions": 1}
    with Catalog.open(library) as catalog:
        assert caption_files(catalog) == [CaptionFile("/photos/c.csv", "", 1, 6)]


def test_a_vector_that_may_be_fused_or_not_is_left_out(library: Path) -> None:
    behind(library, "UPDATE fused SET weight = 0.5 WHERE item_id = 2")
    assert salvaged(library).vectors == COUNT
    with Catalog.open(library) as catalog:
        assert sorted(catalog.vector_table(SPACE, Modality.IMAGE).find(range(9))[0]) == [
            1,
            3,
            4,
            5,
            6,
        ]
        known = {known.id: known.encoded for known in catalog.known_files(1).values()}
        assert known[2] is False  # `index` encodes it again
        own = catalog.own_vectors(SPACE, [3])
        assert own[0].tolist() == [1, 0, 0, 3]


def test_vectors_of_a_space_that_fuses_nothing_stay(library: Path) -> None:
    behind(library, "DELETE FROM fused")
    assert salvaged(library).vectors == COUNT + 1
    with Catalog.open(library) as catalog:
        assert len(catalog.vector_table(SPACE, Modality.IMAGE).find(range(9))[0]) == COUNT


def test_what_belongs_to_a_lost_item_is_lost_with_it(library: Path) -> None:
    behind(library, "UPDATE items SET size = 77 WHERE id = 2")
    done = salvaged(library)
    assert done.lost == {2: "/photos/1.png"}
    for table in TABLES:
        assert 2 not in [row[1 if table == "fused" else 0] for row in rows(library, table)]
    assert done.dropped_rows == {}


def test_rows_of_a_space_that_is_left_out_are_left_out(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        catalog.set_space(OTHER)
    behind(library, "UPDATE spaces SET dim = 5 WHERE id = 1")
    salvaged(library)
    assert rows(library, "fused") == []
    assert len(rows(library, "photos")) == COUNT


def test_recounting_makes_the_words_anew_and_leaves_the_rows(library: Path) -> None:
    before = {table: rows(library, table) for table in TABLES}
    behind(library, "UPDATE words_content SET c0 = 'other'")
    recount(library)
    assert {table: rows(library, table) for table in TABLES} == before
    assert list(check_catalog(library)) == []
    with Catalog.open(library, write=True) as catalog:
        catalog.vacuum()
    assert list(check_catalog(library)) == []
