"""`mmsearch index --watch`: a real process, real changes on the disk."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.commands.conftest import Command
from tests.faults.processes import gone_after
from tests.retrieval.drawing import draw

import mmsearch
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.report import IngestOptions
from mmsearch.retrieval.watch import TICK_MS, watch

PATIENCE = 240.0  # seconds; a machine may be slow, and only a failure waits for so long
CYAN, YELLOW, WHITE = (0, 255, 255), (255, 255, 0), (255, 255, 255)


def put(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 8)) -> None:
    """Put a picture in its place in one step: nobody sees it half written."""
    draw(path.with_name(f".{path.name}"), colour, size).replace(path)


class Watching:
    """A running `mmsearch index --watch --json`, and what it has said so far."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = []
        for stream, lines in [(self.process.stdout, self.out), (self.process.stderr, self.err)]:
            assert stream is not None
            reader = threading.Thread(target=self._read, args=(stream, lines))
            reader.start()
            self._readers.append(reader)

    @staticmethod
    def _read(stream: "Iterator[bytes]", lines: list[str]) -> None:
        for line in stream:
            lines.append(line.decode())  # noqa: PERF401 - one by one, as they come

    def updates(self) -> list[dict[str, int]]:
        return [{k: n for k, n in json.loads(line).items() if n} for line in list(self.out)]

    def total(self, kind: str) -> int:
        """Return a count over all updates: the system may merge or split what it reports."""
        return sum(update.get(kind, 0) for update in self.updates())

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; fail after a while, with what the process said."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, (self.out, self.err)
            assert self.process.poll() is None, (self.out, self.err)
            time.sleep(0.05)

    def end(self) -> int:
        """Press Ctrl-C and return the exit code."""
        with gone_after(self.process):
            try:
                if self.process.poll() is None:
                    self.process.send_signal(signal.SIGINT)
                return self.process.wait(timeout=PATIENCE)
            finally:
                self.process.kill()  # one that does not end by itself; then the pipes do
                for reader in self._readers:
                    reader.join()


Start: TypeAlias = Callable[..., Watching]


@pytest.fixture
def start(model: Path) -> Iterator[Start]:
    with ExitStack() as started:

        def start(*words: str | Path) -> Watching:
            index = [sys.executable, "-m", "mmsearch", "index", *map(str, words)]
            watching = Watching([*index, "--watch", "--json", "--model", str(model)])
            started.callback(watching.end)
            watching.until(
                lambda: bool(watching.out) and any("watching" in x for x in watching.err)
            )
            return watching

        yield start


@pytest.fixture
def held(tmp_path: Path) -> Callable[[], set[str]]:
    """The names and sentences that the library holds now."""

    def held() -> set[str]:
        with Catalog.open(tmp_path / "library") as catalog:
            rows = catalog.rows("SELECT path, text FROM items")
        return {text or Path(os.fsdecode(path)).name for path, text in rows}

    return held


def test_changed_captions_reach_the_library(start: Start, photos: Path) -> None:
    captions = photos / "captions.csv"
    captions.write_text("image,caption\nred.png,a green hill\n")
    watching = start(photos, "--captions", captions, "--fuse", "caption=0.5")
    assert (watching.total("captioned"), watching.total("fused")) == (1, 1)
    captions.write_text("image,caption\nred.png,a blue sea\nnew.png,a lake\n")
    watching.until(lambda: watching.total("captioned") == 2)
    put(photos / "new.png", CYAN)
    watching.until(lambda: watching.total("captioned") == 3)
    assert watching.total("fused") == 3
    assert any("the library has no picture new.png" in line for line in watching.err)


def test_changes_of_every_kind_reach_the_library(
    start: Start, photos: Path, held: Callable[[], set[str]]
) -> None:
    watching = start(photos)
    assert watching.updates()[0] == {"new": 3, "encoded": 3}
    put(photos / "cyan.png", CYAN)
    put(photos / "sub" / "deep" / "yellow.png", YELLOW)
    watching.until(lambda: {"cyan.png", "yellow.png"} <= held())
    (photos / "red.png").rename(photos / "sub" / "crimson.png")
    watching.until(lambda: "crimson.png" in held() and "red.png" not in held())
    (photos / "sub").rename(photos / "renamed")
    watching.until(lambda: watching.total("moved") == 3)
    (photos / "green.png").unlink()
    watching.until(lambda: watching.total("gone") == 1)
    assert watching.end() == 130
    assert (watching.total("encoded"), watching.total("moved")) == (5, 3)
    assert held() == {"crimson.png", "blue.png", "cyan.png", "yellow.png"}
    assert not [line for line in watching.err if "Traceback" in line]


