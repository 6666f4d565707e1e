"""Randomly initialised networks of real size, as a model folder and as rclip's pair of files.

    python benchmarks/networks.py

makes build/benchmarks/networks/: `open_clip`, a model folder of ViT-B/32 at 256 pixels with 512
dimensions, as `models add` makes it of an open_clip model; `rclip`, the very same weights laid out
as rclip 3.3 expects them; and `small`, a model folder whose text tower is a table of the
benchmark's own questions. Speed does not depend on
what a network has learnt; a constant added to every sentence's vector puts it in the synthetic
libraries' cone of sentences, so that searches do the work that they do with trained models.
"""

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measuring import WORK, FailedError, say
from photos import photo
from synthetic import DIM, SPACE, Synthetic

from mmsearch.retrieval.encoder import Precision, Use
from mmsearch.retrieval.folder import (
    MODEL_FILE,
    ModelDescription,
    TextSpec,
    read_model_folder,
    write_model_folder,
)
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.optimise import description_of, optimise_folder

if TYPE_CHECKING:
    import torch

FOLDER = WORK / "networks"
CLIP = FOLDER / "open_clip"
PLAIN = FOLDER / "open_clip-plain"  # as converted, before graphs are simplified
INT8 = FOLDER / "open_clip-int8"
RCLIP = FOLDER / "rclip"
SMALL = FOLDER / "small"
QUESTIONS = 200
"""How many different questions the small model knows: "question 0" and so on."""

_PAIR = "ViT-B-32-256-datacomp_s34b_b86k"
_NOTICES = ("LICENSE", "OPENAI-CLIP-MIT.txt", "README.md", "THIRD_PARTY_NOTICES.md")
_ARCHITECTURE = "ViT-B-32-256"
_LENGTH = 77
_SAMPLES = 96
_WORDS = ("dog", "child", "bike", "red ball", "boat", "old man", "horse", "beach", "house", "hill")
_SAME = 1e-4  # of unit rows, computed in another order


def clip_folder() -> Path:
    """Return the model folder of the real-sized network, made unless it is there."""
    if not (CLIP / MODEL_FILE).exists():
        _make_clip()
    return CLIP


def int8_folder() -> Path | None:
    """Return the same model with 8-bit networks, made unless it is there.

    None when the one for text did not pass: of a network that has learnt nothing, it may not.
    """
    if not (INT8 / MODEL_FILE).exists():
        _make_int8()
    return INT8 if read_model_folder(INT8).text_int8_path is not None else None


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


def new_question() -> str:
    """Return a sentence that nobody has asked before."""
    one, other, place = random.sample(_WORDS, 3)
    return f"a photo of a {one} and a {other} near the {place}, number {random.getrandbits(32)}"


def _make_clip() -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    say("making a randomly initialised ViT-B/32 (about a minute)")
    torch.manual_seed(0)
    network = open_clip.create_model(_ARCHITECTURE, pretrained=None).eval()
    weights = FOLDER / f"{_ARCHITECTURE}.safetensors"
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), weights)
    cone = torch.from_numpy(Synthetic(1).cone())
    pair = RCLIP / _PAIR
    if not (pair / "textual.onnx").exists():
        pair.mkdir(parents=True, exist_ok=True)
        _export(_towers(network, cone), pair)
        _complete_rclip(Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz"))
    _convert(weights, cone)
    weights.unlink()
    compare()


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


def _convert(weights: Path, cone: "torch.Tensor") -> None:
    """Write the model folder as `models add` makes it, in the libraries' space and cone."""
    import torch
    from torch.nn.functional import normalize

    from mmsearch.retrieval.convert.open_clip_source import load_open_clip
    from mmsearch.retrieval.convert.source import write_source

    source = load_open_clip(_ARCHITECTURE, weights, None)

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = source.text

        def forward(self, tokens: "torch.Tensor") -> "torch.Tensor":
            return normalize(self.tower(tokens), dim=-1) + cone

    shutil.rmtree(PLAIN, ignore_errors=True)
    PLAIN.mkdir(parents=True)
    write_source(replace(source, text=Shifted(), licence="for benchmarks only"), PLAIN)
    move_into_the_libraries_space(PLAIN)
    optimise_folder(_copied(CLIP))


def move_into_the_libraries_space(path: Path) -> None:
    """Let a model folder claim the space of the synthetic libraries, so that it can ask them."""
    description = description_of(read_model_folder(path))
    write_model_folder(path, replace(description, space=SPACE))


def _make_int8() -> None:
    """Try 8-bit networks as `models add --int8 --calibrate` does; what fails is not kept."""
    from mmsearch.retrieval.convert.quantise import quantise_folder
    from mmsearch.retrieval.decode import decode_bytes

    say("trying 8-bit networks")
    preprocessing = read_model_folder(clip_folder()).preprocessing
    if preprocessing is None:
        raise FailedError(f"{CLIP} has no image network")
    generator = np.random.default_rng(1)
    drawn = [photo(generator, 640, 480) for _ in range(_SAMPLES)]  # none of those to be indexed
    pictures = [decode_bytes(content, preprocessing) for content in drawn]
    quantise_folder(_copied(INT8), pictures, say=say)
    optimise_folder(INT8)


def _copied(target: Path) -> Path:
    """Return the folder as converted, linked to another place; its files are only replaced."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(PLAIN, target, copy_function=os.link))


def compare() -> None:
    """Check that both tools run the same network. Raises FailedError when they do not."""
    import onnxruntime
    from tokenizers import Tokenizer

    session = onnxruntime.InferenceSession(str(RCLIP / _PAIR / "textual.onnx"))
    tokenizer = Tokenizer.from_file(str(CLIP / "tokenizer.json"))
    sentences = [question(number) for number in range(4)]
    rows = np.zeros((len(sentences), _LENGTH), dtype=np.int64)
    for row, encoding in zip(rows, tokenizer.encode_batch(sentences), strict=True):
        row[: len(encoding.ids)] = encoding.ids
    theirs = session.run(None, {"input": rows})[0]
    ours = load_encoder(CLIP, Use(precision=Precision.FP32)).encode_texts(sentences)
    apart = float(np.abs(ours - theirs).max())
    say(f"the two forms of the network differ by {apart:.1e} at most")
    if apart > _SAME:
        raise FailedError(f"{CLIP} and {RCLIP} are different networks; remove both")


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
    onnx.checker.check_model(model)
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
