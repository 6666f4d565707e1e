"""Graphs that compute their pooled token alone: the same vectors, with less work."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference
from torch import Tensor, nn

from mmsearch.retrieval.convert.graph import write_tower
from mmsearch.retrieval.convert.pooled import compute_pooled_alone
from mmsearch.retrieval.vse.onnx_graph import IMAGE_SIGNATURE, run_graph

WIDTH, HEADS, HIDDEN = 32, 2, 128
TOKENS = 17  # of 32 x 32 pixels in patches of 8, and the class token


class Called(nn.Module):
    """A network and how its rows are got."""

    def __init__(self, network: nn.Module, rows: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.rows = rows

    def forward(self, pixels: Tensor) -> Tensor:
        return self.rows(self.network, pixels)


def open_clip_tower(**settings: Any) -> nn.Module:
    transformer = pytest.importorskip("open_clip.transformer")
    sizes = {"width": WIDTH, "layers": 2, "heads": HEADS, "mlp_ratio": 4.0, "output_dim": 24}
    network = transformer.VisionTransformer(image_size=32, patch_size=8, **sizes, **settings)
    return Called(network, lambda network, pixels: network(pixels))


def hf_tower(kind: str, **settings: Any) -> nn.Module:
    t = pytest.importorskip("transformers")
    config = getattr(t, f"{kind}VisionConfig")(
        hidden_size=WIDTH,
        intermediate_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        image_size=32,
        patch_size=8,
        **settings,
    )
    network = getattr(t, f"{kind}VisionModel")(config)
    return Called(network, lambda network, pixels: network(pixel_values=pixels).pooler_output)


def timm_tower(name: str, **settings: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, num_classes=0, **settings)
    return Called(network, lambda network, pixels: network(pixels))


def tiny_timm_vit(**settings: Any) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": WIDTH, "depth": 2, "num_heads": HEADS}
    return timm_tower("vit_tiny_patch16_224", **sizes, **settings)


POOLED: Mapping[str, Callable[[], nn.Module]] = {
    "open_clip": open_clip_tower,
    "open_clip, scaled layers": lambda: open_clip_tower(no_ln_pre=True, ls_init_value=0.5),
    "open_clip, norm after pooling": lambda: open_clip_tower(final_ln_after_pool=True),
    "transformers": lambda: hf_tower("CLIP"),
    "transformers, eager attention": lambda: hf_tower("CLIP", attn_implementation="eager"),
    "timm": tiny_timm_vit,
}
WHOLE: Mapping[str, Callable[[], nn.Module]] = {
    "open_clip, averaged": lambda: open_clip_tower(pool_type="avg"),
    "timm, averaged": lambda: tiny_timm_vit(global_pool="avg", class_token=False),
    "attention pooling": lambda: hf_tower("Siglip"),
    "convolutions": lambda: timm_tower("resnet10t"),
}


@pytest.fixture(params=POOLED)
def pooled(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return _uneven(POOLED[request.param]())


@pytest.fixture(params=WHOLE)
def whole(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return _uneven(WHOLE[request.param]())


def _uneven(network: nn.Module) -> nn.Module:
    """Draw the biases, too, most of which begin as zeros."""
    for name, weights in network.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weights, std=0.5)
    return network.eval()


def _graph(network: nn.Module, path: Path) -> onnx.ModelProto:
    write_tower(network, [torch.zeros(2, 3, 32, 32)], IMAGE_SIGNATURE, path)
    return onnx.load(path)


def _plain_graph(network: nn.Module, path: Path, patch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """The graph as it is traced."""
    with patch.context() as patched:
        patched.setattr("mmsearch.retrieval.convert.pooled.compute_pooled_alone", lambda _: 0)
        return _graph(network, path)


def _shapes(model: onnx.ModelProto, batch: int) -> dict[str, list[int]]:
    copied = copy.deepcopy(model)
    copied.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    copied.graph.output[0].type.ClearField("tensor_type")
    known = shape_inference.infer_shapes(copied, data_prop=True).graph
    return {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*known.input, *known.value_info)
    } | {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}


def _products(model: onnx.ModelProto, batch: int = 1) -> int:
    """How many numbers are multiplied by those of weights in all matrix products of a graph."""
    shapes = _shapes(model, batch)
    pairs = [node.input for node in model.graph.node if node.op_type == "MatMul"]
    return sum(int(np.prod(shapes[left])) * shapes[right][-1] for left, right in pairs)


def _hidden_rows(model: onnx.ModelProto) -> list[int]:
    """For how many tokens each block's network is computed."""
    shapes = _shapes(model, batch=1)
    results = [shapes.get(node.output[0], []) for node in model.graph.node]
    kinds = [node.op_type for node in model.graph.node]
    return [
        shape[1]
        for shape, kind in zip(results, kinds, strict=True)
        if kind == "MatMul" and len(shape) == 3 and shape[-1] == HIDDEN
    ]


