"""8-bit networks of a model folder."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retrieval.convert.quantise_models import make_wide_model, pictures, sentences
from tests.retrieval.onnx_models import make_model

from mmsearch.core import Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise import quantise_folder
from mmsearch.retrieval.convert.quantise_check import Figures
from mmsearch.retrieval.encoder import OnnxEncoder, Precision, Use
from mmsearch.retrieval.folder import read_model_folder, verify
from mmsearch.retrieval.optimise import description_of, optimise_folder

INT8_FILES = ["image.int8.onnx", "text.int8.onnx"]


@pytest.fixture(autouse=True)
def any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks this small are not faster in 8 bits; that limit has a test of its own."""
    monkeypatch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_SPEED", 0.0)


def _encoder(path: Path, precision: Precision = Precision.AUTO) -> OnnxEncoder:
    return OnnxEncoder(read_model_folder(path), Use(threads=1, precision=precision))


def _cosine(one: Vectors, other: Vectors) -> float:
    return float((one * other).sum(axis=1).mean())


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("wide")
    make_wide_model(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_SPEED", 0.0)
        return path, dict(quantise_folder(path, pictures(60), sentences(60)))


def test_towers_that_pass_are_kept_with_their_figures(
    quantised: tuple[Path, dict[str, Any]],
) -> None:
    path, facts = quantised
    assert facts["image"]["kept"]
    assert facts["text"]["kept"]
    assert facts["image"]["recipe"].startswith("static")
    assert facts["text"]["recipe"].startswith("dynamic by row")
    for tower in ("image", "text"):
        assert facts[tower]["cosine"] >= 0.99
        assert facts[tower]["alone"] >= 0.999
        assert facts[tower]["samples"] == 30
    folder = read_model_folder(path)
    assert json.loads((path / "model.json").read_text())["int8"] == facts
    assert set(INT8_FILES) <= set(folder.files)
    verify(folder)


def test_an_encoder_takes_the_8_bit_networks_by_itself(
    quantised: tuple[Path, dict[str, Any]],
) -> None:
    path, _ = quantised
    plain = _encoder(path, Precision.FP32)
    for precision in (Precision.AUTO, Precision.INT8):
        int8 = _encoder(path, precision)
        texts = int8.encode_texts(sentences(20))
        assert 0.99 < _cosine(texts, plain.encode_texts(sentences(20))) < 1 - 1e-7
        images = int8.encode_images(pictures(20))
        assert 0.99 < _cosine(images, plain.encode_images(pictures(20))) < 1 - 1e-7


def test_the_files_may_be_read_by_whom_the_others_may(
    quantised: tuple[Path, dict[str, Any]],
) -> None:
    path, _ = quantised
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()}
    assert modes == {stat.S_IMODE((path / "model.json").stat().st_mode)}
    assert not list(path.glob(".*"))


def test_an_8_bit_model_can_be_optimised(tmp_path: Path) -> None:
    make_wide_model(tmp_path)
    quantise_folder(tmp_path, pictures(30), sentences(30))
    before = _encoder(tmp_path).encode_images(pictures(9))
    folder = optimise_folder(tmp_path)
    optimised: Any = folder.optimised
    assert set(INT8_FILES) <= set(optimised["files"])
    assert folder.int8["image"]["kept"]  # type: ignore[index]
    assert _cosine(_encoder(tmp_path).encode_images(pictures(9)), before) > 0.9999
    once = OnnxEncoder(folder, Use(threads=1, once=True))  # loads the graph as it lies there
    assert _cosine(once.encode_images(pictures(9)), before) > 0.9999
    texts = _encoder(tmp_path).encode_texts(sentences(9))
    assert _cosine(once.encode_texts(sentences(9)), texts) > 0.9999


def test_without_samples_scenes_are_drawn(tmp_path: Path) -> None:
    make_wide_model(tmp_path)
    facts: Any = quantise_folder(tmp_path)
    assert facts["image"]["samples"] == 48
    assert facts["text"]["samples"] == 96


