"""`check` and `repair` on the command line."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.commands.conftest import Command
from tests.index.conftest import behind


@pytest.fixture
def library(indexed: Path) -> Path:
    """Return the folder of an indexed library."""
    return Path(os.environ["MMSEARCH_LIBRARY"])


def test_a_sound_library_is_said_to_be_sound(run: Command, library: Path) -> None:
    done = run("check")
    assert (done.exit_code, done.stdout) == (0, "sound\n")
    assert json.loads(run("check", "--json").stdout) == {"sound": True, "findings": []}
    assert run("repair").stdout == "nothing to repair\n"


def test_no_library_is_an_empty_one(run: Command) -> None:
    assert run("check").exit_code == 0
    assert run("repair").exit_code == 0


def test_damage_is_a_line_with_advice_and_a_repair_mends_it(
    run: Command, library: Path, indexed: Path, model: Path
) -> None:
    red = indexed / "red.png"
    hit = json.loads(run("query", "red", "--json", "-k", "1", "--model", model).stdout)[0]
    assert hit["path"] == str(red)
    behind(library, f"UPDATE items SET size = 1 WHERE id = {hit['id']}")
    done = run("check")
    assert done.exit_code == 3
    level, what, advice = done.stdout.splitlines()[0].split("\t")
    assert (level, what) == ("error", f"the row of item {hit['id']} does not match its checksum")
    assert advice == "run `mmsearch repair`, then `mmsearch index`"
    query = run("query", "red", "--model", model)
    assert (query.exit_code, query.stdout) == (3, "")
    would = run("repair", "--dry-run")
    assert (would.exit_code, would.stdout.startswith("would make a new catalog")) == (0, True)
    mended = run("repair", "--json")
    assert mended.exit_code == 0, mended.stdout
    report = json.loads(mended.stdout)
    assert report["lost"] == [{"id": hit["id"], "path": str(red)}]
    assert report["sound"]
    assert "in quarantine" in run("status").stdout
    assert json.loads(run("index", "--json", indexed).stdout)["new"] == 1
    assert run("check").exit_code == 0


def test_a_damaged_model_is_found_and_cannot_be_repaired(
    run: Command, library: Path, indexed: Path, model: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    assert run("index", indexed, "--model", copy).exit_code == 0
    tower = copy / "text.onnx"
    tower.write_bytes(tower.read_bytes()[:-1])
    done = run("check")
    assert done.exit_code == 3
    assert "put the model's files back" in done.stdout
    assert run("repair").exit_code == 3
