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
from mmsearch.retrieval.cleaning import clean_text
from mmsearch.retrieval.encoder import OnnxEncoder, Precision, Use, normalise
from mmsearch.retrieval.folder import (
    Cleaning,
    ModelFolder,
    TextSpec,
    read_model_folder,
    write_model_folder,
)
from mmsearch.retrieval.tower import unit_rows


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


@pytest.mark.parametrize(
    ("steps", "text", "clean"),
    [
        ((), "\udc80\u00a0", "?\u00a0"),
        ((Cleaning.NFC,), "Cafe\u0301", "Caf\u00e9"),
        ((Cleaning.NFC, Cleaning.LOWER), "E\u0301\udc80", "\u00e9?"),
        ((Cleaning.FTFY,), "d\u00c3\u00a9j\u00c3\u00a0 vu", "d\u00e9j\u00e0 vu"),
        ((Cleaning.FTFY,), "a dog\u2019s", "a dog's"),
        ((Cleaning.HTML,), "a &amp;amp; b", "a & b"),
        ((Cleaning.PUNCTUATION,), "a_dog's (life)!", "a dogs life"),
        ((Cleaning.WHITESPACE,), " a\t\n b\u3000c ", "a b c"),
        ((Cleaning.PUNCTUATION, Cleaning.LOWER, Cleaning.WHITESPACE), "A - B", "a b"),
        ((Cleaning.FTFY,), "plain", "plain"),
    ],
)
def test_a_sentence_is_cleaned_step_by_step(
    steps: tuple[Cleaning, ...], text: str, clean: str
) -> None:
    assert clean_text(text, steps) == clean


