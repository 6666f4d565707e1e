"""The order of the calls by which an index file becomes part of a library."""

import random
from pathlib import Path

import pytest
from tests.faults.libraries import Place
from tests.faults.trace import Call, reported, strace_reason, traced


def place_in(folder: Path) -> Place:
    """Return pictures and sentences to index."""
    place = Place(folder)
    place.draw(10)
    place.write_texts(5)
    return place


def grow(place: Place) -> None:
    """Change so much that new index files are due."""
    place.draw(70)
    place.change(random.Random(0))
    place.write_texts(70)


def order_of(calls: list[Call], name: str, path: str) -> list[int]:
    """Return where a call with that path stands."""
    return [n for n, call in enumerate(calls) if call.name == name and path in call.paths]


def renames(calls: list[Call]) -> list[tuple[int, str, str]]:
    """Return (where, from, to) of every index file that got its name."""
    found = [(n, *c.paths) for n, c in enumerate(calls) if c.name == "rename" and len(c.paths) == 2]
    return [(n, old, new) for n, old, new in found if new.endswith(".faiss")]


def test_an_index_file_is_synced_renamed_synced_with_its_folder_and_then_recorded(
    tmp_path: Path,
) -> None:
    place = place_in(tmp_path)
    for _ in range(2):
        calls = reported(place, tmp_path)
        assert len(renames(calls)) == 2
        for renamed, temporary, final in renames(calls):
            folder = str(Path(final).parent)
            assert max(order_of(calls, "sync", temporary)) < renamed
            synced = min(n for n in order_of(calls, "sync", folder) if n > renamed)
            assert not [c for c in calls[renamed:synced] if c.name in {"record", "commit"}]
            rest = [call.name for call in calls[synced:]]
            recorded = rest.index("record")
            assert rest.index("commit") > recorded
            removed = [n for n, c in enumerate(calls) if c.name == "unlink" and n > renamed]
            of_folder = [n for n in removed if calls[n].paths[0].startswith(folder)]
            assert all(n > synced + rest.index("commit") for n in of_folder)
        grow(place)


@pytest.mark.skipif(bool(strace_reason()), reason=strace_reason())
def test_the_kernel_sees_that_order_and_a_synced_log_before_the_old_file_goes(
    tmp_path: Path,
) -> None:
    place = place_in(tmp_path)
    reported(place, tmp_path)
    grow(place)
    calls = traced(place, tmp_path)
    log = str(place.library / "catalog.sqlite-wal")
    assert len(renames(calls)) == 2
    for renamed, temporary, final in renames(calls):
        folder = str(Path(final).parent)
        assert max(order_of(calls, "sync", temporary)) < renamed
        synced = min(n for n in order_of(calls, "sync", folder) if n > renamed)
        assert not [call for call in calls[renamed:synced] if call.name == "log"]
        logged = next(n for n, call in enumerate(calls) if call.name == "log" and n > synced)
        durable = min(n for n in order_of(calls, "sync", log) if n > logged)
        gone = [n for n, c in enumerate(calls) if c.name == "unlink" and n > renamed]
        old = [n for n in gone if calls[n].paths[0].startswith(folder)]
        assert len(old) == 1
        assert durable < old[0]


def test_a_new_library_is_synced_with_the_folder_it_is_in(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    calls = reported(place, tmp_path)
    first = min(n for n, call in enumerate(calls) if call.name == "commit")
    assert min(order_of(calls, "sync", str(place.folder))) < first
    assert order_of(calls, "sync", str(place.library))


def test_every_commit_syncs_the_log_before_it_returns(tmp_path: Path) -> None:
    if reason := strace_reason():
        pytest.skip(reason)
    place = place_in(tmp_path)
    calls = traced(place, tmp_path)
    log = str(place.library / "catalog.sqlite-wal")
    writes = [n for n, call in enumerate(calls) if call.name == "log"]
    syncs = order_of(calls, "sync", log)
    assert writes
    assert max(syncs) > max(writes)
