"""What happens where both sides have something: items, labels, captions, forgotten paths."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.index.conftest import digest
from tests.retrieval.transfer.libraries import OTHER, SPACE, contents, fill, hits, picture

from mmsearch.core import Modality, Photo, Space
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index import attributes, lookup
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, FileRow, Label, LabelChange, LabelSource, RootKind
from mmsearch.retrieval import importing
from mmsearch.retrieval.merging import merge
from mmsearch.retrieval.transfer import placing
from mmsearch.retrieval.transfer.records import Chunk

FACTS = Photo(8, 6, None, None, None, None, 7)


def made(directory: Path, *rows: FileRow) -> Path:
    """Make a library of some pictures of /far/photos."""
    with Catalog.open(directory, write=True) as catalog:
        catalog.set_space(SPACE)
        catalog.add_root("/far/photos", RootKind.FOLDER)
        catalog.commit(Batch(files=rows))
    return directory


def named(directory: Path, path: bytes) -> tuple[str, tuple[Label, ...], tuple[str, ...]]:
    """Return the digest, the labels and the captions of a picture."""
    with Catalog.open(directory) as catalog:
        number = lookup.by_path(catalog, [path])[path]
        labels = attributes.labels(catalog, [number]).get(number, ())
        captions = attributes.captions(catalog, [number]).get(number, ())
        return catalog.items([number])[number].digest, labels, captions


def give(directory: Path, path: bytes, *labels: tuple[str, LabelSource, float | None]) -> None:
    with Catalog.open(directory, write=True) as catalog:
        number = lookup.by_path(catalog, [path])[path]
        attributes.set_labels(catalog, [LabelChange(number, *label) for label in labels])


def test_two_libraries_become_one(tmp_path: Path) -> None:
    into = made(tmp_path / "into", picture(b"/far/photos/mine.jpg", 30))
    other = fill(tmp_path / "other")
    before = contents(other)
    done = merge(other, into)
    assert (done.imported.placed.new, done.waiting) == (10, 0)
    mine = [row for row in contents(into) if row["item"].path == "/far/photos/mine.jpg"]
    assert contents(into) == sorted([*before, *mine], key=repr)
    assert contents(other) == before
    assert max(score for score, _ in hits(into)) == pytest.approx(1, abs=1e-3)


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    into, other = tmp_path / "into", fill(tmp_path / "other")
    merge(other, into)
    with Catalog.open(into) as catalog:
        before = dict(catalog.rows("SELECT id, path FROM items"))
    again = merge(other, into).imported.placed
    assert (again.new, again.unchanged, again.replaced) == (0, 10, 0)
    with Catalog.open(into) as catalog:
        assert dict(catalog.rows("SELECT id, path FROM items")) == before


def test_a_library_that_is_indexed_with_another_model_meanwhile_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, other = tmp_path / "into", fill(tmp_path / "other")
    plain = importing._check_library

    def check(directory: Path, space: Space, name: str) -> None:
        """Look at the library as it is before another process has indexed something."""
        plain(directory, space, name)
        fill(into, space=OTHER)

    monkeypatch.setattr(importing, "_check_library", check)
    with pytest.raises(SpaceMismatchError, match="holds vectors of the model toy"):
        merge(other, into)
    with Catalog.open(into) as catalog:
        assert catalog.space() == OTHER
        assert catalog.waiting() == 0


def test_an_interrupted_merge_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, other = tmp_path / "into", fill(tmp_path / "other")

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(other, into, on_chunk=stop)
    with Catalog.open(into) as catalog:
        assert catalog.counts().images == 7
        assert catalog.counts().texts == 0
    done = merge(other, into).imported.placed
    assert (done.new, done.unchanged) == (3, 7)
    assert contents(into) == contents(other)


def test_a_chunk_that_fails_is_written_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into, other = made(tmp_path / "into"), fill(tmp_path / "other")

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(attributes, "set_captions", fail)
    with pytest.raises(KeyboardInterrupt):
        merge(other, into)
    monkeypatch.undo()
    assert contents(into) == []
    with Catalog.open(into) as catalog:
        assert [root.path for root in catalog.roots()] == ["/far/photos"]


@pytest.mark.parametrize(("theirs", "kept"), [(5, "mine"), (9, "mine"), (10, "yours")])
def test_of_two_files_at_one_path_the_one_changed_last_is_kept(
    tmp_path: Path, theirs: int, kept: str
) -> None:
    path = b"/far/photos/a.jpg"
    mine = replace(picture(path, 1, content="mine", photo=FACTS), mtime_ns=9)
    yours = replace(picture(path, 2, content="yours"), mtime_ns=theirs)
    into, other = made(tmp_path / "into", mine), made(tmp_path / "other", yours)
    give(other, path, ("new", LabelSource.USER, None))
    placed = merge(other, into).imported.placed
    assert (placed.replaced, placed.kept) == ((1, 0) if kept == "yours" else (0, 1))
    found, labels, _ = named(into, path)
    assert found == digest(kept)
    assert [label.name for label in labels] == (["new"] if kept == "yours" else [])


def test_labels_come_together_and_a_persons_counts_more(tmp_path: Path) -> None:
    path = b"/far/photos/a.jpg"
    user, auto = LabelSource.USER, LabelSource.AUTO
    into, other = (made(tmp_path / name, picture(path, 1)) for name in ("into", "other"))
    give(into, path, ("a", user, None), ("b", auto, 0.5), ("c", auto, 0.5))
    give(other, path, ("a", auto, 0.1), ("b", user, None), ("c", auto, 0.1), ("d", auto, 0.2))
    merge(other, into)
    assert named(into, path)[1] == (
        Label("a", user, None),
        Label("b", user, None),
        Label("c", auto, 0.5),
        Label("d", auto, 0.2),
    )


def test_labels_of_another_case_come_in_the_spelling_of_the_library(tmp_path: Path) -> None:
    first, second = b"/far/photos/a.jpg", b"/far/photos/b.jpg"
    user, auto = LabelSource.USER, LabelSource.AUTO
    into = made(tmp_path / "into", picture(first, 1))
    other = made(tmp_path / "other", picture(first, 1), picture(second, 2))
    give(into, first, ("Beach", auto, 0.5), ("\u00dcbung", user, None))
    give(other, first, ("beach", user, None), ("\u00fcbung", auto, 0.5))
    give(other, second, ("\u00fcbung", user, None), ("beach", auto, 0.5))
    merge(other, into)
    assert named(into, first)[1] == (Label("Beach", user, None), Label("\u00dcbung", user, None))
    assert named(into, second)[1] == (Label("Beach", auto, 0.5), Label("\u00dcbung", user, None))


def test_captions_come_only_to_pictures_without_any(tmp_path: Path) -> None:
    with_ours, without = b"/far/photos/a.jpg", b"/far/photos/b.jpg"
    rows = picture(with_ours, 1), picture(without, 2)
    into, other = (made(tmp_path / name, *rows) for name in ("into", "other"))
    with Catalog.open(into, write=True) as catalog:
        attributes.set_captions(catalog, {1: ("ours",)})
    with Catalog.open(other, write=True) as catalog:
        attributes.set_captions(catalog, {1: ("theirs",), 2: ("one", "two")})
    merge(other, into)
    assert named(into, with_ours)[2] == ("ours",)
    assert named(into, without)[2] == ("one", "two")


def test_facts_come_to_pictures_of_which_nothing_was_read(tmp_path: Path) -> None:
    path = b"/far/photos/a.jpg"
    into = made(tmp_path / "into", picture(path, 1))
    merge(made(tmp_path / "other", picture(path, 1, photo=FACTS)), into)
    with Catalog.open(into) as catalog:
        assert attributes.photos(catalog, [1]) == {1: FACTS}


def test_what_was_forgotten_here_stays_forgotten(tmp_path: Path) -> None:
    into = made(tmp_path / "into")
    with Catalog.open(into, write=True) as catalog, catalog.transaction() as db:
        db.execute("INSERT INTO forgotten (path) VALUES (?)", (b"/far/photos/private",))
    rows = [picture(b"/far/photos/private/a.jpg", 1), picture(b"/far/photos/b.jpg", 2)]
    placed = merge(made(tmp_path / "other", *rows), into).imported.placed
    assert (placed.new, placed.forgotten) == (1, 1)
    assert [row["item"].path for row in contents(into)] == ["/far/photos/b.jpg"]


def test_an_item_that_waited_to_be_encoded_gets_the_vector(tmp_path: Path) -> None:
    path = b"/far/photos/a.jpg"
    into, other = (made(tmp_path / name, picture(path, 1)) for name in ("into", "other"))
    with Catalog.open(into, write=True) as catalog:
        catalog.commit(Batch(blank=(1,)))
        assert catalog.waiting() == 1
    assert merge(other, into).imported.placed.replaced == 1
    with Catalog.open(into) as catalog:
        assert catalog.waiting() == 0
    assert contents(into) == contents(other)


def test_what_has_no_vector_stays_behind(tmp_path: Path) -> None:
    other = made(tmp_path / "other", picture(b"/far/photos/a.jpg", 1))
    with Catalog.open(other, write=True) as catalog:
        catalog.commit(Batch(blank=(1,)))
    done = merge(other, tmp_path / "into")
    assert (done.imported.placed.new, done.waiting) == (0, 1)


def test_a_known_root_stays_as_it_is(tmp_path: Path) -> None:
    into, other = made(tmp_path / "into"), fill(tmp_path / "other")
    merge(other, into)
    with Catalog.open(into) as catalog:
        offline = {root.path: root.offline for root in catalog.roots()}
    assert offline == {"/far/photos": False, "/far/alone.png": True, "/far/texts.txt": True}


def test_libraries_of_two_models_are_not_merged(tmp_path: Path) -> None:
    into, other = fill(tmp_path / "into"), fill(tmp_path / "other", space=OTHER)
    before = contents(into)
    with pytest.raises(SpaceMismatchError, match="mmsearch index --reindex --model other"):
        merge(other, into)
    assert contents(into) == before


def test_a_library_is_not_merged_into_itself(tmp_path: Path) -> None:
    into = fill(tmp_path / "into")
    link = tmp_path / "link"
    link.symlink_to(into)
    with pytest.raises(InputError, match="is the library itself"):
        merge(link, into)


def test_a_library_without_anything_has_nothing_to_merge(tmp_path: Path) -> None:
    Catalog.open(tmp_path / "other", write=True).close()
    with pytest.raises(InputError, match="nothing to merge"):
        merge(tmp_path / "other", tmp_path / "into")
    with pytest.raises(InputError, match="no library"):
        merge(tmp_path / "absent", tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_the_own_vector_of_a_fused_picture_is_what_travels(tmp_path: Path) -> None:
    from mmsearch.index.checksums import FUSED_COLUMNS, row_checksum
    from mmsearch.index.vectors import pack

    path = b"/far/photos/a.jpg"
    own, fused = picture(path, 1), picture(path, 2)
    other = made(tmp_path / "other", replace(fused, digest=own.digest))
    with Catalog.open(other, write=True) as catalog, catalog.transaction() as db:
        space_id = catalog.vector_table(SPACE, Modality.IMAGE).space_id
        row = (space_id, 1, 0.3, bytes(32), pack(1, own.vector, SPACE.dim)[1])
        db.execute(
            f"INSERT INTO fused ({FUSED_COLUMNS}, crc) VALUES (?, ?, ?, ?, ?, ?)",
            (*row, row_checksum(row)),
        )
    merge(other, tmp_path / "into")
    with Catalog.open(tmp_path / "into") as catalog:
        assert catalog.vectors(SPACE, [1])[0] == pytest.approx(own.vector, abs=1e-3)
        assert catalog.rows("SELECT count(*) FROM fused") == [(0,)]


def test_the_same_path_twice_in_a_chunk_is_one_picture(tmp_path: Path) -> None:
    from mmsearch.retrieval.transfer.records import Record

    rows = [picture(b"/far/photos/a.jpg", n, content=str(n)) for n in (1, 2)]
    records = tuple(
        Record(n, Modality.IMAGE, r.path, None, b"/far/photos", r.digest, 1, r.mtime_ns)
        for n, r in enumerate(rows)
    )
    with Catalog.open(tmp_path / "into", write=True) as catalog:
        catalog.set_space(SPACE)
        placer = placing.Placer(catalog)
        placer.place(Chunk(1, records, np.stack([row.vector for row in rows])))
        assert placer.placed.new == 1
    assert named(tmp_path / "into", b"/far/photos/a.jpg")[0] == digest("2")


def test_a_picture_that_is_there_makes_its_root_online(tmp_path: Path) -> None:
    here = tmp_path / "photos"
    here.mkdir()
    (here / "a.jpg").touch()
    path = os.fsencode(here / "a.jpg")
    with Catalog.open(tmp_path / "other", write=True) as catalog:
        catalog.set_space(SPACE)
        root = catalog.add_root(here, RootKind.FOLDER)
        catalog.commit(Batch(files=(replace(picture(path, 1), root_id=root),)))
    merge(tmp_path / "other", tmp_path / "into")
    with Catalog.open(tmp_path / "into") as catalog:
        assert [root.offline for root in catalog.roots()] == [False]
