"""The train command: flags, files, the reference's spellings, and a run from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from mmsearch.cli import app
from mmsearch.commands import train as command
from mmsearch.retrieval.scenes import SceneOptions, write_scenes
from mmsearch.retrieval.vse.config import TrainConfig

TINY = [
    "--image-encoder=cnn",
    "--image-size=16",
    "--cnn-width=4",
    "--embed-dim=8",
    "--word-dim=8",
    "--hidden-dim=8",
    "--batch-size=16",
    "--min-count=1",
    "--threads=1",
]


def run(*args: object) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, args)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been trained."""
    jobs: list[dict[str, Any]] = []
    monkeypatch.setattr(command, "_start", lambda job, **_: jobs.append(job))
    return jobs


def config_of(asked: list[dict[str, Any]], *args: object) -> TrainConfig:
    result = run("data", "--output", "run", *args)
    assert result.exit_code == 0, result.output
    config = asked[-1]["config"]
    assert isinstance(config, TrainConfig)
    return config


def test_a_flag_replaces_the_presets_value(asked: list[dict[str, Any]]) -> None:
    config = config_of(asked, "--preset", "vsepp", "--lr", "0.5", "--mining", "auto")
    assert (config.preset, config.lr, str(config.mining)) == ("vsepp", 0.5, "auto")
    assert config.hidden_dim == 1024


def test_every_setting_has_a_flag(asked: list[dict[str, Any]]) -> None:
    config = config_of(asked, "--no-text-skip", "--finetune", "--vocabulary", "bpe", "--seed", 7)
    assert (config.text_skip, config.finetune, config.seed) == (False, True, 7)
    shown = run("--help").output
    for name in ("--margin", "--text-encoder", "--backbone-weights", "--ema"):
        assert name in shown


def test_a_config_file_is_overruled_by_flags(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('preset = "vsepp"\nlr = 0.25\nepochs = 9\n')
    config = config_of(asked, "--config", file, "--epochs", 3)
    assert (config.preset, config.lr, config.epochs) == ("vsepp", 0.25, 3)


def test_the_references_spellings_are_understood(asked: list[dict[str, Any]]) -> None:
    config = config_of(
        asked,
        "--preset=vsepp",
        "--num_epochs=5",
        "--embed_size=64",
        "--learning_rate=0.1",
        "--lr_update=3",
        "--max_violation",
        "--batch_size=32",
        "--grad_clip=4",
        "--cnn_type=resnet18",
        "--workers=8",
    )
    assert (config.epochs, config.embed_dim, config.hidden_dim) == (5, 64, 64)
    assert (config.lr, config.lr_step, config.batch_size) == (0.1, 3, 32)
    assert str(config.mining) == "hardest"
    assert config.grad_clip == 4 / 32
    assert config.image_encoder == "timm:resnet18"
    result = run("--data_path=data", "--logger_name=run")
    assert result.exit_code == 0
    assert (asked[-1]["data"], asked[-1]["output"]) == (Path("data"), Path("run"))
    assert "--num_epochs" not in run("--help").output


def test_the_reference_lines_of_commands_run_as_they_are(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "f30k_precomp").mkdir()
    lines = {
        "f30k_precomp": tmp_path / "f30k_precomp",
        "f30k": tmp_path,
    }
    for name, data in lines.items():
        line = f"--data_path={tmp_path} --data_name={name} --logger_name=runs/x --max_violation"
        more = "--vocab_path=v --use_restval --reset_train --img_dim=4096 --measure=cosine"
        result = run(*line.split(), *more.split(), "--num_layers=1")
        assert result.exit_code == 0, result.output
        assert asked[-1]["data"] == data


def test_the_references_clip_is_divided_by_the_batch_of_a_config_file(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = tmp_path / "c.toml"
    file.write_text("batch_size = 64\n")
    assert config_of(asked, "--config", file, "--grad_clip=2").grad_clip == 2 / 64


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["data"], "--output"),
        (["--output=run"], "DATA"),
        (["data", "--output=run", "--margin=9"], "out of range"),
        (["data", "--output=run", "--preset=vsep"], "did you mean 'vsepp'"),
        (["data", "--output=run", "--mining=easy"], "easy"),
        (["data", "--output=run", "--measure=order"], "--measure order is not supported"),
        (["data", "--output=run", "--use_abs"], "--use_abs is not supported"),
        (["absent-folder", "--output=run"], "absent-folder"),
        (["--resume=run", "--lr=1"], "leave out --lr,"),
        (["--resume=run", "--preset=vsepp"], "leave out --preset,"),
        (["--resume=run", "--images=pictures"], "leave out --images,"),
        (["--resume=absent-run"], "not a training run"),
    ],
)
def test_bad_input_is_one_line_and_code_two(
    args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_an_unknown_key_of_a_config_file_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("epoch = 3\n")
    result = run("data", "--output", tmp_path / "run", "--config", file)
    assert result.exit_code == 2
    assert "did you mean 'epochs'" in result.stderr


def test_a_preset_that_is_no_name_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("preset = 3\n")
    result = run("data", "--output", tmp_path / "run", "--config", file)
    assert result.exit_code == 2
    assert "must be of type str" in result.stderr


def test_a_run_from_the_command_line_prints_its_best_epoch(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_scenes(data, SceneOptions(train=40, dev=10, test=10, size=24, seed=0))
    place = ["--output", tmp_path / "run", "--cache", tmp_path / "cache"]
    result = run(data, *place, *TINY, "--epochs=1", "--json")
    assert result.exit_code == 0, result.output
    best = json.loads(result.stdout)
    assert best["epoch"] == 1
    assert 0 <= best["rsum"] <= 600
    assert "rsum" in result.stderr
    assert (tmp_path / "run" / "model" / "model.json").exists()
    again = run("--resume", tmp_path / "run")
    assert again.exit_code == 0
    assert "best rsum" in again.stdout
