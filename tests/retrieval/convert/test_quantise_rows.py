"""Products in 8 bits, with a scale for each row."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.retrieval.convert.quantise_models import SIDE, patched, worded
from tests.retrieval.onnx_models import VOCABULARY

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise_loss import product_loss
from mmsearch.retrieval.convert.quantise_recipes import recipes
from mmsearch.retrieval.convert.quantise_rows import products, quantise_rows
from mmsearch.retrieval.convert.quantise_weights import quantise_columns

Run = Callable[[NDArray[np.generic]], NDArray[np.float32]]


def _run(model: onnx.ModelProto | Path) -> Run:
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / lengths)


def _pixels(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


def _tokens(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(4).integers(0, len(VOCABULARY), (count, 5))


def test_columns_have_a_scale_each_and_keep_their_largest_number() -> None:
    matrix = np.array([[254.0, 0.5], [-127.0, -0.25]], dtype=np.float32)
    found = quantise_columns(matrix, 8)
    assert found.scales.tolist() == [2.0, pytest.approx(0.5 / 127)]
    assert found.values.tolist() == [[127, 127], [-64, -64]]  # 63.5 is rounded to even
    assert np.abs(quantise_columns(matrix, 7).values).max() == 63


def test_a_column_of_zeros_stays_zero() -> None:
    assert quantise_columns(np.zeros((3, 1), dtype=np.float32), 8).values.tolist() == [[0]] * 3


def test_rows_of_very_different_size_are_each_exact() -> None:
    """Whole numbers up to 127 times a power of two a row are represented exactly."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (64, 64)).astype(np.float32)
    weights[0] = 127
    rows = rng.integers(-127, 128, (3, 64)).astype(np.float32)
    rows[:, 0] = 127
    rows *= np.array([[1.0], [2.0**-10], [2.0**10]], dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["result"])],
        "product",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert quantise_rows(model) == 1
    np.testing.assert_allclose(_run(model)(rows), rows @ weights, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("operators", [13, 17, 18, 20])
@pytest.mark.parametrize("bits", [7, 8])
def test_an_image_network_of_patches_keeps_its_vectors(
    tmp_path: Path, operators: int, bits: int
) -> None:
    patched(tmp_path / "image.onnx", operators)
    model = onnx.load(str(tmp_path / "image.onnx"))
    assert quantise_rows(model, bits=bits) == 3
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["MatMulIntegerToFloat"] == 3
    assert kinds["Conv"] == kinds["MatMul"] == kinds["Gemm"] == 0
    expected, found = _run(tmp_path / "image.onnx")(_pixels(9)), _run(model)(_pixels(9))
    assert _cosines(expected, found).min() > 0.995


def test_a_text_network_keeps_its_vectors_in_a_quarter_of_the_space(tmp_path: Path) -> None:
    worded(tmp_path / "text.onnx")
    model = onnx.load(str(tmp_path / "text.onnx"))
    assert quantise_rows(model) == 4
    assert model.ByteSize() < 0.3 * (tmp_path / "text.onnx").stat().st_size
    expected, found = _run(tmp_path / "text.onnx")(_tokens(9)), _run(model)(_tokens(9))
    assert _cosines(expected, found).min() > 0.995


def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path) -> None:
    patched(tmp_path / "image.onnx")
    model = onnx.load(str(tmp_path / "image.onnx"))
    quantise_rows(model)
    run, pixels = _run(model), _pixels(8)
    pixels[1:] *= 1000  # neighbours that would take the resolution of a common scale
    np.testing.assert_allclose(run(pixels)[0], run(pixels[:1])[0], rtol=1e-4, atol=1e-5)


def test_what_is_spared_stays(tmp_path: Path) -> None:
    worded(tmp_path / "text.onnx")
    model = onnx.load(str(tmp_path / "text.onnx"))
    assert quantise_rows(model, spared=frozenset({"d", "a"})) == 2
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["MatMul"] == 1
    assert "table" in {tensor.name for tensor in model.graph.initializer}


def test_a_network_without_large_products_stays_as_it_is() -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["result"])],
        "small",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    before = model.SerializeToString()
    assert quantise_rows(model) == 0
    assert model.SerializeToString() == before


def test_operator_sets_that_lack_what_is_needed_are_refused() -> None:
    graph = helper.make_graph([], "old", [], [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)])
    with pytest.raises(ModelError, match="operator set is 12"):
        quantise_rows(model)


def test_products_are_listed_with_their_matrices(tmp_path: Path) -> None:
    patched(tmp_path / "image.onnx")
    found = {node.output[0]: matrix.shape for node, matrix in _products(tmp_path / "image.onnx")}
    assert found == {"d": (256, 256), "embedding": (256, 16)}


def _products(file: Path) -> list[tuple[onnx.NodeProto, NDArray[np.float32]]]:
    return list(products(onnx.load(str(file))))


def test_the_loss_of_a_product_is_zero_where_eight_bits_are_exact() -> None:
    rows = np.array([[127.0, -64.0], [1.27, 0.5]], dtype=np.float32)
    identity = np.eye(2, dtype=np.float32)
    assert product_loss(rows, identity) == pytest.approx(0, abs=1e-9)
    # The outlier makes a step of 1, so that 0.4 is lost: 0.16 of 127² + 0.16.
    lossy = np.array([[127.0, 0.4]], dtype=np.float32)
    assert product_loss(lossy, identity) == pytest.approx(0.16 / (127**2 + 0.16), rel=1e-3)


def test_operations_that_lose_most_are_spared_in_the_end(tmp_path: Path) -> None:
    worded(tmp_path / "text.onnx", outlier=1e4)
    names = []
    for recipe in recipes(tmp_path / "text.onnx", [{"tokens": _tokens(4)}]):
        names.append(recipe.name)
        recipe.write(tmp_path / "int8.onnx")
    assert names[0] == "dynamic by row, weights of 7 bits"
    assert names[-1].endswith("1 operations spared")
    expected, found = (_run(tmp_path / name)(_tokens(9)) for name in ("text.onnx", "int8.onnx"))
    assert _cosines(expected, found).min() > 0.995
    assert not list(tmp_path.glob("probe*"))
