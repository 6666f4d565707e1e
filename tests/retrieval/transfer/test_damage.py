"""Files that are damaged or something else are one error, and nothing is changed by them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retrieval.transfer.libraries import OTHER, SPACE, contents, fill

from mmsearch.core import Space
from mmsearch.errors import InputError, SpaceMismatchError
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.exporting import ExportOptions, FileFormat, export
from mmsearch.retrieval.importing import import_items, open_source
from mmsearch.retrieval.transfer.fields import FieldError, record_of
from mmsearch.retrieval.transfer.records import Chosen

Damage = Callable[[Path], object]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return fill(tmp_path / "first")


@pytest.fixture
def folder(first: Path, tmp_path: Path) -> Path:
    return exported(first, tmp_path / "out", FileFormat.NPY)


@pytest.fixture
def file(first: Path, tmp_path: Path) -> Path:
    return exported(first, tmp_path / "out.parquet", FileFormat.PARQUET)


def exported(directory: Path, target: Path, form: FileFormat) -> Path:
    with Catalog.open(directory) as catalog:
        export(catalog, target, Chosen(), ExportOptions(form, force=True))
    return target


def refused(source: Path, into: Path, message: str) -> None:
    """Check that an import says something in one line, and makes no library."""
    with pytest.raises(InputError, match=message) as raised:
        import_items(into, open_source(source))
    assert len(str(raised.value).splitlines()) == 1
    assert not into.exists()


def forged(folder: Path, **files: bytes) -> Path:
    """Change files of a folder, and the checksums with them, as someone on purpose would."""
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    record = json.loads((folder / "space.json").read_bytes())
    del record["files"]
    (folder / "space.json").write_text(json.dumps(record))
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "items.jsonl").read_bytes().splitlines()]


def joined(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def array(vectors: np.ndarray, folder: Path) -> bytes:
    np.save(folder / "new.npy", vectors)
    content = (folder / "new.npy").read_bytes()
    (folder / "new.npy").unlink()
    return content


@pytest.mark.parametrize("name", ["vectors.npy", "items.jsonl"])
@pytest.mark.parametrize("change", ["flip", "cut", "empty"])
def test_a_folder_whose_bytes_changed_is_damaged(
    folder: Path, tmp_path: Path, name: str, change: str
) -> None:
    content = bytearray((folder / name).read_bytes())
    if change == "flip":
        content[len(content) // 2] ^= 4
    changed = {"flip": content, "cut": content[:-7], "empty": bytearray()}
    (folder / name).write_bytes(changed[change])
    refused(folder, tmp_path / "new", f"{name} is damaged")


@pytest.mark.parametrize("name", ["vectors.npy", "items.jsonl"])
def test_a_folder_that_lacks_a_file_is_no_export(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, tmp_path / "new", f"is no export: it has no {name}")


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"[]", b"{}", b'{"format": 1}', b'{"format": "1"}', b"\xff"]
)
def test_a_manifest_that_says_nothing_is_damaged(
    folder: Path, tmp_path: Path, content: bytes
) -> None:
    (folder / "space.json").write_bytes(content)
    refused(folder, tmp_path / "new", "what it says of itself cannot be read")


def test_a_newer_format_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "space.json").write_text('{"format": 2}')
    refused(folder, tmp_path / "new", "newer mmsearch")


def test_vectors_and_items_must_be_as_many(folder: Path, tmp_path: Path) -> None:
    rows = lines(folder)
    for some in (rows[:-1], [*rows, rows[0]], []):
        refused(forged(folder, items_jsonl=joined(some)), tmp_path / "new", "not as many lines")
        folder = exported(tmp_path / "first", folder, FileFormat.NPY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v * 3, "row 1: the vector has length 3, not 1"),
        (lambda v: v * 0, "row 1: the vector has length 0, not 1"),
        (lambda v: np.where(np.arange(10)[:, None] == 6, np.nan, v), "row 7: .* not finite"),
        (lambda v: np.where(np.arange(10)[:, None] == 6, np.inf, v), "row 7: .* not finite"),
        (lambda v: v[:, :8], "has vectors of 8 dimensions; those of toy have 16"),
        (lambda v: v[0], "is not one array of vectors"),
        (lambda v: v.astype(np.int8), "is not one array of vectors"),
        (lambda v: v.astype(object), "cannot read .*vectors.npy"),
    ],
)
def test_vectors_that_are_none_of_the_space_are_refused(
    folder: Path, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    vectors = change(np.load(folder / "vectors.npy").astype(np.float32))
    refused(forged(folder, vectors_npy=array(vectors, tmp_path)), tmp_path / "new", message)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{}", b"PK\x03\x04"])
def test_an_array_that_is_none_is_refused(folder: Path, tmp_path: Path, content: bytes) -> None:
    refused(forged(folder, vectors_npy=content), tmp_path / "new", r"vectors\.npy")


def test_lengths_that_rounding_changed_are_mended(folder: Path, tmp_path: Path) -> None:
    vectors = np.load(folder / "vectors.npy").astype(np.float32)
    forged(folder, vectors_npy=array(vectors * 1.01, tmp_path))
    import_items(tmp_path / "new", open_source(folder))
    with Catalog.open(tmp_path / "new") as catalog:
        _, found = catalog.all_vectors(SPACE, contents(tmp_path / "new")[0]["item"].modality)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "either a path or a text"),
        ({"path": "/a", "text": "b"}, "either a path or a text"),
        ({"path": "relative"}, "not an absolute path"),
        ({"path": "/a\0b"}, "not an absolute path"),
        ({"path": "/\ud800"}, "not valid Unicode"),
        ({"path": 3}, "path is 3, not str"),
        ({"path": "/a", "modality": "text"}, "does not fit"),
        ({"path": "/a", "digest": "abc"}, "is not a SHA-256"),
        ({"text": "a", "digest": "0" * 64}, "not that of the text"),
        ({"path": "/a", "size": True}, "size is True, not int"),
        ({"path": "/a", "mtime_ns": 2**63}, "out of range"),
        ({"path": "/a", "width": 0, "height": 1, "fingerprint": 1}, "out of range"),
        ({"path": "/a", "width": 1, "height": 1, "fingerprint": 2**64}, "out of range"),
        ({"path": "/a", "width": 1, "height": 1, "fingerprint": 1, "latitude": 91}, "latitude"),
        ({"path": "/a", "width": 1, "height": 1, "fingerprint": 1, "taken": 10**15}, "calendar"),
        ({"path": "/a", "width": 1, "height": 1, "fingerprint": 1, "longitude": "x"}, "longitude"),
        ({"path": "/a", "labels": [3]}, "no label"),
        ({"path": "/a", "labels": [{"name": " a"}]}, "not one line"),
        ({"path": "/a", "labels": [{"name": "a", "source": "x"}]}, "neither user nor auto"),
        ({"path": "/a", "labels": [{"name": "a", "score": float("nan")}]}, "no number"),
        ({"path": "/a", "captions": [""]}, "no caption"),
        ({"path": "/a", "captions": ["\ud800"]}, "not valid Unicode"),
    ],
)
def test_a_row_with_a_value_that_no_item_has_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        record_of(row)


@pytest.mark.parametrize(
    "line", [b"nothing", b"[]", b"3", b'{"path_bytes": "zz"}', b"\xff", b"[" * 9999]
)
def test_a_line_that_is_no_item_is_named(folder: Path, tmp_path: Path, line: bytes) -> None:
    content = joined(lines(folder)[:2]) + line + b"\n"
    refused(forged(folder, items_jsonl=content), tmp_path / "new", "items.jsonl, line 3")


def test_every_cut_of_a_parquet_file_is_one_error(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for length in [0, 1, 3, 4, 8, *range(100, len(whole), 997), len(whole) - 1]:
        file.write_bytes(whole[:length])
        refused(file, tmp_path / "new", "cannot read .*as Parquet")


def test_a_flipped_bit_of_a_parquet_file_is_an_error_or_changes_nothing(
    file: Path, first: Path, tmp_path: Path
) -> None:
    whole = file.read_bytes()
    found = 0
    for place in range(4, len(whole), max(1, len(whole) // 150)):
        content = bytearray(whole)
        content[place] ^= 0x10
        file.write_bytes(content)
        into = tmp_path / f"new{place}"
        try:
            import_items(into, open_source(file))
        except InputError:
            found += 1
            assert not into.exists()
            continue
        assert [row["vector"] for row in contents(into)] == [
            row["vector"] for row in contents(first)
        ]
        shutil.rmtree(into)
    assert found > 75


def test_a_parquet_file_of_others_is_no_export(file: Path, tmp_path: Path) -> None:
    from pyarrow import parquet, table

    parquet.write_table(table({"a": [1]}), file)
    refused(file, tmp_path / "new", "was not exported by mmsearch")


def test_a_column_that_is_missing_or_another_is_named(file: Path, tmp_path: Path) -> None:
    from pyarrow import parquet

    whole = parquet.read_table(file)
    parquet.write_table(whole.drop_columns(["digest"]), file)
    refused(file, tmp_path / "new", "column digest is missing")
    parquet.write_table(whole.set_column(0, "size", [list(map(str, range(10)))]), file)
    refused(file, tmp_path / "new", "damaged")


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "absent", tmp_path / "new", "there is no file or folder")
    refused_text = tmp_path / "a.txt"
    refused_text.write_text("words")
    refused(refused_text, tmp_path / "new", "as Parquet")


@pytest.mark.parametrize("form", list(FileFormat), ids=str)
def test_vectors_of_another_model_are_refused_and_change_nothing(
    first: Path, tmp_path: Path, form: FileFormat
) -> None:
    out = exported(first, tmp_path / "out", form)
    other = fill(tmp_path / "other", space=OTHER)
    before = contents(other)
    with pytest.raises(SpaceMismatchError, match=r"mmsearch index --reindex --model toy --library"):
        import_items(other, open_source(out))
    assert contents(other) == before


def test_a_bad_row_late_in_the_file_changes_nothing(
    folder: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmsearch.retrieval.transfer import numpy_folder

    monkeypatch.setattr(numpy_folder, "_ROWS", 2)
    into = fill(tmp_path / "into", pictures=3)
    before = contents(into)
    rows = [*lines(folder)[:-1], {"path": "relative"}]
    with pytest.raises(InputError, match="line 10: path"):
        import_items(into, open_source(forged(folder, items_jsonl=joined(rows))))
    assert contents(into) == before


def test_a_space_may_be_called_otherwise(folder: Path, tmp_path: Path) -> None:
    renamed = Space("another name", SPACE.dim, SPACE.digest)
    into = fill(tmp_path / "into", space=renamed)
    assert import_items(into, open_source(folder)).placed.unchanged == 10
