"""`mmsearch export`, `import` and `merge` on the command line, and vectors of other programs."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands.conftest import Command, Process
from tests.retrieval.drawing import BLUE, draw
from tests.retrieval.onnx_models import make_model


def answers(
    run: Command, library: Path, question: str = "red", target: str = "images"
) -> list[Any]:
    """Return the hits of a question, without ids."""
    done = run("query", question, "--for", target, "--json", "--library", library)
    return [{k: v for k, v in hit.items() if k != "id"} for hit in json.loads(done.stdout)]


@pytest.mark.parametrize("name", ["out.parquet", "out/"])
def test_a_library_moves_through_a_file(
    run: Command, indexed: Path, tmp_path: Path, name: str
) -> None:
    done = run("export", tmp_path / name if name[-1] != "/" else f"{tmp_path}/out/")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"exported 6 items of the model colours to {tmp_path}/{name}\n"
    back = run("import", tmp_path / name, "--library", tmp_path / "second")
    assert (back.exit_code, back.stdout, back.stderr) == (0, "items: 6 new\n", "")
    for target in ("images", "texts"):
        first = answers(run, tmp_path / "library", target=target)
        assert len(first) == 3
        assert answers(run, tmp_path / "second", target=target) == first
    again = run("index", "--library", tmp_path / "second", "--json")
    counts = {name: n for name, n in json.loads(again.stdout).items() if n}
    assert counts == {"unchanged": 6}
    assert run("check", "--library", tmp_path / "second").exit_code == 0


def test_json_says_how_much_and_of_which_model(run: Command, indexed: Path, tmp_path: Path) -> None:
    out = json.loads(run("export", tmp_path / "a.parquet", "--json").stdout)
    assert (out["items"], out["waiting"], out["space"]["name"]) == (6, 0, "colours")
    back = json.loads(run("import", tmp_path / "a.parquet", "--json").stdout)
    assert (back["new"], back["unchanged"], back["space"]) == (0, 6, "colours")


def test_filters_choose_what_is_exported(run: Command, indexed: Path, tmp_path: Path) -> None:
    flags: list[list[str]] = [
        ["--for", "texts"],
        ["--for", "images"],
        ["--under", str(indexed / "red.png")],
    ]
    for name, (some, count) in enumerate(zip(flags, (3, 3, 1), strict=True)):
        done = run("export", tmp_path / f"{name}.parquet", *some)
        assert done.stdout.startswith(f"exported {count} item"), done.stderr
    done = run("export", tmp_path / "x.parquet", "--where", "name = 'blue.png'")
    assert done.stdout.startswith("exported 1 item of")


def test_an_export_is_replaced_by_force_alone(run: Command, indexed: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.parquet"
    assert run("export", target).exit_code == 0
    refused = run("export", target)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "--force replaces it" in refused.stderr
    assert run("export", target, "--force").exit_code == 0


def test_a_name_that_says_no_format_needs_one(run: Command, indexed: Path, tmp_path: Path) -> None:
    assert "--format" in run("export", tmp_path / "out").stderr
    assert run("export", tmp_path / "out", "--format", "npy").exit_code == 0
    assert (tmp_path / "out" / "vectors.npy").exists()


def test_without_pyarrow_one_line_names_the_extra(
    run: Command, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = run("export", tmp_path / "a.parquet")
    assert done.exit_code == 2
    assert done.stderr == (
        "mmsearch: error: pyarrow is not installed; run: pip install 'mmsearch[parquet]'\n"
    )


def test_folders_get_the_names_that_they_have_here(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    run("export", f"{tmp_path}/out/")
    shutil.move(indexed, tmp_path / "moved")
    move = f"{indexed}={tmp_path / 'moved'}"
    done = run("import", tmp_path / "out", "--map", move, "--library", tmp_path / "second")
    assert done.exit_code == 0, done.stderr
    found = answers(run, tmp_path / "second")
    assert found[0]["path"] == str(tmp_path / "moved" / "red.png")
    bad = run("import", tmp_path / "out", "--map", "relative=/x", "--library", tmp_path / "third")
    assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "third").exists()


def test_a_model_that_is_not_here_is_said(
    run: Command, indexed: Path, model: Path, tmp_path: Path
) -> None:
    run("export", f"{tmp_path}/out/")
    record = json.loads((tmp_path / "out" / "space.json").read_bytes())
    (tmp_path / "out" / "space.json").write_text(json.dumps(record | {"model": "/gone"}))
    done = run("import", tmp_path / "out", "--library", tmp_path / "second")
    assert (done.exit_code, done.stdout) == (0, "items: 6 new\n")
    assert "the model colours is not on this machine" in done.stderr
    run("import", tmp_path / "out", "--library", tmp_path / "third", "--model", model)
    assert len(answers(run, tmp_path / "third")) == 3


def test_another_model_is_refused(run: Command, indexed: Path, tmp_path: Path) -> None:
    run("export", f"{tmp_path}/out/")
    make_model(tmp_path / "other", name="other")
    done = run(
        "import", tmp_path / "out", "--library", tmp_path / "b", "--model", tmp_path / "other"
    )
    assert done.exit_code == 2
    assert "holds vectors of the model colours, not of other" in done.stderr
    assert not (tmp_path / "b").exists()


def test_two_libraries_are_merged(run: Command, indexed: Path, model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "more" / "deep.png", (0, 0, 90))
    assert (
        run("index", tmp_path / "more", "--model", model, "--library", tmp_path / "b").exit_code
        == 0
    )
    done = run("merge", tmp_path / "b")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "items: 1 new\n", "")
    assert len(answers(run, tmp_path / "library", "blue")) == 4
    assert run("merge", tmp_path / "b").stdout == "items: 1 there already\n"
    assert run("check").exit_code == 0
    assert json.loads(run("index", "--json").stdout)["unchanged"] == 7


def test_a_merge_with_itself_or_nothing_is_one_line(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    for other in (tmp_path / "library", tmp_path / "absent"):
        done = run("merge", other)
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)


# Vectors of other programs


@pytest.fixture
def foreign(photos: Path, tmp_path: Path) -> Path:
    """A folder as another program might write it: an array, and a path a line."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    names = ["red.png", "green.png", "blue.png"]
    np.save(folder / "vectors.npy", np.eye(4, dtype=np.float32)[:3])
    lines = [json.dumps({"path": str(photos / name)}) + "\n" for name in names]
    (folder / "items.jsonl").write_text("".join(lines))
    return folder


