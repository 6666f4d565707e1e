"""Products in 8 bits whose activations have one scale."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.retrieval.convert.quantise_models import SIDE, patched

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise_fixed import (
    Fixed,
    fixed_scales,
    one_by_one,
    quantise_fixed,
)
from mmsearch.retrieval.convert.quantise_rows import quantise_rows

INNER = 64
"""Wide enough for its products to be worth it."""
EXACT = {"x": Fixed(1.0, 5)}
"""Whole numbers from -5 to 250 are represented exactly."""


def _model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]],
    results: Sequence[str] = ("result",),
) -> onnx.ModelProto:
    """Return a model of `x`, (n, 3, INNER); of other axes are its results."""
    graph = helper.make_graph(
        list(nodes),
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, INNER])],
        [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _run(model: onnx.ModelProto | Path, feed: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: feed})
    return found


def _weights(seed: int = 0) -> NDArray[np.float32]:
    """Draw whole numbers that 8 bits represent exactly: each column's largest is 127."""
    values = np.random.default_rng(seed).integers(-127, 128, (INNER, INNER)).astype(np.float32)
    values[0] = 127
    return values


def _whole(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).integers(-5, 251, shape).astype(np.float32)


def _kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


BIAS = np.arange(INNER, dtype=np.float32) / 8
PRODUCT = helper.make_node("MatMul", ["x", "w"], ["p"])
SUM = helper.make_node("Add", ["bias", "p"], ["result"])


def test_a_product_and_its_bias_are_one_operation_and_exact() -> None:
    model = _model([PRODUCT, SUM], {"w": _weights(), "bias": BIAS})
    assert quantise_fixed(model, EXACT) == 1
    assert _kinds(model) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1}
    assert {each.domain for each in model.opset_import} == {"", "com.microsoft"}
    assert "w" not in {tensor.name for tensor in model.graph.initializer}
    x = _whole(4, 3, INNER)
    np.testing.assert_allclose(_run(model, x)[0], x @ _weights() + BIAS, rtol=1e-6)


def test_what_is_beyond_the_range_is_cut_off() -> None:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["result"])], {"w": _weights()})
    quantise_fixed(model, EXACT)
    x = np.full((1, 3, INNER), 1e6, dtype=np.float32)
    x[0, 1] = -1e6
    expected = np.clip(x, -5, 250) @ _weights()
    np.testing.assert_allclose(_run(model, x)[0], expected, rtol=1e-6)


def test_products_of_the_same_activation_share_its_bytes() -> None:
    nodes = [PRODUCT, helper.make_node("MatMul", ["x", "v"], ["q"])]
    model = _model(nodes, {"w": _weights(), "v": _weights(2)}, ["p", "q"])
    assert quantise_fixed(model, EXACT) == 2
    assert _kinds(model) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 2}
    x = _whole(2, 3, INNER)
    for found, weights in zip(_run(model, x), (_weights(), _weights(2)), strict=True):
        np.testing.assert_allclose(found, x @ weights, rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "constants", "results"),
    [
        pytest.param([PRODUCT, SUM], {"bias": BIAS}, ["result", "p"], id="the product is a result"),
        pytest.param(
            [PRODUCT, SUM, helper.make_node("Neg", ["p"], ["other"])],
            {"bias": BIAS},
            ["result", "other"],
            id="the product is used twice",
        ),
        pytest.param([PRODUCT, SUM], {"bias": BIAS[:1]}, ["result"], id="one number for all"),
        pytest.param(
            [PRODUCT, SUM], {"bias": np.ones((3, INNER), np.float32)}, ["result"], id="a matrix"
        ),
        pytest.param(
            [PRODUCT, helper.make_node("Add", ["p", "x"], ["result"])], {}, ["result"], id="no bias"
        ),
        pytest.param(
            [PRODUCT, helper.make_node("Add", ["p", "p"], ["result"])], {}, ["result"], id="twice"
        ),
    ],
)
def test_other_sums_stay(
    nodes: list[onnx.NodeProto], constants: Mapping[str, NDArray[Any]], results: list[str]
) -> None:
    model = _model(nodes, {"w": _weights(), **constants}, results)
    x = _whole(2, 3, INNER)
    expected = _run(model, x)
    quantise_fixed(model, EXACT)
    assert _kinds(model)["Add"] == 1
    for one, other in zip(expected, _run(model, x), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-6)


