"""How far decoding JPEGs at a fraction of their size moves their vectors.

    MMSEARCH_TEST_DATA=FOLDER python benchmarks/drift.py [--photos 60]

Photos of the folder `gallery/images` are enlarged and saved as JPEGs, then decoded twice: as
`index` does (libjpeg's scaled DCT, never below twice the encoder's input) and in full size. Both
are resized by the same code. Measured is 1 - cosine of the two vectors, for the bundled model and,
where torch and `backbones/mobilenetv2_imagenet.safetensors` are at hand, for the pooled features of
a network trained on ImageNet at 224 pixels, its pictures squashed as it was trained and cropped as
CLIP's are. The short side is 3000 pixels, and 1800, a quarter of which is just twice 224.
"""

import argparse
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import measuring
import numpy as np
from measuring import Facts, keep, say
from PIL import Image

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize, Vectors
from mmsearch.retrieval.decode import decode_bytes
from mmsearch.retrieval.encoder import normalise
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.resizing import resize

TARGET = 0.005
_SHORT_SIDES = (3000, 1800)
_BATCH = 16
Encode = Callable[[Sequence[Pixels]], Vectors]


def enlarged(folder: Path, count: int, short: int) -> Iterator[bytes]:
    """Yield photos of a folder as JPEGs whose short side has so many pixels."""
    for path in sorted(folder.iterdir())[:count]:
        with Image.open(path) as image:
            ratio = short / min(image.size)
            size = (round(ratio * image.width), round(ratio * image.height))
            large = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        large.save(stream, "JPEG", quality=92)
        yield stream.getvalue()


def drift(files: Sequence[bytes], encode: Encode, preprocessing: Preprocessing) -> Facts:
    """Return the mean, the 95th percentile and the largest distance of two decodings."""
    scaled = [decode_bytes(data, preprocessing) for data in files]
    whole = [resize(decode_bytes(data, None), preprocessing) for data in files]
    one, other = _unit(encode(scaled)), _unit(encode(whole))
    gaps = 1 - np.sum(one * other, axis=1)
    return {
        "photos": len(files),
        "mean": float(gaps.mean()),
        "p95": float(np.quantile(gaps, 0.95)),
        "largest": float(gaps.max()),
    }


def mobilenet(file: Path) -> tuple[Encode, Preprocessing]:
    """Return the pooled features of a MobileNetV2, and how its pictures are prepared."""
    import timm
    import torch
    from safetensors import safe_open

    with safe_open(file, "pt") as stored:
        facts = stored.metadata()
        weights = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
    arguments = json.loads(facts["timm_args"])
    network = timm.create_model("mobilenetv2_100", num_classes=0, **arguments).eval()
    missing = network.load_state_dict(weights, strict=False).missing_keys
    if missing:
        raise measuring.FailedError(f"{file} lacks {missing[0]}")
    preprocessing = Preprocessing(
        (224, 224), Resize.SQUASH, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    )

    def encode(pictures: Sequence[Pixels]) -> Vectors:
        with torch.no_grad():
            batch = torch.from_numpy(normalise(np.stack(pictures), preprocessing))
            return np.asarray(network(batch).numpy(), dtype=np.float32)

    return encode, preprocessing


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure the drift of scaled decoding.")
    parser.add_argument("--photos", type=int, default=60)
    asked = parser.parse_args()
    data = Path(os.environ["MMSEARCH_TEST_DATA"])
    mini = load_encoder("mini")
    ways = {"mini": (mini.encode_images, mini.preprocessing)}
    backbone = data / "backbones" / "mobilenetv2_imagenet.safetensors"
    if backbone.exists():
        encode, squash = mobilenet(backbone)
        crop = replace(squash, resize=Resize.CROP, interpolation=Interpolation.BICUBIC)
        ways |= {"mobilenetv2": (encode, squash), "mobilenetv2, cropped": (encode, crop)}
    found = {}
    for short in _SHORT_SIDES:
        files = list(enlarged(data / "gallery" / "images", asked.photos, short))
        for name, way in ways.items():
            found[f"{name}, {short} pixels"] = drift(files, *way)
    for name, facts in found.items():
        met = "met" if facts["mean"] <= TARGET else "NOT MET"
        say(f"{name}: mean {facts['mean']:.5f}, largest {facts['largest']:.5f} ({met}: {TARGET})")
    keep("drift", {"machine": measuring.machine("pillow"), "models": found})


if __name__ == "__main__":
    main()
