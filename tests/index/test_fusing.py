"""Rows of fused vectors: written, compared with their checksums, looked for, repaired."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import OTHER, SPACE, one_hot, picture, sentence

from mmsearch.core import Modality, Vectors
from mmsearch.errors import ConfigError, UnsoundLibraryError
from mmsearch.index import attributes, fusing
from mmsearch.index.catalog import Catalog
from mmsearch.index.fusing import Change, Fused
from mmsearch.index.rebuilding import rebuild
from mmsearch.index.rows import Batch

CAPTIONS = {1: ("a dog",), 2: ("a cat", "a cat asleep")}


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Return a catalog of three pictures, two of them with captions, and a sentence."""
    files = tuple(picture(f"/photos/{n}.jpg", one_hot(n)) for n in range(3))
    catalog.commit(Batch(files=files, texts=(sentence("words", one_hot(3)),)))
    attributes.set_captions(catalog, CAPTIONS)
    return catalog


def change(item_id: int, weight: float = 0.5) -> Change:
    """Return a change of a picture into its own vector and that of the last axis."""
    own = one_hot(item_id - 1)
    both = (own + one_hot(3)) / np.sqrt(np.float32(2))
    digest = fusing.captions_digest(CAPTIONS[item_id])
    return Change(item_id, both, Fused(weight, digest, own))


def fused(catalog: Catalog, weight: float = 0.5) -> None:
    """Fuse both pictures, and settle it."""
    fusing.set_wanted_weight(catalog, weight)
    fusing.write(catalog, SPACE, [change(1, weight), change(2, weight)])
    fusing.settle(catalog, SPACE, weight)


def searched(catalog: Catalog) -> Vectors:
    return catalog.all_vectors(SPACE, Modality.IMAGE)[1]


def test_a_fused_vector_takes_the_place_of_the_own_one(filled: Catalog) -> None:
    before = filled.revision
    fused(filled)
    assert filled.revision == before + 1
    assert searched(filled) == pytest.approx(
        np.array([[0.7071, 0, 0, 0.7071], [0, 0.7071, 0, 0.7071], [0, 0, 1, 0]]), abs=1e-3
    )
    assert np.array_equal(filled.own_vectors(SPACE, [1, 2, 3]), np.eye(4, dtype=np.float32)[:3])
    assert fusing.fused_count(filled, SPACE) == 2
    rows = fusing.fused_rows(filled, SPACE, [1, 2, 3])
    assert sorted(rows) == [1, 2]
    assert (rows[1].weight, rows[1].own.tolist()) == (0.5, [1, 0, 0, 0])


def test_what_is_written_back_is_no_longer_fused(filled: Catalog) -> None:
    fused(filled)
    fusing.write(filled, SPACE, [Change(1, one_hot(0), None)])
    assert sorted(fusing.fused_rows(filled, SPACE, [1, 2])) == [2]
    assert np.array_equal(searched(filled)[0], one_hot(0))


def test_a_vector_that_does_not_fit_changes_nothing(filled: Catalog) -> None:
    wrong = Change(2, np.ones(3, dtype=np.float32), None)
    with pytest.raises(ConfigError, match="does not fit"):
        fusing.write(filled, SPACE, [change(1), wrong])
    assert fusing.fused_rows(filled, SPACE, [1]) == {}
    assert np.array_equal(searched(filled)[0], one_hot(0))


def test_the_digest_tells_captions_and_their_order_apart() -> None:
    digests = {
        fusing.captions_digest(captions)
        for captions in ([], ["a", "b"], ["b", "a"], ["ab"], ['a","b'], ["a\nb"], ["ä"])
    }
    assert len(digests) == 7
    assert fusing.captions_digest(["a dog"]).hex().startswith("46b109818470fa35")


# What is not as it should be


def test_without_a_weight_only_fused_pictures_are_unsettled(filled: Catalog) -> None:
    assert fusing.unsettled(filled, SPACE, 0.0) == []
    fused(filled)
    assert fusing.unsettled(filled, SPACE, 0.0) == [1, 2]


def test_before_anything_is_settled_all_captioned_pictures_are_looked_at(filled: Catalog) -> None:
    assert fusing.unsettled(filled, SPACE, 0.5) == [1, 2]


def test_what_is_settled_is_not_looked_at_again(filled: Catalog) -> None:
    fused(filled)
    assert fusing.unsettled(filled, SPACE, 0.5) == []
    assert fusing.unsettled(filled, SPACE, 0.25) == [1, 2]


