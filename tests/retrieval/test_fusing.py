"""Pictures and their captions as one vector."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import as_version_2
from tests.retrieval.conftest import counts, opened
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import WORDS, FakeEncoder

from mmsearch.core import Item, Modality, Vectors
from mmsearch.errors import ConfigError
from mmsearch.index import fusing as stored
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval import fusing
from mmsearch.retrieval.fusing import fused_vector, parse_fuse
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.report import IngestOptions

WHITE = WORDS.index("white")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, colour in (("red", RED), ("green", GREEN), ("sub/blue", BLUE)):
        draw(tmp_path / "photos" / f"{name}.png", colour)
    return tmp_path / "photos"


@pytest.fixture
def captions(photos: Path) -> Path:
    """Captions of the red picture: one white, one red."""
    return said(photos, "red.png,a white wall", "red.png,a red wall")


def said(photos: Path, *rows: str) -> Path:
    file = photos / "c.csv"
    file.write_text("\n".join(["image,caption", *rows, ""]), encoding="utf-8")
    return file


def chosen(weight: float | None, *files: Path) -> IngestOptions:
    return IngestOptions(captions=files, fuse=weight)


def contents(library: Library, table: str = "searched") -> dict[str, bytes]:
    """Return the stored bytes of the pictures' vectors in the current space, by name."""
    with Catalog.open(library.directory) as catalog:
        ((space_id,),) = catalog.rows("SELECT space_id FROM library")
        source = f"vectors_{space_id}_image" if table == "searched" else "fused"
        rows = catalog.rows(
            f"SELECT CAST(path AS TEXT), vector FROM {source} JOIN items ON items.id = item_id "
            + ("" if table == "searched" else f"WHERE space_id = {space_id}")
        )
        return {Path(path).stem: content for path, content in rows}


def vector(library: Library, name: str) -> list[float]:
    half = np.frombuffer(contents(library)[name], dtype="<f2")
    return [float(value) for value in np.round(half.astype(np.float64), 3)]


def at(**axes: float) -> list[float]:
    return [axes.get(word, 0.0) for word in WORDS]


# The formula


def test_the_vector_is_the_weighted_sum_in_length_one() -> None:
    own, caption = np.array([1, 0], np.float32), np.array([[0, 1]], np.float32)
    assert fused_vector(own, caption, 0.5) == pytest.approx([0.7071068, 0.7071068])
    # (0.8, 0.2) / sqrt(0.68)
    assert fused_vector(own, caption, 0.2) == pytest.approx([0.9701425, 0.2425356])
    assert fused_vector(own, caption, 0.0) == pytest.approx([1, 0])


def test_the_mean_of_several_captions_counts_in_length_one() -> None:
    own = np.array([1, 0, 0], np.float32)
    two = np.array([[0, 1, 0], [0, 0, 1]], np.float32)
    # the mean is (0, 1/2, 1/2), in length one (0, 1, 1) / sqrt(2); half and half with own
    assert fused_vector(own, two, 0.5) == pytest.approx([0.7071068, 0.5, 0.5])


def test_what_cancels_out_leaves_the_pictures_own_vector() -> None:
    own = np.array([1, 0], np.float32)
    apart = np.array([[0, 1], [0, -1]], np.float32)
    assert np.array_equal(fused_vector(own, apart, 0.5), own)
    opposite = np.array([[-1, 0]], np.float32)
    assert np.array_equal(fused_vector(own, opposite, 0.5), own)


@pytest.mark.parametrize(
    ("text", "weight"), [("caption=0.3", 0.3), (" caption = 0 ", 0.0), ("none", 0.0)]
)
def test_a_weight_is_written_behind_caption(text: str, weight: float) -> None:
    assert parse_fuse(text) == weight


@pytest.mark.parametrize("text", ["", "0.3", "caption", "caption=", "caption=nan", "label=0.3"])
def test_anything_else_is_an_error_that_shows_how(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as caption=0\.3, or none"):
        parse_fuse(text)


@pytest.mark.parametrize("text", ["caption=1", "caption=-0.1", "caption=7"])
def test_a_weight_out_of_range_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="at least 0 and below 1"):
        parse_fuse(text)


# In a library


def test_a_captioned_picture_is_searched_by_one_vector_of_both(
    library: Library, photos: Path, captions: Path
) -> None:
    report = library.add(photos, chosen(0.5, captions))
    assert report.as_dict() == counts(new=3, encoded=3, captioned=1, fused=1)
    # the captions' mean is (red + white) / 2, in length one 0.7071 each; half and half with red:
    # (0.8536, 0.3536) / 0.9239
    assert vector(library, "red") == pytest.approx(at(red=0.924, white=0.383), abs=1e-3)
    assert vector(library, "green") == at(green=1.0)
    hits = library.search("white", k=1)
    assert Path(hits[0].item.path or "").stem == "red"
    assert hits[0].score == pytest.approx(0.383, abs=1e-3)


