"""How fast the networks are that people choose between: the bundled model and open_clip's.

    python benchmarks/architectures.py [ViT-B-32-256 ...]

Each is made with random weights (speed does not depend on them), its towers are written as
`models add` writes them and run by ONNX Runtime on all processors: pictures a second in batches,
milliseconds for one sentence of fourteen tokens, or as many as the tower always takes. The
network alone: nothing is decoded, searched or written.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import numpy as np
from measuring import WORK, Facts, keep, say

from mmsearch.retrieval.encoder import OnnxEncoder
from mmsearch.retrieval.folder import IMAGE_FILE, TEXT_FILE, ModelFolder, read_model_folder
from mmsearch.retrieval.models import resolve_model
from mmsearch.retrieval.optimise import Level, simplify
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.tower import session_options

ARCHITECTURES = ("MobileCLIP-S1", "ViT-B-32-256", "ViT-B-16-SigLIP")
_BATCH = 8
_RUNS = 15
_TOKENS = 14
_NOTE = "benchmark.json"


def measured(name: str) -> Facts:
    """Time the towers of one of open_clip's architectures, made unless they are there."""
    place = WORK / "architectures" / name
    if not (place / _NOTE).exists():
        _make(name, place)
    made = json.loads((place / _NOTE).read_text(encoding="utf-8"))
    sizes = {"image_bytes": _size(place, IMAGE_FILE), "text_bytes": _size(place, TEXT_FILE)}
    return {**made, **sizes, **_timed(place, made["side"], made["tokens"])}


def _make(name: str, place: Path) -> None:
    import open_clip
    import torch

    from mmsearch.retrieval.convert.graph import write_tower
    from mmsearch.retrieval.convert.open_clip_towers import ImageTower, text_tower
    from mmsearch.retrieval.vse.onnx_graph import IMAGE_SIGNATURE, Signature

    say(f"making {name}")
    torch.manual_seed(0)
    model = open_clip.create_model(name, pretrained=None, pretrained_image=False).eval()
    size = model.visual.image_size
    side = int(size if isinstance(size, int) else size[0])
    module, fixed = text_tower(model, 0)
    length = int(model.context_length) if fixed else _TOKENS
    axes = {0: "batch"} if fixed else {0: "batch", 1: "length"}
    tokens = torch.ones(2, length, dtype=torch.int64)
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        plain = Path(folder)
        pixels = torch.zeros(2, 3, side, side)
        dim = write_tower(ImageTower(model.visual), [pixels], IMAGE_SIGNATURE, plain / IMAGE_FILE)
        text = Signature({"tokens": axes}, "embedding")
        write_tower(module, [tokens], text, plain / TEXT_FILE)
        for tower in (IMAGE_FILE, TEXT_FILE):
            simplify(plain / tower, place / tower, Level.EXTENDED)
    note = {"side": side, "dim": dim, "tokens": length}
    (place / _NOTE).write_text(json.dumps(note), encoding="utf-8")


def bundled() -> Facts:
    """Time the towers of the model that comes with mmsearch."""
    folder = read_model_folder(resolve_model("mini"))
    assert folder.preprocessing is not None
    return {
        "side": folder.preprocessing.size[0],
        "dim": folder.space.dim,
        "tokens": _TOKENS,
        "image_bytes": _size(folder.path, IMAGE_FILE),
        "text_bytes": _size(folder.path, TEXT_FILE),
        **_encoded(folder),
    }


def _encoded(folder: ModelFolder) -> Facts:
    assert folder.preprocessing is not None
    encoder = OnnxEncoder(folder)
    pixels = [np.zeros((*folder.preprocessing.size, 3), dtype=np.uint8)] * _BATCH
    sentence = "a small red circle to the left of a large blue square and a"
    spent = _quickest(lambda: encoder.encode_images(pixels))
    return {
        "images_a_second": _BATCH / spent,
        "sentence": _quickest(lambda: encoder.encode_texts([sentence])),
    }


def _timed(place: Path, side: int, length: int) -> Facts:
    import onnxruntime

    def run(name: str, values: Any) -> Callable[[], object]:
        options = session_options(available_processors())
        session = onnxruntime.InferenceSession(str(place / name), options)
        (given,) = session.get_inputs()
        return lambda: session.run(None, {given.name: values})

    generator = np.random.default_rng(0)
    pixels = generator.normal(size=(_BATCH, 3, side, side)).astype(np.float32)
    image = _quickest(run(IMAGE_FILE, pixels))
    text = _quickest(run(TEXT_FILE, np.ones((1, length), dtype=np.int64)))
    return {"images_a_second": _BATCH / image, "sentence": text}


def _quickest(work: Callable[[], object]) -> float:
    """Return the least seconds of some calls: what else the machine does only adds to it."""
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _size(folder: Path, name: str) -> int:
    return sum(file.stat().st_size for file in folder.glob(f"{name}*"))


def main() -> None:
    """Make, time, print, keep."""
    parser = argparse.ArgumentParser(description="Time the networks that people choose between.")
    parser.add_argument("names", nargs="*", default=ARCHITECTURES)
    asked = parser.parse_args()
    found = {"mini": bundled()} | {name: measured(name) for name in asked.names}
    for name, facts in found.items():
        say(
            f"  {name:18} {facts['images_a_second']:7.1f} images/s, "
            f"a sentence {facts['sentence'] * 1e3:.1f} ms, "
            f"{(facts['image_bytes'] + facts['text_bytes']) / 1e6:.0f} MB"
        )
    keep("architectures", {"machine": measuring.machine("tokenizers", "torch"), "found": found})


if __name__ == "__main__":
    main()
