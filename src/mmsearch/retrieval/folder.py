"""The model folder: `model.json`, the ONNX towers and the tokenizer, on disk.

`model.json` is written last, so a folder that has it is whole. Every file that the encoder
reads carries a stamp (size and SHA-256).
"""

import hashlib
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Final

from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.description import (
    IMAGE_FILE,
    IMAGE_INT8_FILE,
    MODEL_FILE,
    TEXT_FILE,
    TEXT_INT8_FILE,
    TOKENIZER_FILE,
    WEIGHTS_SUFFIX,
    Cleaning,
    Facts,
    FileStamp,
    ModelDescription,
    ModelFolder,
    TextSpec,
)
from mmsearch.retrieval.description_json import (
    FORMAT_VERSION,
    from_document,
    seal_of,
    to_document,
)

__all__ = [
    "IMAGE_FILE",
    "IMAGE_INT8_FILE",
    "MODEL_FILE",
    "SMALL_FILE_BYTES",
    "TEXT_FILE",
    "TEXT_INT8_FILE",
    "TOKENIZER_FILE",
    "WEIGHTS_SUFFIX",
    "Cleaning",
    "Facts",
    "FileStamp",
    "ModelDescription",
    "ModelFolder",
    "TextSpec",
    "read_model_folder",
    "verify",
    "verify_file",
    "write_model_folder",
]

_SEAL: Final = "seal"
SMALL_FILE_BYTES: Final = 16 << 20
"""Up to here a checksum costs so little that a file is verified whenever it is loaded."""


def write_model_folder(path: Path, description: ModelDescription) -> ModelFolder:
    """Stamp the files that already lie in `path` and write `model.json`, last.

    The towers (`image.onnx` unless `preprocessing` is None, `text.onnx`, with their
    `.onnx.data` where the weights lie apart) and `tokenizer.json` must be there; 8-bit towers
    may be.
    Raises ModelError when one is missing.
    """
    names = _required_files(description.preprocessing is not None)
    names += [name for name in (IMAGE_INT8_FILE, TEXT_INT8_FILE) if (path / name).exists()]
    names += sorted(file.name for file in path.glob(f"*.onnx{WEIGHTS_SUFFIX}"))
    files = {name: _stamp(path / name) for name in names}
    facts = {each.name: getattr(description, each.name) for each in fields(ModelDescription)}
    folder = ModelFolder(path=path, files=files, **facts)
    document = to_document(folder)
    document[_SEAL] = seal_of(document)
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
    if _SEAL in document and document.pop(_SEAL) != seal_of(document):
        raise ModelError(_differs(path / MODEL_FILE))
    try:
        folder = from_document(path, document)
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


def _reason(error: Exception) -> str:
    return f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
