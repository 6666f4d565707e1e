"""Tuning: measured with the other modality, remembered, and honest about what was not measured."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.index.clusters import modalities
from tests.index.conftest import picture, sentence

from mmsearch.core import Modality, Space
from mmsearch.errors import ConfigError, InputError, LibraryBusyError
from mmsearch.index import generation as files
from mmsearch.index.catalog import Catalog
from mmsearch.index.policy import SETTING_KIND, IndexKind
from mmsearch.index.rows import Batch, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.plain_sentences import plain_sentences
from mmsearch.retrieval.tuning import TuneOptions, tune

DIM = 32
SPACE = Space("gap", DIM, "dd" * 32)
PICTURES, SENTENCES, _ = modalities(3000, 600, DIM)
Fill = Callable[[int, int], Path]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Return what makes a library of so many pictures and sentences, with index files."""

    def fill(pictures: int, sentences: int) -> Path:
        directory = tmp_path / "library"
        with Catalog.open(directory, write=True) as catalog:
            catalog.set_space(SPACE)
            catalog.add_root("/photos", RootKind.FOLDER)
            files = enumerate(PICTURES[:pictures])
            texts = enumerate(SENTENCES[:sentences])
            catalog.commit(
                Batch(
                    files=tuple(picture(f"/photos/{n}", row) for n, row in files),
                    texts=tuple(sentence(f"sentence {n}", row) for n, row in texts),
                )
            )
            IndexStore(catalog, directory).refresh(SPACE)
        return directory

    return fill


def test_a_flat_index_is_measured_and_exact(fill: Fill) -> None:
    images, texts = tune(fill(3000, 600), TuneOptions())
    assert (images.modality, images.kind, images.rows) == (Modality.IMAGE, IndexKind.FLAT, 3000)
    assert (images.recall, images.nlist, images.questions) == (1.0, None, 300)
    assert images.origin == "sentences of the library"
    assert texts.origin == "pictures of the library"
    assert texts.recall == 1.0
    assert texts.milliseconds is not None
    assert texts.milliseconds > 0


@pytest.mark.parametrize("kind", [IndexKind.IVF_SQ8, IndexKind.IVF_RABITQ], ids=str)
def test_lists_reach_the_recall_with_questions_that_had_no_part(
    fill: Fill, kind: IndexKind
) -> None:
    directory = fill(3000, 600)
    images, texts = tune(directory, TuneOptions(recall=0.95, kind=kind.value))
    assert (images.kind, images.target, images.nlist) == (kind, 0.95, 93)
    assert images.recall is not None
    assert images.recall >= 0.94
    assert images.nprobe is not None
    assert images.nprobe < 93
    assert texts.kind is kind
    with Catalog.open(directory) as catalog:
        known = files.recorded(catalog, SPACE, Modality.IMAGE)
    assert known is not None
    assert known.parameters is not None
    assert (known.kind, known.parameters.origin) == (kind, "sentences of the library")


def test_what_was_asked_for_holds_for_later(fill: Fill) -> None:
    directory = fill(1000, 100)
    tune(directory, TuneOptions(recall=0.9, kind="ivf-sq8"))
    assert [row.target for row in tune(directory, TuneOptions())] == [0.9, 0.9]
    with Catalog.open(directory, write=True) as catalog:
        catalog.commit(Batch(gone=tuple(range(101, 601))))
        IndexStore(catalog, directory).refresh(SPACE)
        known = files.recorded(catalog, SPACE, Modality.IMAGE)
        assert known is not None
        assert known.kind is IndexKind.IVF_SQ8
        assert known.rows == 500
    (images, _) = tune(directory, TuneOptions(kind="auto"))
    assert (images.kind, images.target) == (IndexKind.FLAT, 0.9)
    with Catalog.open(directory) as catalog:
        assert catalog.setting(SETTING_KIND) == "auto"


def test_sentences_alone_have_nothing_to_be_measured_with(fill: Fill) -> None:
    (texts,) = tune(fill(0, 300), TuneOptions(kind="ivf-sq8"))
    assert (texts.recall, texts.milliseconds, texts.questions, texts.origin) == (
        None,
        None,
        0,
        "none",
    )
    assert texts.nprobe == 2  # an eighth of nine lists
    assert texts.as_dict()["recall"] is None


@pytest.mark.parametrize("recall", [0.0, -0.5, 1.5, float("nan")])
def test_a_recall_that_cannot_be_is_refused_before_anything_is_touched(
    tmp_path: Path, recall: float
) -> None:
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        tune(tmp_path / "none", TuneOptions(recall=recall))
    assert not (tmp_path / "none").exists()


def test_an_absent_and_an_empty_library_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no library"):
        tune(tmp_path / "none", TuneOptions())
    assert not (tmp_path / "none").exists()
    Catalog.open(tmp_path / "empty", write=True).close()
    with pytest.raises(InputError, match="is empty; run `mmsearch index PATH` first"):
        tune(tmp_path / "empty", TuneOptions())


def test_too_few_sentences_are_refused(fill: Fill, tmp_path: Path) -> None:
    file = tmp_path / "few.txt"
    file.write_text("a dog\na cat\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds 2 sentences; give at least 64"):
        tune(fill(100, 0), TuneOptions(queries=file))


def test_tuning_waits_for_no_other_writer(fill: Fill) -> None:
    directory = fill(100, 0)
    with Catalog.open(directory, write=True), pytest.raises(LibraryBusyError):
        tune(directory, TuneOptions())


def test_plain_sentences_are_varied_and_the_same_every_time() -> None:
    texts = plain_sentences(512)
    assert len(set(texts)) == 512
    assert texts == plain_sentences(512)
    assert texts != plain_sentences(512, seed=1)
    assert len({text.split()[1] for text in texts}) > 20