def test_without_a_weight_captions_change_no_vector(
    library: Library, photos: Path, captions: Path
) -> None:
    report = library.add(photos, chosen(None, captions))
    assert report.as_dict() == counts(new=3, encoded=3, captioned=1)
    assert vector(library, "red") == at(red=1.0)


def test_the_weight_is_remembered_for_captions_that_come_later(
    library: Library, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5))
    assert library.attach_captions(captions).as_dict() == counts(captioned=1, fused=1)
    draw(photos / "cyan.png", (0, 255, 255))
    said(photos, "red.png,a white wall", "red.png,a red wall", "cyan.png,white")
    report = library.refresh()
    assert report.as_dict() == counts(new=1, unchanged=3, encoded=1, captioned=1, fused=1)
    assert vector(library, "cyan") == pytest.approx(at(cyan=0.707, white=0.707), abs=1e-3)


def test_another_weight_is_made_of_the_pictures_own_vector(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    seen = encoder.images_seen
    assert library.refresh(chosen(0.2)).as_dict() == counts(unchanged=3, fused=1)
    # 0.8 red + 0.2 (0.7071, 0.7071) = (0.9414, 0.1414), of length 0.9520
    assert vector(library, "red") == pytest.approx(at(red=0.989, white=0.149), abs=1e-3)
    assert encoder.images_seen == seen


@pytest.mark.parametrize("way", ["weight", "captions"])
def test_the_own_vector_comes_back_bit_for_bit(
    library: Library, encoder: FakeEncoder, photos: Path, way: str
) -> None:
    draw(photos / "odd.png", (201, 99, 13))
    library.add(photos)
    before = contents(library)
    file = said(photos, "odd.png,a cyan sky", "red.png,a white wall")
    library.attach_captions(file, chosen(0.7))
    assert contents(library)["odd"] != before["odd"]
    assert contents(library, "fused") == {name: before[name] for name in ("odd", "red")}
    if way == "weight":
        done = library.refresh(chosen(0.0))
    else:
        done = library.attach_captions(said(photos, "odd.png,", "red.png,"))
    assert done.fused == 2
    assert contents(library) == before
    assert contents(library, "fused") == {}
    assert encoder.images_seen == 4


def test_changed_captions_are_fused_anew(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    file = said(photos, "red.png,black")
    assert library.attach_captions(file).as_dict() == counts(captioned=1, fused=1)
    assert vector(library, "red") == pytest.approx(at(red=0.707, black=0.707), abs=1e-3)
    assert encoder.images_seen == 3


def test_a_run_without_news_looks_at_nothing(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    seen, revision = encoder.texts_seen, library.catalog.revision
    assert library.refresh(chosen(0.5)).as_dict() == counts(unchanged=3)
    assert (encoder.texts_seen, library.catalog.revision) == (seen, revision)
    with Catalog.open(library.directory) as catalog:
        assert stored.unsettled(catalog, encoder.space, 0.5) == []


def test_new_pictures_without_captions_leave_the_others_alone(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    draw(photos / "cyan.png", (0, 255, 255))
    seen = encoder.texts_seen
    assert library.refresh().as_dict() == counts(new=1, encoded=1, unchanged=3)
    assert encoder.texts_seen == seen


def test_a_picture_with_other_content_is_fused_again(
    library: Library, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    draw(photos / "red.png", (255, 255, 0), size=(20, 20))
    report = library.refresh()
    assert report.as_dict() == counts(changed=1, encoded=1, unchanged=2, fused=1)
    # 0.5 yellow + 0.5 (0.7071 red, 0.7071 white)
    expected = at(yellow=0.707, red=0.5, white=0.5)
    assert vector(library, "red") == pytest.approx(expected, abs=1e-3)


def test_a_broken_picture_is_fused_again_when_it_is_whole(
    library: Library, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    before, whole = contents(library), (photos / "red.png").read_bytes()
    (photos / "red.png").write_bytes(b"nothing")
    assert library.refresh().failed == 1
    assert contents(library, "fused") == {}
    (photos / "red.png").write_bytes(whole)
    assert library.refresh().fused == 1
    assert contents(library) == before


def test_a_copy_gets_the_vector_of_the_picture_alone(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    shutil.copy(photos / "red.png", photos / "copy.png")
    assert library.refresh().as_dict() == counts(new=1, unchanged=3)
    assert vector(library, "copy") == at(red=1.0)
    assert encoder.images_seen == 3


def test_a_moved_picture_stays_fused(library: Library, photos: Path, captions: Path) -> None:
    library.add(photos, chosen(0.5, captions))
    before = contents(library)["red"]
    shutil.move(photos / "red.png", photos / "sub" / "moved.png")
    assert library.refresh().as_dict() == counts(moved=1, unchanged=2)
    assert contents(library)["moved"] == before


def test_a_forgotten_picture_leaves_nothing_behind(
    library: Library, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    library.forget(photos)
    assert contents(library, "fused") == {}
    with Catalog.open(library.directory) as catalog:
        assert catalog.rows("SELECT count(*) FROM captions") == [(0,)]


def test_another_model_has_fused_vectors_of_its_own(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    library.add(photos, chosen(0.5, captions))
    before = contents(library)
    with opened(library.directory, FakeEncoder("other")) as other:
        report = other.add((), IngestOptions(reindex=True))
        assert (report.encoded, report.fused) == (3, 1)
        assert contents(other) == before
        assert len(other.catalog.rows("SELECT * FROM fused")) == 2
        other.attach_captions(said(photos, "red.png,black"))
    assert library.add((), IngestOptions(reindex=True)).fused == 1
    assert vector(library, "red") == pytest.approx(at(red=0.707, black=0.707), abs=1e-3)
    with opened(library.directory, encoder) as again:
        again.prune(spaces=True)
        assert len(again.catalog.rows("SELECT * FROM fused")) == 1


def test_readers_and_index_files_notice_fused_vectors(
    library: Library, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    for n in range(60):
        draw(photos / "many" / f"{n}.png", (0, 4 * n, 255))
    library.add(photos)
    question = np.eye(8, dtype=np.float32)[WHITE : WHITE + 1]
    with Catalog.open(library.directory) as catalog:
        store = IndexStore(catalog, library.directory)
        (before,) = store.search(encoder.space, Modality.IMAGE, question, 1)
        assert before.scores[0] < 0.3
        library.attach_captions(captions, chosen(0.9))
        (after,) = store.search(encoder.space, Modality.IMAGE, question, 1)
        assert after.scores[0] > 0.6
        assert store.warnings == []


def test_a_library_of_an_older_version_gets_captions_and_fused_vectors(
    tmp_path: Path, encoder: FakeEncoder, photos: Path, captions: Path
) -> None:
    with opened(tmp_path / "library", encoder) as library:
        library.add(photos)
        own = contents(library)
    as_version_2(tmp_path / "library")
    with opened(tmp_path / "library", encoder) as library:
        report = library.attach_captions(captions, chosen(0.5))
        assert (report.captioned, report.fused) == (1, 1)
        assert contents(library, "fused") == {"red": own["red"]}
        assert encoder.images_seen == 3


def test_an_item_as_a_question_asks_with_the_fused_vector(
    library: Library, photos: Path, captions: Path
) -> None:
    draw(photos / "white.png", (255, 255, 255))
    library.add(photos, chosen(0.9, captions))
    red = next(n for n, item in found(library).items() if (item.path or "").endswith("red.png"))
    (best, *_) = library.similar(red, k=1)
    assert Path(best.item.path or "").stem == "white"


def test_progress_counts_the_pictures_that_are_fused(
    library: Library, photos: Path, captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusing, "_STEP", 2)
    library.add(photos)
    said(photos, *(f"{name}.png,white" for name in ("red", "green", "sub/blue")))
    seen: list[tuple[int, int]] = []
    library.attach_captions(
        captions, chosen(0.5), lambda progress: seen.append((progress.done, progress.total))
    )
    assert seen == [(2, 3), (3, 3)]


def found(library: Library) -> dict[int, Item]:
    return library.catalog.items([row[0] for row in library.catalog.rows("SELECT id FROM items")])


# Interrupted


class Stopping(FakeEncoder):
    """Is interrupted when it has encoded the sentences of so many steps."""

    steps = 0

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        if self.steps == 0:
            raise KeyboardInterrupt
        self.steps -= 1
        return super().encode_texts(texts)


def test_ctrl_c_keeps_whole_steps_and_the_next_run_goes_on(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusing, "_STEP", 2)
    for n in range(7):
        draw(photos / f"{n}.png", (30 * n, 0, 0))
    encoder = Stopping()
    with opened(tmp_path / "library", encoder) as library:
        library.add(photos)
        own = contents(library)
        file = said(photos, *(f"{n}.png,white" for n in range(7)))
        encoder.steps = 2
        report = library.attach_captions(file, chosen(0.5))
        assert report.interrupted
        assert (report.captioned, report.fused) == (7, 4)
        kept = contents(library, "fused")
        assert len(kept) == 4
        assert kept == {name: own[name] for name in kept}
        now = contents(library)
        assert {name for name in own if own[name] != now[name]} == set(kept)
        encoder.steps = 99
        report = library.refresh()
        assert (report.interrupted, report.fused) == (False, 3)
        assert encoder.texts_seen == 4


def test_another_weight_after_an_interrupted_one_is_right_everywhere(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusing, "_STEP", 1)
    encoder = Stopping()
    encoder.steps = 99
    with opened(tmp_path / "library", encoder) as library:
        file = said(photos, *(f"{name}.png,white" for name in ("red", "green", "sub/blue")))
        library.add(photos, chosen(0.2, file))
        encoder.steps = 1
        assert library.refresh(chosen(0.7)).interrupted
        encoder.steps = 99
        assert library.refresh(chosen(0.2)).fused == 1
        for name, word in (("red", "red"), ("green", "green"), ("blue", "blue")):
            # (0.8, 0.2) / sqrt(0.68)
            expected = at(**{word: 0.970, "white": 0.243})
            assert vector(library, name) == pytest.approx(expected, abs=1e-3)