def test_vectors_of_others_come_with_a_model_and_a_root(
    run: Command, foreign: Path, photos: Path, model: Path, tmp_path: Path
) -> None:
    done = run("import", foreign, "--model", model, "--root", photos)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "items: 3 new\n", "")
    assert answers(run, tmp_path / "library", "blue")[0]["path"] == str(photos / "blue.png")
    again = json.loads(run("index", "--json").stdout)
    assert (again["encoded"], again["unchanged"]) == (0, 3)


def test_pictures_of_others_that_are_not_there_are_left_out(
    run: Command, foreign: Path, photos: Path, model: Path
) -> None:
    (photos / "red.png").unlink()
    done = run("import", foreign, "--model", model, "--root", photos)
    assert done.stdout == ("items: 2 new; 1 left out, for they have no digest and cannot be read\n")


def test_vectors_of_others_need_a_model_and_a_root(
    run: Command, foreign: Path, model: Path, tmp_path: Path
) -> None:
    for flags, message in (
        ([], "does not say which model its vectors are of; give --model"),
        (["--model", model], "give --root DIR"),
    ):
        done = run("import", foreign, *flags)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
        assert not (tmp_path / "library").exists()


def test_an_import_that_is_killed_is_finished_by_the_next(
    process: Process, run: Command, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(indexed / "odd \udcff.png", BLUE)
    assert run("index").exit_code == 0
    assert run("export", f"{tmp_path}/out/").exit_code == 0
    second = tmp_path / "second"
    killed = 0
    for count in (1, 3, 5):
        monkeypatch.setenv("MMSEARCH_FAILPOINT", f"after-commit:{count}")
        killed += process("import", tmp_path / "out", "--library", second).returncode < 0
    monkeypatch.delenv("MMSEARCH_FAILPOINT")
    assert killed
    done = run("import", tmp_path / "out", "--library", second)
    assert done.exit_code == 0, done.stderr
    assert run("check", "--library", second).exit_code == 0
    assert answers(run, second) == answers(run, tmp_path / "library")
    assert any(os.fsencode(hit["path"]).endswith(b"\xff.png") for hit in answers(run, second))
