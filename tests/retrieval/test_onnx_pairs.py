"""Ready ONNX pairs become model folders that give what the networks give."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.retrieval.ready_pairs import (
    DIM,
    LENGTH,
    MEAN,
    SIDE,
    STD,
    WORDS,
    Shape,
    photo_server,
    save_image_network,
    tokenizer,
    transformers_js,
    write_json,
)

from mmsearch.core import Cut, Interpolation, Pixels, Resize
from mmsearch.errors import ModelError
from mmsearch.retrieval.description import Cleaning
from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.folder import read_model_folder, verify
from mmsearch.retrieval.layouts import Layout
from mmsearch.retrieval.onnx_pairs import write_pair

SENTENCES = ["red dog", "", "a red & blue dog", "a " * 40]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An empty folder for the model."""
    path = tmp_path / "made"
    path.mkdir()
    return path


def _pictures() -> list[Pixels]:
    rng = np.random.default_rng(7)
    shapes = [(50, 80), (121, 64), (40, 40), (33, 300)]
    return [rng.integers(0, 256, size=(h, w, 3), dtype=np.uint8) for h, w in shapes]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def _centre(picture: Pixels, short: int, kind: Image.Resampling, *, down: bool) -> Pixels:
    """Scale the short side, cut out the middle: in two plain steps, by Pillow."""
    height, width = picture.shape[:2]
    scale = short / min(height, width)
    size = (short, int(scale * height)) if width <= height else (int(scale * width), short)
    scaled = Image.fromarray(picture).resize(size, kind)
    gaps = [side - SIDE for side in scaled.size]
    left, top = (gap // 2 if down else round(gap / 2) for gap in gaps)
    return np.asarray(scaled.crop((left, top, left + SIDE, top + SIDE)))


def _run_pictures(graph: Path, pictures: list[Pixels]) -> NDArray[np.float32]:
    session = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    rows = []
    for picture in pictures:
        pixels = (picture.astype(np.float64) / 255 - MEAN) / STD
        ready = pixels.transpose(2, 0, 1)[None].astype(np.float32)
        rows.append(session.run(None, {"image": ready})[0])
    return _unit(np.concatenate(rows))


def _ids(words: str) -> list[int]:
    inner = [WORDS.index(word) if word in WORDS else 3 for word in words.split()]
    return [1, *inner[: LENGTH - 2], 2]


def _padded(words: str) -> NDArray[np.int64]:
    ids = _ids(words)
    return np.array([ids + [0] * (LENGTH - len(ids))])


def test_a_photo_servers_pair_gives_what_its_networks_give(tmp_path: Path, made: Path) -> None:
    source = photo_server(tmp_path / "source")
    folder = write_pair(Layout.PHOTO_SERVER, source, made, name="photos")
    encoder = OnnxEncoder(read_model_folder(made))
    seen = [_centre(p, SIDE, Image.Resampling.BICUBIC, down=False) for p in _pictures()]
    expected = _run_pictures(source / "visual" / "model.onnx", seen)
    assert np.abs(encoder.encode_images(_pictures()) - expected).max() < 0.02  # 8-bit roundings
    session = ort.InferenceSession(str(source / "textual" / "model.onnx"))
    texts = [session.run(None, {"text": _padded(s).astype(np.int32)})[0] for s in SENTENCES]
    assert encoder.encode_texts(SENTENCES) == pytest.approx(_unit(np.concatenate(texts)), abs=1e-5)
    assert (folder.name, folder.space.dim) == ("photos", DIM)
    assert folder.preprocessing is not None
    assert folder.preprocessing.resize is Resize.CROP
    assert folder.preprocessing.cut is Cut.ROUND
    verify(folder)


def test_a_transformers_js_pair_gives_what_its_networks_give(tmp_path: Path, made: Path) -> None:
    source = transformers_js(tmp_path / "source")
    folder = write_pair(Layout.TRANSFORMERS_JS, source, made, name="photos")
    encoder = OnnxEncoder(read_model_folder(made))
    seen = [_centre(p, SIDE + 4, Image.Resampling.BILINEAR, down=True) for p in _pictures()]
    expected = _run_pictures(source / "onnx" / "vision_model.onnx", seen)
    assert np.abs(encoder.encode_images(_pictures()) - expected).max() < 0.02
    session = ort.InferenceSession(str(source / "onnx" / "text_model.onnx"))
    ids = [np.array([_ids(sentence)]) for sentence in SENTENCES]
    texts = [session.run(None, {"input_ids": i, "attention_mask": i * 0 + 1})[0] for i in ids]
    assert encoder.encode_texts(SENTENCES) == pytest.approx(_unit(np.concatenate(texts)), abs=1e-5)
    assert folder.preprocessing is not None
    assert folder.preprocessing.interpolation is Interpolation.BILINEAR
    assert folder.preprocessing.cut is Cut.FLOOR
    assert folder.preprocessing.short_side == SIDE + 4
    assert folder.text.length == LENGTH
    assert not folder.text.fixed
    assert (folder.image_output, folder.text_output) == ("image_embeds", "text_embeds")


def test_a_network_that_sees_its_padding_gets_sentences_of_one_length(
    tmp_path: Path, made: Path
) -> None:
    shape = Shape(batch=None, length=None, masked=False, tokens="input_ids")
    source = transformers_js(tmp_path / "source", shape)
    folder = write_pair(Layout.TRANSFORMERS_JS, source, made, name="photos")
    assert folder.text.fixed
    session = ort.InferenceSession(str(source / "onnx" / "text_model.onnx"))
    texts = [session.run(None, {"input_ids": _padded(s)})[0] for s in SENTENCES]
    found = OnnxEncoder(folder).encode_texts(SENTENCES)
    assert found == pytest.approx(_unit(np.concatenate(texts)), abs=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_text_is_cleaned_as_open_clip_does(tmp_path: Path, made: Path, *, masked: bool) -> None:
    source = photo_server(tmp_path / "source", Shape(masked=masked))
    folder = write_pair(Layout.PHOTO_SERVER, source, made, name="photos")
    encoder = OnnxEncoder(folder)
    one, other = encoder.encode_texts(["  RED &amp;amp;\n BLUE", "red & blue"])
    if masked:  # M-CLIP: its tokenizer alone
        assert folder.text.cleaning == ()
        assert one @ other < 0.999
    else:
        assert one @ other == pytest.approx(1)


def test_punctuation_goes_where_the_tokenizer_is_told_so(tmp_path: Path, made: Path) -> None:
    source = photo_server(tmp_path / "source")
    options = {"hf_tokenizer_name": "x", "tokenizer_kwargs": {"clean": "canonicalize"}}
    write_json(source / "config.json", {"text_cfg": {"context_length": LENGTH, **options}})
    folder = write_pair(Layout.PHOTO_SERVER, source, made, name="photos")
    assert Cleaning.PUNCTUATION in folder.text.cleaning
    one, other = OnnxEncoder(folder).encode_texts(["Red, dog!", "red dog"])
    assert one @ other == pytest.approx(1)


def test_weights_beside_the_graph_come_along(tmp_path: Path, made: Path) -> None:
    plain = photo_server(tmp_path / "plain")
    apart = photo_server(tmp_path / "apart", Shape(beside=True))
    assert (apart / "visual" / "model.onnx_data").exists()
    folder = write_pair(Layout.PHOTO_SERVER, apart, made, name="photos")
    shutil.rmtree(apart)
    moved = made.rename(tmp_path / "moved")
    (tmp_path / "other").mkdir()
    other = write_pair(Layout.PHOTO_SERVER, plain, tmp_path / "other", name="photos")
    found = OnnxEncoder(read_model_folder(moved)).encode_images(_pictures())
    assert found == pytest.approx(OnnxEncoder(other).encode_images(_pictures()), abs=1e-6)
    assert {"image.onnx", "text.onnx", "tokenizer.json"} <= set(folder.files)


def test_networks_of_16_bits_are_taken_too(tmp_path: Path, made: Path) -> None:
    half = write_pair(
        Layout.PHOTO_SERVER, photo_server(tmp_path / "half", Shape(half=True)), made, name="half"
    )
    (tmp_path / "full").mkdir()
    source = photo_server(tmp_path / "source")
    full = write_pair(Layout.PHOTO_SERVER, source, tmp_path / "full", name="full")
    found = OnnxEncoder(half).encode_images(_pictures())
    assert found == pytest.approx(OnnxEncoder(full).encode_images(_pictures()), abs=3e-3)
    found = OnnxEncoder(half).encode_texts(SENTENCES)
    assert found == pytest.approx(OnnxEncoder(full).encode_texts(SENTENCES), abs=3e-3)


def test_a_missing_file_of_weights_is_named(tmp_path: Path, made: Path) -> None:
    source = photo_server(tmp_path / "source", Shape(beside=True))
    (source / "textual" / "model.onnx_data").unlink()
    with pytest.raises(ModelError, match=r"damaged or no ONNX network|not beside it"):
        write_pair(Layout.PHOTO_SERVER, source, made, name="photos")


def test_the_digest_tells_weights_tokenizers_and_preprocessing_apart(tmp_path: Path) -> None:
    digests = set()

    def add(source: Path) -> str:
        made = source.with_name(f"{source.name}-made")
        made.mkdir()
        return write_pair(Layout.PHOTO_SERVER, source, made, name=source.name).space.digest

    first = photo_server(tmp_path / "a")
    digests.add(add(first))
    digests.add(add(shutil.copytree(first, tmp_path / "same")))
    assert len(digests) == 1
    digests.add(add(photo_server(tmp_path / "b", seed=5)))
    squashed = shutil.copytree(first, tmp_path / "c")
    file = squashed / "visual" / "preprocess_cfg.json"
    write_json(file, json.loads(file.read_text()) | {"resize_mode": "squash"})
    digests.add(add(squashed))
    words = shutil.copytree(first, tmp_path / "d")
    bigger = tokenizer()
    bigger.add_tokens(["dogs"])
    bigger.save(str(words / "textual" / "tokenizer.json"))
    digests.add(add(words))
    assert len(digests) == 4


def test_rclips_folder_gives_the_tokens_of_clip(tmp_path: Path, made: Path) -> None:
    package = importlib.util.find_spec("open_clip")
    if package is None or package.origin is None:
        pytest.skip("open_clip, which has CLIP's vocabulary, is not installed")
    networks = tmp_path / "data" / "ViT-B-32-256"
    networks.mkdir(parents=True)
    name = "bpe_simple_vocab_16e6.txt.gz"
    (tmp_path / "data" / "tokenizer").mkdir()
    vocabulary = tmp_path / "data" / "tokenizer" / name
    shutil.copyfile(Path(package.origin).with_name(name), vocabulary)
    shape = Shape(batch=None, length=8, tokens="input", embedding="output")
    save_image_network(networks / "visual.onnx", shape, seed=0)
    save_clip_text_network(networks / "textual.onnx")
    folder = write_pair(Layout.RCLIP, tmp_path / "data", made, name="photos")
    session = ort.InferenceSession(str(networks / "textual.onnx"))
    # <start> a photo of a cat <end>, and the padding, as CLIP has numbered them
    ids = np.array([[49406, 320, 1125, 539, 320, 2368, 49407, 0]])
    expected = _unit(session.run(None, {"input": ids})[0])
    found = OnnxEncoder(folder).encode_texts([" A photo\tof a CAT "])
    assert found == pytest.approx(expected, abs=1e-5)
    assert folder.text.length == 8


def save_clip_text_network(file: Path) -> None:
    """Write a text network with a row for every token of CLIP."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    table = numpy_helper.from_array(rng.normal(size=(49408, DIM)).astype(np.float32), "table")
    places = numpy_helper.from_array(rng.uniform(1, 2, size=(8, 1)).astype(np.float32), "places")
    one = numpy_helper.from_array(np.array([1]), "one")
    nodes = [
        helper.make_node("Gather", ["table", "input"], ["words"]),
        helper.make_node("Mul", ["words", "places"], ["placed"]),
        helper.make_node("ReduceSum", ["placed", "one"], ["output"], keepdims=0),
    ]
    tokens = helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", 8])
    rows = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", DIM])
    graph = helper.make_graph(nodes, "text", [tokens], [rows], [table, places, one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(file))


def test_a_pair_is_read_without_torch(tmp_path: Path, made: Path) -> None:
    source = transformers_js(tmp_path / "source")
    program = f"""
import sys
from pathlib import Path
for name in ("torch", "open_clip", "transformers", "onnx", "safetensors", "timm"):
    sys.modules[name] = None
from mmsearch.retrieval.layouts import Layout
from mmsearch.retrieval.onnx_pairs import write_pair
write_pair(Layout.TRANSFORMERS_JS, Path({str(source)!r}), Path({str(made)!r}), name="photos")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert read_model_folder(made).space.dim == DIM