@pytest.mark.parametrize(
    ("bias", "sums"), [(BIAS, 0), (BIAS[np.newaxis], 1), (np.float32(3).reshape(1), 1)]
)
def test_the_bias_of_a_gemm_is_added_by_the_product_or_behind_it(
    bias: NDArray[np.float32], sums: int
) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axis"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "bias"], ["result"], transB=1),
    ]
    axis = np.array([1], dtype=np.int64)
    model = _model(nodes, {"w": _weights(), "bias": bias, "axis": axis})
    x = np.repeat(_whole(4, 1, INNER), 3, axis=1)
    assert quantise_fixed(model, {"mean": Fixed(1.0, 5)}) == 1
    assert _kinds(model)["Add"] == sums
    rows = np.abs(_weights()).max(axis=1)  # of the transposed weights, which need not be exact
    expected = x[:, 0] @ _weights().T + bias
    tolerance = float((rows / 127 / 2).max()) * np.abs(x).sum(axis=2).max()
    np.testing.assert_allclose(_run(model, x)[0], expected, atol=tolerance)


def test_what_has_no_scale_stays() -> None:
    model = _model([PRODUCT, SUM], {"w": _weights(), "bias": BIAS})
    before = model.SerializeToString()
    assert quantise_fixed(model, {"other": Fixed(1.0, 0)}) == 0
    assert model.SerializeToString() == before


def _scales(
    tmp_path: Path, feeds: Sequence[NDArray[np.float32]], activation: str = "Identity"
) -> Mapping[str, Fixed]:
    """Return the scales of what an activation function makes of the feeds."""
    nodes = [
        helper.make_node(activation, ["x"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["result"]),
    ]
    model = _model(nodes, {"w": _weights()})
    onnx.save(model, str(tmp_path / "products.onnx"))
    return fixed_scales(tmp_path / "products.onnx", model, [{"x": feed} for feed in feeds])


def test_a_scale_covers_the_samples_and_a_tenth_more(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (8, 3, INNER)).astype(np.float32)
    rows[:, :, 0] = 1
    low = rows.copy()
    low[2, 1, 5] = -2  # in one feed only
    for feeds in ([rows, low], [low, rows]):
        fixed = _scales(tmp_path, feeds)["a"]
        assert (0 - fixed.zero) * fixed.scale == pytest.approx(-2.2, abs=fixed.scale)
        assert (255 - fixed.zero) * fixed.scale == pytest.approx(1.1, abs=fixed.scale)


def test_what_is_never_negative_has_all_bytes_above_zero(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (8, 3, INNER)).astype(np.float32)
    fixed = _scales(tmp_path, [rows], "Relu")["a"]
    assert fixed.zero == 0
    assert fixed.scale == pytest.approx(1.1 * rows.max() / 255)


def test_rows_of_different_sizes_keep_a_scale_each(tmp_path: Path) -> None:
    """Of rows of size 1 and s, a common scale loses (1 + s²) / 2 times 1.2 times as much."""
    rows = np.random.default_rng(0).uniform(-1, 1, (8, 3, INNER)).astype(np.float32)
    rows[:, :, :2] = [1, -1]
    rows[::2] *= 2.3
    assert set(_scales(tmp_path, [rows])) == {"a"}  # 3.8 times the squared error
    rows[::2] *= 2.4 / 2.3
    assert not _scales(tmp_path, [rows])  # 4.06 times
    rows[::2] = 0  # which a scale of any size represents
    assert set(_scales(tmp_path, [rows])) == {"a"}
    assert not _scales(tmp_path, [rows * 0])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_once_keeps_a_scale_each(tmp_path: Path, broken: float) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (8, 3, INNER)).astype(np.float32)
    bad = rows.copy()
    bad[0, 0, 0] = broken
    for feeds in ([bad], [rows, bad], [bad, rows]):
        assert not _scales(tmp_path, feeds)


