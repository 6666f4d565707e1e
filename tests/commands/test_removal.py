"""`mmsearch forget` and `mmsearch prune`."""

import json
import shutil
import signal
from pathlib import Path

import pytest
from tests.commands.conftest import Command, Process
from tests.retrieval.drawing import RED, draw
from tests.retrieval.onnx_models import make_model

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch


def shown(run: Command) -> list[str]:
    """Return the paths and sentences that the library holds."""
    found = []
    for target in ("images", "texts"):
        done = run("query", "red", "-k", "99", "--for", target, "--json")
        found += [hit.get("path") or hit["text"] for hit in json.loads(done.stdout or "[]")]
    return sorted(found)


def indexed_again(run: Command, *words: str | Path) -> dict[str, int]:
    done = run("index", *words, "--json")
    assert done.exit_code == 0, done.stderr
    return {name: n for name, n in json.loads(done.stdout).items() if n}


def test_a_forgotten_file_stays_away_until_it_is_indexed_itself(
    run: Command, indexed: Path
) -> None:
    done = run("forget", indexed / "red.png")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"removed 1 image: {indexed / 'red.png'}\n"
    assert str(indexed / "red.png") not in shown(run)
    assert (indexed / "red.png").exists()
    assert indexed_again(run) == {"unchanged": 5}
    assert indexed_again(run, indexed) == {"unchanged": 2}
    assert indexed_again(run, indexed / "red.png") == {"new": 1, "encoded": 1}
    assert indexed_again(run, indexed) == {"unchanged": 3}


def test_a_forgotten_folder_stays_away_with_what_is_new_in_it(run: Command, indexed: Path) -> None:
    draw(indexed / "sub" / "deep" / "a.png", (255, 255, 0))
    assert indexed_again(run) == {"new": 1, "encoded": 1, "unchanged": 6}
    assert run("forget", indexed / "sub").exit_code == 0
    draw(indexed / "sub" / "b.png", (0, 255, 255))
    assert indexed_again(run) == {"unchanged": 6}
    assert indexed_again(run, indexed / "sub" / "deep") == {"new": 1, "encoded": 1}
    assert indexed_again(run) == {"unchanged": 7}
    assert indexed_again(run, indexed / "sub") == {"new": 1, "encoded": 1, "unchanged": 1}
    assert indexed_again(run) == {"unchanged": 8}


def test_a_forgotten_root_goes_with_its_failures_and_is_not_looked_at_again(
    run: Command, indexed: Path
) -> None:
    (indexed / "broken.jpg").write_bytes(b"nothing")
    indexed_again(run)
    done = run("forget", indexed, "--json")
    assert json.loads(done.stdout) == {
        "images": 3,
        "texts": 0,
        "failures": 1,
        "paths": [str(indexed)],
        "roots": [str(indexed)],
        "remembered": [],
        "freed": 0,
    }
    assert indexed_again(run) == {"unchanged": 3}
    assert run("failures").stdout == ""
    assert [root["kind"] for root in json.loads(run("status", "--json").stdout)["roots"]] == [
        "texts"
    ]
    assert indexed_again(run, indexed) == {"new": 3, "encoded": 3, "failed": 1}


def test_a_file_of_sentences_is_forgotten(run: Command, indexed: Path, texts: Path) -> None:
    assert run("forget", texts).stdout == f"removed 3 texts: {texts}\n"
    assert indexed_again(run) == {"unchanged": 3}


def test_what_no_longer_exists_can_be_forgotten(run: Command, indexed: Path, texts: Path) -> None:
    shutil.rmtree(indexed)
    texts.unlink()
    assert run("forget", indexed / "red.png", texts).exit_code == 0
    assert shown(run) == [str(indexed / "blue.png"), str(indexed / "green.png")]
    assert run("forget", indexed).exit_code == 0
    assert shown(run) == []


