"""Graphs that are simplified once."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.retrieval.onnx_models import DIM, make_model

from mmsearch.core import Pixels
from mmsearch.errors import ModelError
from mmsearch.retrieval.encoder import OnnxEncoder, Use
from mmsearch.retrieval.folder import ModelFolder, read_model_folder, verify, write_model_folder
from mmsearch.retrieval.optimise import (
    Level,
    centred_cosine,
    description_of,
    optimise_folder,
    simplify,
)

PICTURES: list[Pixels] = [
    np.random.default_rng(n).integers(0, 256, (9, 7, 3), dtype=np.uint8) for n in range(5)
]
SENTENCES = ["red", "a green and blue ball", "", "blue blue"]


def _wide_model(path: Path) -> ModelFolder:
    """Write a model whose text tower has weights enough to lie apart, and what can be folded."""
    folder = make_model(path)
    draw = np.random.default_rng(0)
    table = draw.normal(size=(64, 256)).astype(np.float32)
    first, second = (draw.normal(size=(256, 256)).astype(np.float32) / 16 for _ in range(2))
    last = draw.normal(size=(256, DIM)).astype(np.float32)
    constants: dict[str, np.ndarray] = {
        "table": table,
        "first": first,
        "second": second,
        "last": last,
    }
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["words"]),
        helper.make_node("MatMul", ["first", "second"], ["both"]),
        helper.make_node("MatMul", ["words", "both"], ["deep"]),
        helper.make_node("Relu", ["deep"], ["firm"]),
        helper.make_node("MatMul", ["firm", "last"], ["wide"]),
        helper.make_node("ReduceMean", ["wide", "axis"], ["embedding"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [
            *(numpy_helper.from_array(values, name) for name, values in constants.items()),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path / "text.onnx"))
    return write_model_folder(path, description_of(folder))


def test_an_optimised_model_gives_the_same_vectors(tmp_path: Path) -> None:
    before = OnnxEncoder(_wide_model(tmp_path), Use(threads=1))
    texts, images = before.encode_texts(SENTENCES), before.encode_images(PICTURES)
    optimise_folder(tmp_path)
    for once in (False, True):
        after = OnnxEncoder(read_model_folder(tmp_path), Use(threads=1, once=once))
        np.testing.assert_allclose(after.encode_texts(SENTENCES), texts, atol=1e-5)
        np.testing.assert_allclose(after.encode_images(PICTURES), images, atol=1e-5)


def test_the_graph_gets_smaller_and_its_weights_lie_beside_it(tmp_path: Path) -> None:
    _wide_model(tmp_path)
    before = len(onnx.load(str(tmp_path / "text.onnx")).graph.node)
    folder = optimise_folder(tmp_path)
    graph = onnx.load(str(tmp_path / "text.onnx"), load_external_data=False).graph
    assert len(graph.node) < before  # the product of two constants is one
    assert (tmp_path / "text.onnx").stat().st_size < 20_000
    assert folder.files["text.onnx.data"].bytes > 256 * 256 * 4
    verify(read_model_folder(tmp_path))


def test_what_was_done_is_recorded(tmp_path: Path) -> None:
    folder = optimise_folder(make_model(tmp_path).path)
    assert folder.optimised["level"] == "extended"
    assert folder.optimised["files"] == ["image.onnx", "text.onnx"]
    document = json.loads((tmp_path / "model.json").read_text())
    assert document["optimised"] == folder.optimised
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")) == []


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    _wide_model(tmp_path)
    one = optimise_folder(tmp_path)
    two = optimise_folder(tmp_path)
    assert one.optimised == two.optimised
    texts = OnnxEncoder(two, Use(threads=1)).encode_texts(SENTENCES)
    assert np.isfinite(texts).all()


def test_the_space_and_all_else_stay(tmp_path: Path) -> None:
    before = _wide_model(tmp_path)
    after = optimise_folder(tmp_path)
    assert replace(description_of(after), optimised={}) == description_of(before)


def test_a_copied_folder_works_elsewhere(tmp_path: Path) -> None:
    _wide_model(tmp_path / "here")
    optimise_folder(tmp_path / "here")
    expected = OnnxEncoder(read_model_folder(tmp_path / "here")).encode_texts(SENTENCES)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    found = OnnxEncoder(read_model_folder(tmp_path / "there")).encode_texts(SENTENCES)
    assert np.array_equal(found, expected)


def test_a_graph_that_cannot_be_simplified_stays(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    (tmp_path / "text.onnx").write_bytes(b"\x08\x07 this is no network")
    write_model_folder(tmp_path, description_of(folder))
    after = optimise_folder(tmp_path)
    assert after.optimised["files"] == ["image.onnx"]
    left = after.optimised["left"]
    assert isinstance(left, dict)
    assert "cannot simplify text.onnx" in left["text.onnx"]
    assert (tmp_path / "text.onnx").read_bytes() == b"\x08\x07 this is no network"


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a model folder"):
        optimise_folder(tmp_path)


def test_the_basic_level_keeps_to_standard_operations(tmp_path: Path) -> None:
    _wide_model(tmp_path)
    simplify(tmp_path / "text.onnx", tmp_path / "basic.onnx", Level.BASIC)
    graph = onnx.load(str(tmp_path / "basic.onnx"), load_external_data=False).graph
    assert {node.domain for node in graph.node} <= {"", "ai.onnx"}


def test_a_bias_and_a_gelu_stay_two_operations(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "bias"], ["a"]),
        helper.make_node("Div", ["a", "root"], ["b"]),
        helper.make_node("Erf", ["b"], ["c"]),
        helper.make_node("Add", ["c", "one"], ["d"]),
        helper.make_node("Mul", ["a", "d"], ["e"]),
        helper.make_node("Mul", ["e", "half"], ["result"]),
    ]
    constants = {"bias": np.ones(8), "root": np.sqrt(2.0), "one": 1.0, "half": 0.5}
    graph = helper.make_graph(
        nodes,
        "gelu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["n", 8])],
        [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "plain.onnx"))
    simplify(tmp_path / "plain.onnx", tmp_path / "simple.onnx", Level.EXTENDED)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "simple.onnx")).graph.node]
    assert kinds == ["Add", "Gelu"]


def test_the_centred_cosine_sees_what_a_common_direction_hides() -> None:
    common = np.array([10.0, 0.0, 0.0], dtype=np.float32)
    expected = common + np.array([[0, 1, 0], [0, -1, 0]], dtype=np.float32)
    found = common + np.array([[0, 0, 1], [0, 0, -1]], dtype=np.float32)
    np.testing.assert_allclose(centred_cosine(expected, found), [0, 0], atol=1e-6)
    np.testing.assert_allclose(centred_cosine(expected, expected), [1, 1], atol=1e-6)


def test_rows_that_are_all_alike_are_compared_as_they_are() -> None:
    rows = np.array([[0.6, 0.8]], dtype=np.float32)
    other = np.array([[0.8, -0.6]], dtype=np.float32)
    assert centred_cosine(rows, rows).tolist() == [pytest.approx(1)]
    assert centred_cosine(rows, other).tolist() == [pytest.approx(0, abs=1e-6)]