def test_pictures_are_measured_one_by_one_unless_the_batch_is_fixed() -> None:
    model = _model([PRODUCT], {"w": _weights()}, ["p"])
    feeds = [{"x": _whole(2, 3, INNER)}, {"x": _whole(1, 3, INNER)}]
    rows = [feed["x"] for feed in one_by_one(model, feeds)]
    assert [row.shape for row in rows] == [(1, 3, INNER)] * 3
    np.testing.assert_array_equal(np.concatenate(rows[:2]), feeds[0]["x"])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    assert list(one_by_one(model, feeds[:1])) == feeds[:1]


def test_a_factor_that_is_the_networks_input_is_measured_too(tmp_path: Path) -> None:
    model = _model([helper.make_node("MatMul", ["x", "w"], ["result"])], {"w": _weights()})
    onnx.save(model, str(tmp_path / "products.onnx"))
    feed = {"x": np.tile(np.array([-1, 1], np.float32), (2, 3, INNER // 2))}
    [(name, fixed)] = fixed_scales(tmp_path / "products.onnx", model, [feed]).items()
    assert name == "x"
    assert fixed.scale == pytest.approx(2.2 / 255)


def test_factors_that_are_inputs_and_results_are_measured_beside_others(tmp_path: Path) -> None:
    nodes = [
        PRODUCT,  # of an input
        helper.make_node("MatMul", ["p", "w"], ["q"]),  # of a result
        helper.make_node("Neg", ["q"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["s"]),
    ]
    model = _model(nodes, {"w": np.eye(INNER, dtype=np.float32)}, ["p", "s"])
    onnx.save(model, str(tmp_path / "products.onnx"))
    feed = {"x": np.tile(np.array([0, 1], np.float32), (2, 3, INNER // 2))}
    found = fixed_scales(tmp_path / "products.onnx", model, [feed])
    assert {name: fixed.zero for name, fixed in found.items()} == {"x": 0, "p": 0, "r": 255}


def test_a_network_that_fails_on_the_samples_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"products\.onnx cannot be measured.*x") as caught:
        _scales(tmp_path, [np.zeros((1, 5, INNER), np.float32)])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("probe*"))


def test_a_network_of_patches_keeps_its_vectors(tmp_path: Path) -> None:
    file = tmp_path / "image.onnx"
    patched(file)
    model = onnx.load(str(file))
    pixels = np.random.default_rng(3).normal(size=(32, 3, SIDE, SIDE)).astype(np.float32)
    scales = fixed_scales(file, model, [{"pixels": pixels[:8]}, {"pixels": pixels[8:16]}])
    assert set(scales) == {"c", "h"}
    assert quantise_rows(model, spared=frozenset({"d", "embedding"})) == 1
    assert quantise_fixed(model, scales) == 2
    kinds = _kinds(model)
    assert kinds["MatMulIntegerToFloat"] == 3
    assert kinds["ReduceMax"] == 1  # of the patches, whose scales are by row
    assert not list(tmp_path.glob("probe*"))
    [expected], [found] = _run(file, pixels[16:]), _run(model, pixels[16:])
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    assert ((expected * found).sum(axis=1) / lengths).min() > 0.995
    alone = np.concatenate([_run(model, one[np.newaxis])[0] for one in pixels[16:]])
    np.testing.assert_allclose(alone, found, rtol=1e-4, atol=1e-5)
