"""Randomly initialised networks of real size, as a model folder and as rclip's pair of files.

    python benchmarks/networks.py

makes build/benchmarks/networks/: `clip`, a model folder of ViT-B/32 at 256 pixels with 512
dimensions, `rclip`, the very same weights laid out as rclip 3.3 expects them, and `small`, a model
folder whose text tower is a table of the benchmark's own questions. Speed does not depend on
what a network has learnt; a constant added to every sentence's vector puts it in the synthetic
libraries' cone of sentences, so that searches do the work that they do with trained models.
"""

import gzip
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import WORK, say
from synthetic import DIM, SPACE, Synthetic

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.retrieval.folder import (
    MODEL_FILE,
    Cleaning,
    ModelDescription,
    TextSpec,
    write_model_folder,
)

if TYPE_CHECKING:
    import onnx
    import torch
    from tokenizers import Tokenizer

FOLDER = WORK / "networks"
CLIP = FOLDER / "clip"
RCLIP = FOLDER / "rclip"
SMALL = FOLDER / "small"
QUESTIONS = 200
"""How many different questions the small model knows: "question 0" and so on."""

_PAIR = "ViT-B-32-256-datacomp_s34b_b86k"
_NOTICES = ("LICENSE", "OPENAI-CLIP-MIT.txt", "README.md", "THIRD_PARTY_NOTICES.md")
_ARCHITECTURE = "ViT-B-32-256"
_LENGTH = 77
_MERGES = 49152 - 256 - 2
_PREPROCESSING = Preprocessing(
    (256, 256),
    Resize.CROP,
    Interpolation.BICUBIC,
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clip_folder() -> Path:
    """Return the model folder of the real-sized network, made unless it is there."""
    if not (CLIP / MODEL_FILE).exists():
        _make_clip()
    return CLIP


def rclip_data() -> Path:
    """Return rclip's data folder with the same network, made unless it is there."""
    clip_folder()
    return RCLIP


def small_folder() -> Path:
    """Return the model folder of the small network, made unless it is there."""
    if not (SMALL / MODEL_FILE).exists():
        _make_small()
    return SMALL


def question(number: int) -> str:
    """Return a question that all networks understand; the small one knows `QUESTIONS`."""
    return f"question {number % QUESTIONS}"


def _make_clip() -> None:
    import open_clip
    import torch

    say("making a randomly initialised ViT-B/32 (about a minute)")
    torch.manual_seed(0)
    network = open_clip.create_model(_ARCHITECTURE, pretrained=None).eval()
    pair = RCLIP / _PAIR
    pair.mkdir(parents=True, exist_ok=True)
    CLIP.mkdir(parents=True, exist_ok=True)
    cone = torch.from_numpy(Synthetic(1).cone())
    _export(_towers(network, cone), pair)
    vocabulary = Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    _complete_rclip(vocabulary)
    _complete_clip(pair, vocabulary)


def _towers(network: Any, cone: "torch.Tensor") -> dict[str, tuple["torch.nn.Module", Any]]:
    """Return each tower with an input to trace it by."""
    import torch
    from torch.nn.functional import normalize

    class Visual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: "torch.Tensor") -> "torch.Tensor":
            return normalize(self.network.encode_image(pixels), dim=-1)

    class Textual(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, tokens: "torch.Tensor") -> "torch.Tensor":
            return normalize(normalize(self.network.encode_text(tokens), dim=-1) + cone, dim=-1)

    tokens = torch.zeros(2, _LENGTH, dtype=torch.int64)
    tokens[:, :3] = torch.tensor([49406, 320, 49407])
    return {"visual": (Visual(), torch.rand(2, 3, 256, 256)), "textual": (Textual(), tokens)}


def _export(towers: dict[str, tuple["torch.nn.Module", Any]], folder: Path) -> None:
    import torch

    for name, (tower, example) in towers.items():
        with torch.no_grad():
            torch.onnx.export(
                tower.eval(),
                (example,),
                str(folder / f"{name}.onnx"),
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )


def _complete_rclip(vocabulary: Path) -> None:
    """Add what rclip wants to find beside the networks, so that it asks no network."""
    (RCLIP / "tokenizer").mkdir(exist_ok=True)
    shutil.copy(vocabulary, RCLIP / "tokenizer" / vocabulary.name)
    for folder in (RCLIP, RCLIP / _PAIR, RCLIP / "tokenizer"):
        for notice in _NOTICES:
            (folder / notice).touch()


