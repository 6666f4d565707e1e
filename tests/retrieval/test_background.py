"""The chance level: its formula by hand, when it is measured, and what becomes of its file."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import picture, sentence

from mmsearch.core import (
    ImageTerm,
    Interpolation,
    ItemTerm,
    Modality,
    Pixels,
    Preprocessing,
    Query,
    Resize,
    Space,
    TextTerm,
    Vectors,
)
from mmsearch.index.background_file import NAME, read_backgrounds
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, RootKind
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.background import VERSION, Backgrounds, chance_level, is_weak, kinds_of
from mmsearch.retrieval.background_questions import empty_pictures, empty_sentences

FLAT = Space("flat", 2, "f1" * 32)
NOTHING = np.empty(0, dtype=np.float32)


class TurnedEncoder:
    """Two dimensions: every sentence points to the east, every picture to the north."""

    def __init__(self) -> None:
        self.space = FLAT
        half = (0.5, 0.5, 0.5)
        self.preprocessing = Preprocessing(
            (8, 8), Resize.SQUASH, Interpolation.BILINEAR, half, half
        )
        self.asked = 0

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        """Point to the north."""
        self.asked += len(images)
        return np.tile(np.array([[0, 1]], dtype=np.float32), (len(images), 1))

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        """Point to the east."""
        self.asked += len(texts)
        return np.tile(np.array([[1, 0]], dtype=np.float32), (len(texts), 1))


def unit(*degrees: float) -> Vectors:
    """Return rows that point so many degrees north of east."""
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "library", write=True) as opened:
        opened.set_space(FLAT)
        opened.add_root("/photos", RootKind.FOLDER)
        yield opened


@pytest.fixture
def encoder() -> TurnedEncoder:
    return TurnedEncoder()


def levels(catalog: Catalog, encoder: TurnedEncoder) -> Backgrounds:
    """Return the levels of a library as another process sees them."""
    return Backgrounds(catalog, IndexStore(catalog, catalog.directory), encoder, FLAT)


def add_pictures(catalog: Catalog, rows: Vectors, name: str = "photo") -> None:
    files = tuple(picture(f"/photos/{name} {n}", row) for n, row in enumerate(rows))
    catalog.commit(Batch(files=files))


# The formula


def test_four_fifths_of_what_nothing_reaches_lie_below_the_level() -> None:
    answers = np.array([0.1, 0.2, 0.3, 0.4, 0.5], dtype=np.float32)
    # mean 0.3; mean square distance (0.04 + 0.01 + 0 + 0.01 + 0.04) / 5 = 0.02; z(0.8) = 0.8416
    assert chance_level([answers], NOTHING) == pytest.approx(0.3 + 0.8416 * 0.02**0.5, abs=1e-4)


def test_the_family_that_gets_furthest_sets_the_level() -> None:
    near, far = np.full(3, 0.2, dtype=np.float32), np.full(7, 0.4, dtype=np.float32)
    assert chance_level([near, far], NOTHING) == pytest.approx(0.4)


def test_answers_to_the_librarys_own_items_stay_above_the_level() -> None:
    own = np.linspace(0.1, 1.1, 101, dtype=np.float32)  # its 5 % quantile is 0.15
    assert chance_level([np.full(5, 0.4, dtype=np.float32)], own) == pytest.approx(0.15)
    assert chance_level([np.full(5, 0.1, dtype=np.float32)], own) == pytest.approx(0.1)


def test_an_answer_at_the_level_is_weak_and_none_is_without_a_level() -> None:
    scores = np.array([0.5, 0.4, 0.3], dtype=np.float32)
    assert is_weak(scores, float(np.float32(0.4))).tolist() == [False, True, True]
    assert is_weak(scores, None).tolist() == [False, False, False]


# What is measured


def test_the_level_of_a_library_is_that_of_its_ten_nearest_rows(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    add_pictures(catalog, unit(*range(0, 60, 5)))  # twelve: 55 and 50 degrees are left out
    best = np.cos(np.radians(np.arange(0, 50, 5)))
    expected = best.mean() + 0.8416 * best.std()
    level = levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    assert level == pytest.approx(expected, abs=1e-3)


def test_pictures_and_sentences_as_questions_have_levels_of_their_own(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    add_pictures(catalog, unit(60))
    found = levels(catalog, encoder)
    assert found.threshold(Modality.IMAGE, {Modality.TEXT}) == pytest.approx(0.5, abs=1e-3)
    assert found.threshold(Modality.IMAGE, {Modality.IMAGE}) == pytest.approx(0.866, abs=1e-3)
    both = {Modality.IMAGE, Modality.TEXT}
    assert found.threshold(Modality.IMAGE, both) == pytest.approx(0.5, abs=1e-3)
    kept = read_backgrounds(catalog.directory, FLAT, Modality.IMAGE)
    assert {background.kind for background in kept} == both


def test_sentences_of_the_library_have_a_level_too(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    catalog.commit(Batch(texts=(sentence("a dog", unit(60)[0]),)))
    found = levels(catalog, encoder)
    assert found.threshold(Modality.TEXT, {Modality.TEXT}) == pytest.approx(0.5, abs=1e-3)
    assert found.threshold(Modality.IMAGE, {Modality.TEXT}) is None


def test_an_empty_library_has_no_level_and_asks_nothing(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    assert levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT}) is None
    assert encoder.asked == 0


def test_all_items_alike_are_all_chance(catalog: Catalog, encoder: TurnedEncoder) -> None:
    add_pictures(catalog, unit(*[60] * 30))
    level = levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    store = IndexStore(catalog, catalog.directory)
    (matches,) = store.search(FLAT, Modality.IMAGE, unit(0), 30)
    assert is_weak(matches.scores, level).all()


def test_own_items_are_no_answers_to_themselves(catalog: Catalog, encoder: TurnedEncoder) -> None:
    """Each of 72 pictures has its nearest 5 degrees away: cosine 0.9962, below the level of 1."""
    add_pictures(catalog, unit(*range(0, 360, 5)))
    add_pictures(catalog, unit(*[90.0] * 10), "north")
    level = levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.IMAGE})
    assert level == pytest.approx(np.cos(np.radians(5)), abs=1e-3)


# The file


def test_a_level_is_measured_once(catalog: Catalog, encoder: TurnedEncoder) -> None:
    add_pictures(catalog, unit(60))
    first = levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    asked = encoder.asked
    assert asked == sum(map(len, empty_sentences()))
    assert levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT}) == first
    assert encoder.asked == asked


def test_a_level_is_measured_again_when_a_fifth_of_the_rows_is_new(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    add_pictures(catalog, unit(*[60] * 10))
    levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    asked = encoder.asked
    add_pictures(catalog, unit(0), "one")
    again = levels(catalog, encoder)
    assert again.threshold(Modality.IMAGE, {Modality.TEXT}) == pytest.approx(0.5, abs=1e-3)
    assert encoder.asked == asked
    add_pictures(catalog, unit(0), "another")
    level = again.threshold(Modality.IMAGE, {Modality.TEXT})
    best = np.array([1, 1] + [0.5] * 8)
    assert level == pytest.approx(best.mean() + 0.8416 * best.std(), abs=1e-3)


def test_a_level_is_measured_again_when_a_fifth_of_the_rows_is_written_anew(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    """Such as pictures that are fused with their captions: the same ids, other vectors."""
    add_pictures(catalog, unit(*[60] * 10))
    levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    add_pictures(catalog, unit(*[0] * 10))
    assert catalog.counts().images == 10
    level = levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    assert level == pytest.approx(1, abs=1e-3)


def test_a_level_is_measured_again_when_a_fifth_of_the_rows_is_gone(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    add_pictures(catalog, unit(*[60] * 8, 0, 0))
    levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    catalog.commit(Batch(gone=(9,)))
    asked = encoder.asked
    found = levels(catalog, encoder)
    found.threshold(Modality.IMAGE, {Modality.TEXT})
    assert encoder.asked == asked
    catalog.commit(Batch(gone=(10,)))
    level = found.threshold(Modality.IMAGE, {Modality.TEXT})
    assert level == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_file_that_is_damaged_or_gone_is_made_anew(
    catalog: Catalog, encoder: TurnedEncoder, content: bytes | None
) -> None:
    add_pictures(catalog, unit(60))
    first = levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    (file,) = catalog.directory.rglob(NAME)
    whole = file.read_bytes()
    file.unlink() if content is None else file.write_bytes(content)
    assert levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT}) == first
    assert file.read_bytes() == whole


def test_a_level_of_other_questions_is_measured_anew(
    catalog: Catalog, encoder: TurnedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pictures(catalog, unit(60))
    levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    asked = encoder.asked
    monkeypatch.setattr("mmsearch.retrieval.background.VERSION", VERSION + 1)
    levels(catalog, encoder).threshold(Modality.IMAGE, {Modality.TEXT})
    assert encoder.asked == 2 * asked


def test_where_nothing_can_be_written_the_level_is_kept_in_memory(
    catalog: Catalog, encoder: TurnedEncoder
) -> None:
    add_pictures(catalog, unit(60))
    (catalog.directory / "index").write_bytes(b"in the way")
    found = levels(catalog, encoder)
    assert found.threshold(Modality.IMAGE, {Modality.TEXT}) == pytest.approx(0.5, abs=1e-3)
    asked = encoder.asked
    assert found.threshold(Modality.IMAGE, {Modality.TEXT}) == pytest.approx(0.5, abs=1e-3)
    assert encoder.asked == asked


# The questions


def test_a_question_is_made_of_what_pulls(catalog: Catalog) -> None:
    add_pictures(catalog, unit(60))
    catalog.commit(Batch(texts=(sentence("a dog", unit(60)[0]),)))
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    text, image, minus = TextTerm("a dog"), ImageTerm(pixels), TextTerm("a cat", -1.0)
    assert kinds_of(Query((text,)), catalog) == {Modality.TEXT}
    assert kinds_of(Query((image, minus)), catalog) == {Modality.IMAGE}
    assert kinds_of(Query((text, image)), catalog) == {Modality.IMAGE, Modality.TEXT}
    assert kinds_of(Query((minus,)), catalog) == {Modality.TEXT}
    assert kinds_of(Query((ItemTerm(1),)), catalog) == {Modality.IMAGE}
    assert kinds_of(Query((ItemTerm(2),)), catalog) == {Modality.TEXT}


def test_the_questions_about_nothing_are_those_of_their_version() -> None:
    """Whoever changes them raises VERSION, and this digest with it."""
    words = "\n".join(text for family in empty_sentences() for text in family)
    pixels = b"".join(picture.tobytes() for picture in empty_pictures((16, 24)))
    assert VERSION == 1
    assert hashlib.sha256(words.encode()).hexdigest()[:16] == "8330818c3fe60c92"
    assert len(pixels) == 80 * 16 * 24 * 3


def test_pictures_of_nothing_are_not_all_alike() -> None:
    pictures = empty_pictures((12, 20))
    assert {picture.shape for picture in pictures} == {(12, 20, 3)}
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
