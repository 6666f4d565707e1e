"""What a run shows: lines that fit a terminal, rates in images, no bar left behind."""

import io
from typing import Any

import pytest
from rich.console import Console

from mmsearch.commands.training_view import TrainingView

RECORD: dict[str, Any] = {
    "epoch": 100,
    "loss": 12.3456,
    "lr": 1e-3,
    "mining": "semi-hard",
    "i2t": {"r1": 100.0, "r5": 100.0, "r10": 100.0},
    "t2i": {"r1": 100.0, "r5": 100.0, "r10": 100.0},
    "rsum": 600.0,
    "best_rsum": 600.0,
}


def on_a_terminal(view: TrainingView) -> TrainingView:
    console = Console(file=view.console.file, force_terminal=True, width=80)
    view.progress.live.console = console
    view.progress.disable = False
    return view


def test_the_table_of_epochs_fits_eighty_columns() -> None:
    stream = io.StringIO()
    TrainingView(stream).on_epoch(RECORD)
    header, line = stream.getvalue().splitlines()
    assert len(header) < 80
    assert len(line) < 80
    assert line.split()[-8:] == ["100.0"] * 6 + ["600.0", "*"]


def test_a_training_rate_counts_images(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr("mmsearch.commands.training_view.time.monotonic", lambda: next(clock))
    view = TrainingView(io.StringIO())
    view.on_step(1, 5, 9, 0.4, 128)  # the time that this one took is not known
    view.on_step(1, 6, 9, 0.4, 128)
    assert view.progress.tasks[0].fields["rate"] == "64 images/s"


def test_a_run_that_ends_in_mid_epoch_gives_the_cursor_back() -> None:
    stream = io.StringIO()
    with on_a_terminal(TrainingView(stream)) as view:
        view.on_step(1, 1, 9, 0.4, 128)
    assert stream.getvalue().rindex("\x1b[?25h") > stream.getvalue().rindex("\x1b[?25l")
