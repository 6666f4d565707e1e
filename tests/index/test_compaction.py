"""Free space of a catalog: given back where that takes moments, and nothing is lost by it."""

from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import SPACE, one_hot, picture, prepared

from mmsearch.core import Modality
from mmsearch.errors import InputError
from mmsearch.index import database
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.compaction import Reclaimed, Space, reclaim, space_of
from mmsearch.index.rows import Batch
from mmsearch.index.store import IndexStore

MANY = 12_000


@pytest.fixture
def loose(directory: Path) -> Path:
    """Return a library of many pictures of which two thirds were removed, the first ones."""
    with prepared(directory) as catalog:
        files = tuple(picture(f"/photos/{'x' * 100}/{n}", one_hot(n)) for n in range(MANY))
        catalog.commit(Batch(files=files))
        IndexStore(catalog, directory).refresh(SPACE)
        catalog.commit(Batch(gone=tuple(range(1, 2 * MANY // 3 + 1))))
    return directory


def test_what_is_loose_is_large_and_a_quarter_free() -> None:
    mega = 1 << 20
    assert Space(8 * mega, 3 * mega).is_loose
    assert not Space(8 * mega, 2 * mega).is_loose
    assert not Space(mega, mega - 1).is_loose


def test_space_is_given_back_and_nothing_else_changes(loose: Path) -> None:
    size = (loose / database.FILE).stat().st_size
    with Catalog.open(loose, write=True) as catalog, Catalog.open(loose) as reader:
        before = catalog.all_vectors(SPACE, Modality.IMAGE)
        with reader.snapshot():
            reader.counts()
            done = reclaim(catalog)
            assert reader.counts().images == MANY // 3  # it reads what it had begun to read
        assert done.freed > size / 2
        assert (done.kept, space_of(catalog).free) == (0, 0)
        for opened in (catalog, reader):
            after = opened.all_vectors(SPACE, Modality.IMAGE)
            assert np.array_equal(before[0], after[0])
            assert np.array_equal(before[1], after[1])
        catalog.commit(Batch(files=(picture("/photos/new", one_hot(0)),)))
        (new,) = catalog.known_under(b"/photos/new").values()
        assert new.id == MANY + 1
        assert reclaim(catalog) == Reclaimed()
    assert (loose / database.FILE).stat().st_size < size - done.freed + size / 50
    assert list(check_catalog(loose)) == []


def test_a_large_catalog_keeps_its_size(loose: Path) -> None:
    with Catalog.open(loose, write=True) as catalog:
        free = space_of(catalog).free
        assert reclaim(catalog, largest=1 << 20) == Reclaimed(kept=free)
        assert space_of(catalog).free == free


def test_a_disk_without_room_keeps_what_there_is(
    loose: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(catalog: Catalog) -> None:
        raise InputError("no space left")

    monkeypatch.setattr(Catalog, "vacuum", full)
    with Catalog.open(loose, write=True) as catalog:
        assert reclaim(catalog).kept == space_of(catalog).free


def test_a_reader_cannot_reclaim(loose: Path) -> None:
    with Catalog.open(loose) as catalog, pytest.raises(InputError, match="for reading only"):
        catalog.vacuum()
