"""Attention with one query, its weights multiplied in another order."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmsearch.retrieval.convert.flow import Flow
from mmsearch.retrieval.convert.lone_query import multiply_lone_queries_first

TOKENS, WIDTH, HEADS, HEAD = 5, 6, 2, 3
DRAW = np.random.default_rng(0)


def _weights(*shape: int) -> NDArray[np.float32]:
    return DRAW.normal(size=shape).astype(np.float32)


CONSTANTS: dict[str, NDArray[Any]] = {
    "key": _weights(WIDTH, HEADS * HEAD),
    "value": _weights(WIDTH, HEADS * HEAD),
    "key_bias": _weights(HEADS * HEAD),
    "value_bias": _weights(HEADS * HEAD),
    "divided": np.array([-1, TOKENS, HEADS, HEAD]),
    "factor": np.array(0.7, dtype=np.float32),
}


def _projected(kind: str, perm: list[int], *, bias: bool) -> list[onnx.NodeProto]:
    """Keys or values of each head: a product, a bias where there is one, divided and turned."""
    added = [helper.make_node("Add", [f"{kind}_bias", f"{kind}s"], [f"{kind}s_biased"])]
    whole = f"{kind}s_biased" if bias else f"{kind}s"
    return [
        helper.make_node("MatMul", ["tokens", kind], [f"{kind}s"]),
        *(added if bias else []),
        helper.make_node("Reshape", [whole, "divided"], [f"{kind}s_divided"]),
        helper.make_node("Transpose", [f"{kind}s_divided"], [f"{kind}s_turned"], perm=perm),
    ]


def _attention(
    *, bias: bool, softmax: str = "Softmax", queries: int = 1, outputs: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """A graph of tokens (b, 5, 6) and queries (b, 2, 1, 3): keys scaled by 0.7, values mixed."""
    nodes = [
        *_projected("key", [0, 2, 3, 1], bias=bias),
        helper.make_node("Mul", ["keys_turned", "factor"], ["keys_scaled"]),
        helper.make_node("MatMul", ["query", "keys_scaled"], ["scores"]),
        helper.make_node(softmax, ["scores"], ["parts"]),
        *_projected("value", [0, 2, 1, 3], bias=bias),
        helper.make_node("MatMul", ["parts", "values_turned"], ["mixed"]),
    ]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "attention",
        [
            helper.make_tensor_value_info("tokens", floats, ["batch", TOKENS, WIDTH]),
            helper.make_tensor_value_info("query", floats, ["batch", HEADS, queries, HEAD]),
        ],
        [helper.make_tensor_value_info(name, floats, None) for name in ("mixed", *outputs)],
        [numpy_helper.from_array(values, name) for name, values in CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, batch: int) -> NDArray[np.float32]:
    draw = np.random.default_rng(batch)
    feed = {
        "tokens": draw.normal(size=(batch, TOKENS, WIDTH)).astype(np.float32),
        "query": draw.normal(size=(batch, HEADS, 1, HEAD)).astype(np.float32),
    }
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: NDArray[np.float32] = session.run(["mixed"], feed)[0]
    return found


def _rewritten(model: onnx.ModelProto) -> int:
    flow = Flow(model)
    count = multiply_lone_queries_first(flow)
    flow.finish()
    return count


def _constants(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_one_query_gets_the_same_mean(batch: int, bias: bool) -> None:
    model = _attention(bias=bias)
    expected = _run(model, batch)
    assert _rewritten(model) == 2
    assert not {"key", "value"} & _constants(model)
    np.testing.assert_allclose(_run(model, batch), expected, atol=1e-5)


def test_several_queries_stay_as_they_are() -> None:
    assert _rewritten(_attention(bias=True, queries=2)) == 0


def test_a_bias_of_values_needs_weights_that_sum_up_to_one() -> None:
    """Of other weights the sum would count: only the keys are rewritten."""
    model = _attention(bias=True, softmax="Sigmoid")
    expected = _run(model, 3)
    assert _rewritten(model) == 1
    assert "value" in _constants(model)
    np.testing.assert_allclose(_run(model, 3), expected, atol=1e-5)
    assert _rewritten(_attention(bias=False, softmax="Sigmoid")) == 2


@pytest.mark.parametrize("shared", ["keys_turned", "keys_divided", "keys_biased", "keys"])
def test_keys_that_others_use_stay_as_they_are(shared: str) -> None:
    model = _attention(bias=True, outputs=(shared,))
    expected = _run(model, 2)
    assert _rewritten(model) == 1
    assert "key" in _constants(model)
    np.testing.assert_allclose(_run(model, 2), expected, atol=1e-5)