def test_what_is_forgotten_on_an_unmounted_drive_stays_away_when_it_is_back(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    indexed.rename(tmp_path / "away")
    assert run("forget", indexed / "red.png").exit_code == 0
    (tmp_path / "away").rename(indexed)
    assert indexed_again(run) == {"unchanged": 5}


def test_a_dry_run_removes_nothing(run: Command, indexed: Path) -> None:
    done = run("forget", indexed, "--dry-run")
    assert done.stdout == f"would remove 3 images: {indexed}\n"
    assert len(shown(run)) == 6


def test_items_are_forgotten_by_id(run: Command, indexed: Path, tmp_path: Path) -> None:
    (hit,) = json.loads(run("query", "red", "-k", "1", "--json").stdout)
    assert run("forget", "--id", str(hit["id"])).exit_code == 0
    assert hit["path"] not in shown(run)
    (hit,) = json.loads(run("query", "red", "-k", "1", "--json", "--for", "texts").stdout)
    refused = run("forget", "--id", str(hit["id"]))
    assert refused.exit_code == 2
    assert "take it out of that file" in refused.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to forget"),
        (["nowhere"], "the library holds nothing at nowhere"),
        (["--id", "99"], "the library has no item 99"),
        (["photos", "--library", "none"], "there is no library"),
    ],
)
def test_what_the_library_does_not_hold_is_an_error_of_one_line(
    run: Command, indexed: Path, inside: Path, words: list[str], message: str
) -> None:
    done = run("forget", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(shown(run)) == 6
    assert not (inside / "none").exists()


def test_one_wrong_path_among_several_removes_nothing(run: Command, indexed: Path) -> None:
    assert run("forget", indexed / "red.png", indexed / "none.png").exit_code == 2
    assert len(shown(run)) == 6


def test_a_link_to_a_folder_is_forgotten_under_the_links_name(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "disk" / "cyan.png", (0, 255, 255))
    (indexed / "disk").symlink_to(tmp_path / "disk")
    assert indexed_again(run) == {"new": 1, "encoded": 1, "unchanged": 6}
    assert run("forget", indexed / "disk").exit_code == 0
    assert indexed_again(run) == {"unchanged": 6}


@pytest.mark.parametrize("failpoint", ["mid-transaction:1", "after-commit:1", "after-commit:2"])
def test_a_removal_that_was_killed_is_not_undone_and_can_be_finished(
    process: Process, run: Command, indexed: Path, monkeypatch: pytest.MonkeyPatch, failpoint: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MMSEARCH_FAILPOINT", failpoint)
        assert process("forget", indexed).returncode == -signal.SIGKILL
    left = len(shown(run))
    assert indexed_again(run).get("new", 0) == 0
    assert len(shown(run)) == left
    assert run("forget", indexed).exit_code == 0
    assert [Path(name).suffix for name in shown(run)] == ["", "", ""]


def test_ctrl_c_keeps_what_was_removed_and_the_same_command_goes_on(
    run: Command, indexed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = Catalog.commit
    batches: list[Batch] = []

    def interrupted(catalog: Catalog, batch: Batch) -> None:
        batches.append(batch)
        if len(batches) == 2:
            raise KeyboardInterrupt
        commit(catalog, batch)

    monkeypatch.setattr("mmsearch.retrieval.forget.CHUNK", 1)
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "commit", interrupted)
        done = run("forget", indexed)
    assert done.exit_code == 130
    assert "the same command goes on from here" in done.stderr
    assert len(shown(run)) == 5
    assert run("forget", indexed).stdout == f"removed 2 images: {indexed}\n"


def test_prune_removes_what_is_not_there_after_saying_how_much(
    run: Command, indexed: Path, texts: Path, tmp_path: Path
) -> None:
    kept = draw(tmp_path / "kept" / "red.png", RED, (30, 30)).parent
    (kept / "broken.jpg").write_bytes(b"nothing")
    indexed_again(run, kept)
    (kept / "broken.jpg").unlink()
    indexed.rename(tmp_path / "away")
    texts.unlink()
    lines = [
        f"to remove: 3 images of {indexed}, which is not there now",
        f"to remove: 3 texts of {texts}, which is not there now",
        "to remove: 1 failure of files that are gone",
    ]
    refused = run("prune")
    assert refused.exit_code == 2
    assert sorted(refused.stdout.splitlines()) == sorted(lines)
    assert "--yes" in refused.stderr
    assert sorted(run("prune", "--dry-run").stdout.splitlines()) == sorted(lines)
    assert len(shown(run)) == 7
    done = run("prune", "--yes")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "removed"
    assert shown(run) == [str(kept / "red.png")]
    status = json.loads(run("status", "--json").stdout)
    assert [root["path"] for root in status["roots"]] == [str(kept)]
    assert status["failed"] == 0
    again = run("prune")
    assert (again.exit_code, again.stdout) == (0, "there is nothing to prune\n")


def test_prune_leaves_alone_what_is_there(run: Command, indexed: Path) -> None:
    (indexed / "red.png").unlink()  # the next index run will say that it is gone
    assert run("prune", "--yes").stdout == "there is nothing to prune\n"
    assert len(shown(run)) == 6


def test_prune_does_not_remove_a_drive_that_came_back_while_it_asked(
    run: Command, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = indexed.rename(tmp_path / "away")

    def back(*_: object, **__: object) -> bool:
        away.rename(indexed)
        return True

    monkeypatch.setattr("mmsearch.commands.removal._ask", back)
    assert run("prune").exit_code == 0
    assert len(shown(run)) == 6


@pytest.mark.parametrize(("answer", "left"), [("y", 3), ("n", 6)])
def test_prune_asks_on_a_terminal(
    run: Command, indexed: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: int
) -> None:
    shutil.rmtree(indexed)
    monkeypatch.setattr("mmsearch.commands.removal._is_terminal", lambda: True)
    done = run("prune", stdin=f"{answer}\n")
    assert done.exit_code == (0 if answer == "y" else 1)
    assert len(shown(run)) == left


def test_prune_as_json(run: Command, indexed: Path) -> None:
    shutil.rmtree(indexed)
    done = run("prune", "--yes", "--json")
    assert json.loads(done.stdout) == {
        "images": 3,
        "texts": 0,
        "offline": [{"path": str(indexed), "images": 3, "texts": 0}],
        "empty": [],
        "failures": 0,
        "forgotten": 0,
        "spaces": [],
        "removed": True,
        "freed": 0,
    }


def test_prune_drops_old_spaces_when_asked(run: Command, indexed: Path, tmp_path: Path) -> None:
    make_model(tmp_path / "other", name="other")
    assert run("index", "--reindex", "--model", tmp_path / "other").exit_code == 0
    assert run("prune", "--yes").stdout == "there is nothing to prune\n"
    before = sorted((tmp_path / "library" / "index").iterdir())
    name = run("prune", "--spaces", "--dry-run").stdout
    assert name.startswith("to remove: 6 vectors of the model ")
    assert run("prune", "--spaces", "--yes").exit_code == 0
    assert len(sorted((tmp_path / "library" / "index").iterdir())) < max(len(before), 2)
    with Catalog.open(tmp_path / "library") as catalog:
        (space,) = catalog.spaces()
        assert catalog.vector_table(space, Modality.IMAGE).count() == 3
        tables = [row[0] for row in catalog.rows("SELECT name FROM sqlite_master")]
        assert not [name for name in tables if "vectors_1_" in name]
    assert len(shown(run)) == 6
    draw(indexed / "more.png", (255, 255, 0))
    assert indexed_again(run) == {"new": 1, "encoded": 1, "unchanged": 6}


def test_forgotten_paths_that_are_gone_are_pruned(run: Command, indexed: Path) -> None:
    run("forget", indexed / "red.png")
    assert run("prune").stdout == "there is nothing to prune\n"
    (indexed / "red.png").unlink()
    assert run("prune", "-y").stdout.splitlines()[0] == (
        "to remove: 1 forgotten path without a file"
    )
    assert run("prune").stdout == "there is nothing to prune\n"
