"""The model folder: `model.json`, the ONNX towers and the tokenizer, on disk.

`model.json` is written last, so a folder that has it is whole. Every file that the encoder
reads carries a stamp (size and SHA-256).
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from mmsearch.core import Interpolation, Preprocessing, Resize, Space
from mmsearch.errors import ConfigError, ModelError

FORMAT_VERSION: Final = 1
MODEL_FILE: Final = "model.json"
IMAGE_FILE: Final = "image.onnx"
TEXT_FILE: Final = "text.onnx"
WEIGHTS_SUFFIX: Final = ".data"
"""Added to a tower's name: the file of weights that lie beside its graph."""
TOKENIZER_FILE: Final = "tokenizer.json"
_SEAL: Final = "seal"
SMALL_FILE_BYTES: Final = 16 << 20
"""Up to here a checksum costs so little that a file is verified whenever it is loaded."""

Facts: TypeAlias = Mapping[str, object]
"""What JSON can hold: recorded and shown, never interpreted."""


@dataclass(frozen=True, slots=True)
class TextSpec:
    """What is done to a sentence before the tokenizer sees it.

    `length` is the most tokens a sentence keeps, start and end included. Further cleaning,
    the vocabulary and the start and end tokens are those of `tokenizer.json`.
    """

    length: int
    lowercase: bool = False

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ConfigError(f"text length must be at least 1 token, not {self.length}")


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file must be: its hex SHA-256 and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What `model.json` says of a model, files aside.

    `preprocessing` is None when the model has no image tower. `source` says where the weights
    came from, `data` what they were trained on, `metrics` how well they do.
    """

    space: Space
    preprocessing: Preprocessing | None
    text: TextSpec
    licence: str = ""
    source: Facts = field(default_factory=dict)
    data: Facts = field(default_factory=dict)
    metrics: Facts = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name, which is its space's."""
        return self.space.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder(ModelDescription):
    """A model on disk: its description, where it is, and what its files must be."""

    path: Path
    files: Mapping[str, FileStamp]

    @property
    def image_path(self) -> Path | None:
        """The image tower's ONNX file; None when the model has none."""
        return None if self.preprocessing is None else self.path / IMAGE_FILE

    @property
    def text_path(self) -> Path:
        """The text tower's ONNX file."""
        return self.path / TEXT_FILE

    @property
    def tokenizer_path(self) -> Path:
        """The tokenizer's JSON file."""
        return self.path / TOKENIZER_FILE


def write_model_folder(path: Path, description: ModelDescription) -> ModelFolder:
    """Stamp the files that already lie in `path` and write `model.json`, last.

    The towers (`image.onnx` unless `preprocessing` is None, `text.onnx`, with their
    `.onnx.data` where the weights lie apart) and `tokenizer.json` must be there.
    Raises ModelError when one is missing.
    """
    names = _required_files(description.preprocessing is not None)
    names += sorted(file.name for file in path.glob(f"*.onnx{WEIGHTS_SUFFIX}"))
    folder = ModelFolder(
        path=path,
        files={name: _stamp(path / name) for name in names},
        space=description.space,
        preprocessing=description.preprocessing,
        text=description.text,
        licence=description.licence,
        source=description.source,
        data=description.data,
        metrics=description.metrics,
    )
    document = _to_json(folder)
    document[_SEAL] = _seal_of(document)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    partial = path / f"{MODEL_FILE}.partial"
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path / MODEL_FILE)
    return folder


def read_model_folder(path: Path) -> ModelFolder:
    """Read `model.json` and check that the files it names are there, at their size.

    Raises ModelError when the folder is no model, is from a newer version, or lacks a file.
    """
    document = _read_document(path)
    version = document.get("format")
    if not isinstance(version, int) or version < 1:
        raise ModelError(f"{path / MODEL_FILE} has no format version; export the model again")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{path} is a model of format {version} and this mmsearch reads up to "
            f"{FORMAT_VERSION}; update mmsearch"
        )
    if _SEAL in document and document.pop(_SEAL) != _seal_of(document):
        raise ModelError(_differs(path / MODEL_FILE))
    try:
        folder = _from_json(path, document)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"{path / MODEL_FILE} is damaged ({_reason(error)}); export or add the model again"
        ) from error
    for name in _required_files(folder.preprocessing is not None):
        if name not in folder.files:
            raise ModelError(f"{path / MODEL_FILE} names no {name}; export or add the model again")
    for name in folder.files:
        _check_size(folder, name)
    return folder