@pytest.mark.parametrize("batch", [1, 5])
def test_a_tower_gives_the_same_rows(pooled: nn.Module, batch: int, tmp_path: Path) -> None:
    _graph(pooled, tmp_path / "image.onnx")
    pixels = torch.randn(batch, 3, 32, 32)
    with torch.inference_mode():
        expected = pooled(pixels).numpy()
    found = run_graph(tmp_path / "image.onnx", threads=1)(pixels=pixels.numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=1e-5)


def test_the_last_network_sees_the_pooled_token_alone(pooled: nn.Module, tmp_path: Path) -> None:
    assert _hidden_rows(_graph(pooled, tmp_path / "image.onnx")) == [TOKENS, 1]


def test_the_last_block_costs_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two blocks of products one is left, and for one token the other's."""
    network = _uneven(open_clip_tower())
    before = _products(_plain_graph(network, tmp_path / "plain.onnx", monkeypatch))
    after = _products(_graph(network, tmp_path / "image.onnx"))
    block = 12 * WIDTH * WIDTH * TOKENS + 2 * WIDTH * TOKENS * TOKENS
    projection = WIDTH * 24
    assert before == 2 * block + projection
    query, weights_first = WIDTH * WIDTH, 2 * (WIDTH * WIDTH + HEADS * WIDTH * TOKENS)
    rest = 9 * WIDTH * WIDTH
    assert after == block + query + weights_first + rest + projection


