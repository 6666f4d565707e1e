"""`mmsearch index`."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.commands.conftest import Command, Process
from tests.faults.processes import gone_after
from tests.retrieval.drawing import RED, draw
from tests.retrieval.onnx_models import make_model

from mmsearch.commands.indexing_view import progress
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval import models, pipeline, reading
from mmsearch.retrieval.opening import open_library
from mmsearch.retrieval.timing import Progress, Slow


@pytest.fixture
def default_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the model of the tests when none is asked for."""
    monkeypatch.setenv("MMSEARCH_MODEL", str(model))


def _counts(stdout: str, **expected: int) -> bool:
    counts = json.loads(stdout)
    names = {"new", "changed", "moved", "gone", "unchanged", "failed", "encoded", "offline"}
    names |= {"captioned", "fused", "described"}
    assert set(counts) == names
    return bool(counts == dict.fromkeys(names, 0) | expected)


def test_the_first_run_encodes_everything_and_the_second_nothing(
    run: Command, photos: Path, texts: Path, model: Path
) -> None:
    first = run("index", photos, "--texts", texts, "--model", model, "--json")
    assert first.exit_code == 0
    assert _counts(first.stdout, new=6, encoded=6)
    second = run("index", photos, "--texts", texts, "--json")
    assert _counts(second.stdout, unchanged=6)


def test_without_a_path_everything_known_is_looked_at_again(
    run: Command, indexed: Path, texts: Path
) -> None:
    draw(indexed / "more.png", RED, (40, 40))
    (indexed / "blue.png").rename(indexed / "sky.png")
    (indexed / "green.png").unlink()
    texts.write_text("a red rose\nanother\n", encoding="utf-8")
    done = run("index", "--json")
    assert _counts(done.stdout, new=2, moved=1, gone=3, unchanged=2, encoded=2)


def test_the_summary_says_what_was_done_and_what_there_is(
    run: Command, photos: Path, model: Path
) -> None:
    done = run("index", photos, "--model", model)
    assert done.stdout.splitlines() == [
        "3 new, 3 encoded",
        "the library holds 3 images, 0 texts",
    ]
    assert done.stderr == ""


def test_quiet_says_nothing_but_warnings(run: Command, photos: Path, model: Path) -> None:
    assert run("index", photos, "--model", model, "-q").output == ""
    (photos / "broken.jpg").write_bytes(b"nothing")
    done = run("index", "-q")
    assert done.stdout == ""
    assert "broken.jpg" in done.stderr


def test_what_cannot_be_read_is_a_warning_and_the_run_goes_on(
    run: Command, photos: Path, texts: Path, model: Path
) -> None:
    for number in range(12):
        (photos / f"broken{number:02}.jpg").write_bytes(b"nothing")
    texts.write_bytes(b"a red rose\nbad \xff line\n")
    done = run("index", photos, "--texts", texts, "--model", model, "--json")
    assert done.exit_code == 0
    assert _counts(done.stdout, new=4, encoded=4, failed=13)
    assert "broken09.jpg" in done.stderr
    assert "broken10.jpg" not in done.stderr
    assert "2 more; `mmsearch failures` lists all" in done.stderr
    assert f"{texts}:2: bytes that are not UTF-8" in done.stderr


@pytest.mark.parametrize("bad", ["utf-16", "folder", "fifo"])
def test_sentences_that_cannot_be_read_stay_and_do_not_stop_a_rescan(
    run: Command, indexed: Path, texts: Path, bad: str
) -> None:
    texts.unlink()
    if bad == "folder":
        texts.mkdir()
    elif bad == "fifo":
        os.mkfifo(texts)
    else:
        texts.write_text("a red rose", encoding="utf-16")
    draw(indexed / "new.png", (9, 9, 9))
    done = run("index", "--json")
    assert done.exit_code == 0
    assert {n: c for n, c in json.loads(done.stdout).items() if c} == {
        "new": 1,
        "encoded": 1,
        "unchanged": 3,
        "failed": 1,
    }
    assert f"left out: {texts}: " in done.stderr
    assert json.loads(run("status", "--json").stdout)["texts"] == 3
    assert run("index", "--texts", texts).exit_code == 2


def test_globs_are_left_out(run: Command, photos: Path, model: Path) -> None:
    draw(photos / "drafts" / "a.png")
    done = run("index", photos, "--exclude", "drafts", "--exclude", "b*.png", "--model", model)
    assert "2 new" in done.stdout


