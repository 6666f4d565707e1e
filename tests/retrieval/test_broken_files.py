"""Files that break and are whole again: what they show leaves the answers, their ids stay."""

import os
from pathlib import Path

import pytest
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking import check_catalog
from mmsearch.retrieval.forget import find, forget
from mmsearch.retrieval.ingest import IngestOptions, ingest
from mmsearch.retrieval.status import read_status

RED_ID = 2  # green.png comes first


@pytest.fixture
def red(tmp_path: Path, catalog: Catalog, encoder: FakeEncoder) -> Path:
    """An indexed picture, beside a green one."""
    draw(tmp_path / "photos" / "green.png", GREEN)
    path = draw(tmp_path / "photos" / "red.png", RED)
    ingest(catalog, encoder, [path.parent])
    assert held(catalog)[RED_ID] == "red.png"
    return path


def held(catalog: Catalog) -> dict[int, str]:
    items = catalog.items(range(1, 10)).values()
    return {item.id: Path(item.path or "").name for item in items}


def found(catalog: Catalog, encoder: FakeEncoder) -> set[int]:
    """Return the ids that a search goes through."""
    return set(catalog.all_vectors(encoder.space, Modality.IMAGE)[0].tolist())


def write(path: Path, content: bytes) -> None:
    """Write a file that looks modified, whatever the resolution of the file system's clock."""
    moment = path.stat().st_mtime_ns + 5 * 10**9 if path.exists() else 0
    path.write_bytes(content)
    if moment:
        os.utime(path, ns=(moment, moment))


def test_an_item_leaves_the_answers_while_its_file_is_broken_and_keeps_its_id(
    catalog: Catalog, encoder: FakeEncoder, red: Path
) -> None:
    whole = red.read_bytes()
    write(red, whole[:40])
    for _ in range(2):  # the second run reads nothing
        assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=1, failed=1)
        assert found(catalog, encoder) == {1}
        assert (catalog.waiting(), encoder.images_seen) == (0, 2)
        assert held(catalog) == {1: "green.png", RED_ID: "red.png"}
    assert list(check_catalog(catalog.directory)) == []
    status = read_status(catalog.directory)
    assert (status.images, status.failed, status.waiting) == (2, 1, 0)

    write(red, whole)
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=2, encoded=1)
    assert (found(catalog, encoder), catalog.failures()) == ({1, RED_ID}, [])
    assert held(catalog) == {1: "green.png", RED_ID: "red.png"}


def test_another_picture_in_the_place_of_a_broken_one_is_a_change(
    catalog: Catalog, encoder: FakeEncoder, red: Path, tmp_path: Path
) -> None:
    write(red, b"nothing")
    ingest(catalog, encoder, [])
    write(red, draw(tmp_path / "cyan.png", (0, 255, 255)).read_bytes())
    assert ingest(catalog, encoder, []).as_dict() == counts(changed=1, unchanged=1, encoded=1)
    assert held(catalog) == {1: "green.png", RED_ID: "red.png"}
    assert catalog.vectors(encoder.space, [RED_ID])[0].argmax() == 6


def test_a_broken_file_that_is_restored_with_its_old_time_is_read(
    catalog: Catalog, encoder: FakeEncoder, red: Path
) -> None:
    whole, before = red.read_bytes(), red.stat()
    write(red, b"nothing")
    ingest(catalog, encoder, [])
    red.write_bytes(whole)
    os.utime(red, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=2, encoded=1)
    assert (found(catalog, encoder), catalog.failures()) == ({1, RED_ID}, [])


def test_a_broken_file_is_tried_again_when_asked(
    catalog: Catalog, encoder: FakeEncoder, red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "encode_images", lambda images: encoder.encode_texts([""]) * 1e999)
        write(red, red.read_bytes() + b" ")
        assert ingest(catalog, encoder, []).failed == 1
    retry = IngestOptions(retry_failed=True)
    assert ingest(catalog, encoder, [], retry).as_dict() == counts(
        changed=1, unchanged=1, encoded=1
    )
    assert held(catalog) == {1: "green.png", RED_ID: "red.png"}


def test_an_item_whose_broken_file_is_deleted_is_gone(
    catalog: Catalog, encoder: FakeEncoder, red: Path
) -> None:
    write(red, b"nothing")
    ingest(catalog, encoder, [])
    red.unlink()
    assert ingest(catalog, encoder, []).as_dict() == counts(gone=1, unchanged=1)
    assert (held(catalog), catalog.failures()) == ({1: "green.png"}, [])


def test_an_item_without_a_vector_keeps_its_id_when_its_content_turns_up_elsewhere(
    catalog: Catalog, encoder: FakeEncoder, red: Path
) -> None:
    whole = red.read_bytes()
    write(red, b"nothing")
    ingest(catalog, encoder, [])
    red.unlink()
    (red.parent / "sub").mkdir()
    write(red.parent / "sub" / "crimson.png", whole)
    assert ingest(catalog, encoder, []).as_dict() == counts(moved=1, unchanged=1, encoded=1)
    assert held(catalog) == {1: "green.png", RED_ID: "crimson.png"}
    assert found(catalog, encoder) == {1, RED_ID}


def test_forgetting_takes_the_item_of_a_broken_file_and_its_failure(
    catalog: Catalog, encoder: FakeEncoder, red: Path
) -> None:
    whole = red.read_bytes()
    write(red, b"nothing")
    ingest(catalog, encoder, [])
    assert forget(catalog, find(catalog, [red]))
    assert (held(catalog), catalog.failures()) == ({1: "green.png"}, [])
    write(red, whole)
    assert ingest(catalog, encoder, []).as_dict() == counts(unchanged=1)
