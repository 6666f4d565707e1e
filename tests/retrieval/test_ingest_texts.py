from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality, Vectors
from mmsearch.errors import DataError, InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.ingest import IngestOptions, add_sentences, ingest


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    file = tmp_path / "sentences.txt"
    file.write_text("a red sky\na green field\n")
    return file


def texts(catalog: Catalog, encoder: FakeEncoder) -> dict[str, list[float]]:
    ids, vectors = catalog.all_vectors(encoder.space, Modality.TEXT)
    items = catalog.items(ids)
    return {
        items[int(number)].text or "": np.round(vector, 3).tolist()
        for number, vector in zip(ids, vectors, strict=True)
    }


def test_sentences_are_encoded_once(
    catalog: Catalog, encoder: FakeEncoder, sentences: Path
) -> None:
    assert add_sentences(catalog, encoder, sentences).as_dict() == counts(new=2, encoded=2)
    assert texts(catalog, encoder) == {
        "a red sky": [1, 0, 0, 0, 0, 0, 0, 0],
        "a green field": [0, 1, 0, 0, 0, 0, 0, 0],
    }
    revision = catalog.revision
    assert add_sentences(catalog, encoder, sentences).as_dict() == counts(unchanged=2)
    assert encoder.texts_seen == 2
    assert catalog.revision == revision


def test_only_new_sentences_are_encoded_and_old_ones_go(
    catalog: Catalog, encoder: FakeEncoder, sentences: Path
) -> None:
    add_sentences(catalog, encoder, sentences)
    sentences.write_text("a blue sea\na green field\n")
    report = add_sentences(catalog, encoder, sentences)
    assert report.as_dict() == counts(new=1, gone=1, unchanged=1, encoded=1)
    assert set(texts(catalog, encoder)) == {"a blue sea", "a green field"}


def test_two_files_keep_their_sentences_apart(
    catalog: Catalog, encoder: FakeEncoder, sentences: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("a red sky\n")
    add_sentences(catalog, encoder, sentences)
    assert add_sentences(catalog, encoder, other).new == 1
    assert catalog.counts().texts == 3
    other.write_text("")
    assert add_sentences(catalog, encoder, other).gone == 1
    assert catalog.counts().texts == 2


def test_broken_lines_are_counted_and_named(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text('"a red sky"\nbroken\n')
    report = add_sentences(catalog, encoder, file)
    assert report.as_dict() == counts(new=1, failed=1, encoded=1)
    assert [str(problem) for problem in report.problems] == [f"{file}:2: not JSON"]


def test_a_missing_file_is_offline_when_known_and_an_error_when_not(
    catalog: Catalog, encoder: FakeEncoder, sentences: Path
) -> None:
    with pytest.raises(InputError, match="no such file"):
        add_sentences(catalog, encoder, sentences.with_name("absent.txt"))
    add_sentences(catalog, encoder, sentences)
    sentences.unlink()
    report = add_sentences(catalog, encoder, sentences)
    assert report.as_dict() == counts(offline=2)
    assert catalog.counts().texts == 2


def test_a_file_that_cannot_be_read_changes_nothing(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    with pytest.raises(DataError):
        add_sentences(catalog, encoder, tmp_path)
    assert (catalog.roots(), catalog.space()) == ([], None)


def test_another_model_is_refused(catalog: Catalog, encoder: FakeEncoder, sentences: Path) -> None:
    add_sentences(catalog, encoder, sentences)
    with pytest.raises(SpaceMismatchError, match="--reindex"):
        add_sentences(catalog, FakeEncoder("other"), sentences)


def test_reindexing_pictures_takes_the_sentences_along(
    catalog: Catalog, encoder: FakeEncoder, sentences: Path, tmp_path: Path
) -> None:
    photos = draw(tmp_path / "photos" / "a.png").parent
    add_sentences(catalog, encoder, sentences)
    ingest(catalog, encoder, [photos])
    other = FakeEncoder("other")
    report = ingest(catalog, other, [], IngestOptions(reindex=True))
    assert report.as_dict() == counts(unchanged=3, encoded=3)
    assert texts(catalog, other) == texts(catalog, encoder)


class InterruptedEncoder(FakeEncoder):
    """Is stopped by Ctrl-C in the second batch."""

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        if self.texts_seen:
            raise KeyboardInterrupt
        return super().encode_texts(texts)


def test_ctrl_c_keeps_the_finished_batches(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    file = tmp_path / "many.txt"
    file.write_text("\n".join(f"red {n}" for n in range(300)))
    report = add_sentences(catalog, InterruptedEncoder(), file)
    assert report.interrupted
    assert report.as_dict() == counts(new=256, encoded=256)
    resumed = add_sentences(catalog, encoder, file)
    assert resumed.as_dict() == counts(new=44, unchanged=256, encoded=44)
