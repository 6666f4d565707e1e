"""The ONNX encoder, on networks whose answers are known."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from tests.retrieval.onnx_models import DIM, make_model, save_network
from tokenizers import Tokenizer, models

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.encoder import OnnxEncoder, Use, clean_text, normalise, unit_rows
from mmsearch.retrieval.folder import read_model_folder, write_model_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    make_model(path)
    return path


@pytest.fixture
def encoder(folder: Path) -> OnnxEncoder:
    return OnnxEncoder(read_model_folder(folder), Use(threads=1, batch_size=2))


def _plain(red: int, green: int, blue: int, size: tuple[int, int] = (6, 4)) -> Pixels:
    return np.full((*size, 3), (red, green, blue), dtype=np.uint8)


def _damaged(path: Path, file: str, content: bytes) -> OnnxEncoder:
    """Return the encoder of a model whose description fits its damaged file."""
    folder = make_model(path)
    (path / file).write_bytes(content)
    return OnnxEncoder(write_model_folder(path, folder))


def test_pictures_of_any_size_become_unit_rows_in_their_order(encoder: OnnxEncoder) -> None:
    images = [_plain(255, 0, 0), _plain(0, 255, 0, (9, 30)), _plain(0, 0, 9), _plain(3, 4, 0)]
    rows = encoder.encode_images(images)
    expected = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.6, 0.8, 0, 0]])
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    assert rows.dtype == np.float32


def test_sentences_become_unit_rows_in_their_order(encoder: OnnxEncoder) -> None:
    texts = ["a red red red green red green green car", "blue", "RED", "red green"]
    rows = encoder.encode_texts(texts)
    half = np.sqrt(0.5)
    # Six words remain beside start and end, of which "a" is unknown: 0.25, 4 red, 1 green.
    first = np.array([4, 1, 0, 0.25]) / np.linalg.norm([4, 1, 0, 0.25])
    expected = np.array([first, [0, 0, 1, 0], [1, 0, 0, 0], [half, half, 0, 0]])
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_a_sentence_alone_and_in_a_batch_are_the_same_row(encoder: OnnxEncoder) -> None:
    texts = ["red", "blue green a a a", "", "car", "red blue"]
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode_texts(texts), alone, atol=1e-6)


@pytest.mark.parametrize("text", ["", " ", "\n", "!", "日本", "\udc80", "\0", "e" * 10_000])
def test_an_empty_or_unknown_sentence_gives_finite_numbers(encoder: OnnxEncoder, text: str) -> None:
    row = encoder.encode_texts([text])
    assert row.shape == (1, DIM)
    assert np.isfinite(row).all()


def test_nothing_to_encode_gives_no_rows(encoder: OnnxEncoder) -> None:
    assert encoder.encode_texts([]).shape == (0, DIM)
    assert encoder.encode_images([]).shape == (0, DIM)


def test_a_tokenizer_without_start_and_end_still_gives_one_token(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    bare = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 3}, unk_token="<unk>"))
    bare.save(str(tmp_path / "tokenizer.json"))
    encoder = OnnxEncoder(write_model_folder(tmp_path, folder))
    assert encoder.encode_texts([""]).tolist() == [[0, 0, 0, 0]]


def test_a_tokenizer_without_an_unknown_word_is_a_model_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    Tokenizer(models.WordLevel({"red": 4})).save(str(tmp_path / "tokenizer.json"))
    encoder = OnnxEncoder(write_model_folder(tmp_path, folder))
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        encoder.encode_texts(["green"])


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", bytes(100)])
def test_a_damaged_tokenizer_is_a_model_error(tmp_path: Path, content: bytes) -> None:
    encoder = _damaged(tmp_path, "tokenizer.json", content or b" ")
    with pytest.raises(ModelError, match="tokenizer") as caught:
        encoder.encode_texts(["red"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx"])
def test_a_damaged_network_is_a_model_error(tmp_path: Path, file: str) -> None:
    encoder = _damaged(tmp_path, file, b"\x08\x07 this is no network")
    use = partial(encoder.encode_texts, ["red"])
    if file == "image.onnx":
        use = partial(encoder.encode_images, [_plain(1, 2, 3)])
    with pytest.raises(ModelError, match="damaged") as caught:
        use()
    assert "\n" not in str(caught.value)


def test_a_small_network_with_a_flipped_bit_is_never_run(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    content = bytearray((tmp_path / "text.onnx").read_bytes())
    content[-40] ^= 4
    (tmp_path / "text.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="differs from its record"):
        OnnxEncoder(folder).encode_texts(["red"])


def test_a_network_of_another_width_is_a_model_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["embedding"])]
    inputs = [helper.make_tensor_value_info("tokens", 7, ["batch", "length"])]
    save_network(tmp_path / "text.onnx", nodes, inputs, np.zeros((9, DIM)))
    encoder = OnnxEncoder(write_model_folder(tmp_path, folder))
    with pytest.raises(ModelError, match="promises"):
        encoder.encode_texts(["red"])


def test_a_network_that_gives_nan_is_a_model_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    nodes = [helper.make_node("ReduceSum", ["spread", "axis_1"], ["embedding"], keepdims=0)]
    nodes.insert(0, helper.make_node("Gather", ["table", "tokens"], ["spread"]))
    inputs = [helper.make_tensor_value_info("tokens", 7, ["batch", "length"])]
    save_network(tmp_path / "text.onnx", nodes, inputs, np.full((9, DIM), np.nan))
    encoder = OnnxEncoder(write_model_folder(tmp_path, folder))
    with pytest.raises(ModelError, match="not finite"):
        encoder.encode_texts(["red"])


def test_a_text_network_with_an_unknown_input_is_a_model_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    nodes = [helper.make_node("Identity", ["colours"], ["embedding"])]
    inputs = [helper.make_tensor_value_info("colours", 1, ["batch", DIM])]
    save_network(tmp_path / "text.onnx", nodes, inputs, np.zeros((1, DIM)))
    encoder = OnnxEncoder(write_model_folder(tmp_path, folder))
    with pytest.raises(ModelError, match="unknown input 'colours'"):
        encoder.encode_texts(["red"])


def test_a_model_of_precomputed_features_cannot_encode_pictures(tmp_path: Path) -> None:
    encoder = OnnxEncoder(make_model(tmp_path, images=False))
    assert encoder.encode_texts(["red"]).tolist() == [[1, 0, 0, 0]]
    with pytest.raises(ModelError, match="precomputed features"):
        encoder.encode_images([_plain(1, 2, 3)])


@pytest.mark.parametrize("settings", [{"threads": 0}, {"batch_size": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        replace(Use(), **settings)  # type: ignore[arg-type]


def test_an_encoder_for_one_question_answers_like_any_other(folder: Path) -> None:
    brief, patient = (
        OnnxEncoder(read_model_folder(folder), Use(once=once)) for once in (True, False)
    )
    for _ in range(2):  # the second time, what was let go of is loaded again
        assert np.array_equal(brief.encode_texts(["red"]), patient.encode_texts(["red"]))
        pixels = [_plain(200, 30, 40)]
        assert np.array_equal(brief.encode_images(pixels), patient.encode_images(pixels))


def test_normalising_is_x_over_255_minus_mean_over_std() -> None:
    preprocessing = Preprocessing(
        (1, 2), Resize.SQUASH, Interpolation.BILINEAR, (0.5, 0.0, 0.2), (0.5, 1.0, 0.4)
    )
    pixels = np.array([[[[255, 0, 51], [0, 255, 255]]]], dtype=np.uint8)
    expected = np.array([[[[1.0, -1.0]], [[0.0, 1.0]], [[0.0, 2.0]]]])
    np.testing.assert_allclose(normalise(pixels, preprocessing), expected, atol=1e-6)


def test_a_zero_row_stays_zero() -> None:
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(rows, np.array([[0.6, 0.8], [0, 0]]), atol=1e-7)


def test_a_sentence_is_composed_and_valid_unicode() -> None:
    assert clean_text("Cafe\u0301", lowercase=False) == "Caf\u00e9"
    assert clean_text("É\udc80", lowercase=True) == "é?"


def test_a_text_query_loads_neither_the_image_tower_nor_pillow(folder: Path) -> None:
    program = f"""
import sys
from mmsearch import load_encoder
encoder = load_encoder({str(folder)!r})
encoder.encode_texts(["red"])
assert encoder._image is None
assert "PIL" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_runtime_leaves_no_telemetry_behind(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    spared = ("TELEMETRY", "CI", "XDG_", "PYTEST")
    environment = {k: v for k, v in os.environ.items() if not any(s in k for s in spared)}
    program = f"""
from mmsearch import load_encoder
print(load_encoder({str(folder)!r}).encode_texts(["red"]).tolist())
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=120,
        env={**environment, "HOME": str(home)},
        capture_output=True,
    )
    assert run.stdout == b"[[1.0, 0.0, 0.0, 0.0]]\n"
    assert list(home.rglob("*")) == []
