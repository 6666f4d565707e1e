"""What `check` says of every kind of damage in the catalog and beside it."""

import hashlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import SPACE, behind, one_hot, picture, sentence, unit_rows

from mmsearch.index import database, watermark
from mmsearch.index.ann import FlatIndex
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.checking_files import check_files
from mmsearch.index.findings import Finding, Level, Remedy
from mmsearch.index.rows import Batch
from mmsearch.index.store import IndexStore


@pytest.fixture
def library(catalog: Catalog, directory: Path) -> Path:
    """Return a closed library of five pictures and a sentence, with index files."""
    rows = unit_rows(5, 4)
    catalog.commit(
        Batch(
            files=tuple(picture(f"/photos/{n}", row) for n, row in enumerate(rows)),
            texts=(sentence("a dog", one_hot(1)),),
        )
    )
    IndexStore(catalog, directory).refresh(SPACE)
    catalog.close()
    return directory


def errors(directory: Path) -> list[Finding]:
    """Return what makes the catalog unsound."""
    return [finding for finding in check_catalog(directory) if finding.is_error]


def test_a_sound_library_has_no_findings(library: Path) -> None:
    assert list(check_catalog(library)) == []
    assert list(check_catalog(library, quick=True)) == []
    assert list(check_files(library)) == []


@pytest.mark.parametrize(
    ("statement", "said", "remedy"),
    [
        ("UPDATE vectors_1_image SET vector = zeroblob(8) WHERE item_id = 2", "vector of item 2",
         Remedy.RESCUE),
        ("UPDATE vectors_1_image SET vector = zeroblob(6) WHERE item_id = 2", "vector of item 2",
         Remedy.RESCUE),
        ("UPDATE items SET size = 9 WHERE id = 3", "row of item 3", Remedy.RESCUE),
        ("DELETE FROM items WHERE id = 3", "vector 3 of vectors_1_image belongs to no item",
         Remedy.RESCUE),
        ("DELETE FROM vectors_1_image WHERE item_id = 3", "tally of vectors_1_image",
         Remedy.COUNT),
        ("UPDATE tallies SET rows = 77", "row [1, \"image\"] of tallies", Remedy.COUNT),
        ("UPDATE library SET revision = 0", "row [1] of library", Remedy.RESCUE),
        ("DROP INDEX items_root", "items_root of the catalog's schema is missing", Remedy.RESCUE),
        ("UPDATE items SET root_id = 8 WHERE id = 1", "refers to a row of roots", Remedy.RESCUE),
    ],
)  # fmt: skip
def test_damage_is_found_and_named(
    library: Path, statement: str, said: str, remedy: Remedy
) -> None:
    behind(library, statement)
    found = errors(library)
    assert any(said in finding.what for finding in found), found
    assert remedy in {finding.remedy for finding in found}
    assert all("mmsearch repair" in finding.advice for finding in found)


def test_a_vector_of_the_wrong_modality_is_found(library: Path) -> None:
    behind(library, "INSERT INTO vectors_1_text SELECT * FROM vectors_1_image WHERE item_id = 1")
    assert any("an item of modality image" in finding.what for finding in errors(library))


def test_a_sentence_that_is_not_that_of_its_digest_is_found(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog:
        wrong = sentence("a cat", one_hot(2))
        catalog.commit(Batch(texts=(type(wrong)("a cow", None, wrong.digest, wrong.vector),)))
    assert [f.what for f in errors(library)] == ["the digest of item 7 is not that of its text"]


def test_an_item_that_waits_is_a_notice(library: Path) -> None:
    with Catalog.open(library, write=True) as catalog, catalog.transaction() as db:
        db.execute("DELETE FROM vectors_1_text")
    (finding,) = check_catalog(library)
    assert (finding.level, finding.what) == (Level.NOTICE, "1 text items wait to be encoded")


def test_a_table_of_somebody_else_is_a_notice(library: Path) -> None:
    connection = sqlite3.connect(library / database.FILE)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    (finding,) = check_catalog(library)
    assert finding.level is Level.NOTICE
    with Catalog.open(library) as catalog:
        assert catalog.counts().images == 5


def test_many_findings_of_a_kind_are_counted(catalog: Catalog, directory: Path) -> None:
    catalog.commit(Batch(files=tuple(picture(f"/photos/{n}", one_hot(n)) for n in range(50))))
    catalog.close()
    behind(directory, "UPDATE items SET size = 0")
    found = errors(directory)
    assert len([f for f in found if f.what.startswith("the row of item")]) == 20
    assert any(f.what == "and 30 more of the kind" for f in found)


def test_lost_commits_are_found(library: Path) -> None:
    watermark.advance(library, watermark.Mark(99))
    (finding,) = errors(library)
    assert finding.remedy is Remedy.ACCEPT
    assert "it holds 5 commits and had 99" in finding.what


def test_damaged_index_files_and_leftovers_are_found(library: Path) -> None:
    images, texts = sorted(library.glob("index/*/*/*.faiss"))
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    texts.unlink()
    (images.parent / "00000009.tmp").touch()
    (images.parent / "00000009.faiss").touch()
    (images.parent / "00000008.damaged").touch()
    (library / "quarantine" / "then").mkdir(parents=True)
    found = list(check_files(library))
    assert [(f.level.value, f.what.split(" ")[0]) for f in found if f.is_error] == [
        ("error", "the")
    ] * 2
    assert any("does not match its checksum" in f.what for f in found)
    assert any("No such file" in f.what for f in found)
    assert len([f for f in found if f.level is Level.NOTICE]) == 4


@pytest.mark.parametrize(
    ("ids", "what"), [((1, 2, 3, 4, 5), "vectors"), ((1, 2, 3, 4, 6), "items")]
)
def test_an_index_file_of_other_rows_is_found_though_its_checksum_is_right(
    library: Path, ids: tuple[int, ...], what: str
) -> None:
    index = FlatIndex(4)
    index.add(np.array(ids), unit_rows(5, 4, seed=3))
    blocks: list[bytes] = []
    index.write(blocks.append)
    content = b"".join(blocks)
    file = min(library.glob("index/*/image/*.faiss"))
    file.write_bytes(content)
    with Catalog.open(library, write=True) as catalog, catalog.transaction() as db:
        db.execute(
            "UPDATE generations SET sha256 = ?, size = ? WHERE modality = 'image'",
            (hashlib.sha256(content).hexdigest(), len(content)),
        )
    (finding,) = check_files(library)
    assert finding.is_error
    assert finding.what.endswith(f"holds other {what} than the catalog")


def test_checking_does_not_stop_a_writer(library: Path) -> None:
    findings = check_catalog(library)
    with Catalog.open(library, write=True) as catalog:
        catalog.commit(Batch(gone=(1,)))
        assert next(findings, None) is None
        catalog.commit(Batch(gone=(2,)))
    assert list(check_catalog(library)) == []


def test_a_table_whose_columns_have_other_names_is_found(library: Path) -> None:
    connection = sqlite3.connect(library / database.FILE, isolation_level=None)
    connection.execute("PRAGMA writable_schema = 1")
    connection.execute(
        "UPDATE sqlite_master SET sql = replace(sql, 'id INTEGER', 'ID_ INTEGER') "
        "WHERE name = 'spaces'"
    )
    connection.close()
    found = errors(library)
    assert any("no such column: id" in finding.what for finding in found), found
    assert Remedy.RESCUE in {finding.remedy for finding in found}
