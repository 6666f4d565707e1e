"""Queries that leave out what is not there now, and drives that are really unmounted."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Ids, Matches, Modality, Query, TextTerm
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.narrowing import narrow
from mmsearch.retrieval.online import offline_ids


def names(library: Library, query: Query) -> list[str]:
    hits = library.search(query)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    return [Path(hit.item.path or "").name or str(hit.item.text) for hit in hits]


def red(k: int = 10, *, online: bool, target: Modality | None = Modality.IMAGE) -> Query:
    return Query((TextTerm("red"),), k, target, online)


def test_a_query_leaves_out_what_is_not_there_now_only_when_asked(
    library: Library, tmp_path: Path
) -> None:
    for folder, shade in (("here", 150), ("drive", 210)):
        for n in range(3):
            draw(tmp_path / folder / f"{folder}{n}.png", (shade + 20 * n, 0, 0))
        library.add(tmp_path / folder)
    best = ["drive2.png", "drive1.png", "drive0.png", "here2.png", "here1.png", "here0.png"]
    assert names(library, red(online=True)) == best
    (tmp_path / "drive").rename(tmp_path / "away")  # no index run has noticed
    assert names(library, red(online=False)) == best
    for k in (1, 2, 3, 10):
        assert names(library, red(k, online=True)) == best[3:][:k]
    (tmp_path / "away").rename(tmp_path / "drive")
    assert names(library, red(online=True)) == best


def test_sentences_of_a_file_that_is_gone_are_offline_too(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("red\n", encoding="utf-8")
    library.add_texts(file)
    library.add_texts(["red red blue"])
    query = red(online=True, target=None)
    assert names(library, query) == ["red", "red red blue"]
    file.unlink()
    assert names(library, query) == ["red red blue"]


def test_nothing_is_found_when_everything_is_offline(library: Library, tmp_path: Path) -> None:
    library.add(draw(tmp_path / "drive" / "red.png").parent)
    shutil.rmtree(tmp_path / "drive")
    assert names(library, red(online=True)) == []


@pytest.mark.parametrize("offline", [1, 7, 100, 499, 500, 501, 900, 1000])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_answer_is_that_of_a_search_among_the_others(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: int, k: int
) -> None:
    rng = np.random.default_rng(offline)
    scores = rng.permutation(1000).astype(np.float32)
    ids = np.arange(1, 1001)
    left_out = np.sort(rng.choice(ids, offline, replace=False))
    asked: list[int] = []

    def search(count: int, among: Ids | None) -> Matches:
        asked.append(count)
        some = np.ones(1000, dtype=bool) if among is None else np.isin(ids, among)
        order = np.argsort(-scores[some])[:count]
        return Matches(ids[some][order], scores[some][order])

    kept = ~np.isin(ids, left_out)
    monkeypatch.setattr("mmsearch.retrieval.online.offline_ids", lambda _: left_out)
    monkeypatch.setattr("mmsearch.index.selection.all_but", lambda *_: ids[kept])
    monkeypatch.setattr(Catalog, "counts", lambda _: type("Counts", (), {"items": 1000}))
    nothing = np.empty(0, dtype=np.int64)
    narrowed = narrow(library.catalog, red(online=True), Modality.IMAGE, nothing, None)
    found = narrowed.best(search, k)
    expected = ids[kept][np.argsort(-scores[kept])][:k]
    assert found.ids.tolist() == expected.tolist()
    assert max(asked) <= k + offline


def test_a_drive_that_is_really_unmounted_keeps_its_items(
    library: Library, drive: Path, tmp_path: Path
) -> None:
    """The drive's content is moved to a second place of the same tmpfs and mounted back."""
    keep = tmp_path / "keep"
    keep.mkdir()
    subprocess.run(["mount", "--bind", drive, keep], check=True)
    try:
        for name, colour in {"red": RED, "sub/green": GREEN}.items():
            draw(drive / f"{name}.png", colour)
        home = draw(tmp_path / "home" / "blue.png", BLUE).parent
        assert library.add([drive, home]).encoded == 3
        subprocess.run(["umount", drive], check=True)
        assert list(drive.iterdir()) == []

        report = library.refresh()
        assert report.as_dict() | {"unchanged": 0} == dict.fromkeys(report.as_dict(), 0) | {
            "offline": 2
        }
        assert (library.catalog.counts().images, library.catalog.counts().offline) == (3, 2)
        assert [r.offline for r in library.catalog.roots()] == [True, False]
        assert names(library, red(online=False))[0] == "red.png"
        assert names(library, red(online=True)) == ["blue.png"]
        assert len(offline_ids(library.catalog)) == 2

        subprocess.run(["mount", "--bind", keep, drive], check=True)
        assert names(library, red(1, online=True)) == ["red.png"]
        report = library.refresh()
        assert (report.unchanged, report.encoded, report.offline) == (3, 0, 0)
        assert library.catalog.counts().offline == 0
        encoder = library.encoder
        assert isinstance(encoder, FakeEncoder)
        assert encoder.images_seen == 3
    finally:
        subprocess.run(["umount", keep], check=False)
