"""The table of words is always what the items, labels and captions say."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.index.conftest import SPACE, behind, fill, one_hot, picture, sentence

from mmsearch.errors import MMSearchError
from mmsearch.index import attributes, checking_attributes, database
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.findings import Finding, Level, Remedy
from mmsearch.index.recounting import recount
from mmsearch.index.rows import Batch, LabelChange, LabelSource, MovedRow, RootKind

WORD = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


def matching(catalog: Catalog, query: str) -> list[int]:
    """Return the items whose words match, sorted."""
    rows = catalog.rows("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid", query)
    return [row[0] for row in rows]


def words(catalog: Catalog, number: int) -> tuple[bytes | None, ...]:
    """Return the words of an item as bytes: name, folder, text, caption, label."""
    columns = ("name", "folder", "text", "caption", "label")
    casts = ", ".join(f"CAST({column} AS BLOB)" for column in columns)
    (row,) = catalog.rows(f"SELECT {casts} FROM words WHERE rowid = ?", number)
    return row


def test_a_picture_has_the_words_of_its_name_and_of_its_folders_in_the_library(
    catalog: Catalog,
) -> None:
    catalog.commit(Batch(files=(picture("/photos/Summer 2023/Ça_va-1.jpg", one_hot(0)),)))
    assert words(catalog, 1) == (
        "Ça_va-1.jpg".encode(), b"photos/Summer 2023/", None, None, None,
    )  # fmt: skip
    for query in ("ca", "VA", "summer", "folder:2023", "photos", "name:jpg", '"summer 2023"'):
        assert matching(catalog, query) == [1], query
    assert matching(catalog, "name:summer") == []


def test_folders_above_that_of_the_root_have_no_words(catalog: Catalog) -> None:
    root = catalog.add_root("/home/me/holidays", RootKind.FOLDER)
    catalog.commit(Batch(files=(picture("/home/me/holidays/a.png", one_hot(0), root_id=root),)))
    assert words(catalog, 1)[1] == b"holidays/"
    assert matching(catalog, "home OR me") == []
    assert matching(catalog, "holidays") == [1]


@pytest.mark.parametrize(
    ("root", "kind", "path", "folder"),
    [
        ("/", RootKind.FOLDER, "/a.png", b""),
        ("/", RootKind.FOLDER, "/x/y/a.png", b"x/y/"),
        ("/r", RootKind.FOLDER, "/r/x/a.png", b"r/x/"),
        ("/d/e/a.png", RootKind.FILE, "/d/e/a.png", b"e/"),
        ("/a.png", RootKind.FILE, "/a.png", b"/"),
    ],
)
def test_the_folder_is_counted_from_the_root(
    catalog: Catalog, root: str, kind: RootKind, path: str, folder: bytes
) -> None:
    number = catalog.add_root(root, kind)
    catalog.commit(Batch(files=(picture(path, one_hot(0), root_id=number),)))
    assert words(catalog, 1)[:2] == (b"a.png", folder)


def test_a_name_that_is_no_text_fails_nothing(catalog: Catalog, directory: Path) -> None:
    raw = b"/photos/\xff\xc3/\xa9 sea \xc3.jpg"
    catalog.commit(Batch(files=(picture(raw, one_hot(0)),)))
    assert words(catalog, 1)[:2] == (b"\xa9 sea \xc3.jpg", b"photos/\xff\xc3/")
    assert matching(catalog, "sea") == [1]
    catalog.commit(Batch(moved=(MovedRow(1, b"/photos/\x80", 1, 2),)))
    assert matching(catalog, "sea") == []
    assert list(check_catalog(directory)) == []


@given(st.lists(WORD, min_size=1, max_size=5), st.binary(max_size=6))
@settings(max_examples=80)
def test_names_and_folders_are_cut_as_python_cuts_them(parts: list[str], odd: bytes) -> None:
    path = b"/photos/" + odd.translate(None, b"\0").lstrip(b"/") + "/".join(parts).encode()
    assert (
        words_of(path)
        == (
            os.path.basename(path),  # noqa: PTH119 - bytes
            os.path.dirname(path)[1:] + b"/",  # noqa: PTH120 - bytes
        )
    )


@pytest.fixture(scope="module", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with Catalog.open(tmp_path_factory.mktemp("words"), write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.add_root("/photos", RootKind.FOLDER)
        _SHARED.append(catalog)
        yield
        _SHARED.clear()


_SHARED: list[Catalog] = []


def words_of(path: bytes) -> tuple[bytes | None, ...]:
    """Return the name and the folder of one picture at a path, in a library kept for this."""
    (catalog,) = _SHARED
    catalog.commit(Batch(files=(picture(path, one_hot(0)),)))
    ((number,),) = catalog.rows("SELECT max(id) FROM items")
    found = words(catalog, number)[:2]
    catalog.commit(Batch(gone=(number,)))
    return found


def test_a_sentence_has_its_own_words_alone(catalog: Catalog) -> None:
    catalog.commit(Batch(texts=(sentence("Two dogs run", one_hot(0)),)))
    assert words(catalog, 1) == (None, None, b"Two dogs run", None, None)
    assert matching(catalog, "text:dogs") == [1]


def test_labels_and_captions_are_words_of_their_item(catalog: Catalog) -> None:
    fill(catalog, 2)
    attributes.set_captions(catalog, {1: ("a red dog", "on the beach")})
    attributes.set_labels(catalog, [LabelChange(2, "Bücher", LabelSource.USER, None)])
    assert matching(catalog, "caption:beach") == [1]
    assert matching(catalog, "label:bucher") == [2]
    attributes.set_captions(catalog, {1: ("a cat",)})
    attributes.set_labels(catalog, [LabelChange(2, "Bücher", LabelSource.USER, None, remove=True)])
    assert matching(catalog, "beach OR bucher") == []
    assert matching(catalog, "cat") == [1]
    assert words(catalog, 2)[4] is None


def test_a_phrase_does_not_reach_from_one_caption_into_the_next(catalog: Catalog) -> None:
    fill(catalog, 1)
    attributes.set_captions(catalog, {1: ("a red", "dog runs")})
    assert words(catalog, 1)[3] == b"a red\ndog runs"


def test_a_move_changes_the_words_of_the_path_and_keeps_the_others(catalog: Catalog) -> None:
    fill(catalog, 1)
    attributes.set_captions(catalog, {1: ("a dog",)})
    catalog.commit(Batch(moved=(MovedRow(1, b"/photos/sea/b.jpg", 1, 5),)))
    assert words(catalog, 1) == (b"b.jpg", b"photos/sea/", None, b"a dog", None)


def test_writing_the_same_again_leaves_the_words_alone(catalog: Catalog) -> None:
    fill(catalog, 50)
    before = catalog.rows("SELECT id, block FROM words_data ORDER BY id")
    fill(catalog, 50)
    assert catalog.rows("SELECT id, block FROM words_data ORDER BY id") == before


def test_a_deleted_item_leaves_no_words(catalog: Catalog, directory: Path) -> None:
    fill(catalog, 5)
    attributes.set_labels(catalog, [LabelChange(1, "dog", LabelSource.USER, None)])
    catalog.commit(Batch(gone=(1, 2, 6)))
    assert matching(catalog, "dog") == []
    assert catalog.rows("SELECT count(*) FROM words") == [(3,)]
    assert list(check_catalog(directory)) == []


def test_a_writer_that_is_rolled_back_leaves_the_words_as_they_were(
    catalog: Catalog, directory: Path
) -> None:
    fill(catalog, 3)

    def stop() -> None:
        with catalog.transaction() as db:
            db.execute("DELETE FROM items WHERE id = 1")
            assert matching(catalog, "photos") == [2, 3]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stop()
    assert matching(catalog, "photos") == [1, 2, 3]
    assert list(check_catalog(directory)) == []


# Damage


def errors(directory: Path) -> list[Finding]:
    """Return what makes the catalog unsound."""
    return [finding for finding in check_catalog(directory) if finding.is_error]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM words WHERE rowid = 2", "the words of 3 items are there instead of 4"),
        ("UPDATE words SET name = 'other' WHERE rowid = 2", "the words of 1 items are not theirs"),
        ("UPDATE words_content SET c0 = 'a1' WHERE id = 2", "the index of words is damaged"),
        ("DELETE FROM words_docsize WHERE id = 2", "the words of 3 items are there instead of 4"),
        (
            "UPDATE words_data SET block = zeroblob(length(block)) WHERE id > 100",
            "the index of words is damaged",
        ),
        (
            "UPDATE words_data SET block = CAST(replace(block, 'bad', 'bat') AS BLOB)",
            "",  # no word of an item: nothing is changed
        ),
    ],
)
def test_words_that_are_not_those_of_the_items_are_found_and_made_anew(
    catalog: Catalog, directory: Path, statement: str, said: str
) -> None:
    fill(catalog, 3)
    catalog.close()
    behind(directory, statement)
    found = errors(directory)
    assert [finding.remedy for finding in found] == [Remedy.COUNT] * len(found)
    assert any(said in finding.what for finding in found) is bool(said), found
    recount(directory)
    assert list(check_catalog(directory)) == []
    with Catalog.open(directory) as opened:
        assert matching(opened, "photos") == [1, 2, 3]


def test_a_flipped_bit_in_the_index_of_words_is_found(catalog: Catalog, directory: Path) -> None:
    catalog.commit(Batch(files=(picture("/photos/kangaroo.png", one_hot(0)),)))
    catalog.close()
    with sqlite3.connect(directory / database.FILE) as connection:
        for number, block in connection.execute("SELECT id, block FROM words_data").fetchall():
            damaged = bytes(block).replace(b"kangaroo", b"kangarop")
            connection.execute("UPDATE words_data SET block = ? WHERE id = ?", (damaged, number))
    connection.close()
    (finding,) = errors(directory)
    assert (finding.what[:30], finding.remedy) == ("the index of words is damaged:", Remedy.COUNT)


def test_a_check_without_room_for_a_copy_says_so(
    catalog: Catalog, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(catalog, 500)
    small = sqlite3.connect("", isolation_level=None)
    small.execute("PRAGMA max_page_count = 8")
    monkeypatch.setattr(checking_attributes, "_scratch", lambda: small)
    (finding,) = check_catalog(directory)
    assert (finding.level, finding.what[:34]) == (
        Level.NOTICE,
        "the index of words was not checked",
    )


def test_a_quick_check_counts_the_words(catalog: Catalog, directory: Path) -> None:
    fill(catalog, 3)
    catalog.close()
    behind(directory, "DELETE FROM words WHERE rowid = 2")
    found = list(check_catalog(directory, quick=True))
    assert [finding.what for finding in found] == ["the words of 3 items are there instead of 4"]


@pytest.mark.parametrize("table", ["words_data", "words_content", "words_config", "photos"])
def test_a_missing_table_is_found(catalog: Catalog, directory: Path, table: str) -> None:
    fill(catalog, 1)
    catalog.close()
    behind(directory, f"DROP TABLE {table}")
    found = [finding for finding in errors(directory) if f"{table} of the" in finding.what]
    assert [finding.remedy for finding in found] == [Remedy.RESCUE]
    with pytest.raises(MMSearchError, match="mmsearch repair"):
        Catalog.open(directory)