def test_the_vectors_of_captioned_pictures_decide_where_there_are_some(tmp_path: Path) -> None:
    make_wide_model(tmp_path)
    pairs = [(picture, sentences(60)[n : n + 2]) for n, picture in enumerate(pictures(40))]
    facts: Any = quantise_folder(tmp_path, pictures(30), sentences(30), labelled=pairs)
    for tower in ("image", "text"):
        assert max(facts[tower]["lost"], facts[tower]["surely"]) <= 0.5


def test_a_network_that_loses_too_much_is_not_kept(tmp_path: Path, monkeypatch: Any) -> None:
    make_wide_model(tmp_path)
    quantise_folder(tmp_path, pictures(30), sentences(30))
    monkeypatch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_COSINE", 1.1)
    said: list[str] = []
    facts: Any = quantise_folder(tmp_path, pictures(30), sentences(30), say=said.append)
    assert facts["image"]["kept"] is False
    assert "mean cosine" in facts["image"]["why"][0]
    assert len(said) == len(facts["image"]["why"]) + len(facts["text"]["why"])
    assert not list(tmp_path.glob("*.int8.*"))  # those of the first time neither
    folder = read_model_folder(tmp_path)
    assert folder.image_int8_path is None
    _encoder(tmp_path).encode_texts(["red"])


def test_a_sensitive_operation_is_spared(tmp_path: Path) -> None:
    make_wide_model(tmp_path, outlier=1e4)
    facts: Any = quantise_folder(tmp_path, pictures(30), sentences(30))
    assert facts["text"]["kept"]
    assert facts["text"]["recipe"].endswith("1 operations spared")


def test_a_slower_network_is_not_kept(tmp_path: Path, monkeypatch: Any) -> None:
    figures = Figures(cosine=1, centred=1, alone=1, neighbours=1, speed=0.5, samples=9)
    monkeypatch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_SPEED", 0.9)
    assert "0.50 times" in figures.failure()
    assert replace(figures, speed=1.2).failure() == ""


def test_a_tower_with_nothing_to_quantise_says_so(tmp_path: Path) -> None:
    make_model(tmp_path)
    facts: Any = quantise_folder(tmp_path, pictures(10), sentences(10))
    assert facts["text"]["kept"] is False
    assert "no product or table" in facts["text"]["why"][0]
    assert str(tmp_path) not in json.dumps(facts)


def test_a_model_of_features_alone_has_its_text_network_quantised(tmp_path: Path) -> None:
    make_model(tmp_path, images=False)
    assert set(quantise_folder(tmp_path, (), sentences(10))) == {"text"}


def test_all_else_of_the_description_stays(tmp_path: Path) -> None:
    before = make_wide_model(tmp_path)
    quantise_folder(tmp_path, pictures(20), sentences(20))
    after = read_model_folder(tmp_path)
    assert replace(description_of(after), int8={}) == description_of(before)
    assert after.files["text.onnx"] == before.files["text.onnx"]


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a model folder"):
        quantise_folder(tmp_path)


def test_an_item_alone_and_in_a_batch_are_the_same(quantised: tuple[Path, dict[str, Any]]) -> None:
    path, _ = quantised
    encoder = _encoder(path)
    many = encoder.encode_images(pictures(32))
    alone = np.concatenate([encoder.encode_images([picture]) for picture in pictures(32)])
    assert (many * alone).sum(axis=1).min() > 0.9999


def test_weights_of_8_bits_are_left_where_their_sums_overflow(
    quantised: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, facts = quantised
    monkeypatch.setattr("mmsearch.retrieval.loading.sums_overflow", lambda: True)
    texts = sentences(9)
    plain = _encoder(path, Precision.FP32).encode_texts(texts)
    assert facts["text"]["bits"] == 7
    assert not np.array_equal(_encoder(path).encode_texts(texts), plain)
    folder = read_model_folder(path)
    wider = replace(folder, int8={"text": {**facts["text"], "bits": 8}})
    assert np.array_equal(OnnxEncoder(wider, Use(threads=1)).encode_texts(texts), plain)
