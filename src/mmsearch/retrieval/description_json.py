"""`model.json` as a JSON document, and back."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mmsearch.core import Cut, Interpolation, Preprocessing, Resize, Space
from mmsearch.retrieval.description import (
    IMAGE_FILE,
    TEXT_FILE,
    TOKENIZER_FILE,
    Cleaning,
    FileStamp,
    ModelFolder,
    TextSpec,
)

FORMAT_VERSION: Final = 2


def seal_of(document: Mapping[str, object]) -> str:
    """Return the checksum of a description: a wrong digit in it would change every vector."""
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()


def to_document(folder: ModelFolder) -> dict[str, object]:
    """Return the description as `model.json` holds it, without its seal."""
    return {
        "format": FORMAT_VERSION,
        "name": folder.space.name,
        "dim": folder.space.dim,
        "digest": folder.space.digest,
        "image": None
        if folder.preprocessing is None
        else {
            "file": IMAGE_FILE,
            "output": folder.image_output,
            **preprocessing_document(folder.preprocessing),
        },
        "text": {
            "file": TEXT_FILE,
            "output": folder.text_output,
            "length": folder.text.length,
            "cleaning": [step.value for step in folder.text.cleaning],
            "pad": folder.text.pad,
            "fixed": folder.text.fixed,
        },
        "tokenizer": TOKENIZER_FILE,
        "files": {
            name: {"sha256": stamp.sha256, "bytes": stamp.bytes}
            for name, stamp in folder.files.items()
        },
        "source": dict(folder.source),
        "data": dict(folder.data),
        "licence": folder.licence,
        "metrics": dict(folder.metrics),
        "int8": dict(folder.int8),
        "optimised": dict(folder.optimised),
    }


def preprocessing_document(preprocessing: Preprocessing) -> dict[str, object]:
    """Return what is done to a picture, as JSON."""
    return {
        "size": list(preprocessing.size),
        "resize": preprocessing.resize.value,
        "short_side": preprocessing.short_side,
        "cut": preprocessing.cut.value,
        "fill": preprocessing.fill,
        "interpolation": preprocessing.interpolation.value,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }


def from_document(path: Path, document: Mapping[str, object]) -> ModelFolder:
    """Return the model that `model.json` in the folder `path` describes; any format up to ours.

    Raises KeyError, TypeError, ValueError or ConfigError when the document is none.
    """
    image = document.get("image")
    described = {} if image is None else _object(image, "image")
    text = _object(document["text"], "text")
    files = _object(document["files"], "files")
    return ModelFolder(
        path=path,
        space=Space(
            name=_string(document["name"], "name"),
            dim=_count(document["dim"], "dim"),
            digest=_string(document["digest"], "digest"),
        ),
        preprocessing=_preprocessing(described) if described else None,
        image_output=_string(described.get("output", ""), "image output"),
        text=_text_spec(text),
        text_output=_string(text.get("output", ""), "text output"),
        files={_plain_name(name): _file_stamp(name, stamp) for name, stamp in files.items()},
        licence=_string(document.get("licence", ""), "licence"),
        source=_object(document.get("source", {}), "source"),
        data=_object(document.get("data", {}), "data"),
        metrics=_object(document.get("metrics", {}), "metrics"),
        int8=_object(document.get("int8", {}), "int8"),
        optimised=_object(document.get("optimised", {}), "optimised"),
    )


def _text_spec(text: Mapping[str, object]) -> TextSpec:
    length = _count(text["length"], "text length")
    if "cleaning" not in text:  # format 1
        lower = (Cleaning.LOWER,) if text.get("lowercase") is True else ()
        return TextSpec(length, (Cleaning.NFC, *lower))
    steps, pad = text["cleaning"], text.get("pad")
    if not isinstance(steps, list):
        raise TypeError("cleaning is not a list")
    return TextSpec(
        length,
        tuple(Cleaning(_string(step, "cleaning")) for step in steps),
        pad=None if pad is None else _whole(pad, "pad"),
        fixed=text.get("fixed") is True,
    )


def _preprocessing(image: Mapping[str, object]) -> Preprocessing:
    height, width = _numbers(image["size"], 2)
    red, green, blue = _numbers(image["mean"], 3)
    red_std, green_std, blue_std = _numbers(image["std"], 3)
    short_side = image.get("short_side")
    return Preprocessing(
        size=(int(height), int(width)),
        resize=Resize(_string(image["resize"], "resize")),
        interpolation=Interpolation(_string(image["interpolation"], "interpolation")),
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
        short_side=None if short_side is None else _count(short_side, "short side"),
        cut=Cut(_string(image.get("cut", Cut.ROUND), "cut")),
        fill=_whole(image.get("fill", 0), "fill"),
    )


def _file_stamp(name: str, value: object) -> FileStamp:
    stamp = _object(value, name)
    return FileStamp(_string(stamp["sha256"], "sha256"), _count(stamp["bytes"], "bytes"))


def _plain_name(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is not a plain file name")
    return name


def _object(value: object, key: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{key} is not an object")
    return value


def _string(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a string")
    return value


def _whole(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{key} is not a whole number")
    return value


def _count(value: object, key: str) -> int:
    if _whole(value, key) < 1:
        raise TypeError(f"{key} is not a positive whole number")
    return _whole(value, key)


def _numbers(value: object, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise TypeError(f"{value!r} is not a list of {count} numbers")
    return [float(number) for number in value]