def test_a_graph_that_needs_every_token_stays(
    whole: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _plain_graph(whole, tmp_path / "plain.onnx", monkeypatch)
    before = model.SerializeToString()
    assert compute_pooled_alone(model) == 0
    assert model.SerializeToString() == before


def _hand_built(
    nodes: list[onnx.NodeProto], outputs: list[str], **constants: NDArray[Any]
) -> onnx.ModelProto:
    """A graph of x, (batch, 3, 2)."""
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "built",
        [helper.make_tensor_value_info("x", floats, ["batch", 3, 2])],
        [helper.make_tensor_value_info(name, floats, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _run(model: onnx.ModelProto, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: list[NDArray[np.float32]] = session.run(None, {"x": x})
    return found


X = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
DOUBLE = np.array([[2, 0], [0, 2]], dtype=np.float32)
PLACES = np.array([[10, 10], [20, 20], [30, 30]], dtype=np.float32)


def _kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(("index", "place"), [(1, 1), (-1, 2)])
def test_the_choice_of_a_place_moves_up_to_the_input(index: int, place: int) -> None:
    """Doubled and with each place's own number added: 2 x + 10, 20 or 30."""
    nodes = [
        helper.make_node("MatMul", ["x", "double"], ["doubled"]),
        helper.make_node("Add", ["doubled", "places"], ["placed"]),
        helper.make_node("Gather", ["placed", "index"], ["row"], axis=1),
    ]
    model = _hand_built(nodes, ["row"], double=DOUBLE, places=PLACES, index=np.array(index))
    assert compute_pooled_alone(model) == 2
    assert _kinds(model) == ["Slice", "MatMul", "Slice", "Add", "Gather"]
    assert _run(model, X)[0].tolist() == (2 * X[:, place] + PLACES[place]).tolist()


def test_a_slice_of_one_place_is_a_choice_as_well() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["squares"]),
        helper.make_node("Slice", ["squares", "last", "end", "axis"], ["row"]),
    ]
    bounds = {"last": np.array([-1]), "end": np.array([2**63 - 1]), "axis": np.array([1])}
    model = _hand_built(nodes, ["row"], **bounds)
    assert compute_pooled_alone(model) == 1
    assert _kinds(model) == ["Slice", "Mul", "Slice"]
    assert _run(model, X)[0].tolist() == [[[16, 25]], [[100, 121]]]


def test_a_token_that_others_use_is_computed_with_all() -> None:
    """The sum over all places needs what the choice would leave out."""
    nodes = [
        helper.make_node("MatMul", ["x", "double"], ["doubled"]),
        helper.make_node("Gather", ["doubled", "index"], ["row"], axis=1),
        helper.make_node("ReduceMean", ["doubled"], ["mean"], axes=[1], keepdims=0),
    ]
    model = _hand_built(nodes, ["row", "mean"], double=DOUBLE, index=np.array(0))
    before = model.SerializeToString()
    assert compute_pooled_alone(model) == 0
    assert model.SerializeToString() == before


def test_two_places_of_one_value_are_computed_with_all() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["firm"]),
        helper.make_node("Gather", ["firm", "first"], ["one"], axis=1),
        helper.make_node("Gather", ["firm", "second"], ["other"], axis=1),
        helper.make_node("Add", ["one", "other"], ["row"]),
    ]
    model = _hand_built(nodes, ["row"], first=np.array(0), second=np.array(2))
    assert compute_pooled_alone(model) == 0


def test_an_operation_that_mixes_places_gets_all() -> None:
    """A softmax along the tokens: what comes before is whole, what comes after is not."""
    nodes = [
        helper.make_node("Relu", ["x"], ["firm"]),
        helper.make_node("Softmax", ["firm"], ["mixed"], axis=1),
        helper.make_node("Neg", ["mixed"], ["turned"]),
        helper.make_node("Gather", ["turned", "index"], ["row"], axis=1),
    ]
    model = _hand_built(nodes, ["row"], index=np.array(1))
    expected = _run(model, X)[0]
    assert compute_pooled_alone(model) == 1
    assert _kinds(model) == ["Relu", "Softmax", "Slice", "Neg", "Gather"]
    np.testing.assert_array_equal(_run(model, X)[0], expected)


def test_a_value_that_is_a_result_is_computed_with_all() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["firm"]),
        helper.make_node("Gather", ["firm", "index"], ["row"], axis=1),
    ]
    model = _hand_built(nodes, ["firm", "row"], index=np.array(1))
    assert compute_pooled_alone(model) == 0


def test_heads_are_divided_and_joined_for_one_token() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "divided"], ["heads"]),
        helper.make_node("Transpose", ["heads"], ["turned"], perm=[0, 2, 1, 3]),
        helper.make_node("Neg", ["turned"], ["negative"]),
        helper.make_node("Transpose", ["negative"], ["back"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["back", "joined"], ["rows"]),
        helper.make_node("Gather", ["rows", "index"], ["row"], axis=1),
    ]
    shapes = {"divided": np.array([-1, 3, 2, 1]), "joined": np.array([0, 0, -1])}
    model = _hand_built(nodes, ["row"], index=np.array(1), **shapes)
    assert compute_pooled_alone(model) == 5
    assert _run(model, X)[0].tolist() == (-X[:, 1]).tolist()
