"""Duplicates of a library: exact ones, near ones, and what may not be compared."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import digest

from mmsearch.core import Modality, Photo, Space
from mmsearch.errors import InputError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, RootKind, TextRow
from mmsearch.retrieval.duplicates import Duplicates, Group, Wanted, find_duplicates
from mmsearch.retrieval.stars import Nearness

SPACE = Space("plane", 2, "cc" * 32)
MARK = 0xFF00FF00FF00FF00


def row(
    path: str,
    degrees: float,
    *,
    content: str = "",
    mark: int | None = MARK,
    size: tuple[int, int] = (40, 30),
    mtime: int = 1,
) -> FileRow:
    """Return a picture whose vector stands at an angle; `mark` None: its facts are not read."""
    angle = np.radians(degrees)
    vector = np.array([np.cos(angle), np.sin(angle)], dtype=np.float32)
    photo = None if mark is None else Photo(*size, None, None, None, None, mark)
    return FileRow(path.encode(), 1, 100, mtime, digest(content or path), vector, photo)


def fill(catalog: Catalog, rows: Sequence[FileRow], folder: Path | None = None) -> None:
    catalog.set_space(SPACE)
    catalog.add_root(folder or "/photos", RootKind.FOLDER)
    catalog.commit(Batch(files=tuple(rows)))


def names(groups: Sequence[Group]) -> list[list[str]]:
    """Return the names of each group's members, copies after an equals sign."""
    return [
        [
            "=".join(Path(i.path or i.text or "").name for i in (m.item, *m.copies))
            for m in g.members
        ]
        for g in groups
    ]


def near(catalog: Catalog, threshold: float = 0.9, distance: int = 11) -> Duplicates:
    return find_duplicates(catalog, Wanted(exact=False, near=Nearness(threshold, distance)))


def test_files_with_the_same_bytes_are_exact_duplicates_the_oldest_first(catalog: Catalog) -> None:
    fill(
        catalog,
        [
            row("/photos/new", 0, content="a", mtime=9),
            row("/photos/old", 0, content="a", mtime=2),
            row("/photos/other", 0, content="b"),
        ],
    )
    found = find_duplicates(catalog, Wanted(near=None))
    assert names(found.exact) == [["old", "new"]]
    assert found.exact[0].spare == 100
    assert (found.near, found.compared) == ((), 0)


def test_the_groups_that_take_most_space_come_first(catalog: Catalog) -> None:
    twice = [row(f"/photos/twice{n}", 0, content="a") for n in range(2)]
    thrice = [row(f"/photos/thrice{n}", 0, content="b") for n in range(3)]
    fill(catalog, [*twice, *thrice])
    found = find_duplicates(catalog, Wanted(near=None))
    assert names(found.exact) == [["thrice0", "thrice1", "thrice2"], ["twice0", "twice1"]]


def test_pictures_alike_in_vector_and_fingerprint_are_near_the_largest_first(
    catalog: Catalog,
) -> None:
    fill(
        catalog,
        [
            row("/photos/small", 10, size=(20, 15), mark=MARK ^ 0b11),
            row("/photos/large", 0),
            row("/photos/other mark", 0, mark=~MARK & (2**64 - 1)),
            row("/photos/other vector", 80),
        ],
    )
    (group,) = near(catalog).near
    assert names([group]) == [["large", "small"]]
    best, small = group.members
    assert (best.cosine, best.distance) == (1.0, 0)
    assert small.cosine == pytest.approx(np.cos(np.radians(10)), abs=1e-3)
    assert small.distance == 2
    assert small.photo is not None
    assert (small.photo.width, small.photo.height) == (20, 15)


def test_copies_of_a_near_picture_are_one_member_of_its_group(catalog: Catalog) -> None:
    fill(
        catalog,
        [
            row("/photos/large", 0, content="a", mtime=1),
            row("/photos/copy", 0, content="a", mtime=2),
            row("/photos/small", 1, size=(20, 15)),
        ],
    )
    found = find_duplicates(catalog, Wanted())
    assert names(found.near) == [["large=copy", "small"]]
    assert names(found.exact) == [["large", "copy"]]
    assert found.near[0].spare == 200


def test_copies_alone_are_no_near_group(catalog: Catalog) -> None:
    fill(catalog, [row(f"/photos/{n}", 0, content="a") for n in range(3)])
    found = find_duplicates(catalog, Wanted())
    assert (len(found.exact), found.near) == (1, ())


def test_only_some_items_are_looked_at_when_asked(catalog: Catalog) -> None:
    fill(catalog, [row(f"/photos/{n}", n, content="a" if n < 2 else "") for n in range(4)])
    some = np.array([1, 3, 4], dtype=np.int64)
    found = find_duplicates(catalog, Wanted(among=some))
    assert names(found.exact) == []
    assert names(found.near) == [["0", "2", "3"]]
    nothing = find_duplicates(catalog, Wanted(among=np.empty(0, dtype=np.int64)))
    assert (nothing.exact, nothing.near, nothing.compared) == ((), (), 0)


def test_pictures_whose_facts_were_never_read_are_counted_and_still_exact(
    catalog: Catalog,
) -> None:
    fill(
        catalog,
        [
            row("/photos/a", 0, content="a", mark=None),
            row("/photos/b", 0, content="a", mark=None),
            row("/photos/c", 0),
        ],
    )
    found = find_duplicates(catalog, Wanted())
    assert names(found.exact) == [["a", "b"]]
    assert (found.near, found.compared, found.unread) == ((), 1, 2)


def test_what_is_not_there_now_is_marked_and_comes_after_what_is(
    catalog: Catalog, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "picture").touch()
    fill(
        catalog,
        [
            row("/photos/old", 0, content="a", mtime=1),
            row(str(here / "picture"), 0, content="a", mtime=5),
            row("/photos/small", 0, size=(4, 3)),
        ],
    )
    catalog.add_root(here, RootKind.FOLDER)
    found = find_duplicates(catalog, Wanted())
    assert names(found.exact) == [["picture", "old"]]
    assert [m.offline for m in found.exact[0].members] == [False, True]
    assert names(found.near) == [["picture=old", "small"]]
    assert [m.offline for m in found.near[0].members] == [False, True]


def test_the_same_sentence_in_two_files_is_an_exact_duplicate(catalog: Catalog) -> None:
    catalog.set_space(SPACE)
    roots = [catalog.add_root(f"/texts/{n}", RootKind.TEXTS) for n in range(2)]
    vector = np.array([1, 0], dtype=np.float32)
    rows = [TextRow("a dog", root, digest("a dog"), vector) for root in roots]
    catalog.commit(Batch(texts=(*rows, TextRow("a cat", roots[0], digest("a cat"), vector))))
    found = find_duplicates(catalog, Wanted(near=None, modality=Modality.TEXT))
    assert names(found.exact) == [["a dog", "a dog"]]


def test_near_sentences_are_refused() -> None:
    with pytest.raises(InputError, match="of sentences ask for --exact"):
        Wanted(modality=Modality.TEXT)


def test_an_empty_library_has_no_duplicates(catalog: Catalog) -> None:
    assert find_duplicates(catalog, Wanted()) == Duplicates()
