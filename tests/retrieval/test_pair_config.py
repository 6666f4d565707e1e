"""What the JSON files beside an ONNX pair say is done, or refused."""

import json
from pathlib import Path

import pytest
from tests.retrieval.ready_pairs import SIDE, photo_server, transformers_js, write_json

from mmsearch.core import Resize
from mmsearch.errors import ModelError
from mmsearch.retrieval.layouts import Layout
from mmsearch.retrieval.onnx_pairs import write_pair
from mmsearch.retrieval.pair_config import pad_token, pads_always, text_length


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An empty folder for the model."""
    path = tmp_path / "made"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [16, 16]}, "takes pictures of"),
        ({"interpolation": "nearest"}, "nearest"),
        ({"resize_mode": "stretch"}, "stretch"),
        ({"std": [0, 1, 1]}, "positive"),
        ({"mean": "grey"}, "does not do"),
        ({"size": [10**6, 10**6]}, "pictures of 1000000 x 1000000 pixels"),
        ({"size": []}, "does not do"),
        ({"size": None}, "does not do"),
    ],
)
def test_preprocessing_that_is_not_known_is_refused(
    tmp_path: Path, made: Path, change: dict[str, object], message: str
) -> None:
    source = photo_server(tmp_path / "source")
    file = source / "visual" / "preprocess_cfg.json"
    write_json(file, json.loads(file.read_text()) | change)
    with pytest.raises(ModelError, match=message):
        write_pair(Layout.PHOTO_SERVER, source, made, name="photos")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"size": SIDE, "crop_size": SIDE}, (Resize.CROP, SIDE)),
        ({"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}, (Resize.SQUASH, None)),
        ({"size": SIDE, "do_center_crop": False, "do_normalize": False}, (Resize.SQUASH, None)),
        ({"size": {"shortest_edge": 40}, "crop_size": SIDE}, (Resize.CROP, 40)),
    ],
)
def test_the_forms_of_a_preprocessor_config_are_read(
    tmp_path: Path, made: Path, change: dict[str, object], expected: tuple[Resize, int | None]
) -> None:
    source = transformers_js(tmp_path / "source")
    file = source / "preprocessor_config.json"
    write_json(file, json.loads(file.read_text()) | change)
    found = write_pair(Layout.TRANSFORMERS_JS, source, made, name="photos").preprocessing
    assert found is not None
    assert found.size == (SIDE, SIDE)
    assert (found.resize, found.short_side) == expected
    assert (found.mean == (0, 0, 0)) == ("do_normalize" in change)


@pytest.mark.parametrize(
    "change",
    [
        {"do_resize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5},
        {"do_pad": True},
        {"do_center_crop": False},
        {"crop_size": 64},
        {"resample": 0},
        {"size": {"longest_edge": 64}},
    ],
    ids=str,
)
def test_a_preprocessor_config_is_not_read_in_part(
    tmp_path: Path, made: Path, change: dict[str, object]
) -> None:
    source = transformers_js(tmp_path / "source")
    file = source / "preprocessor_config.json"
    write_json(file, json.loads(file.read_text()) | change)
    with pytest.raises(ModelError, match="preprocessor_config"):
        write_pair(Layout.TRANSFORMERS_JS, source, made, name="photos")


@pytest.mark.parametrize(
    "config",
    [
        {"text_cfg": [1]},
        {"text_cfg": {"context_length": "long"}},
        {"text_cfg": {"context_length": -1}},
        {"text_cfg": {"tokenizer_kwargs": ["clean"]}},
        {"text_cfg": {"tokenizer_kwargs": {"clean": "whiter"}}},
        [],
        "text",
    ],
    ids=str,
)
def test_rubbish_in_the_configuration_is_one_clear_error(
    tmp_path: Path, made: Path, config: object
) -> None:
    source = photo_server(tmp_path / "source")
    write_json(source / "config.json", config)
    with pytest.raises(ModelError) as caught:
        write_pair(Layout.PHOTO_SERVER, source, made, name="photos")
    assert "\n" not in str(caught.value)


def test_the_length_of_text_is_the_least_that_is_stated() -> None:
    assert text_length({"model_max_length": 77}, {}) == 77
    assert text_length({"model_max_length": 1e30}, {"text_config": {}}) is None
    config = {"text_config": {"max_position_embeddings": 64}}
    assert text_length({"model_max_length": 77}, config) == 64
    roberta = {"text_config": {"model_type": "xlm-roberta", "max_position_embeddings": 514}}
    assert text_length({}, roberta) == 512


def test_siglip_is_known_to_fill_sentences_up() -> None:
    assert pads_always({"model_type": "siglip"})
    assert pads_always({"text_config": {"model_type": "siglip2_text_model"}})
    assert not pads_always({"model_type": "clip", "text_config": {}})


def test_a_padding_token_may_be_an_object() -> None:
    assert pad_token({"pad_token": "<pad>"}) == "<pad>"
    assert pad_token({"pad_token": {"content": "</s>", "lstrip": False}}) == "</s>"
    assert pad_token({}) is None
