import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from mmsearch.commands import evaluate
from mmsearch.core import Encoder, Interpolation, Pixels, Preprocessing, Resize, Space, Vectors
from mmsearch.errors import DataError

GREYS = ("black", "grey", "white")


class GreyEncoder:
    """Tells black, grey and white pictures and words apart, and takes grey for white."""

    space = Space("greys", 3, "0" * 64)
    preprocessing = Preprocessing(
        (4, 4), Resize.SQUASH, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    )

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        return np.eye(3, dtype=np.float32)[[round(image.mean() / 127) for image in images]]

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        rows = [0 if "black" in text else 2 for text in texts]
        return np.eye(3, dtype=np.float32)[rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shade, grey in enumerate(GREYS):
        Image.new("L", (9, 9), 127 * shade).save(tmp_path / f"{grey}.png")
    lines = [f"{grey}.png,a {grey} square" for grey in GREYS]
    (tmp_path / "captions_test.csv").write_text("\n".join(["image,caption", *lines, "z.png,none"]))
    return tmp_path


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    def load(spec: str) -> Encoder:
        assert spec == "some/model"
        return GreyEncoder()

    monkeypatch.setattr("mmsearch.retrieval.models.load_encoder", load)
    app = typer.Typer()
    app.callback()(lambda: None)
    evaluate.register(app)
    return app


def run(app: typer.Typer, *arguments: str | Path) -> Result:
    words = ["evaluate", "some/model", *map(str, arguments)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_the_table_shows_both_directions_intervals_and_chance(
    app: typer.Typer, folder: Path
) -> None:
    result = run(app, folder)
    lines = result.stdout.splitlines()
    assert lines[0] == f"greys on {folder.name}, test: 3 images, 3 captions"
    assert lines[2].split() == [
        *("R@1", "R@5", "R@10", "MedR", "MeanR", "|"),
        *("R@1", "R@5", "R@10", "MedR", "MeanR", "|", "rsum"),
    ]
    # i2t: black is right, grey ties with both others, white with the caption of grey.
    # t2i: black and white are right; "grey" goes to white first and ties with black.
    assert lines[3].split() == [
        *("model", "33.3", "100.0", "100.0", "2.0", "2.0", "|"),
        *("66.7", "100.0", "100.0", "1.0", "1.7", "|", "500.0"),
    ]
    assert lines[4].startswith("95 % from")
    assert lines[5].startswith("95 % to")
    assert lines[6].split()[:2] == ["chance", "33.3"]
    assert len({line.rindex("|") for line in lines[1:]}) == 1


def test_what_is_left_out_goes_to_stderr(app: typer.Typer, folder: Path) -> None:
    result = run(app, folder)
    assert f"left out: {folder / 'captions_test.csv'}:5: image z.png is missing" in result.stderr
    assert "left out" not in result.stdout


def test_a_long_list_of_problems_is_cut(app: typer.Typer, folder: Path) -> None:
    with (folder / "captions_test.csv").open("a") as file:
        file.writelines(f"\nx{number}.png,none" for number in range(20))
    result = run(app, folder)
    assert result.stderr.count("is missing") == 10
    assert "left out: 11 more; --json lists all" in result.stderr
    assert len(json.loads(run(app, folder, "--json").stdout)["problems"]) == 21


@pytest.mark.parametrize("flags", [("--json",), ("--format", "json")])
def test_json_holds_the_figures_by_the_fields_names(
    app: typer.Typer, folder: Path, flags: tuple[str, ...]
) -> None:
    found = json.loads(run(app, folder, *flags).stdout)
    assert found["i2t"] == {
        "r1": pytest.approx(100 / 3),
        "r5": 100.0,
        "r10": 100.0,
        "medr": 2.0,
        "meanr": pytest.approx(2.0),
    }
    assert found["t2i"]["r1"] == pytest.approx(200 / 3)
    assert found["rsum"] == pytest.approx(500.0)
    assert (found["images"], found["captions"], found["split"]) == (3, 3, "test")
    assert found["model"] == "greys"
    assert found["chance"]["t2i"]["r1"] == pytest.approx(100 / 3)
    assert found["intervals"]["rsum"][0] <= 500.0 <= found["intervals"]["rsum"][1]
    assert found["problems"][0]["where"] == f"{folder / 'captions_test.csv'}:5"


def test_a_clip_benchmark_row_has_fractions_and_calls_t2i_image_retrieval(
    app: typer.Typer, folder: Path
) -> None:
    row = json.loads(run(app, folder, "--format", "clip-benchmark").stdout)
    assert row == {
        "dataset": f"{folder.name}/test",
        "model": "greys",
        "pretrained": "some/model",
        "task": "zeroshot_retrieval",
        "metrics": {
            "image_retrieval_recall@1": pytest.approx(2 / 3, abs=1e-6),
            "text_retrieval_recall@1": pytest.approx(1 / 3, abs=1e-6),
            "image_retrieval_recall@5": 1.0,
            "text_retrieval_recall@5": 1.0,
            "image_retrieval_recall@10": 1.0,
            "text_retrieval_recall@10": 1.0,
        },
        "language": "",
    }


def test_folds_and_split_and_layout_are_flags(app: typer.Typer, folder: Path) -> None:
    result = run(app, folder, "--folds", "3", "--split", "test", "--data-format", "csv")
    assert result.stdout.splitlines()[0].endswith("3 images, 3 captions, mean of 3 folds")
    assert result.stdout.splitlines()[3].split()[-1] == "600.0"


def test_images_may_lie_elsewhere(app: typer.Typer, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    table = data / "captions_test.csv"
    (folder / "captions_test.csv").rename(table)
    found = json.loads(run(app, table, "--images", folder, "--json").stdout)
    assert found["images"] == 3


def test_an_absent_split_is_an_error(app: typer.Typer, folder: Path) -> None:
    with pytest.raises(DataError, match="no split 'dev'; choose one of test or all"):
        run(app, folder, "--split", "dev")