def _complete_clip(pair: Path, vocabulary: Path) -> None:
    import onnx

    (CLIP / "image.onnx").unlink(missing_ok=True)
    os.link(pair / "visual.onnx", CLIP / "image.onnx")
    textual = _padded(onnx.load(str(pair / "textual.onnx")))
    # Weights beside the graph are mapped from disk; inside it they are parsed and copied.
    (CLIP / "text.onnx.data").unlink(missing_ok=True)
    onnx.save(
        textual, str(CLIP / "text.onnx"), save_as_external_data=True, location="text.onnx.data"
    )
    _clip_tokenizer(vocabulary).save(str(CLIP / "tokenizer.json"))
    description = ModelDescription(
        space=SPACE,
        preprocessing=_PREPROCESSING,
        text=TextSpec(_LENGTH, (Cleaning.NFC, Cleaning.LOWER)),
        licence="for benchmarks only",
        source={"architecture": _ARCHITECTURE, "weights": "random"},
    )
    write_model_folder(CLIP, description)


def _padded(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return the text tower behind an input `tokens` of any length, filled up to 77."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    constants = {"no_rows": [0, 0], "length": [_LENGTH], "axis": [1], "none": [0]}
    for name, values in constants.items():
        graph.initializer.append(
            numpy_helper.from_array(np.array(values, dtype=np.int64), f"fill_{name}")
        )
    nodes = [
        helper.make_node("Shape", ["tokens"], ["fill_shape"], start=1),
        helper.make_node("Sub", ["fill_length", "fill_shape"], ["fill_missing"]),
        helper.make_node(
            "Concat", ["fill_no_rows", "fill_none", "fill_missing"], ["fill_widths"], axis=0
        ),
        helper.make_node("Pad", ["tokens", "fill_widths"], ["input"]),
    ]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    del graph.input[:]
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])
    graph.input.append(tokens)
    onnx_checked(model)
    return model


def onnx_checked(model: "onnx.ModelProto") -> None:
    """Raise onnx.checker.ValidationError when a graph is not sound."""
    import onnx

    onnx.checker.check_model(model)


def _clip_tokenizer(vocabulary: Path) -> "Tokenizer":
    """Return CLIP's byte-pair encoding as a tokenizer that mmsearch reads."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    lines = gzip.decompress(vocabulary.read_bytes()).decode().split("\n")[1 : _MERGES + 1]
    merges = [(one, other) for one, other in (line.split() for line in lines)]
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(m) for m in merges)]
    start, end = "<start_of_text>", "<end_of_text>"
    ids = {token: number for number, token in enumerate([*tokens, start, end])}
    tokenizer = Tokenizer(models.BPE(ids, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, ids[start]), (end, ids[end])]
    )
    return tokenizer


def _byte_letters() -> list[str]:
    """Return the printable letter of every byte, in CLIP's order: printable bytes first."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, printable), *(chr(256 + n) for n in range(256 - len(printable)))]


def _make_small() -> None:
    """Write a model whose text tower looks the question's number up in a table of vectors."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    SMALL.mkdir(parents=True, exist_ok=True)
    vectors = np.concatenate([np.zeros((2, DIM)), Synthetic(100_000).queries(QUESTIONS)])
    table = numpy_helper.from_array(vectors.astype(np.float32), "table")
    axis = numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "tokens"], ["words"]),
            helper.make_node("ReduceSum", ["words", "axis"], ["embedding"], keepdims=0),
        ],
        "text",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [table, axis],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx_checked(model)
    onnx.save(model, str(SMALL / "text.onnx"))
    words = {"<pad>": 0, "question": 1, **{str(n): n + 2 for n in range(QUESTIONS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(SMALL / "tokenizer.json"))
    description = ModelDescription(
        space=SPACE,
        preprocessing=None,
        text=TextSpec(8),
        licence="for benchmarks only",
        source={"recipe": "a table of questions"},
    )
    write_model_folder(SMALL, description)


def main() -> None:
    """Make all networks."""
    for folder in (small_folder(), clip_folder(), rclip_data()):
        say(f"{folder.name}: {sum(f.stat().st_size for f in folder.rglob('*')) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
