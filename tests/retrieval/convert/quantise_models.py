"""A model folder whose networks are worth quantising: convolutions, products, a table of words."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.retrieval.onnx_models import VOCABULARY, make_tokenizer

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize, Space
from mmsearch.retrieval.folder import ModelDescription, ModelFolder, TextSpec, write_model_folder

DIM = 16
SIDE = 16
WIDTH = 256
HALF = (0.5, 0.5, 0.5)
Constants = dict[str, NDArray[Any]]


def make_network(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    constants: Constants,
    operators: int = 18,
) -> None:
    """Write nodes that end in `embedding`, (batch, DIM)."""
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(list(nodes), "tower", list(inputs), [output], tensors)
    sets = [helper.make_opsetid("", operators)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def pixels() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])


def tokens() -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])


def draw(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw weights that keep the size of what goes through them."""
    fan = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
    values = np.random.default_rng([seed, *shape]).normal(size=shape) / np.sqrt(fan)
    return np.asarray(values, dtype=np.float32)


def convolutional(file: Path) -> None:
    """Write an image network of convolutions, one of them by channel."""
    nodes = [
        helper.make_node("Conv", ["pixels", "first"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "deep"], ["c"], group=32, pads=[1, 1, 1, 1], name="deep"),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Conv", ["d", "wide"], ["e"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "last"], ["embedding"]),
    ]
    constants: Constants = {
        "first": draw(32, 3, 3, 3),
        "deep": draw(32, 1, 3, 3),
        "wide": draw(64, 32, 3, 3),
        "last": draw(64, DIM),
    }
    make_network(file, nodes, [pixels()], constants)


def patched(file: Path, operators: int = 18) -> None:
    """Write an image network as transformers begin: patches, a product, a mean."""
    nodes = [
        helper.make_node("Conv", ["pixels", "patch", "shift"], ["a"], strides=[4, 4]),
        helper.make_node("Reshape", ["a", "tokens_shape"], ["b"]),
        helper.make_node("Transpose", ["b"], ["c"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["c", "inner"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Transpose", ["e"], ["f"], perm=[0, 2, 1]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("Gemm", ["h", "last", "bias"], ["embedding"], transB=1),
    ]
    constants: Constants = {
        "patch": draw(WIDTH, 3, 4, 4),
        "shift": draw(1, WIDTH)[0],
        "tokens_shape": np.array([0, WIDTH, -1], dtype=np.int64),
        "inner": draw(WIDTH, WIDTH),
        "last": np.ascontiguousarray(draw(WIDTH, DIM).T),
        "bias": draw(1, DIM)[0],
    }
    make_network(file, nodes, [pixels()], constants, operators)


def worded(file: Path, *, outlier: float = 0.0) -> None:
    """Write a text network: a table, three products, a sum; padding adds nothing.

    With an `outlier`, one channel between the products is so large that it takes the 8 bits of
    its row, and counts for nothing in the product that follows.
    """
    second = draw(WIDTH, WIDTH, seed=2)
    shift = np.zeros(WIDTH, dtype=np.float32)
    if outlier:
        second[0] = 0
        shift[0] = outlier
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["a"]),
        helper.make_node("MatMul", ["a", "first"], ["b"]),
        helper.make_node("Add", ["b", "shift"], ["c"]),
        helper.make_node("MatMul", ["c", "second"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("MatMul", ["e", "last"], ["f"]),
        helper.make_node("ReduceSum", ["f", "axis"], ["embedding"], keepdims=0),
    ]
    table = draw(len(VOCABULARY) * 4, WIDTH) * 16
    table[VOCABULARY["<pad>"]] = 0
    constants: Constants = {
        "table": table,
        "first": draw(WIDTH, WIDTH, seed=1),
        "shift": shift,
        "second": second,
        "last": draw(WIDTH, DIM, seed=3),
        "axis": np.array([1], dtype=np.int64),
    }
    make_network(file, nodes, [tokens()], constants)


def make_wide_model(
    path: Path, *, outlier: float = 0.0, image: Callable[[Path], None] = convolutional
) -> ModelFolder:
    """Write a model of convolutions, or another image network, and words."""
    path.mkdir(parents=True, exist_ok=True)
    image(path / "image.onnx")
    worded(path / "text.onnx", outlier=outlier)
    make_tokenizer().save(str(path / "tokenizer.json"))
    size = (SIDE, SIDE)
    return write_model_folder(
        path,
        ModelDescription(
            space=Space("wide", DIM, "7" * 64),
            preprocessing=Preprocessing(size, Resize.SQUASH, Interpolation.BILINEAR, HALF, HALF),
            text=TextSpec(8),
        ),
    )


def pictures(count: int) -> list[Pixels]:
    """Draw pictures that differ in their large shapes, as real ones do."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((4, 4, 1), dtype=np.uint8)) for picture in coarse]


def sentences(count: int) -> list[str]:
    """Draw sentences of the colours that the tokenizer knows, and others."""
    rng = np.random.default_rng(6)
    words = np.array(["red", "green", "blue", "car"])
    return [" ".join(rng.choice(words, rng.integers(1, 6))) for _ in range(count)]
