"""The text side of open_clip's models from files on this machine: tokenizer, configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.open_clip_tokenizer import CLEANING
from mmsearch.retrieval.layouts import CONFIG, TOKENIZER_FILES

_LENGTH: Final = 77
_OPTIONS: Final = {
    "clip": frozenset({"clean", "additional_special_tokens"}),
    "transformers": frozenset({"clean", "strip_sep_token", "language"}),
}
"""What a configuration may set of each kind of tokenizer: none reads code, paths or chance."""


def load_tokenizer(text: Mapping[str, Any], directory: Path | None) -> tuple[Any, str]:
    """Return open_clip's tokenizer for a `text_cfg`, and the name of its cleaning.

    A tokenizer of transformers is read from `directory`, from the folder that the configuration
    names, or from the hub's cache on this machine, and never fetched. Raises ModelError when it
    is in none of them, or cannot be used.
    """
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    options = dict(text.get("tokenizer_kwargs") or {})
    name = text.get("hf_tokenizer_name") or ""
    length = int(text.get("context_length") or _LENGTH)
    clean = str(options.get("clean") or ("whitespace" if name else "lower"))
    refused = sorted(options.keys() - _OPTIONS["transformers" if name else "clip"])
    if refused or clean not in CLEANING:
        wrong = refused[0] if refused else f"clean={clean}"
        raise ModelError(f"the tokenizer option {wrong!r} of the model is not supported")
    if text.get("tokenizer_mode"):
        raise ModelError(f"the tokenizer mode {text['tokenizer_mode']!r} is not supported")
    if not name:
        return SimpleTokenizer(context_length=length, **options), clean
    folder = _tokenizer_folder(str(name), directory)
    fixed = {"trust_remote_code": False, "local_files_only": True}
    try:
        return HFTokenizer(str(folder), context_length=length, **options, **fixed), clean
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the tokenizer in {folder} cannot be read: {reason}") from error


def text_config_folder(text: Mapping[str, Any], directory: Path | None) -> Path | None:
    """Return where the configuration of a text tower of transformers is; None: there is none.

    Raises ModelError when it is not on this machine, or of a kind that open_clip does not know.
    """
    name = text.get("hf_model_name")
    if not name:
        return None
    from open_clip.hf_configs import arch_dict

    candidates = _candidates(str(name), directory, CONFIG)
    for folder in candidates:
        if _model_type(folder / CONFIG) in arch_dict:
            return folder
    raise ModelError(
        f"the model has the text tower of {name}, whose configuration is not on this machine; "
        f"put the {CONFIG} of {name} into {directory or 'the folder of the weights'}"
    )


def _tokenizer_folder(name: str, directory: Path | None) -> Path:
    for file in TOKENIZER_FILES:
        for folder in _candidates(name, directory, file):
            return folder
    raise ModelError(
        f"the model has the tokenizer of {name}, which is not on this machine; put its "
        f"tokenizer.json and tokenizer_config.json into {directory or 'the folder of the weights'}"
    )


def _candidates(name: str, directory: Path | None, file: str) -> list[Path]:
    """Return the folders that hold `file` of what a configuration calls `name`, nearest first."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    folders = [Path(name)]
    if directory is not None:
        folders = [directory / name, directory, *folders]
    try:
        cached = try_to_load_from_cache(name, file)
    except HFValidationError:
        cached = None
    if isinstance(cached, str):
        folders.append(Path(cached).parent)
    return [folder for folder in folders if (folder / file).is_file()]


def _model_type(file: Path) -> str:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(document.get("model_type", "")) if isinstance(document, dict) else ""