def test_a_picture_with_a_new_vector_is_looked_at_when_it_has_captions(filled: Catalog) -> None:
    fused(filled)
    files = tuple(picture(f"/photos/{n}.jpg", one_hot(3), content="other") for n in (1, 2))
    filled.commit(Batch(files=files))
    assert fusing.unsettled(filled, SPACE, 0.5) == [2]
    assert fusing.fused_rows(filled, SPACE, [1, 2]).keys() == {1}


def test_changed_captions_unsettle_every_space(filled: Catalog) -> None:
    fused(filled)
    filled.set_space(OTHER)
    attributes.set_captions(filled, {3: ("a bird",)})
    assert fusing.unsettled(filled, SPACE, 0.5) == [3]
    assert fusing.unsettled(filled, OTHER, 0.5) == [1, 2, 3]
    attributes.set_captions(filled, {1: ("a wolf",)})
    assert fusing.unsettled(filled, SPACE, 0.5) == [1, 3]
    assert fusing.unsettled(filled, SPACE, 0.25) == [1, 2, 3]


def test_captions_that_go_are_looked_at(filled: Catalog) -> None:
    fused(filled)
    attributes.set_captions(filled, {1: ()})
    assert fusing.unsettled(filled, SPACE, 0.5) == [1]
    fusing.settle(filled, SPACE, 0.5)
    assert fusing.unsettled(filled, SPACE, 0.5) == []


def test_after_many_changed_captions_all_are_looked_at(filled: Catalog) -> None:
    files = tuple(picture(f"/photos/many/{n}.jpg", one_hot(n)) for n in range(1001))
    filled.commit(Batch(files=files))
    fused(filled)
    attributes.set_captions(filled, dict.fromkeys(range(10, 400), ("many",)))
    assert fusing.unsettled(filled, SPACE, 0.5) == list(range(10, 400))
    attributes.set_captions(filled, dict.fromkeys(range(300, 1005), ("many",)))
    assert fusing.unsettled(filled, SPACE, 0.5) == list(range(10, 1005))
    attributes.set_captions(filled, {1005: ("one more",)})
    assert fusing.unsettled(filled, SPACE, 0.5) == list(range(10, 1006))
    attributes.set_captions(filled, dict.fromkeys(range(10, 1006), ()))
    attributes.set_captions(filled, {1000: ("again",)})
    assert fusing.unsettled(filled, SPACE, 0.5) == [*range(10, 1006)]
    attributes.set_captions(filled, dict.fromkeys(range(5, 1004), ("many",)))
    assert fusing.unsettled(filled, SPACE, 0.5) == [1, 2, *range(5, 1004)]


# Damage


def damaged(directory: Path, statement: str) -> None:
    with closing(sqlite3.connect(directory / "catalog.sqlite")) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fused SET weight = 0.25 WHERE item_id = 1",
        "UPDATE fused SET vector = zeroblob(8) WHERE item_id = 1",
        "UPDATE fused SET captions = zeroblob(32) WHERE item_id = 1",
    ],
    ids=["weight", "vector", "captions"],
)
def test_a_damaged_row_is_no_answer(filled: Catalog, directory: Path, statement: str) -> None:
    fused(filled)
    damaged(directory, statement)
    with pytest.raises(UnsoundLibraryError, match="fused vector of item 1"):
        fusing.fused_rows(filled, SPACE, [1])


@pytest.mark.parametrize("lost", ["item_id = 1", "item_id > 0"], ids=["one", "all"])
def test_a_repair_drops_vectors_whose_own_one_is_lost(
    filled: Catalog, directory: Path, tmp_path: Path, lost: str
) -> None:
    fused(filled)
    damaged(directory, f"UPDATE fused SET crc = crc + 1 WHERE {lost}")
    damaged(directory, "UPDATE captions SET crc = crc + 1 WHERE item_id = 1")
    with closing(sqlite3.connect(directory / "catalog.sqlite")) as source:
        rebuild(source, tmp_path / "new", 0)
    with Catalog.open(tmp_path / "new") as mended:
        kept = mended.all_vectors(SPACE, Modality.IMAGE)[0].tolist()
        assert kept == ([2, 3] if lost == "item_id = 1" else [3])
        assert fusing.fused_count(mended, SPACE) == len(kept) - 1
        assert fusing.wanted_weight(mended) == 0.5
        assert fusing.unsettled(mended, SPACE, 0.5) == [2]
