import os
import shutil
import signal
from collections.abc import Sequence
from io import BufferedReader
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality, Pixels, Vectors
from mmsearch.errors import ConfigError, DecodeError, InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.decode import Limits, open_picture
from mmsearch.retrieval.ingest import (
    IngestOptions,
    Progress,
    ingest,
    ingest_touched,
)

DEVELOPED = """
import numpy as np
class LibRawError(Exception): ...
class LibRawNoThumbnailError(LibRawError): ...
class LibRawUnsupportedThumbnailError(LibRawError): ...
class imread:
    def __init__(self, file): ...
    def __enter__(self): return self
    def __exit__(self, *error): ...
    def extract_thumb(self): raise LibRawNoThumbnailError
    def postprocess(self, half_size): return np.full((4, 4, 3), (255, 255, 0), dtype=np.uint8)
"""
GREY = [(n, n, n) for n in range(0, 250, 10)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name, colour in (("red", RED), ("green", GREEN), ("sub/blue", BLUE)):
        draw(folder / f"{name}.png", colour)
    return folder


def vectors_by_name(catalog: Catalog, encoder: FakeEncoder) -> dict[str, list[float]]:
    ids, vectors = catalog.all_vectors(encoder.space, Modality.IMAGE)
    items = catalog.items(ids)
    names = [Path(items[int(number)].path or "").name for number in ids]
    return {n: np.round(v, 3).tolist() for n, v in zip(names, vectors, strict=True)}


def ids_by_name(catalog: Catalog, encoder: FakeEncoder) -> dict[str, int]:
    ids, _ = catalog.all_vectors(encoder.space, Modality.IMAGE)
    return {Path(item.path or "").name: number for number, item in catalog.items(ids).items()}


def later(path: Path, seconds: int = 5) -> None:
    """Let a file look modified, whatever the resolution of the file system's clock."""
    moment = path.stat().st_mtime_ns + seconds * 10**9
    os.utime(path, ns=(moment, moment))


def test_a_first_run_encodes_everything(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(new=3, encoded=3)
    assert vectors_by_name(catalog, encoder) == {
        "red.png": [1, 0, 0, 0, 0, 0, 0, 0],
        "green.png": [0, 1, 0, 0, 0, 0, 0, 0],
        "blue.png": [0, 0, 1, 0, 0, 0, 0, 0],
    }


def test_a_second_run_does_nothing(catalog: Catalog, encoder: FakeEncoder, photos: Path) -> None:
    ingest(catalog, encoder, [photos])
    revision = catalog.revision
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(unchanged=3)
    assert encoder.images_seen == 3
    assert catalog.revision == revision


def test_a_run_without_paths_looks_at_all_roots(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    draw(photos / "new.png", (255, 255, 0))
    assert ingest(catalog, encoder, []).as_dict() == counts(new=1, unchanged=3, encoded=1)


def test_a_changed_file_keeps_its_id(catalog: Catalog, encoder: FakeEncoder, photos: Path) -> None:
    ingest(catalog, encoder, [photos])
    before = ids_by_name(catalog, encoder)
    later(draw(photos / "red.png", BLUE, (13, 9)))
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(changed=1, unchanged=2, encoded=1)
    assert ids_by_name(catalog, encoder) == before


def test_a_changed_file_with_new_content_is_encoded(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    later(draw(photos / "red.png", (255, 255, 0)))
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(changed=1, unchanged=2, encoded=1)
    assert vectors_by_name(catalog, encoder)["red.png"] == [0, 0, 0, 0, 0, 1, 0, 0]


def test_a_touched_file_is_unchanged_and_settles(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    later(photos / "red.png")
    for _ in range(2):
        assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3)
    assert encoder.images_seen == 3
    revision = catalog.revision
    ingest(catalog, encoder, [photos])
    assert catalog.revision == revision


def test_a_deleted_file_is_gone(catalog: Catalog, encoder: FakeEncoder, photos: Path) -> None:
    ingest(catalog, encoder, [photos])
    (photos / "red.png").unlink()
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(gone=1, unchanged=2)
    assert catalog.counts().images == 2


def test_renames_cost_no_encoding_and_keep_the_id(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    before = ids_by_name(catalog, encoder)
    (photos / "red.png").rename(photos / "sub" / "crimson.png")
    (photos / "sub").rename(photos / "deeper")
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(moved=2, unchanged=1)
    after = ids_by_name(catalog, encoder)
    assert (after["crimson.png"], after["blue.png"]) == (before["red.png"], before["blue.png"])
    assert encoder.images_seen == 3


def test_a_move_between_roots_is_a_move(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    other = draw(tmp_path / "other" / "white.png", (255, 255, 255)).parent
    ingest(catalog, encoder, [photos, other])
    (photos / "red.png").rename(other / "red.png")
    assert ingest(catalog, encoder, [other]).as_dict() == counts(moved=1, unchanged=1)
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=2)


def test_a_renamed_root_is_a_move_of_everything(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    pictures = photos.rename(photos.with_name("pictures"))
    assert ingest(catalog, encoder, [pictures]).as_dict() == counts(moved=3)
    assert encoder.images_seen == 3


def test_a_copy_is_an_item_of_its_own_that_costs_no_encoding(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    shutil.copy(photos / "red.png", photos / "copy.png")
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=1, unchanged=3)
    vectors = vectors_by_name(catalog, encoder)
    assert vectors["copy.png"] == vectors["red.png"]
    assert catalog.counts().images == 4


def test_copies_within_a_first_run_are_encoded_once(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    for n in range(5):
        shutil.copy(photos / "red.png", photos / f"copy{n}.png")
    report = ingest(catalog, encoder, [photos], IngestOptions(batch_size=2))
    assert report.as_dict() == counts(new=8, encoded=3)


def test_swapped_files_swap_their_vectors(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    red, green, aside = photos / "red.png", photos / "green.png", photos / "aside"
    red.rename(aside)
    green.rename(red)
    aside.rename(green)
    later(red)
    later(green, 9)
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(changed=2, unchanged=1)
    vectors = vectors_by_name(catalog, encoder)
    assert vectors["red.png"] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert vectors["green.png"] == [1, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("left_behind", ["missing", "empty"])
def test_an_unmounted_root_is_offline_and_not_deleted(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, left_behind: str
) -> None:
    ingest(catalog, encoder, [photos])
    away = photos.rename(photos.with_name("away"))
    if left_behind == "empty":
        photos.mkdir()
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(offline=3)
    assert report.offline_roots == [photos]
    assert catalog.counts().offline == 3
    if left_behind == "empty":
        photos.rmdir()
    away.rename(photos)
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3)
    assert catalog.counts().offline == 0


def test_a_mount_point_inside_an_indexed_folder_is_protected(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos / "sub"])
    ingest(catalog, encoder, [photos])
    (photos / "sub").rename(photos.with_name("away"))
    (photos / "sub").mkdir()
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=2, offline=1)


def test_a_folder_inside_a_known_root_is_not_indexed_twice(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    assert ingest(catalog, encoder, [photos / "sub"]).as_dict() == counts(unchanged=1)
    assert ingest(catalog, encoder, [photos, photos / "sub"]).as_dict() == counts(unchanged=3)


def test_a_path_that_never_existed_is_an_input_error(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    with pytest.raises(InputError, match=r"no such file or folder: .*nowhere"):
        ingest(catalog, encoder, [photos, photos / "nowhere"])
    assert catalog.roots() == []


def test_a_path_below_a_root_that_is_not_mounted_says_so(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    ingest(catalog, encoder, [photos])
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"sub lies in .*, which is missing or empty now; mount"):
        ingest(catalog, encoder, [photos / "sub"])


def test_a_bad_file_is_a_failure_that_is_not_tried_again_until_it_changes(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = photos / "bad.jpg"
    bad.write_text("this is no picture")
    first = ingest(catalog, encoder, [photos])
    assert first.as_dict() == counts(new=3, encoded=3, failed=1)
    assert [(f.path, f.reason) for f in catalog.failures()] == [
        (os.fsencode(bad), "not a picture, or a format that is not supported")
    ]
    with monkeypatch.context() as patch:
        patch.setattr("mmsearch.retrieval.pipeline.read_task", None)  # would raise when called
        revision = catalog.revision
        assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3, failed=1)
        assert catalog.revision == revision
        later(bad)
        assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3, failed=1)
    later(draw(bad.with_suffix(".png"), (0, 255, 255)).rename(bad))
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=1, unchanged=3, encoded=1)
    assert catalog.failures() == []


def test_an_awkward_folder_is_indexed_as_far_as_it_can_be(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    folder = tmp_path / "awkward"
    draw(folder / "good.png")
    data = (folder / "good.png").read_bytes()
    for name, content in {
        b"caf\xe9.png": data + b"1",
        b"two\nlines.png": data + b"2",
        b"y" * 251 + b".png": data + b"3",
        b"cut.png": data[:40],
        b"empty.png": b"",
        b"diary.jpg": b"Dear diary",
    }.items():
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(content)
    (folder / "loop").symlink_to(".")
    (folder / "dangling.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    report = ingest(catalog, encoder, [folder, folder / "pipe.png"])
    assert report.as_dict() == counts(new=4, encoded=4, failed=5)
    assert {f.reason for f in report.failures} == {f.reason for f in catalog.failures()}
    assert ingest(catalog, encoder, [folder]).as_dict() == counts(unchanged=4, failed=5)
    assert encoder.images_seen == 4


def test_a_fifo_that_is_named_is_a_failure(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for _ in range(2):
        report = ingest(catalog, encoder, [tmp_path / "pipe.png"])
        assert report.as_dict() == counts(failed=1)
        assert report.failures[0].reason == "not a file or folder but a FIFO"
    assert catalog.roots() == []


def test_items_below_a_folder_that_cannot_be_entered_stay(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(catalog, encoder, [photos])
    list_folder = os.scandir

    def forbidding(path: bytes) -> "os._ScandirIterator[bytes]":
        if path.endswith(b"/sub"):
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", forbidding)
        report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(unchanged=2, failed=1)
    assert [f.path for f in catalog.failures()] == [os.fsencode(photos / "sub")]
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3)
    assert catalog.failures() == []


def test_a_file_that_vanishes_before_it_is_read_is_no_failure(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(path: bytes) -> BufferedReader:
        if path.endswith(b"red.png"):
            (photos / "red.png").unlink()
        return open_picture(path)

    monkeypatch.setattr("mmsearch.retrieval.reading.open_picture", vanished)
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=2, encoded=2)
    assert catalog.failures() == []


def test_an_item_stays_while_its_changed_file_may_not_be_read(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(catalog, encoder, [photos])
    later(draw(photos / "red.png", (255, 255, 0)))

    def forbidden(path: bytes) -> BufferedReader:
        raise DecodeError("permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("mmsearch.retrieval.reading.open_picture", forbidden)
        assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=2, failed=1)
    assert catalog.counts().images == 3
    report = ingest(catalog, encoder, [photos])
    assert report.as_dict() == counts(changed=1, unchanged=2, encoded=1)
    assert catalog.failures() == []


def test_a_failure_is_tried_again_when_asked(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    bad = photos / "large.png"
    draw(bad, (255, 255, 0), (40, 40))
    limits = Limits(pixels=1000)
    first = ingest(catalog, encoder, [photos], IngestOptions(limits=limits))
    assert first.as_dict() == counts(new=3, encoded=3, failed=1)
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3, failed=1)
    again = ingest(catalog, encoder, [photos], IngestOptions(retry_failed=True))
    assert again.as_dict() == counts(new=1, unchanged=3, encoded=1)


def test_a_failure_for_want_of_a_plugin_is_tried_again_once_it_is_installed(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = photos.with_name("site") / "rawpy.py"
    plugin.parent.mkdir()
    plugin.write_text("raise ImportError", encoding="utf-8")
    monkeypatch.syspath_prepend(plugin.parent)
    draw(photos / "raw.png", (255, 255, 0)).rename(photos / "raw.nef")
    assert ingest(catalog, encoder, [photos]).failed == 1
    assert "mmsearch[formats]" in catalog.failures()[0].reason
    plugin.write_text(DEVELOPED, encoding="utf-8")
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(new=1, unchanged=3, encoded=1)


def test_the_failure_of_a_deleted_file_is_forgotten(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    (photos / "bad.jpg").write_text("no")
    ingest(catalog, encoder, [photos])
    (photos / "bad.jpg").unlink()
    assert ingest(catalog, encoder, [photos]).as_dict() == counts(unchanged=3)
    assert catalog.failures() == []


def test_excluded_files_leave_the_library(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    report = ingest(catalog, encoder, [photos], IngestOptions(exclude=("sub",)))
    assert report.as_dict() == counts(gone=1, unchanged=2)


def test_another_model_is_refused_with_the_command_that_reindexes(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    with pytest.raises(SpaceMismatchError, match=r"mmsearch index --reindex .*photos --model mine"):
        ingest(catalog, FakeEncoder("other"), [photos], IngestOptions(model="mine"))
    assert catalog.space() == encoder.space


def test_reindexing_encodes_every_root_and_sentence_and_keeps_the_old_space(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    extra = draw(tmp_path / "extra" / "cyan.png", (0, 255, 255)).parent
    ingest(catalog, encoder, [photos, extra])
    other = FakeEncoder("other")
    report = ingest(catalog, other, [photos], IngestOptions(reindex=True))
    assert report.as_dict() == counts(unchanged=4, encoded=4)
    assert catalog.space() == other.space
    assert len(catalog.all_vectors(encoder.space, Modality.IMAGE)[0]) == 4
    assert len(catalog.all_vectors(other.space, Modality.IMAGE)[0]) == 4
    again = ingest(catalog, other, [photos], IngestOptions(reindex=True))
    assert again.as_dict() == counts(unchanged=4)


def test_an_empty_library_takes_any_model(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    assert ingest(catalog, encoder, [tmp_path / "nothing"]).as_dict() == counts()
    assert ingest(catalog, FakeEncoder("other"), [photos]).new == 3


class InterruptedEncoder(FakeEncoder):
    """Presses Ctrl-C during the second batch."""

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        if self.images_seen:
            os.kill(os.getpid(), signal.SIGINT)
        return super().encode_images(images)


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_resumes(
    catalog: Catalog, tmp_path: Path
) -> None:
    for n, colour in enumerate(GREY):
        draw(tmp_path / "many" / f"{n:02}.png", colour)
    report = ingest(
        catalog, InterruptedEncoder(), [tmp_path / "many"], IngestOptions(batch_size=10)
    )
    assert report.interrupted
    assert report.as_dict() == counts(new=20, encoded=20)  # the batch at hand is finished
    assert catalog.counts().images == 20
    resumed = ingest(catalog, FakeEncoder(), [tmp_path / "many"])
    assert resumed.as_dict() == counts(new=5, unchanged=20, encoded=5)


class HalfBlindEncoder(FakeEncoder):
    """Gives NaN for pictures without red."""

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        vectors = super().encode_images(images)
        vectors[vectors[:, 0] == 0] = np.nan
        return vectors


def test_a_vector_that_is_not_finite_is_a_failure(catalog: Catalog, photos: Path) -> None:
    report = ingest(catalog, HalfBlindEncoder(), [photos])
    assert report.as_dict() == counts(new=1, failed=2, encoded=3)


def test_progress_counts_up_to_the_total(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    seen: list[Progress] = []
    ingest(catalog, encoder, [photos], IngestOptions(batch_size=1), on_progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert (seen[-1].done, seen[-1].total) == (3, 3)
    assert all(p.images_per_second > 0 for p in seen)


def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for n, colour in enumerate(GREY):
        draw(tmp_path / "many" / f"{n:02}.png", colour)
    found = []
    for workers in (1, 4):
        with Catalog.open(tmp_path / f"library{workers}", write=True) as catalog:
            encoder = FakeEncoder()
            options = IngestOptions(workers=workers, batch_size=3)
            ingest(catalog, encoder, [tmp_path / "many"], options)
            found.append(ids_by_name(catalog, encoder))
    assert found[0] == found[1]


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"workers": 0}])
def test_options_out_of_range_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        IngestOptions(**bad)  # type: ignore[arg-type]


def test_what_an_ignore_file_names_is_gone_and_comes_back_with_its_rule(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    rules = photos / ".mmsearchignore"
    rules.write_text("*.png\n!red.png\n", encoding="utf-8")
    assert ingest(catalog, encoder, []).as_dict() == counts(gone=2, unchanged=1)
    assert ingest(catalog, encoder, [photos / "sub"]).as_dict() == counts()
    rules.unlink()
    assert ingest(catalog, encoder, []).as_dict() == counts(new=2, encoded=2, unchanged=1)


def many(folder: Path, count: int) -> Path:
    for n in range(count):
        draw(folder / f"{n % 7}" / f"{n}.png", (n % 256, n // 256, 77), (2, 2))
    return folder


@pytest.mark.parametrize("across", [False, True], ids=["within a root", "across roots"])
def test_a_renamed_folder_costs_no_decoding_and_no_encoding(
    catalog: Catalog,
    encoder: FakeEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    across: bool,
) -> None:
    one, other = tmp_path / "one", draw(tmp_path / "other" / "red.png").parent
    many(one / "holiday", 500)
    ingest(catalog, encoder, [one, other])
    before = vectors_by_name(catalog, encoder)
    encoded = encoder.images_seen
    monkeypatch.setattr("mmsearch.retrieval.pipeline.read_task", None)  # would raise when called
    (one / "holiday").rename((other if across else one) / "summer")
    draw(one / "stays.png").write_bytes((other / "red.png").read_bytes())
    report = ingest(catalog, encoder, [])
    assert report.as_dict() == counts(moved=500, unchanged=1, new=1)
    assert encoder.images_seen == encoded
    assert vectors_by_name(catalog, encoder) == before | {"stays.png": before["red.png"]}


def test_a_copied_folder_is_new_items_without_encoding(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    ingest(catalog, encoder, [many(tmp_path / "one", 100).parent / "one"])
    shutil.copytree(tmp_path / "one", tmp_path / "one" / "copy")
    assert ingest(catalog, encoder, []).as_dict() == counts(new=100, unchanged=100)
    assert encoder.images_seen == 100


def test_a_thousand_named_files_are_one_transaction(
    catalog: Catalog, encoder: FakeEncoder, tmp_path: Path
) -> None:
    files = sorted(many(tmp_path / "one", 60).rglob("*.png"))
    assert ingest(catalog, encoder, files).as_dict() == counts(new=60, encoded=60)
    assert ingest(catalog, encoder, files).as_dict() == counts(unchanged=60)
    assert len(catalog.roots()) == 60


def test_touched_paths_alone_are_looked_at(
    catalog: Catalog, encoder: FakeEncoder, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(catalog, encoder, [photos])
    (photos / "red.png").unlink()
    (photos / "green.png").unlink()
    draw(photos / "sub" / "cyan.png", (0, 255, 255))
    touched = [os.fsencode(photos / name) for name in ("red.png", "sub", "none")]
    report = ingest_touched(catalog, encoder, [*touched, b"/elsewhere/x.png"])
    assert report.as_dict() == counts(new=1, gone=1, unchanged=1, encoded=1)
    assert set(ids_by_name(catalog, encoder)) == {"green.png", "blue.png", "cyan.png"}
    assert ingest_touched(catalog, encoder, [os.fsencode(photos)]).gone == 1


def test_touched_paths_of_a_root_that_is_gone_are_offline(
    catalog: Catalog, encoder: FakeEncoder, photos: Path
) -> None:
    ingest(catalog, encoder, [photos])
    photos.rename(photos.with_name("away"))
    report = ingest_touched(catalog, encoder, [os.fsencode(photos / "red.png")])
    assert report.as_dict() == counts(offline=3)
    assert catalog.counts().images == 3
