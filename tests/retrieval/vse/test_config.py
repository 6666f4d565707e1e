"""Settings: presets, files, errors that help."""

from pathlib import Path

import pytest

from mmsearch.errors import ConfigError
from mmsearch.retrieval.vse.config import (
    PRESETS,
    Mining,
    TrainConfig,
    preset,
    read_config_file,
    with_settings,
)


def test_vsepp_is_the_recipe_of_the_paper() -> None:
    config = preset("vsepp")
    assert (config.margin, config.lr, config.lr_step, config.epochs) == (0.2, 2e-4, 15, 30)
    assert (config.word_dim, config.hidden_dim, config.embed_dim) == (300, 1024, 1024)
    assert (config.batch_size, config.min_count, config.contrastive) == (128, 4, 0.0)
    assert config.grad_clip * config.batch_size == 2.0
    assert config.mining is Mining.HARDEST


def test_vse0_differs_from_vsepp_in_its_negatives_alone() -> None:
    one, other = preset("vse0").as_dict(), preset("vsepp").as_dict()
    assert {key for key in one if one[key] != other[key]} == {"preset", "mining"}
    assert one["mining"] == "all"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_own_json(name: str) -> None:
    config = preset(name)
    assert with_settings(TrainConfig(), config.as_dict()) == config


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        preset("default", epoch=3)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vsepp'"):
        preset("vsep")


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("margin", 3.0, "out of range"),
        ("lr", "fast", "of type float"),
        ("mining", "easiest", "not one of: auto, semi-hard, hardest, all"),
        ("batch_size", 1, "use 2"),
        ("image_encoder", "resnet", "timm:NAME"),
        ("epochs", True, "of type int"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(
    setting: str, value: object, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        preset("default", **{setting: value})


def test_a_config_file_may_be_toml_or_json(tmp_path: Path) -> None:
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text('mining = "hardest"\nbatch-size = 64\n')
    json.write_text('{"mining": "hardest", "batch-size": 64}')
    for file in (toml, json):
        config = preset("default", **read_config_file(file))
        assert (config.mining, config.batch_size) == (Mining.HARDEST, 64)


@pytest.mark.parametrize("text", ["epochs = ", "[1, 2]", "\xff"])
def test_a_broken_config_file_is_one_clear_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"c\.json"):
        read_config_file(file)
