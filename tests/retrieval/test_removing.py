"""Removing from Python, and removals that Ctrl-C cuts short."""

import shutil
import signal
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder
from tests.retrieval.overtaking import overtake

from mmsearch.errors import InputError
from mmsearch.index import failpoints
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.index.spaces import drop_space
from mmsearch.retrieval import forget as forgetting
from mmsearch.retrieval.forget import find, forget
from mmsearch.retrieval.ingest import ingest
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.prune import prune, survey


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour in {"red": RED, "green": GREEN, "sub/blue": BLUE}.items():
        draw(tmp_path / "photos" / f"{name}.png", colour)
    return tmp_path / "photos"


def test_a_library_forgets_and_says_how_many(library: Library, photos: Path) -> None:
    library.add(photos)
    library.add_texts(["a red rose"])
    assert library.forget(photos / "sub") == 1
    assert library.refresh().as_dict() == counts(unchanged=2)
    assert library.add(photos / "sub").as_dict() == counts(new=1, encoded=1)
    assert library.forget([photos, photos / "red.png"]) == 3
    assert [hit.item.text for hit in library.search("red", k=10)] == []
    assert library.catalog.counts().items == 1
    with pytest.raises(InputError, match="the library holds nothing at"):
        library.forget(photos)


def test_a_library_prunes_what_is_not_there(library: Library, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("red\n", encoding="utf-8")
    library.add(photos)
    library.add_texts(file)
    assert library.prune() == 0
    shutil.rmtree(photos)
    file.unlink()
    assert library.prune(spaces=True) == 4
    assert (library.catalog.counts().items, library.catalog.roots()) == (0, [])


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, place: str, nth: int) -> None:
    """Press it the `nth` time that a place is reached; afterwards no more."""
    reached = 0

    def reach(name: str) -> None:
        nonlocal reached
        reached += name == place
        if name == place and reached == nth:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(failpoints, "reach", reach)
    monkeypatch.setattr(forgetting, "CHUNK", 1)


PLACES = pytest.mark.parametrize("place", ["mid-transaction", "after-vectors", "before-commit",
                                           "after-commit"])  # fmt: skip


@PLACES
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_forget_that_is_interrupted_is_undone_by_nothing_and_finished_by_the_next(
    catalog: Catalog,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    nth: int,
) -> None:
    encoder = FakeEncoder()
    ingest(catalog, encoder, [photos])
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, place, nth)
        assert not forget(catalog, find(catalog, [photos]))
    left = catalog.counts().images
    assert list(check_catalog(catalog.directory)) == []
    if left < 3:  # what was written down as forgotten stays away
        assert ingest(catalog, encoder, []).as_dict() == counts()
        assert catalog.counts().images == left
    if catalog.roots():
        assert forget(catalog, find(catalog, [photos]))
    assert (catalog.counts().images, catalog.roots()) == (0, [])
    assert ingest(catalog, encoder, [photos]).new == 3  # named again, it is welcome


@PLACES
def test_a_prune_that_is_interrupted_is_finished_by_the_next(
    catalog: Catalog,
    encoder: FakeEncoder,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    ingest(catalog, encoder, [photos])
    shutil.rmtree(photos)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, place, 2)
        assert not prune(catalog, survey(catalog))
    assert list(check_catalog(catalog.directory)) == []
    assert 0 < catalog.counts().images < 3
    assert prune(catalog, survey(catalog))
    assert (catalog.counts().images, catalog.roots()) == (0, [])


def test_ctrl_c_reaches_the_caller_of_a_library(
    library: Library, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add(photos)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, "before-commit", 3)
        with pytest.raises(KeyboardInterrupt):
            library.forget(photos)
    assert library.catalog.counts().images == 2
    assert library.forget(photos) == 2


@pytest.mark.parametrize("dropped_at", range(12))
def test_what_could_go_is_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped_at: int
) -> None:
    old, new = (FakeEncoder(name).space for name in ("old", "new"))
    with Catalog.open(tmp_path / "library", write=True) as writer:
        writer.set_space(old)
        writer.set_space(new)

        def commit(moment: int) -> None:
            if moment == dropped_at:
                drop_space(writer, old)

        overtake(monkeypatch, commit)
        with Catalog.open(tmp_path / "library") as reader:
            found = survey(reader, spaces=True).spaces
        assert [each.space for each in found] in ([], [old])
