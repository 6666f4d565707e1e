"""Libraries of older versions get the facts of their pictures, and nothing is encoded for it."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from tests.index.conftest import as_version_2
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality, Photo
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval import backfill
from mmsearch.retrieval.guard import Decoded, GuardedDecoder
from mmsearch.retrieval.ingest import IngestOptions, ingest, ingest_touched
from mmsearch.retrieval.photo_facts import fingerprint
from mmsearch.retrieval.timing import Progress

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of five pictures of different sizes."""
    folder = tmp_path / "photos"
    for number, colour in enumerate((RED, GREEN, BLUE, (9, 9, 9), (200, 0, 200))):
        draw(folder / f"{number}.png", colour, (10 + number, 8))
    return folder


@pytest.fixture
def old(tmp_path: Path, photos: Path, encoder: FakeEncoder) -> Iterator[Catalog]:
    """Return a library of the second version of the schema, opened by this one."""
    directory = tmp_path / "library"
    with Catalog.open(directory, write=True) as catalog:
        assert ingest(catalog, encoder, [photos]).new == 5
    as_version_2(directory)
    encoder.images_seen = 0
    with Catalog.open(directory, write=True) as catalog:
        yield catalog


def facts(catalog: Catalog) -> dict[str, Photo]:
    """Return the facts that are known, by file name."""
    items = catalog.items(range(1, 100))
    known = attributes.photos(catalog, list(items))
    return {Path(items[number].path or "").name: photo for number, photo in known.items()}


def test_a_picture_is_indexed_with_its_facts(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=5, encoded=5)
    with Image.open(photos / "3.png") as image:
        expected = Photo(13, 8, None, None, None, None, fingerprint(image))
    assert facts(catalog)["3.png"] == expected
    assert len(facts(catalog)) == 5


def test_a_copy_has_the_facts_of_its_source(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    (photos / "copy.png").write_bytes((photos / "2.png").read_bytes())
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=1, unchanged=5)
    assert encoder.images_seen == 5
    assert facts(catalog)["copy.png"] == facts(catalog)["2.png"]


def test_a_changed_picture_has_new_facts_and_one_that_breaks_has_none(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    draw(photos / "2.png", RED, (30, 40))
    (photos / "3.png").write_bytes(b"no picture any more")
    ingest(catalog, encoder, [photos])
    known = facts(catalog)
    assert (known["2.png"].width, known["2.png"].height) == (30, 40)
    assert "3.png" not in known
    (photos / "3.png").write_bytes((photos / "2.png").read_bytes())
    ingest(catalog, encoder, [photos])
    assert facts(catalog)["3.png"] == known["2.png"]


def test_the_facts_of_an_older_library_are_read_once_and_nothing_is_encoded(
    old: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    before = old.all_vectors(encoder.space, Modality.IMAGE)[1].tobytes()
    seen: list[Progress] = []
    report = ingest(old, encoder, [], on_progress=seen.append)
    assert report.as_dict() == counts(unchanged=5, described=5)
    assert [(progress.done, progress.total) for progress in seen] == [(n, 5) for n in range(1, 6)]
    assert sorted(photo.width for photo in facts(old).values()) == [10, 11, 12, 13, 14]
    assert ingest(old, encoder, [photos]).as_dict() == counts(unchanged=5)
    assert encoder.images_seen == 0
    assert old.all_vectors(encoder.space, Modality.IMAGE)[1].tobytes() == before


def test_what_changed_meanwhile_is_encoded_with_its_facts(
    old: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    draw(photos / "1.png", BLUE, (40, 40))
    report = ingest(old, encoder, [])
    assert report.as_dict() == counts(changed=1, unchanged=4, encoded=1, described=4)
    assert facts(old)["1.png"].width == 40


def test_facts_are_read_where_indexing_looks_and_nowhere_else(
    old: Catalog, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "others" / "a.png")
    assert ingest(old, encoder, [tmp_path / "others"]).described == 0
    assert ingest_touched(old, encoder, [bytes(photos / "0.png")]).described == 0
    photos.rename(tmp_path / "away")
    assert ingest(old, encoder, []).as_dict() == counts(unchanged=1, offline=5)
    (tmp_path / "away").rename(photos)
    assert ingest(old, encoder, []).described == 5


def test_a_picture_that_cannot_be_read_now_keeps_its_item_and_is_tried_again(
    old: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = GuardedDecoder.decode

    def refuse(self: GuardedDecoder, file: int, suffix: str) -> Decoded:
        found = decode(self, file, suffix)
        is_red = found.pixels is not None and found.pixels[0, 0].tolist() == list(RED)
        return Decoded(found.digest, reason="not today") if is_red else found

    with monkeypatch.context() as patch:
        patch.setattr(GuardedDecoder, "decode", refuse)
        assert ingest(old, encoder, []).as_dict() == counts(unchanged=5, described=4)
    assert old.failures() == []
    assert old.counts().images == 5
    assert ingest(old, encoder, []).as_dict() == counts(unchanged=5, described=1)


def test_a_file_that_changes_while_it_is_looked_at_gets_no_facts_of_other_content(
    old: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = GuardedDecoder.decode

    def change(self: GuardedDecoder, file: int, suffix: str) -> Decoded:
        return replace(decode(self, file, suffix), digest="00" * 32)

    with monkeypatch.context() as patch:
        patch.setattr(GuardedDecoder, "decode", change)
        assert ingest(old, encoder, []).described == 0
    assert facts(old) == {}


def test_ctrl_c_keeps_what_was_read_and_the_next_run_goes_on(
    old: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    report = ingest(old, encoder, [], on_progress=stop)
    assert (report.interrupted, report.described) == (True, 2)
    assert len(facts(old)) == 2
    report = ingest(old, encoder, [])
    assert (report.interrupted, report.described) == (False, 3)


def test_facts_are_committed_on_the_way(
    old: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_MOST_ROWS", 2)
    known: list[int] = []
    options = IngestOptions(commit_seconds=100)
    ingest(old, encoder, [], options, on_progress=lambda _: known.append(len(facts(old))))
    assert known == [0, 2, 2, 4, 4]
    assert len(facts(old)) == 5


def test_a_library_that_is_encoded_anew_reads_facts_on_the_way(old: Catalog, photos: Path) -> None:
    other = FakeEncoder("other")
    report = ingest(old, other, [], IngestOptions(reindex=True))
    assert report.as_dict() == counts(unchanged=5, encoded=5)
    assert len(facts(old)) == 5


def test_facts_of_a_photo_are_those_of_its_exif_block(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0110] = "X100"
    exif[0x0112] = 6
    exif[0x0132] = "1970:01:01 00:01:00"
    data = io.BytesIO()
    Image.new("RGB", (64, 48)).save(data, "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(data.getvalue())
    ingest(catalog, encoder, [tmp_path / "a.jpg"])
    assert facts(catalog)["a.jpg"] == Photo(48, 64, 60, "X100", None, None, 0)