def test_steps_of_cleaning_are_done_in_the_order_given(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    spec = TextSpec(folder.text.length, (Cleaning.HTML, Cleaning.PUNCTUATION))
    encoder = OnnxEncoder(write_model_folder(tmp_path, replace(folder, text=spec)))
    assert np.array_equal(encoder.encode_texts(["&quot;red&quot;"]), [[1, 0, 0, 0]])


def _text_network(path: Path, inputs: list[tuple[str, int, list[int | str]]]) -> ModelFolder:
    """Write a model whose vector counts tokens and what its second input holds."""
    folder = make_model(path)
    casts = [
        helper.make_node("Cast", [name], [f"{name}_f"], to=1)
        if rank == 2
        else helper.make_node("Cast", [name], [f"{name}_g"], to=1)
        for name, rank in ((name, len(shape)) for name, _, shape in inputs)
    ]
    sums = []
    for name, _, shape in inputs:
        if len(shape) == 2:
            node = helper.make_node("ReduceSum", [f"{name}_f", "axis_1"], [f"{name}_s"], keepdims=1)
        else:
            node = helper.make_node("Unsqueeze", [f"{name}_g", "axis_1"], [f"{name}_s"])
        sums.append(node)
    names = [f"{name}_s" for name, _, _ in inputs]
    join = helper.make_node("Concat", names, ["columns"], axis=1)
    product = helper.make_node("MatMul", ["columns", "table"], ["embedding"])
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    table = np.eye(len(inputs), DIM)
    save_network(path / "text.onnx", [*casts, *sums, join, product], infos, table)
    return folder


INT32, INT64 = 6, 7


def test_a_text_network_is_fed_by_the_names_and_types_that_it_declares(tmp_path: Path) -> None:
    wanted = [("input_ids", INT32), ("attention_mask", INT64), ("token_type_ids", INT64)]
    inputs: list[tuple[str, int, list[int | str]]] = [(n, t, ["b", "l"]) for n, t in wanted]
    folder = write_model_folder(tmp_path, _text_network(tmp_path, inputs))
    rows = OnnxEncoder(folder).encode_texts(["red", "red green blue"])
    ids = np.array([[1 + 4 + 2, 3, 0, 0], [1 + 4 + 5 + 6 + 2, 5, 0, 0]])  # start, words, end
    assert np.allclose(rows, ids / np.linalg.norm(ids, axis=1, keepdims=True))


@pytest.mark.parametrize("batch", ["b", 1, 3])
@pytest.mark.parametrize("length", ["l", 8])
def test_fixed_axes_of_a_network_are_filled_up(
    tmp_path: Path, batch: int | str, length: int | str
) -> None:
    inputs: list[tuple[str, int, list[int | str]]] = [
        ("text", INT32, [batch, length]),
        ("position_ids", INT64, [batch, length]),
    ]
    folder = write_model_folder(tmp_path, _text_network(tmp_path, inputs))
    sentences = ["red", "green blue", "blue", "red red red red"]
    encoder = OnnxEncoder(folder, Use(batch_size=2))
    rows = encoder.encode_texts(sentences)
    alone = np.concatenate([encoder.encode_texts([sentence]) for sentence in sentences])
    sums = np.array([7, 14, 9, 19])
    positions = rows[:, 1] / rows[:, 0] * sums
    if length == 8:
        assert np.allclose(positions, 28)  # 0 + 1 + ... + 7
        assert np.allclose(rows, alone)
    else:
        assert set(np.round(positions)) <= {3, 6, 15}  # of the longest of the batch


def test_a_model_may_want_every_sentence_at_its_full_length(tmp_path: Path) -> None:
    inputs: list[tuple[str, int, list[int | str]]] = [("tokens", INT64, ["b", "l"])]
    inputs.append(("position_ids", INT64, ["b", "l"]))
    folder = _text_network(tmp_path, inputs)
    full = replace(folder, text=TextSpec(8, pad=3, fixed=True))
    rows = OnnxEncoder(write_model_folder(tmp_path, full)).encode_texts(["red"])
    wanted = np.array([1 + 4 + 2 + 5 * 3, 28])
    assert np.allclose(rows[0, :2], wanted / np.linalg.norm(wanted))


def test_a_network_of_fewer_tokens_than_promised_is_a_model_error(tmp_path: Path) -> None:
    folder = write_model_folder(tmp_path, _text_network(tmp_path, [("text", INT32, ["b", 3])]))
    encoder = OnnxEncoder(folder)
    assert encoder.encode_texts(["red"]).shape == (1, DIM)
    with pytest.raises(ModelError, match="takes 3 tokens"):
        encoder.encode_texts(["red green"])


def test_a_network_whose_input_is_of_a_strange_type_is_a_model_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    nodes = [helper.make_node("Cast", ["pixels"], ["embedding"], to=1)]
    inputs = [helper.make_tensor_value_info("pixels", 11, ["b", DIM])]
    save_network(tmp_path / "image.onnx", nodes, inputs, np.zeros((1, DIM)))
    with pytest.raises(ModelError, match=r"takes tensor\(double\)"):
        OnnxEncoder(write_model_folder(tmp_path, folder)).encode_images([_plain(1, 2, 3)])


def test_the_embedding_may_be_any_output_by_its_name(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    named = write_model_folder(tmp_path, replace(folder, text_output="embedding"))
    assert np.array_equal(OnnxEncoder(named).encode_texts(["red"]), [[1, 0, 0, 0]])
    wrong = write_model_folder(tmp_path, replace(folder, text_output="text_embeds"))
    with pytest.raises(ModelError, match="no output 'text_embeds', only embedding"):
        OnnxEncoder(wrong).encode_texts(["red"])


def test_the_8_bit_network_is_run_where_there_is_one_and_it_is_wanted(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    inputs = [helper.make_tensor_value_info("tokens", INT64, ["b", "l"])]
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["words"])]
    nodes.append(helper.make_node("ReduceSum", ["words", "axis_1"], ["embedding"], keepdims=0))
    save_network(tmp_path / "text.int8.onnx", nodes, inputs, np.tile([0, 0, 0, 1.0], (9, 1)))
    folder = write_model_folder(tmp_path, folder)
    assert "text.int8.onnx" in folder.files
    answers = {
        precision: OnnxEncoder(folder, Use(precision=precision)).encode_texts(["red"])[0, 0]
        for precision in Precision
    }
    assert answers == {Precision.AUTO: 0, Precision.FP32: 1, Precision.INT8: 0}
    with pytest.raises(ModelError, match="no 8-bit image network"):
        OnnxEncoder(folder, Use(precision=Precision.INT8)).encode_images([_plain(1, 2, 3)])


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
