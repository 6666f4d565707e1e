"""A directory as transformers writes it: looked at before anything is loaded from it."""

import json
import re
from pathlib import Path
from typing import Any, Final

from mmsearch.errors import ModelError

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
WEIGHTS_INDEX: Final = "model.safetensors.index.json"
PREPROCESSOR: Final = "preprocessor_config.json"
PROCESSOR: Final = "processor_config.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
_PICKLED: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_OTHER_WEIGHTS: Final = ("*.h5", "*.msgpack")


def check_directory(directory: Path) -> dict[str, Any]:
    """Return what `config.json` says; refuse a directory that cannot be converted.

    Raises ModelError when it wants to run code of its own, has no safetensors weights or not all
    of them, or lacks the settings of the pictures.
    """
    if not (directory / CONFIG).is_file():
        raise ModelError(
            f"{directory} has no {CONFIG}; give the directory of a transformers model, as "
            "save_pretrained writes it"
        )
    config = read_json(directory / CONFIG)
    for name in (CONFIG, PREPROCESSOR, PROCESSOR, TOKENIZER_CONFIG):
        if (directory / name).is_file():
            _refuse_code(directory / name)
    _check_weights(directory)
    if not (directory / PREPROCESSOR).is_file() and not _holds_image_settings(directory):
        raise ModelError(
            f"{directory} has no {PREPROCESSOR}, so that nothing says how its pictures are "
            "prepared; add the file that was published with the model"
        )
    return config


def read_json(file: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises ModelError when it holds none."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}); fetch the model again") from error
    if not isinstance(document, dict):
        raise ModelError(f"{file} does not hold an object; fetch the model again")
    return document


def read_licence(directory: Path) -> str:
    """Return the licence that the card's front matter names; empty when it names none."""
    try:
        card = (directory / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    front = re.match(r"---\s*\n(.*?)\n---", card, flags=re.DOTALL)
    if front is None:
        return ""
    found: dict[str, str] = dict(
        re.findall(r"^(license|license_name):[ \t]*(\S.*)$", front[1], flags=re.MULTILINE)
    )
    licence = found.get("license", "")
    chosen = found.get("license_name", licence) if licence == "other" else licence
    return chosen.strip().strip("'\"")


def _refuse_code(file: Path) -> None:
    wanted = read_json(file).get("auto_map")
    if wanted:
        names = ", ".join(sorted(wanted)) if isinstance(wanted, dict) else str(wanted)
        raise ModelError(
            f"{file} wants to run code that comes with the model (auto_map: {names}), and none is "
            "ever run; use a model that transformers supports by itself"
        )


def _check_weights(directory: Path) -> None:
    if (directory / WEIGHTS).is_file():
        return
    if (directory / WEIGHTS_INDEX).is_file():
        parts = read_json(directory / WEIGHTS_INDEX).get("weight_map", {})
        names = sorted(set(parts.values())) if isinstance(parts, dict) else []
        missing = [name for name in names if not (directory / name).is_file()]
        if missing or not names:
            raise ModelError(
                f"{directory} lacks {len(missing)} of its {len(names)} weight files"
                f"{': ' + missing[0] if missing else ''}; fetch the model again"
            )
        return
    if any(list(directory.glob(pattern)) for pattern in _PICKLED):
        raise ModelError(
            f"{directory} has its weights as pickles alone, which can run code and are never "
            f"loaded; use a revision of the model that has {WEIGHTS}"
        )
    kind = " of PyTorch" if any(list(directory.glob(name)) for name in _OTHER_WEIGHTS) else ""
    raise ModelError(f"{directory} has no weights{kind}; it should hold {WEIGHTS}")


def _holds_image_settings(directory: Path) -> bool:
    file = directory / PROCESSOR
    return file.is_file() and "image_processor" in read_json(file)
