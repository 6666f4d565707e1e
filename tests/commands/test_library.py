"""`mmsearch status` and `mmsearch failures`."""

import json
from pathlib import Path

import pytest
from tests.commands.conftest import Command


@pytest.mark.parametrize("made", [False, True], ids=["absent", "half-made"])
def test_the_status_of_no_library_is_empty_and_fine(
    run: Command, tmp_path: Path, made: bool
) -> None:
    if made:
        (tmp_path / "library").mkdir()
        (tmp_path / "library" / "catalog.sqlite").touch()
    done = run("status")
    assert done.exit_code == 0
    assert "empty: run mmsearch index PATH" in done.stdout
    shown = json.loads(run("status", "--json").stdout)
    expected = {"images": 0, "texts": 0, "items": 0, "failed": 0, "offline": 0, "model": None}
    assert shown | expected == shown
    assert shown["revision"] == 0


def test_the_status_says_what_is_there(
    run: Command, indexed: Path, texts: Path, model: Path
) -> None:
    (indexed / "broken.png").write_bytes(b"nothing")
    run("index")
    done = run("status")
    assert "6: 3 images, 3 texts" in done.stdout
    assert f"colours, 4 dimensions from {model}" in done.stdout
    assert "mmsearch failures" in done.stdout
    assert f"folder    {indexed}" in done.stdout
    assert f"texts     {texts}" in done.stdout
    shown = json.loads(run("status", "--json").stdout)
    assert (shown["items"], shown["failed"], shown["model"]) == (6, 1, str(model))
    assert shown["bytes"] > 0


def test_the_status_needs_no_model(run: Command, indexed: Path, model: Path) -> None:
    model.rename(model.with_name("elsewhere"))
    try:
        assert run("status").exit_code == 0
    finally:
        model.with_name("elsewhere").rename(model)


def test_failures_are_path_tab_reason(run: Command, indexed: Path) -> None:
    assert run("failures").stdout == ""
    broken = indexed / "broken\n.png"
    broken.write_bytes(b"nothing")
    run("index")
    done = run("failures")
    assert done.exit_code == 0
    path, reason = done.stdout.rstrip("\n").split("\t")
    assert path == str(indexed / "broken") + "\\n.png"
    assert reason
    (row,) = json.loads(run("failures", "--json").stdout)
    assert row["path"] == str(broken)
    assert row["size"] == 7


def test_failures_of_no_library_say_what_to_do(run: Command) -> None:
    done = run("failures")
    assert done.exit_code == 2
    assert "mmsearch index" in done.stderr
