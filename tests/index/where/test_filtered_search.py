"""Searches among what a condition selects, on every kind of index, against brute force."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from tests.index.clusters import modalities

from mmsearch.core import Ids, Modality, Photo, Space
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.exact import ExactIndex
from mmsearch.index.policy import IndexKind, Policy
from mmsearch.index.rows import Batch, FileRow, LabelChange, LabelSource, RootKind, TextRow
from mmsearch.index.store import IndexStore
from mmsearch.index.where.grammar import parse_condition
from mmsearch.index.where.select import select

ROWS, DIM, DAY = 3000, 32, 86_400
SPACE = Space("gap", DIM, "dd" * 32)
PICTURES, SENTENCES, CLUSTERS = modalities(ROWS, 400, DIM, seed=5)
ASKED = SENTENCES[300:]  # never in a library
POLICIES = {
    "scan": Policy(),
    "in memory": Policy(scan_below=10 * ROWS, few=0),
    "flat": Policy(kind=IndexKind.FLAT, scan_below=0, few=0),
    "ivf-sq8": Policy(kind=IndexKind.IVF_SQ8, scan_below=0, few=0),
    "ivf-rabitq": Policy(kind=IndexKind.IVF_RABITQ, scan_below=0, few=0),
}
each_kind = pytest.mark.parametrize("kind", POLICIES)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Libraries"]:
    made = Libraries(tmp_path_factory.mktemp("libraries"))
    yield made
    made.close()


class Libraries:
    """The same pictures under each kind of index, made when asked for.

    A picture of cluster n was taken on day n: a date selects what lies together in the space.
    Every thousandth, tenth and all but every tenth have labels that say so, at random.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[Catalog] = []
        self.of = cache(self._of)

    def close(self) -> None:
        for catalog in self._opened:
            catalog.close()

    def _of(self, kind: str) -> tuple[Catalog, IndexStore]:
        catalog = Catalog.open(self._folder / kind, write=True)
        self._opened.append(catalog)
        catalog.set_space(SPACE)
        catalog.add_root("/photos", RootKind.FOLDER)
        catalog.commit(Batch(files=tuple(map(_picture, range(ROWS)))))
        catalog.commit(Batch(texts=tuple(map(_sentence, range(300)))))
        attributes.set_labels(catalog, _labels())
        store = IndexStore(catalog, catalog.directory, POLICIES[kind])
        store.refresh(SPACE)
        return catalog, store


def _picture(number: int) -> FileRow:
    photo = Photo(640, 480, int(CLUSTERS[number]) * DAY, None, None, None, number)
    path = f"/photos/{number}.jpg".encode()
    return FileRow(path, 1, 10, 10**9, f"{number:064x}", PICTURES[number], photo)


def _sentence(number: int) -> TextRow:
    return TextRow(f"sentence {number}", None, f"{ROWS + number:064x}", SENTENCES[number])


def _labels() -> list[LabelChange]:
    order = np.random.default_rng(1).permutation(ROWS) + 1
    shares = {"one in a thousand": ROWS // 1000, "one in ten": ROWS // 10, "most": 9 * ROWS // 10}
    return [
        LabelChange(int(number), label, LabelSource.USER, None)
        for label, count in shares.items()
        for number in order[:count]
    ]


def selected(catalog: Catalog, text: str) -> Ids:
    return select(catalog, parse_condition(text), Modality.IMAGE).ids


@each_kind
@pytest.mark.parametrize(
    "text",
    [
        "label = 'one in a thousand'",
        "label = 'one in ten'",
        "label = 'most'",
        "taken < 1970-01-06",
        "taken < 1970-02-20",
        "NOT taken = 1970-01-10",
        "taken >= 1970-01-20 AND label = 'most' AND NOT name LIKE '%7.jpg'",
    ],
)
def test_what_a_condition_selects_is_found(libraries: Libraries, kind: str, text: str) -> None:
    catalog, store = libraries.of(kind)
    among = selected(catalog, text)
    assert 0 < len(among) < ROWS
    exact = ExactIndex(DIM)
    exact.add(*catalog.all_vectors(SPACE, Modality.IMAGE))
    found = store.search(SPACE, Modality.IMAGE, ASKED, 10, among=among)
    recalls = []
    for one, true in zip(found, exact.search(ASKED, 10, among=among), strict=True):
        assert len(one.ids) == min(10, len(among))
        assert np.isin(one.ids, among).all()
        recalls.append(np.isin(true.ids, one.ids).mean())
    assert np.mean(recalls) >= 0.99
    assert store.warnings == []


@each_kind
@pytest.mark.parametrize("text", ["FALSE", "label = 'nothing'", "taken > 1971", "id IN ()"])
def test_a_condition_that_selects_nothing_finds_nothing(
    libraries: Libraries, kind: str, text: str
) -> None:
    catalog, store = libraries.of(kind)
    among = selected(catalog, text)
    assert len(among) == 0
    for one in store.search(SPACE, Modality.IMAGE, ASKED, 10, among=among):
        assert len(one.ids) == len(one.scores) == 0


@each_kind
def test_a_condition_that_selects_everything_changes_nothing(
    libraries: Libraries, kind: str
) -> None:
    catalog, store = libraries.of(kind)
    among = selected(catalog, "TRUE")
    assert len(among) == ROWS
    exact = ExactIndex(DIM)
    exact.add(*catalog.all_vectors(SPACE, Modality.IMAGE))
    found = store.search(SPACE, Modality.IMAGE, ASKED, 10, among=among)
    recalls = [
        np.isin(true.ids, one.ids).mean()
        for one, true in zip(found, exact.search(ASKED, 10), strict=True)
    ]
    assert np.mean(recalls) >= 0.99


def test_an_open_flat_index_answers_what_was_read_from_the_catalog_before(
    libraries: Libraries,
) -> None:
    catalog, _ = libraries.of("flat")
    policy = Policy(kind=IndexKind.FLAT, scan_below=0, few=1024, few_opened=2)
    store = IndexStore(catalog, catalog.directory, policy)
    among = selected(catalog, "label = 'one in ten'")

    def search() -> list[tuple[list[int], list[float]]]:
        found = store.search(SPACE, Modality.IMAGE, ASKED, 10, among=among)
        return [(one.ids.tolist(), one.scores.tolist()) for one in found]

    before = search()
    store.search(SPACE, Modality.IMAGE, ASKED, 10)  # opens the file
    assert store._few(SPACE, Modality.IMAGE) < len(among) <= policy.few
    assert search() == before