def verify(folder: ModelFolder) -> None:
    """Compare every file with its stamp, checksums included.

    Raises ModelError naming the first file that differs.
    """
    for name in folder.files:
        verify_file(folder, name)


def verify_file(folder: ModelFolder, name: str, *, below: int | None = None) -> None:
    """Compare one file with its stamp; its checksum only when it has at most `below` bytes.

    Raises ModelError when it differs.
    """
    _check_size(folder, name)
    stamp = folder.files[name]
    if below is not None and stamp.bytes > below:
        return
    if _stamp(folder.path / name) != stamp:
        raise ModelError(_differs(folder.path / name))


def _required_files(has_images: bool) -> list[str]:
    return [*([IMAGE_FILE] if has_images else []), TEXT_FILE, TOKENIZER_FILE]


def _stamp(file: Path) -> FileStamp:
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return FileStamp(sha256=digest, bytes=stream.tell())
    except OSError as error:
        raise ModelError(_unreadable(file, error)) from error


def _check_size(folder: ModelFolder, name: str) -> None:
    file = folder.path / name
    try:
        size = file.stat().st_size
    except OSError as error:
        raise ModelError(
            f"the model {folder.path} lacks {name} ({error.strerror}); export or add it again"
        ) from error
    if size != folder.files[name].bytes:
        raise ModelError(_differs(file))


def _unreadable(file: Path, error: OSError) -> str:
    return (
        f"cannot read the model file {file}: {error.strerror}; check its permissions and disk, "
        "or give --model MODEL"
    )


def _differs(file: Path) -> str:
    return f"the model file {file} differs from its record; export or add the model again"


def _read_document(path: Path) -> dict[str, object]:
    file = path / MODEL_FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is not a model folder: it has no {MODEL_FILE}") from error
    except OSError as error:
        raise ModelError(_unreadable(file, error)) from error
    except ValueError as error:
        raise ModelError(f"{file} is not JSON ({error}); export or add the model again") from error
    if not isinstance(document, dict):
        raise ModelError(f"{file} is not a JSON object; export or add the model again")
    return document


def _seal_of(document: Mapping[str, object]) -> str:
    """Return the checksum of a description: a wrong digit in it would change every vector."""
    plain = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(plain.encode()).hexdigest()


def _to_json(folder: ModelFolder) -> dict[str, object]:
    return {
        "format": FORMAT_VERSION,
        "name": folder.space.name,
        "dim": folder.space.dim,
        "digest": folder.space.digest,
        "image": None if folder.preprocessing is None else _image_json(folder.preprocessing),
        "text": {
            "file": TEXT_FILE,
            "length": folder.text.length,
            "lowercase": folder.text.lowercase,
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
    }


def _image_json(preprocessing: Preprocessing) -> dict[str, object]:
    return {
        "file": IMAGE_FILE,
        "size": list(preprocessing.size),
        "resize": preprocessing.resize.value,
        "interpolation": preprocessing.interpolation.value,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
    }


def _from_json(path: Path, document: dict[str, object]) -> ModelFolder:
    image = document.get("image")
    text = _object(document["text"], "text")
    files = _object(document["files"], "files")
    return ModelFolder(
        path=path,
        space=Space(
            name=_string(document["name"], "name"),
            dim=_count(document["dim"], "dim"),
            digest=_string(document["digest"], "digest"),
        ),
        preprocessing=None if image is None else _preprocessing(_object(image, "image")),
        text=TextSpec(_count(text["length"], "text length"), text.get("lowercase") is True),
        files={_plain_name(name): _file_stamp(name, stamp) for name, stamp in files.items()},
        licence=_string(document.get("licence", ""), "licence"),
        source=_object(document.get("source", {}), "source"),
        data=_object(document.get("data", {}), "data"),
        metrics=_object(document.get("metrics", {}), "metrics"),
    )


def _preprocessing(image: dict[str, object]) -> Preprocessing:
    height, width = _numbers(image["size"], 2)
    red, green, blue = _numbers(image["mean"], 3)
    red_std, green_std, blue_std = _numbers(image["std"], 3)
    return Preprocessing(
        size=(int(height), int(width)),
        resize=Resize(_string(image["resize"], "resize")),
        interpolation=Interpolation(_string(image["interpolation"], "interpolation")),
        mean=(red, green, blue),
        std=(red_std, green_std, blue_std),
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


def _count(value: object, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TypeError(f"{key} is not a positive whole number")
    return value


def _numbers(value: object, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise TypeError(f"{value!r} is not a list of {count} numbers")
    return [float(number) for number in value]


def _reason(error: Exception) -> str:
    return f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