def test_sentences_and_single_pictures_are_watched_too(
    start: Start, photos: Path, texts: Path, held: Callable[[], set[str]]
) -> None:
    watching = start(photos / "red.png", "--texts", texts)
    texts.with_suffix(".new").write_text("a white wall\n", encoding="utf-8")
    texts.with_suffix(".new").replace(texts)
    watching.until(lambda: held() == {"red.png", "a white wall"})
    put(photos / "red.png", CYAN, (40, 40))
    watching.until(lambda: watching.total("changed") == 1)
    assert watching.end() == 130
    assert watching.total("encoded") == 4 + 2


def test_sentences_that_change_before_the_watch_begins_are_seen(
    indexed: Path, texts: Path, model: Path
) -> None:
    late = threading.Timer(PATIENCE, put, [indexed / "late.png", CYAN])  # so that all else fails
    with mmsearch.open(os.environ["MMSEARCH_LIBRARY"], model=model) as library:
        texts.write_text("a white wall\n", encoding="utf-8")
        late.start()
        try:
            report = next(watch(library, [], IngestOptions(), print))
        finally:
            late.cancel()
            late.join()
        assert (report.new, report.gone, report.encoded) == (1, 3, 1)


def test_what_is_ignored_hidden_or_forgotten_stays_out(
    start: Start, run: Command, photos: Path, held: Callable[[], set[str]]
) -> None:
    watching = start(photos, "--exclude", "*.bmp")
    put(photos / "sub" / "a.png", CYAN)
    watching.until(lambda: "a.png" in held())
    (photos / ".mmsearchignore").write_text("sub/\n", encoding="utf-8")
    watching.until(lambda: "a.png" not in held())
    watching.until(lambda: run("forget", photos / "red.png").exit_code == 0)  # else busy
    put(photos / "red.png", WHITE, (30, 30))
    put(photos / "sub" / "b.png", CYAN)
    put(photos / "c.bmp", CYAN)
    put(photos / ".d.png", CYAN)
    put(photos / "last.png", YELLOW)
    watching.until(lambda: "last.png" in held())
    assert held() == {"green.png", "blue.png", "last.png"}


def test_another_process_may_write_and_is_waited_for(
    start: Start, photos: Path, tmp_path: Path, held: Callable[[], set[str]]
) -> None:
    watching = start(photos)
    with Catalog.open(tmp_path / "library", write=True):
        put(photos / "cyan.png", CYAN)
        watching.until(lambda: any("waiting" in line for line in watching.err))
    watching.until(lambda: "cyan.png" in held())


def test_a_folder_that_goes_away_is_offline_and_watched_again_when_it_is_back(
    start: Start, photos: Path, tmp_path: Path, held: Callable[[], set[str]]
) -> None:
    watching = start(photos)
    photos.rename(tmp_path / "away")
    watching.until(lambda: any(update.get("offline") == 3 for update in watching.updates()))
    assert len(held()) == 3
    draw(tmp_path / "away" / "cyan.png", CYAN)
    (tmp_path / "away").rename(photos)
    watching.until(lambda: "cyan.png" in held())
    put(photos / "yellow.png", YELLOW)
    watching.until(lambda: "yellow.png" in held())
    watching.until(lambda: watching.total("new") == 5)
    assert watching.total("encoded") == 5


def test_a_name_that_is_not_text_does_not_end_the_watch(
    start: Start, photos: Path, held: Callable[[], set[str]]
) -> None:
    watching = start(photos)
    draw(photos / "cyan.png", CYAN).rename(photos / os.fsdecode(b"caf\xe9.png"))
    watching.until(lambda: os.fsdecode(b"caf\xe9.png") in held() and len(held()) == 4)
    put(photos / "yellow.png", YELLOW)
    watching.until(lambda: "yellow.png" in held())


def test_a_library_inside_a_watched_folder_does_not_wake_itself(
    start: Start, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSEARCH_LIBRARY", str(photos / "library"))
    watching = start(photos)
    put(photos / "cyan.png", CYAN)
    watching.until(lambda: watching.total("new") == 4)
    with Catalog.open(photos / "library") as catalog:

        def is_quiet() -> bool:
            before = catalog.rows("PRAGMA data_version")
            time.sleep(3 * TICK_MS / 1000)
            return catalog.rows("PRAGMA data_version") == before

        watching.until(is_quiet)  # what wakes itself writes every second, and never is


def test_without_watchfiles_the_extra_is_named(
    run: Command, photos: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    done = run("index", photos, "--watch", "--model", model)
    assert done.exit_code == 2
    assert "pip install 'mmsearch[watch]'" in done.stderr
