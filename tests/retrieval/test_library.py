"""The facade, on a fake encoder and drawn pictures."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder
from tests.retrieval.onnx_models import make_model

import mmsearch
from mmsearch.core import ImageTerm, ItemTerm, Modality, Query, TextTerm
from mmsearch.errors import (
    ConfigError,
    DecodeError,
    InputError,
    LibraryBusyError,
    ModelError,
    SpaceMismatchError,
    UnsoundLibraryError,
)
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.opening import default_directory
from mmsearch.retrieval.report import IngestOptions
from mmsearch.retrieval.status import read_status

PINK = (255, 128, 128)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, colour in {"red": RED, "green": GREEN, "blue": BLUE, "pink": PINK}.items():
        draw(folder / f"{name}.png", colour)
    return folder


def _library(directory: Path, encoder: FakeEncoder | None = None) -> Library:
    Catalog.open(directory, write=True).close()
    catalog = Catalog.open(directory)
    return Library(catalog, IndexStore(catalog, directory), encoder or FakeEncoder())


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Iterator[Library]:
    """The four photos, without sentences."""
    with _library(tmp_path / "library") as made:
        made.add(photos)
        yield made


def _names(hits: list[mmsearch.Hit]) -> list[str]:
    return [Path(hit.item.path or "").stem or hit.item.text or "" for hit in hits]


def test_a_sentence_finds_the_picture_that_it_describes(library: Library) -> None:
    hits = library.search("something red", k=2)
    assert _names(hits) == ["red", "pink"]
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].score == pytest.approx(1.0, abs=1e-3)
    assert hits[0].item.modality is Modality.IMAGE


def test_a_picture_finds_look_alikes_while_there_are_no_sentences(
    library: Library, photos: Path
) -> None:
    assert _names(library.search(photos / "pink.png", k=1)) == ["red"]


def test_a_picture_finds_sentences_once_there_are_any(library: Library, photos: Path) -> None:
    library.add_texts(["a blue sky", "a red rose"])
    assert _names(library.search(photos / "red.png")) == ["a red rose", "a blue sky"]
    pictures = library.search(photos / "red.png", k=1, target=Modality.IMAGE)
    assert _names(pictures) == ["pink"]


def test_pixels_are_a_question_too(library: Library) -> None:
    pixels = np.full((30, 20, 3), GREEN, dtype=np.uint8)
    assert _names(library.search(pixels, k=1)) == ["green"]


def test_terms_are_added_and_taken_away(library: Library) -> None:
    pixels = np.full((8, 8, 3), PINK, dtype=np.uint8)
    less_red = Query((ImageTerm(pixels), TextTerm("red", -1.0)), k=4)
    assert _names(library.search(less_red))[-1] == "red"


def test_a_query_without_target_finds_both_kinds_in_one_ranking(library: Library) -> None:
    library.add_texts(["blue", "red and green"])
    hits = library.search(Query((TextTerm("blue"),), k=3, target=None))
    assert {_names(hits)[0], _names(hits)[1]} == {"blue"}
    assert {hit.item.modality for hit in hits[:2]} == {Modality.IMAGE, Modality.TEXT}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_ties_are_ordered_by_id(library: Library, photos: Path) -> None:
    for number in range(5):
        draw(photos / f"copy{number}.png", RED, size=(20 + number, 8))
    library.add(photos)
    hits = [hit for hit in library.search("red") if hit.score > 0.999]
    assert len(hits) == 6
    assert [hit.item.id for hit in hits] == sorted(hit.item.id for hit in hits)


def test_an_item_is_left_out_of_what_is_similar_to_it(library: Library) -> None:
    pink = library.search("white red", k=1)[0].item
    assert _names([*library.search(Query((ItemTerm(pink.id),), k=1))]) == ["red"]
    assert len(library.similar(pink)) == 3
    assert _names(library.similar(pink.id, k=1)) == ["red"]


def test_an_item_that_is_not_there_has_nothing_similar(library: Library) -> None:
    with pytest.raises(InputError, match="no item 999"):
        library.similar(999)


def test_any_number_of_answers_may_be_asked_for(library: Library) -> None:
    assert len(library.search("red", k=1_000_000_000)) == 4
    assert len(library.search("red", k=10**30)) == 4


@pytest.mark.parametrize("k", [0, -1])
def test_fewer_answers_than_one_are_refused(library: Library, k: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        library.search("red", k=k)


def test_an_empty_question_is_refused(library: Library) -> None:
    with pytest.raises(InputError, match="query is empty"):
        library.search("  ")


def test_a_file_that_is_no_picture_is_refused(library: Library, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DecodeError, match=r"notes\.txt"):
        library.search(tmp_path / "notes.txt")


def test_a_library_without_items_finds_nothing(tmp_path: Path) -> None:
    with _library(tmp_path / "library") as library:
        assert library.search("red") == []


def test_sentences_from_python_are_kept_once_and_clean(library: Library) -> None:
    report = library.add_texts([" a  red\nrose ", "a red rose", "", "Cafe\u0301"])
    assert report.as_dict() | {"new": 2, "encoded": 2} == report.as_dict()
    again = library.add_texts(["a red rose", "blue"])
    assert (again.new, again.unchanged) == (1, 1)
    hits = library.search(Query((TextTerm("red"),), target=Modality.TEXT))
    assert sorted(hit.item.text or "" for hit in hits) == ["Caf\u00e9", "a red rose", "blue"]


def test_a_sentence_that_is_no_text_is_refused(library: Library) -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        library.add_texts(["\ud800"])


def test_refreshing_follows_every_folder_and_file(
    library: Library, photos: Path, tmp_path: Path
) -> None:
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("a red rose\n")
    library.add_texts(sentences)
    sentences.write_text("a blue sky\na green field\n")
    draw(photos / "cyan.png", (0, 255, 255))
    (photos / "red.png").unlink()
    report = library.refresh()
    assert (report.new, report.gone, report.unchanged) == (3, 2, 3)
    assert library.catalog.counts().items == 6


def test_a_reader_sees_what_was_added_after_it_was_opened(library: Library, photos: Path) -> None:
    catalog = Catalog.open(library.directory)
    with Library(catalog, IndexStore(catalog, library.directory), FakeEncoder()) as reader:
        assert len(reader.search("red")) == 4
        draw(photos / "more.png", RED, size=(9, 9))
        library.add(photos)
        assert len(reader.search("red")) == 5


def test_reading_works_while_somebody_writes_and_writing_does_not(
    library: Library, photos: Path
) -> None:
    with Catalog.open(library.directory, write=True):
        assert _names(library.search("blue", k=1)) == ["blue"]
        with pytest.raises(LibraryBusyError):
            library.add(photos)


def test_the_encoder_of_another_space_is_refused_with_the_command(library: Library) -> None:
    catalog = Catalog.open(library.directory)
    indexes = IndexStore(catalog, library.directory)
    with Library(catalog, indexes, FakeEncoder("other"), model="./other model") as other:
        with pytest.raises(SpaceMismatchError, match=r"--reindex --model './other model'"):
            other.search("red")
        with pytest.raises(SpaceMismatchError):
            other.add_texts(["red"])
        assert other.add((), IngestOptions(reindex=True)).encoded == 4
        assert _names(other.search("red", k=1)) == ["red"]
    with pytest.raises(SpaceMismatchError, match="with the model other, not with fake"):
        library.search("red")


def test_opening_makes_an_absent_library_and_remembers_its_model(
    tmp_path: Path, photos: Path
) -> None:
    make_model(tmp_path / "model")
    with mmsearch.open(tmp_path / "new", model=tmp_path / "model") as library:
        assert library.add(str(photos)).new == 4
    with mmsearch.open(str(tmp_path / "new")) as library:
        assert _names(library.search("green", k=1)) == ["green"]


def test_an_absent_library_is_not_made_when_nobody_wants_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mmsearch index"):
        mmsearch.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_model_that_cannot_be_used_leaves_no_library_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        mmsearch.open(tmp_path / "new", model=tmp_path / "no-model")
    assert not (tmp_path / "new").exists()


def test_a_library_whose_model_is_gone_says_so(tmp_path: Path, photos: Path) -> None:
    make_model(tmp_path / "model")
    with mmsearch.open(tmp_path / "library", model=tmp_path / "model") as library:
        library.add(photos)
    (tmp_path / "model").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match="indexed with this model"):
        mmsearch.open(tmp_path / "library")
    with mmsearch.open(tmp_path / "library", model=tmp_path / "moved") as library:
        assert _names(library.search("red", k=1)) == ["red"]
        library.add(photos)
    with mmsearch.open(tmp_path / "library") as library:
        assert _names(library.search("red", k=1)) == ["red"]


def test_a_damaged_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(UnsoundLibraryError):
        mmsearch.open(tmp_path)


def test_the_library_lies_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(tmp_path / "mine"))
    assert default_directory() == tmp_path / "mine"
    monkeypatch.delenv("MMSEARCH_LIBRARY")
    assert default_directory().parts[-2:] == ("mmsearch", "library")


def test_the_status_counts_what_is_there(library: Library, photos: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"nothing")
    library.add(photos)
    library.add_texts(["red"])
    status = read_status(library.directory)
    expected = {"images": 4, "texts": 1, "items": 5, "failed": 1, "offline": 0, "waiting": 0}
    assert status.as_dict() | expected == status.as_dict()
    assert status.made
    assert status.model == "fake"
    assert [os.path.basename(root.path) for root in status.roots] == ["photos"]  # noqa: PTH119


def test_the_status_of_nothing_is_empty(tmp_path: Path) -> None:
    status = read_status(tmp_path / "none")
    assert not status.made
    assert (status.items, status.model, status.revision) == (0, None, 0)
    assert not (tmp_path / "none").exists()


def test_the_status_tells_what_waits_for_the_new_model(library: Library) -> None:
    with Catalog.open(library.directory, write=True) as catalog:
        catalog.set_space(FakeEncoder("other").space)
    assert read_status(library.directory).waiting == 4