def test_a_folder_that_is_not_there_now_is_a_warning(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    indexed.rename(tmp_path / "unmounted")
    done = run("index", "--json")
    assert done.exit_code == 0
    assert _counts(done.stdout, unchanged=3, offline=3)
    assert "is missing or empty; its items are kept, and `mmsearch prune` removes" in done.stderr


def test_a_folder_on_another_file_system_without_a_known_picture_is_a_warning(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    with Catalog.open(tmp_path / "library", write=True) as catalog:
        for root in catalog.roots():
            catalog.set_setting(f"filesystem:{root.id}", "another one")
    for file in indexed.iterdir():
        file.unlink()
    (indexed / "notes.txt").touch()
    done = run("index", "--json")
    assert _counts(done.stdout, unchanged=3, offline=3)
    assert f"{indexed} holds no known picture and is on another file system" in done.stderr
    assert "3 images" in run("prune", "--yes").stdout
    assert json.loads(run("status", "--json").stdout)["images"] == 0


def test_a_picture_that_may_not_be_read_does_not_stop_the_others(
    run: Command, photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = sorted(photos.iterdir())
    real = os.access  # asked before a file is opened; the superuser may open every file
    monkeypatch.setattr(
        os, "access", lambda file, mode: Path(file) not in named and real(file, mode)
    )
    done = run("index", *named, "--model", model, "--json")
    assert done.exit_code == 0, done.stderr
    assert _counts(done.stdout, new=3, encoded=3)


def test_another_model_needs_reindex(run: Command, indexed: Path, tmp_path: Path) -> None:
    make_model(tmp_path / "other", name="other")
    refused = run("index", indexed, "--model", tmp_path / "other")
    assert refused.exit_code == 2
    assert f"mmsearch index --reindex {indexed} --model " in refused.stderr
    assert refused.stderr.endswith(f" --library {tmp_path / 'library'}\n")
    done = run("index", "--reindex", "--model", tmp_path / "other", "--json")
    assert _counts(done.stdout, unchanged=6, encoded=6)
    assert run("query", "red", "-k", "1").stdout == f"1.000\t{indexed / 'red.png'}\n"
    assert json.loads(run("status", "--json").stdout)["model"] == str(tmp_path / "other")


@pytest.mark.parametrize("named", [True, False])
def test_the_command_that_reindexes_takes_no_sentences_for_a_picture(
    run: Command, indexed: Path, texts: Path, tmp_path: Path, named: bool
) -> None:
    make_model(tmp_path / "other", name="other")
    given = ["--texts", texts] if named else []
    refused = run("index", *given, "--model", tmp_path / "other")
    assert refused.exit_code == 2
    command = shlex.split(refused.stderr.partition("anew: mmsearch ")[2])
    done = run(*command, "--json")
    assert _counts(done.stdout, unchanged=6, encoded=6), done.stderr
    assert run("query", "red", "-k", "1").stdout == f"1.000\t{indexed / 'red.png'}\n"


@pytest.mark.parametrize("damaged", ["image.onnx", "text.onnx", "tokenizer.json"])
def test_a_model_that_cannot_be_used_does_not_take_over_a_library(
    run: Command, indexed: Path, tmp_path: Path, damaged: str
) -> None:
    make_model(tmp_path / "other", name="other")
    file = tmp_path / "other" / damaged
    file.write_bytes(bytes(reversed(file.read_bytes())))
    refused = run("index", "--reindex", "--model", tmp_path / "other")
    assert refused.exit_code == 2
    assert damaged in refused.stderr
    assert run("query", "red", "-k", "1").stdout == f"1.000\t{indexed / 'red.png'}\n"


def test_sentences_that_came_from_python_are_encoded_anew(
    run: Command, model: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "other", name="other")
    with open_library(tmp_path / "library", model=model) as library:
        library.add_texts(["a red rose"])
    refused = run("index", "--model", tmp_path / "other")
    assert refused.exit_code == 2
    done = run(*shlex.split(refused.stderr.partition("anew: mmsearch ")[2]), "--json")
    assert _counts(done.stdout, unchanged=1, encoded=1), done.stderr
    assert run("query", "red", "--for", "texts").stdout.endswith("\ta red rose\n")


def test_a_model_that_took_the_name_of_the_librarys_is_told_from_it(
    run: Command, photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "added")
    run("models", "add", model, "--name", "mine")
    assert run("index", photos, "--model", "mine").exit_code == 0
    make_model(tmp_path / "other", name="other")
    assert run("models", "add", tmp_path / "other", "--name", "mine", "--replace").exit_code == 0
    for command in (["index"], ["query", "red"]):
        refused = run(*command)
        assert refused.exit_code == 2
        assert "the one that has this name now" in refused.stderr
        assert "index --reindex --model mine" in refused.stderr


def test_a_model_without_image_tower_cannot_index_pictures(
    run: Command, photos: Path, texts: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "words", images=False)
    done = run("index", photos, "--model", tmp_path / "words")
    assert done.exit_code == 2
    assert "precomputed features" in done.stderr
    assert run("index", "--texts", texts, "--model", tmp_path / "words").exit_code == 0
    assert run("index").exit_code == 0


@pytest.mark.parametrize("given", [["photos"], ["--texts", "texts.txt"], []])
def test_a_model_without_image_tower_does_not_take_over_a_library_of_pictures(
    run: Command, indexed: Path, inside: Path, given: list[str]
) -> None:
    make_model(inside / "words", images=False)
    done = run("index", *given, "--reindex", "--model", "words")
    assert done.exit_code == 2
    assert "precomputed features" in done.stderr
    assert run("query", "red", "-k", "1").stdout == f"1.000\t{indexed / 'red.png'}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say what to index"),
        (["none"], "none does not exist"),
        (["--texts", "none.txt"], "none.txt does not exist"),
        (["photos", "--workers", "0"], "workers"),
        (["photos", "--batch-size", "0"], "batch_size"),
        (["photos", "--model", "maxi"], "no model 'maxi'"),
        (["photos", "--library", "texts.txt"], "texts.txt"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("photos", "texts", "default_model")
def test_bad_input_is_one_line_and_makes_no_library(
    run: Command, inside: Path, arguments: list[str], message: str
) -> None:
    done = run("index", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (inside / "library").exists()


def test_a_path_that_is_not_there_is_an_error_for_a_library_that_is(
    run: Command, indexed: Path
) -> None:
    done = run("index", indexed / "none")
    assert done.exit_code == 2
    assert "none" in done.stderr


def test_two_writers_are_one_too_many(run: Command, indexed: Path, tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "library", write=True):
        done = run("index")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_an_interrupted_run_keeps_what_it_did_and_goes_on(
    run: Command, photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.read_task
    seen: list[object] = []

    def interrupted(task: object, **settings: object) -> object:
        seen.append(task)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(task, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "read_task", interrupted)
    done = run("index", photos, "--model", model, "--workers", "1", "--batch-size", "1")
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert "the same command goes on from here" in done.stderr
    monkeypatch.setattr(pipeline, "read_task", read)
    assert _counts(run("index", photos, "--json").stdout, new=1, unchanged=2, encoded=1)


@pytest.mark.slow
def test_ctrl_c_ends_the_process_with_code_130(photos: Path, model: Path, tmp_path: Path) -> None:
    for number in range(3000):
        draw(photos / f"{number}.bmp", (number % 251, number % 241, number % 239), (64, 64))
    command = [sys.executable, "-m", "mmsearch", "index", str(photos), "--model", str(model)]
    pipe = subprocess.PIPE
    with gone_after(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)) as running:
        while running.poll() is None and not _has_begun(tmp_path / "library"):
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=300)
    assert running.returncode in (0, 130)
    assert "Traceback" not in errors


def _has_begun(library: Path) -> bool:
    """Say whether pictures are on their way into a library."""
    if not Catalog.exists(library):
        return False
    with Catalog.open(library) as catalog:
        return bool(catalog.roots())


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with progress(stream, quiet=False) as show:
        for second in range(25):
            now[0] = float(second)
            show(Progress(done=second * 10, total=1000, images_per_second=10.0))
    assert stream.getvalue().splitlines() == [
        "100 of 1,000 images, 10/s, 90 s left",
        "200 of 1,000 images, 10/s, 80 s left",
    ]


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with progress(stream, quiet=False) as show:
        show(Progress(done=5, total=10, images_per_second=3.0))
        show(Progress(done=10, total=10, images_per_second=3.0))
    assert "10/10" in stream.getvalue()
    with progress(stream := Terminal(), quiet=True) as show:
        show(Progress(done=5, total=10, images_per_second=3.0))
    assert stream.getvalue() == ""


def test_progress_says_what_is_slow_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with progress(stream, quiet=False) as show:
        for slow, rate in ((Slow.NETWORK, 8.0), (Slow.DISK, 0.25), (None, 0.0)):
            now[0] += 10
            show(Progress(1000, 5000, rate, slow))
    assert stream.getvalue().splitlines() == [
        "1,000 of 5,000 images, 8.0/s, 8 min left, waiting for the network",
        "1,000 of 5,000 images, 0.2/s, 4 h 27 min left, waiting for the disk",
        "1,000 of 5,000 images, 0.0/s",
    ]


def test_where_the_time_went_is_said_when_asked(run: Command, photos: Path, model: Path) -> None:
    done = run("index", photos, "--model", model, "--verbose")
    assert done.stdout.startswith("3 new, 3 encoded\n")
    (line,) = done.stderr.splitlines()
    for stage in ("took ", "scan ", "decode ", "encode ", "commit ", "waited for "):
        assert stage in line
    (photos / "more.png").write_bytes((photos / "red.png").read_bytes() + b"1")
    counts = json.loads(run("index", photos, "--json", "-v").stdout)
    assert (counts["new"], counts["encoded"]) == (1, 1)
    assert counts["seconds"]["total"] > 0


def test_plain_text_reaches_a_pipe(process: Process, photos: Path, model: Path) -> None:
    done = process("index", photos, "--model", model)
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout + done.stderr
