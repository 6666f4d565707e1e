"""What a run writes: metrics, events, curves, the model card."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmsearch.errors import InputError
from mmsearch.retrieval.metrics import Direction, Metrics
from mmsearch.retrieval.vse.agreement import Agreement, TowerAgreement
from mmsearch.retrieval.vse.card import ModelCard, render_card
from mmsearch.retrieval.vse.curves import draw_curves
from mmsearch.retrieval.vse.report import RunLog, append_metrics, read_metrics, versions

CHANCE = Metrics(
    Direction(0.5, 2.5, 5.0, 87, 166.5), Direction(0.1, 0.5, 1.0, 500, 500.5), 9.6, 1000, 5000
)


def record(epoch: int, rsum: float = 120.0) -> dict[str, Any]:
    direction = {"r1": 10.0 + epoch, "r5": 20.0, "r10": 30.0, "medr": 40, "meanr": 50.5}
    return {
        "epoch": epoch,
        "loss": 1 / epoch,
        "lr": 1e-3,
        "mining": "semi-hard",
        "i2t": direction,
        "t2i": direction,
        "rsum": rsum + epoch,
        "images": 1000,
        "captions": 5000,
    }


def test_records_are_read_in_the_order_written(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert read_metrics(file) == []
    for epoch in (1, 2):
        append_metrics(file, record(epoch))
    assert read_metrics(file) == [record(1), record(2)]


def test_half_a_last_line_is_passed_over_and_then_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_metrics(file, {"epoch": 1})
    with file.open("ab") as stream:
        stream.write('{"epoch": 2, "note": "é'.encode()[:-1])
    assert read_metrics(file) == [{"epoch": 1}]
    append_metrics(file, {"epoch": 2})
    assert read_metrics(file) == [{"epoch": 1}, {"epoch": 2}]


@pytest.mark.parametrize("line", ["{broken", "[1]"])
def test_a_broken_line_in_the_middle_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f'{{"epoch": 1}}\n{line}\n{{"epoch": 3}}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl:2"):
        read_metrics(file)


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        append_metrics(tmp_path / "metrics.jsonl", {"loss": float("nan")})
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def events(folder: Path, name: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(name)]


def test_every_number_of_a_record_becomes_an_event(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add(record(1))
        log.add(record(2))
    assert events(tmp_path, "i2t/r1") == [(1, 11.0), (2, 12.0)]
    assert events(tmp_path, "loss") == [(1, 1.0), (2, 0.5)]


def test_a_continued_run_hides_the_epochs_that_are_trained_again(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add(record(1))
        log.add(record(2, rsum=0))
    with RunLog(tmp_path) as log:
        log.add(record(2, rsum=100))
    assert events(tmp_path, "rsum") == [(1, 121.0), (2, 102.0)]


def test_a_log_without_records_writes_nothing(tmp_path: Path) -> None:
    with RunLog(tmp_path / "events"):
        pass
    assert not (tmp_path / "events").exists()


@pytest.mark.parametrize("epochs", [0, 1, 30])
@pytest.mark.parametrize("chance", [None, CHANCE])
def test_curves_are_a_picture_with_lines_in_it(
    tmp_path: Path, epochs: int, chance: Metrics | None
) -> None:
    records = [record(epoch) for epoch in range(1, epochs + 1)]
    draw_curves(records, tmp_path / "curves.png", chance=chance)
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (1210, 770)
        assert len(np.unique(np.array(image.convert("L")))) > 20


def card(**changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "name": "birds",
        "dim": 256,
        "seed": 7,
        "best": record(3),
        "chance": CHANCE,
        "data": {"folder": "birds", "train": "6,000 images, 30,000 captions"},
        "recipe": {"margin": 0.2, "note": "a | b"},
        "versions": {"torch": "2.0"},
    }
    return ModelCard(**{**fields, **changes})


def test_the_card_puts_figures_beside_chance() -> None:
    text = render_card(card())
    assert "| image to text | 13.0 | 20.0 | 30.0 | 40.0 | 50.5 |" in text
    assert "| image to text, by chance | 0.5 | 2.5 | 5.0 | 87.0 | 166.5 |" in text
    assert "rsum **123.0** of 600 (by chance 9.6)." in text
    assert "1000 images, 5000 captions, epoch 3" in text


def test_the_card_names_data_recipe_seed_and_versions() -> None:
    text = render_card(card(licence="CC BY 4.0", limits=["Birds only."]))
    assert "| train | 6,000 images, 30,000 captions |" in text
    assert "| margin | 0.2 |" in text
    assert "| note | a \\| b |" in text
    assert "| seed | 7 |" in text
    assert "| torch | 2.0 |" in text
    assert "- Birds only." in text
    assert "CC BY 4.0" in text


def test_the_card_shows_how_the_export_agrees() -> None:
    tower = TowerAgreement(samples=64, cosine=1.0, centred_cosine=0.999999, alone=1e-7)
    agreement = Agreement(image=None, text=tower, inversion=0.0)
    text = render_card(card(agreement=agreement))
    assert "text tower, 64 samples: cosine 1.000000, around the mean 0.999999" in text
    assert "image tower" not in text
    assert "## Export" not in render_card(card())


def test_versions_name_python_and_torch() -> None:
    assert {"python", "torch", "mmsearch"} <= versions().keys()
