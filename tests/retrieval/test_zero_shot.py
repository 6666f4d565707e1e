"""Labels that the model gives: which pictures, what stays, what is refused."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import picture
from tests.retrieval.fakes import WORDS, FakeEncoder
from tests.retrieval.overtaking import overtake

from mmsearch.core import Vectors
from mmsearch.errors import ConfigError, InputError, SpaceMismatchError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, Label, LabelChange, LabelSource, RootKind
from mmsearch.retrieval.zero_shot import GivenLabel, Labelling, label_pictures, read_names

RED, BLUE = WORDS.index("red"), WORDS.index("blue")


class Picky(FakeEncoder):
    """A fake that says which words it does not know."""

    def unknown_words(self, text: str, /) -> tuple[str, ...]:
        """Return what is no colour."""
        return tuple(word for word in text.split() if word not in WORDS)


def rows(count: int, red: int) -> Vectors:
    """Return unit rows of which the first `red` are nearly red, the others a bit of everything."""
    generator = np.random.default_rng(0)
    found = generator.normal(0, 1, (count, len(WORDS)))
    found[:red] = generator.normal(0, 0.05, (red, len(WORDS)))
    found[:red, RED] = 1
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def fill(catalog: Catalog, encoder: FakeEncoder, vectors: Vectors) -> None:
    catalog.set_space(encoder.space)
    catalog.add_root("/photos", RootKind.FOLDER)
    files = tuple(picture(f"/photos/{n:04}", row) for n, row in enumerate(vectors))
    catalog.commit(Batch(files=files))


def given(catalog: Catalog, count: int = 400) -> dict[int, tuple[Label, ...]]:
    """Return the labels of all items."""
    return attributes.labels(catalog, range(1, count + 1))


def ids(label: GivenLabel) -> set[int]:
    return set(label.ids.tolist())


def test_a_label_goes_to_the_pictures_that_stand_out(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    vectors = rows(400, red=20)
    fill(catalog, encoder, vectors)
    (red,) = label_pictures(catalog, encoder, Labelling(("red",)))
    assert ids(red) >= set(range(1, 21))
    assert len(red.ids) <= 25
    assert red.scores.tolist() == sorted(red.scores.tolist(), reverse=True)
    stored = given(catalog)
    assert set(stored) == ids(red)
    (label,) = stored[1]
    assert (label.name, label.source) == ("red", LabelSource.AUTO)
    assert label.score == pytest.approx(float(vectors[0, RED]), abs=1e-3)


def test_a_label_that_fits_nothing_is_given_to_nothing(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    """Red pictures alone stand out of the crowd; nothing is particularly blue."""
    vectors = rows(400, red=20)
    vectors[20:, BLUE] /= 4
    fill(catalog, encoder, vectors)
    (blue,) = label_pictures(catalog, encoder, Labelling(("blue",)))
    assert blue.ids.tolist() == []
    assert blue.threshold is None
    assert given(catalog) == {}


def test_a_dry_run_says_the_same_and_writes_nothing(catalog: Catalog, encoder: FakeEncoder) -> None:
    fill(catalog, encoder, rows(400, red=20))
    (dry,) = label_pictures(catalog, encoder, Labelling(("red",), dry_run=True))
    assert given(catalog) == {}
    (red,) = label_pictures(catalog, encoder, Labelling(("red",)))
    assert ids(dry) == ids(red)


@pytest.mark.parametrize("gone_at", range(8))
def test_a_dry_run_beside_a_writer_is_of_one_moment(
    tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, gone_at: int
) -> None:
    vectors = rows(400, red=20)
    with Catalog.open(tmp_path / "library", write=True) as writer:
        fill(writer, encoder, vectors)
        (alone,) = label_pictures(writer, encoder, Labelling(("red",), dry_run=True))
        shutil.rmtree(tmp_path / "library" / "index")  # what chance reaches is measured again

        def commit(moment: int) -> None:
            if moment == gone_at:
                writer.commit(Batch(gone=tuple(range(1, 401))))

        overtake(monkeypatch, commit)
        with Catalog.open(tmp_path / "library") as reader:
            try:
                (dry,) = label_pictures(reader, encoder, Labelling(("red",), dry_run=True))
            except InputError as error:
                assert "holds no pictures" in str(error)  # noqa: PT017 - an answer is as good
            else:
                assert (dry.threshold, ids(dry)) == (alone.threshold, ids(alone))


def test_a_fixed_threshold_is_a_cosine_for_every_label(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    """Three pictures: red, half red and half blue (cosine 0.7071 with both), blue."""
    half = np.zeros((3, len(WORDS)), dtype=np.float32)
    half[0, RED] = half[2, BLUE] = 1
    half[1, [RED, BLUE]] = 0.5**0.5
    fill(catalog, encoder, half)
    red, blue = label_pictures(catalog, encoder, Labelling(("red", "blue"), threshold=0.7))
    assert red.ids.tolist() == [1, 2]
    assert blue.ids.tolist() == [3, 2]
    (red,) = label_pictures(catalog, encoder, Labelling(("red",), threshold=0.8))
    assert red.ids.tolist() == [1]
    names = {number: [label.name for label in some] for number, some in given(catalog, 3).items()}
    assert names == {1: ["red"], 2: ["blue"], 3: ["blue"]}


def test_a_label_of_a_person_stays_whatever_the_model_finds(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    fill(catalog, encoder, rows(400, red=20))
    people = [LabelChange(number, "red", LabelSource.USER, None) for number in (1, 399)]
    attributes.set_labels(catalog, people)
    label_pictures(catalog, encoder, Labelling(("red",)))
    label_pictures(catalog, encoder, Labelling(("red",), threshold=1.0))
    assert given(catalog) == {
        number: (Label("red", LabelSource.USER, None),) for number in (1, 399)
    }


def test_a_rerun_replaces_what_the_model_gave_under_these_names_alone(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    fill(catalog, encoder, rows(400, red=20))
    old = [
        LabelChange(300, "red", LabelSource.AUTO, 0.5),
        LabelChange(300, "green", LabelSource.AUTO, 0.5),
    ]
    attributes.set_labels(catalog, old)
    label_pictures(catalog, encoder, Labelling(("red",)))
    assert [label.name for label in given(catalog)[300]] == ["green"]


def test_the_librarys_spelling_of_a_label_holds(catalog: Catalog, encoder: FakeEncoder) -> None:
    fill(catalog, encoder, rows(400, red=20))
    attributes.set_labels(catalog, [LabelChange(399, "Red", LabelSource.USER, None)])
    (red,) = label_pictures(catalog, encoder, Labelling(("red",)))
    assert red.name == "Red"
    assert attributes.label_counts(catalog) == {"Red": len(red.ids) + 1}


def test_a_template_puts_the_label_into_a_question(catalog: Catalog, encoder: FakeEncoder) -> None:
    fill(catalog, encoder, np.eye(len(WORDS), dtype=np.float32))
    labelling = Labelling(("red",), template="{} and blue", threshold=0.5)
    (both,) = label_pictures(catalog, encoder, labelling)
    assert ids(both) == {RED + 1, BLUE + 1}


def test_a_label_with_a_word_that_the_model_does_not_know_is_given_to_nothing(
    catalog: Catalog,
) -> None:
    encoder = Picky()
    fill(catalog, encoder, rows(400, red=20))
    red, strange = label_pictures(catalog, encoder, Labelling(("red", "red syzygy"), threshold=0.1))
    assert len(red.ids) > 20
    assert strange.ids.tolist() == []
    assert strange.unknown == ("syzygy",)


def test_more_labels_than_are_held_at_a_time_come_in_their_order(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    fill(catalog, encoder, np.eye(len(WORDS), dtype=np.float32))
    names = tuple(f"{WORDS[n % 8]} number {n}" for n in range(150))
    found = label_pictures(catalog, encoder, Labelling(names, threshold=0.9, dry_run=True))
    assert [label.name for label in found] == list(names)
    assert all(label.ids.tolist() == [n % 8 + 1] for n, label in enumerate(found))


def test_too_few_pictures_tell_nothing_of_what_is_usual(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    fill(catalog, encoder, rows(49, red=5))
    with pytest.raises(InputError, match=r"49 pictures.*--threshold"):
        label_pictures(catalog, encoder, Labelling(("red",)))


def test_an_empty_library_and_another_model_are_refused(
    catalog: Catalog, encoder: FakeEncoder
) -> None:
    with pytest.raises(InputError, match="no pictures"):
        label_pictures(catalog, encoder, Labelling(("red",)))
    fill(catalog, encoder, rows(60, red=5))
    with pytest.raises(SpaceMismatchError, match="index it again"):
        label_pictures(catalog, FakeEncoder("another"), Labelling(("red",)))


@pytest.mark.parametrize(
    ("names", "template", "threshold", "said"),
    [
        ((), "{}", None, "no label"),
        (("red",), "a photo", None, "hold {} once"),
        (("red",), "{} {}", None, "hold {} once"),
        (("red",), "{}", 1.5, "from -1 to 1"),
        (("red",), "{}", float("nan"), "from -1 to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    names: Sequence[str], template: str, threshold: float | None, said: str
) -> None:
    with pytest.raises((ConfigError, InputError), match=said):
        Labelling(tuple(names), template, threshold)


def test_a_file_has_a_label_a_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffdog\r\n\n  a red  car \nDog\nécole\n".encode())
    assert read_names(file) == ("dog", "a red car", "école")
    file.write_text("dog\n" + "x" * 300)
    with pytest.raises(InputError, match="300 characters"):
        read_names(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_names(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_names(tmp_path / "none")
