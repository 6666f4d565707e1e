"""Model folders that a test can predict: a picture is its mean colour, a sentence its words.

The space has four dimensions: red, green, blue, and everything unknown.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from mmsearch.core import Interpolation, Preprocessing, Resize, Space
from mmsearch.retrieval.folder import ModelDescription, ModelFolder, TextSpec, write_model_folder

DIM = 4
VOCABULARY = {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "red": 4, "green": 5, "blue": 6}
LENGTH = 8
PREPROCESSING = Preprocessing(
    (6, 4), Resize.SQUASH, Interpolation.BILINEAR, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
)


def make_model(path: Path, *, name: str = "colours", images: bool = True) -> ModelFolder:
    """Write a whole model folder."""
    path.mkdir(parents=True, exist_ok=True)
    if images:
        save_network(path / "image.onnx", _image_nodes(), [_pixels()], np.eye(3, DIM))
    save_network(path / "text.onnx", _text_nodes(), _text_inputs(), _word_table())
    make_tokenizer().save(str(path / "tokenizer.json"))
    description = ModelDescription(
        space=Space(name, DIM, name.encode().hex().ljust(64, "0")[:64]),
        preprocessing=PREPROCESSING if images else None,
        text=TextSpec(LENGTH),
        licence="for tests only",
        source={"recipe": "written by hand"},
        data={"name": "none"},
        metrics={"rsum": 600.0},
    )
    return write_model_folder(path, description)


def save_network(
    file: Path,
    nodes: Iterable[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    table: np.ndarray,
) -> None:
    """Write nodes that use the constant `table` and give `embedding`."""
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])
    constants = [
        numpy_helper.from_array(table.astype(np.float32), "table"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "axis_1"),
        numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes_23"),
        numpy_helper.from_array(np.array([1e-12], dtype=np.float32), "epsilon"),
    ]
    graph = helper.make_graph(list(nodes), "tower", list(inputs), [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def _pixels() -> onnx.ValueInfoProto:
    height, width = PREPROCESSING.size
    return helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, height, width])


def _text_inputs() -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["batch"]),
    ]


def _image_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMean", ["pixels", "axes_23"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "table"], ["raw"]),
        *_unit_nodes(),
    ]


def _text_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Gather", ["table", "tokens"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axis_1"], ["raw"], keepdims=0),
        *_unit_nodes(),
    ]


def _unit_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceL2", ["raw", "axis_1"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", "epsilon"], ["safe"]),
        helper.make_node("Div", ["raw", "safe"], ["embedding"]),
    ]


def _word_table() -> np.ndarray:
    table = np.zeros((len(VOCABULARY), DIM))
    table[VOCABULARY["<unk>"], 3] = 0.25
    for axis, word in enumerate(("red", "green", "blue")):
        table[VOCABULARY[word], axis] = 1.0
    return table


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return tokenizer
