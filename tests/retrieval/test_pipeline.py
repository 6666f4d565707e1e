"""Files through decoding, the network and the catalog, side by side and within bounds."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality, Pixels, Vectors
from mmsearch.errors import ModelError
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval import pipeline
from mmsearch.retrieval.guard import GuardedDecoder
from mmsearch.retrieval.ingest import IngestOptions, ingest
from mmsearch.retrieval.network import Network
from mmsearch.retrieval.plan import Task
from mmsearch.retrieval.reading import Reading, in_order, read_task
from mmsearch.retrieval.timing import Slow

MOST_SECONDS = 20


class Lanes(FakeEncoder):
    """Encodes several batches at once; `most` is how many it has seen at the same time."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes = lanes
        self.loaded = 0
        self.most = 0
        self.batches: list[int] = []
        self._now = 0
        self._lock = threading.Lock()

    def load_images(self) -> None:
        self.loaded += 1

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.batches.append(len(images))
        time.sleep(0.05)
        with self._lock:
            self._now -= 1
            return super().encode_images(images)


def pictures(folder: Path, count: int) -> Path:
    for n in range(count):
        draw(folder / f"{n:03}.png", (n % 256, n // 256, 7))
    return folder


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_as_many_batches_are_encoded_at_once_as_the_encoder_takes(
    catalog: Catalog, tmp_path: Path, lanes: int
) -> None:
    encoder = Lanes(lanes)
    report = ingest(catalog, encoder, [pictures(tmp_path, 40)], IngestOptions(batch_size=4))
    assert report.as_dict() == counts(new=40, encoded=40)
    assert encoder.most == lanes
    assert encoder.loaded == 1
    assert max(encoder.batches) <= 4


def test_ids_do_not_depend_on_how_many_batches_are_encoded_at_once(tmp_path: Path) -> None:
    found = []
    folder = pictures(tmp_path / "photos", 30)
    for lanes in (1, 3):
        with Catalog.open(tmp_path / f"library{lanes}", write=True) as catalog:
            encoder = Lanes(lanes)
            ingest(catalog, encoder, [folder], IngestOptions(batch_size=4))
            ids, vectors = catalog.all_vectors(encoder.space, Modality.IMAGE)
            items = catalog.items(ids)
            found.append([(items[n].path, v.tobytes()) for n, v in zip(ids, vectors, strict=True)])
    assert found[0] == found[1]


def test_copies_in_batches_that_are_under_way_are_encoded_once(
    catalog: Catalog, tmp_path: Path
) -> None:
    for n in range(24):
        draw(tmp_path / f"{n:03}.png", (n % 3 * 100, 0, 0))
    encoder = Lanes(3)
    report = ingest(catalog, encoder, [tmp_path], IngestOptions(batch_size=4))
    assert report.as_dict() == counts(new=24, encoded=3)
    assert encoder.images_seen == 3
    assert catalog.counts().images == 24


def test_reading_waits_for_the_network(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    released = threading.Event()

    def counting(task: Task, decoder: GuardedDecoder) -> Reading:
        read.append(task)
        return read_task(task, decoder)

    class Held(FakeEncoder):
        def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
            released.wait(MOST_SECONDS)
            return super().encode_images(images)

    def release() -> None:
        time.sleep(1.5)
        held.append(len(read))
        released.set()

    held: list[int] = []
    folder = pictures(tmp_path, 100)
    monkeypatch.setattr(pipeline, "read_task", counting)
    releasing = threading.Thread(target=release)
    releasing.start()
    options = IngestOptions(batch_size=5, workers=2)
    report = ingest(catalog, Held(), [folder], options)
    releasing.join()
    assert report.encoded == 100
    # Two batches are taken in, 32 pictures and one or so for each worker are ready.
    assert held[0] <= 2 * 5 + 32 + 3
    assert report.timing.waited[Slow.NETWORK] > 0.1


class FailsLater(Lanes):
    """Breaks down in the third batch."""

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        vectors = super().encode_images(images)
        if len(self.batches) > 2:
            raise ModelError("the network broke down")
        return vectors


def test_what_was_encoded_before_the_network_fails_is_kept(
    catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="broke down"):
        ingest(catalog, FailsLater(1), [pictures(tmp_path, 40)], IngestOptions(batch_size=4))
    assert catalog.counts().images == 8


def test_where_the_time_went_is_known_by_stage(catalog: Catalog, tmp_path: Path) -> None:
    report = ingest(catalog, Lanes(2), [pictures(tmp_path, 20)], IngestOptions(batch_size=4))
    found = report.timing.as_dict()
    assert {"total", "scan", "read", "decode", "preprocess", "encode", "commit"} <= set(found)
    assert report.timing.encode >= 5 * 0.05
    assert report.timing.total > 0
    assert 0 < report.timing.decode + report.timing.preprocess < MOST_SECONDS
    unchanged = ingest(catalog, Lanes(2), [tmp_path])
    assert unchanged.timing.encode == 0


def test_the_last_batches_are_shared_out() -> None:
    network = Network(Lanes(2), batch=32, total=70)
    sizes = []
    left = 70
    while left:
        sizes.append(min(network.wanted(), left))
        left -= sizes[-1]
        network.passed(sizes[-1])
    network.close()
    assert sizes == [32, 19, 10, 5, 4]


def test_an_encoder_that_knows_nothing_of_lanes_gets_one_batch_at_a_time() -> None:
    network = Network(FakeEncoder(), batch=8, total=8)
    vectors, seconds = network.encode([np.zeros((8, 8, 3), dtype=np.uint8)] * 2).result()
    network.close()
    assert (network.lanes, len(vectors)) == (1, 2)
    assert seconds >= 0


def test_closing_an_iterator_of_readings_does_not_wait_for_those_under_way() -> None:
    released = threading.Event()

    def slow(value: int) -> int:
        if value:
            released.wait(MOST_SECONDS)
        return value

    results = in_order(2, 4, slow, range(10))
    assert next(results) == 0
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < MOST_SECONDS / 2
    released.set()
