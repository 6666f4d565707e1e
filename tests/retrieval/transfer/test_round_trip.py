"""What is exported and imported again is the same library."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.index.conftest import digest
from tests.retrieval.transfer.libraries import ODD, SPACE, contents, fill, hits

from mmsearch.core import Modality
from mmsearch.errors import InputError, MissingExtraError
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import RootKind
from mmsearch.retrieval.exporting import Exported, ExportOptions, FileFormat, export, format_of
from mmsearch.retrieval.importing import import_items, open_source
from mmsearch.retrieval.transfer import numpy_folder, parquet
from mmsearch.retrieval.transfer.moving import Arrival
from mmsearch.retrieval.transfer.records import Chosen

BOTH = pytest.mark.parametrize("form", list(FileFormat), ids=str)


def exported(
    directory: Path, target: Path, form: FileFormat, chosen: Chosen | None = None, **more: bool
) -> Exported:
    with Catalog.open(directory) as catalog:
        return export(catalog, target, chosen or Chosen(), ExportOptions(form, **more))


@BOTH
@pytest.mark.parametrize("wide", [False, True])
def test_a_library_comes_back_as_it_was(tmp_path: Path, form: FileFormat, wide: bool) -> None:
    first = fill(tmp_path / "first")
    done = exported(first, tmp_path / "out", form, wide=wide)
    assert (done.rows, done.waiting) == (10, 0)
    back = import_items(tmp_path / "second", open_source(tmp_path / "out"))
    assert (back.placed.new, back.placed.unchanged) == (10, 0)
    assert contents(tmp_path / "second") == contents(first)
    assert len(contents(first)) == 10
    assert hits(tmp_path / "second") == hits(first)
    with Catalog.open(first) as one, Catalog.open(tmp_path / "second") as two:
        assert {(r.raw, r.kind) for r in one.roots()} == {(r.raw, r.kind) for r in two.roots()}
        assert all(root.offline for root in two.roots())
        assert two.space() == SPACE


@BOTH
def test_a_second_import_changes_nothing(tmp_path: Path, form: FileFormat) -> None:
    first = fill(tmp_path / "first")
    exported(first, tmp_path / "out", form)
    again = import_items(first, open_source(tmp_path / "out"))
    assert (again.placed.new, again.placed.unchanged) == (0, 10)
    assert len(contents(first)) == 10


@BOTH
def test_only_some_items_leave_when_asked(tmp_path: Path, form: FileFormat) -> None:
    first = fill(tmp_path / "first")
    some = {Modality.IMAGE: np.array([2, 6], dtype=np.int64), Modality.TEXT: np.empty(0, np.int64)}
    assert exported(first, tmp_path / "out", form, Chosen(among=some)).rows == 2
    import_items(tmp_path / "second", open_source(tmp_path / "out"))
    paths = {row["item"].path for row in contents(tmp_path / "second")}
    assert paths == {"/far/photos/1.jpg", os.fsdecode(ODD)}


@BOTH
def test_an_export_without_items_is_an_import_of_none(tmp_path: Path, form: FileFormat) -> None:
    first = fill(tmp_path / "first")
    nothing = {modality: np.empty(0, dtype=np.int64) for modality in Modality}
    assert exported(first, tmp_path / "out", form, Chosen(among=nothing)).rows == 0
    assert import_items(tmp_path / "second", open_source(tmp_path / "out")).placed.new == 0


def test_items_without_a_vector_are_left_out_and_counted(tmp_path: Path) -> None:
    first = fill(tmp_path / "first")
    with Catalog.open(first, write=True) as catalog:
        from mmsearch.index.rows import Batch

        catalog.commit(Batch(blank=(1,)))
    done = exported(first, tmp_path / "out", FileFormat.NPY)
    assert (done.rows, done.waiting) == (9, 1)


def test_parquet_can_be_read_by_others(tmp_path: Path) -> None:
    from pyarrow import parquet as other

    exported(fill(tmp_path / "first"), tmp_path / "out.parquet", FileFormat.PARQUET)
    table = other.read_table(tmp_path / "out.parquet")
    row = table.slice(5, 1).to_pylist()[0]
    assert row["path"] == "/far/photos/odd ��\n.jpg"
    assert row["path_bytes"] == ODD
    assert (row["width"], row["height"], row["camera"]) == (640, 480, "Canon EOS")
    assert str(row["taken"]) == "2023-11-14 22:13:20"
    assert row["digest"] == digest(os.fsdecode(ODD).encode("utf-8", "replace").decode())
    assert len(row["vector"]) == 16
    labels = table.slice(0, 1).to_pylist()[0]["labels"]
    assert labels == [
        {"name": "beach", "source": "user", "score": None},
        {"name": "dog", "source": "auto", "score": 0.25},
    ]
    about = json.loads(table.schema.metadata[b"mmsearch"])
    assert about["space"] == {"name": "toy", "dim": 16, "digest": "dd" * 32}


def test_an_array_can_be_read_by_others(tmp_path: Path) -> None:
    exported(fill(tmp_path / "first"), tmp_path / "out", FileFormat.NPY)
    vectors = np.load(tmp_path / "out" / "vectors.npy")
    lines = (tmp_path / "out" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    assert vectors.shape == (10, 16)
    assert vectors.dtype == np.float16
    items: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert items[5]["path_bytes"] == ODD.hex()
    assert items[0]["captions"] == ["one caption", "zwei"]
    assert [item.get("text") for item in items[7:]] == [
        "a dog",
        "ein Hund\u2028\U0001f600",
        "a dog",
    ]


@BOTH
def test_a_folder_can_have_another_name_here(tmp_path: Path, form: FileFormat) -> None:
    exported(fill(tmp_path / "first"), tmp_path / "out", form)
    here = tmp_path / "here"
    here.mkdir()
    (here / "0.jpg").touch()
    arrival = Arrival(((b"/far/photos", os.fsencode(here)),))
    import_items(tmp_path / "second", open_source(tmp_path / "out"), arrival=arrival)
    with Catalog.open(tmp_path / "second") as catalog:
        roots = {root.path: root.offline for root in catalog.roots()}
        paths = {row["item"].path for row in contents(tmp_path / "second")}
    assert roots == {str(here): False, "/far/alone.png": True, "/far/texts.txt": True}
    assert {str(here / "0.jpg"), "/far/alone.png"} <= paths
    assert not any(path and path.startswith("/far/photos") for path in paths)


@BOTH
def test_an_export_is_replaced_only_by_force(tmp_path: Path, form: FileFormat) -> None:
    first = fill(tmp_path / "first")
    exported(first, tmp_path / "out", form)
    with pytest.raises(InputError, match="--force"):
        exported(first, tmp_path / "out", form)
    some = {Modality.IMAGE: np.array([2], dtype=np.int64), Modality.TEXT: np.empty(0, np.int64)}
    assert exported(first, tmp_path / "out", form, Chosen(among=some), force=True).rows == 1
    assert import_items(tmp_path / "x", open_source(tmp_path / "out")).placed.new == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "out", "x"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    first = fill(tmp_path / "first")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(InputError, match="is no export"):
        exported(first, tmp_path / "mine", FileFormat.NPY, force=True)
    with pytest.raises(InputError, match="is no export"):
        exported(first, tmp_path / "mine", FileFormat.PARQUET, force=True)
    with pytest.raises(InputError, match="is no export"):
        exported(first, first, FileFormat.NPY, force=True)
    assert (tmp_path / "mine" / "letter.txt").exists()


@BOTH
def test_an_export_that_fails_leaves_what_was_there(
    tmp_path: Path, form: FileFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(tmp_path / "first")
    exported(first, tmp_path / "out", form)

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    module = parquet if form is FileFormat.PARQUET else numpy_folder
    monkeypatch.setattr(module, "fields_of", fail)
    with pytest.raises(KeyboardInterrupt):
        exported(first, tmp_path / "out", form, force=True)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "out"]
    assert import_items(tmp_path / "x", open_source(tmp_path / "out")).placed.new == 10


def test_the_name_says_the_format(tmp_path: Path) -> None:
    assert format_of("photos.parquet") is FileFormat.PARQUET
    assert format_of("photos/") is FileFormat.NPY
    assert format_of(str(tmp_path)) is FileFormat.NPY
    with pytest.raises(InputError, match="--format"):
        format_of("photos.csv")


def test_without_pyarrow_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fill(tmp_path / "first")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[parquet\]'"):
        exported(first, tmp_path / "out.parquet", FileFormat.PARQUET)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first"]
    assert exported(first, tmp_path / "out", FileFormat.NPY).rows == 10
    assert import_items(tmp_path / "second", open_source(tmp_path / "out")).placed.new == 10


def test_a_root_that_is_not_there_keeps_its_pictures(tmp_path: Path) -> None:
    from tests.retrieval.fakes import FakeEncoder

    from mmsearch.core import Space
    from mmsearch.retrieval.ingest import ingest

    encoder = FakeEncoder()
    encoder.space = Space(SPACE.name, SPACE.dim, SPACE.digest)
    exported(fill(tmp_path / "first"), tmp_path / "out", FileFormat.NPY)
    import_items(tmp_path / "second", open_source(tmp_path / "out"))
    with Catalog.open(tmp_path / "second", write=True) as catalog:
        report = ingest(catalog, encoder, [])
        assert (report.gone, report.encoded) == (0, 0)
        assert catalog.counts().images == 7
        assert RootKind.FOLDER in {root.kind for root in catalog.roots() if root.offline}
