"""Ready ONNX pairs of random weights, laid out as their publishers do.

Pictures are averaged over a grid and multiplied by a matrix, tokens look up rows that are
weighted by their place: every pixel and every token, padding too, moves the vector.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("<pad>", "<start>", "<end>", "<unk>", "red", "green", "blue", "a", "dog", "&", "RED")
SIDE = 32
GRID = 4
DIM = 12
LENGTH = 9
MEAN, STD = [0.4, 0.5, 0.6], [0.25, 0.2, 0.3]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a test wants of a pair of networks.

    `batch` and `length` None are dynamic; `masked` adds an attention mask, by which padding
    counts nothing; `beside` puts the weights into files of their own; `half` takes pixels and
    gives vectors of 16 bits.
    """

    batch: int | None = 1
    length: int | None = LENGTH
    masked: bool = False
    beside: bool = False
    half: bool = False
    tokens: str = "text"
    embedding: str = "embedding"


def photo_server(folder: Path, shape: Shape | None = None, seed: int = 0) -> Path:
    """Write a pair with open_clip's JSON files; return the folder."""
    shape = shape or Shape()
    for part in ("visual", "textual"):
        (folder / part).mkdir(parents=True)
    save_image_network(folder / "visual" / "model.onnx", shape, seed=seed)
    save_text_network(folder / "textual" / "model.onnx", shape, seed=seed)
    write_json(
        folder / "visual" / "preprocess_cfg.json",
        {
            "size": [SIDE, SIDE],
            "mode": "RGB",
            "mean": MEAN,
            "std": STD,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
            "fill_color": 0,
        },
    )
    write_json(folder / "config.json", {"embed_dim": DIM, "text_cfg": {"context_length": LENGTH}})
    tokenizer().save(str(folder / "textual" / "tokenizer.json"))
    write_json(folder / "textual" / "tokenizer_config.json", {"pad_token": "<pad>"})
    return folder


def transformers_js(folder: Path, shape: Shape | None = None, seed: int = 0) -> Path:
    """Write a pair with the JSON files of transformers; return the folder."""
    shape = shape or Shape(batch=None, length=None, masked=True, tokens="input_ids")
    (folder / "onnx").mkdir(parents=True)
    image = Shape(batch=None, beside=shape.beside, embedding="image_embeds")
    text = Shape(
        batch=shape.batch,
        length=shape.length,
        masked=shape.masked,
        beside=shape.beside,
        tokens=shape.tokens,
        embedding="text_embeds",
    )
    save_image_network(folder / "onnx" / "vision_model.onnx", image, seed=seed)
    save_text_network(folder / "onnx" / "text_model.onnx", text, seed=seed)
    write_json(
        folder / "preprocessor_config.json",
        {
            "do_center_crop": True,
            "crop_size": {"height": SIDE, "width": SIDE},
            "size": {"shortest_edge": SIDE + 4},
            "resample": 2,
            "image_mean": MEAN,
            "image_std": STD,
        },
    )
    config = {"model_type": "clip", "text_config": {"max_position_embeddings": LENGTH}}
    write_json(folder / "config.json", config)
    tokenizer().save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {"model_max_length": 10**30})
    return folder


def save_image_network(file: Path, shape: Shape, *, seed: int, dim: int = DIM) -> None:
    """Write a network from pixels to rows of `dim` numbers."""
    rng = np.random.default_rng(seed)
    cell = SIDE // GRID
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node(
            "AveragePool", ["pixels"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]
        ),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["raw"]),
    ]
    kind = TensorProto.FLOAT16 if shape.half else TensorProto.FLOAT
    nodes.append(helper.make_node("Cast", ["raw"], [shape.embedding], to=kind))
    pixels = helper.make_tensor_value_info("image", kind, [shape.batch or "batch", 3, SIDE, SIDE])
    weights = rng.normal(size=(3 * GRID * GRID, dim))
    _save(file, nodes, [pixels], {"weights": weights}, shape)


def save_text_network(file: Path, shape: Shape, *, seed: int, dim: int = DIM) -> None:
    """Write a network from tokens to rows of `dim` numbers."""
    rng = np.random.default_rng(seed + 1)
    ids = TensorProto.INT32 if shape.batch == 1 else TensorProto.INT64
    axes = [shape.batch or "batch", shape.length or "length"]
    inputs = [helper.make_tensor_value_info(shape.tokens, ids, axes)]
    nodes = [
        helper.make_node("Gather", ["table", shape.tokens], ["words"]),
        helper.make_node("Shape", [shape.tokens], ["width"], start=1, end=2),
        helper.make_node("Slice", ["places", "zero", "width"], ["place"]),
        helper.make_node("Mul", ["words", "place"], ["placed"]),
    ]
    last = "placed"
    if shape.masked:
        inputs.append(helper.make_tensor_value_info("attention_mask", ids, axes))
        nodes += [
            helper.make_node("Cast", ["attention_mask"], ["there"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["there", "last"], ["column"]),
            helper.make_node("Mul", ["placed", "column"], ["kept"]),
        ]
        last = "kept"
    kind = TensorProto.FLOAT16 if shape.half else TensorProto.FLOAT
    nodes.append(helper.make_node("ReduceSum", [last, "one"], ["raw"], keepdims=0))
    nodes.append(helper.make_node("Cast", ["raw"], [shape.embedding], to=kind))
    floats = {
        "table": rng.normal(size=(len(WORDS), dim)),
        "places": rng.uniform(0.5, 1.5, size=(64, 1)),
    }
    _save(file, nodes, inputs, floats, shape)


def _save(
    file: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    floats: dict[str, np.ndarray],
    shape: Shape,
) -> None:
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in floats.items()]
    numbers = {"zero": [0], "one": [1], "last": [2]}
    used = {name for node in nodes for name in node.input}
    constants += [
        numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        for name, value in numbers.items()
        if name in used
    ]
    kind = TensorProto.FLOAT16 if shape.half else TensorProto.FLOAT
    output = helper.make_tensor_value_info(shape.embedding, kind, None)
    graph = helper.make_graph(nodes, "network", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if shape.beside:
        name = f"{file.name}_data"
        onnx.save(model, str(file), save_as_external_data=True, location=name, size_threshold=64)
    else:
        onnx.save(model, str(file))


def tokenizer() -> Tokenizer:
    """Return a tokenizer of whole words that keeps case."""
    made = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return made


def write_json(file: Path, document: object) -> None:
    """Write a JSON file."""
    file.write_text(json.dumps(document), encoding="utf-8")
