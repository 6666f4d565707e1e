"""A model and its image processor, as transformers loads them: offline, quietly, whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from mmsearch.errors import ModelError

SUPPORTED: Final = (
    "CLIP, MetaCLIP 2, SigLIP and SigLIP 2 of fixed resolution, Chinese-CLIP, AltCLIP, ALIGN, "
    "VisionTextDualEncoder, and other models with get_image_features and get_text_features"
)
FAILURES: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
)
"""What transformers raises for files that it cannot use."""
_ENTRANCES: Final = ("get_image_features", "get_text_features")


def check_kind(directory: Path, kind: object) -> None:
    """Refuse a `model_type` that does not encode pictures of one size and sentences.

    Raises ModelError with what is supported.
    """
    from transformers import CONFIG_MAPPING, MODEL_MAPPING

    if kind not in CONFIG_MAPPING:
        raise ModelError(
            f"{directory} is a model of the type {kind!r}, which the installed transformers does "
            f"not know; supported are {SUPPORTED}"
        )
    if kind == "siglip2":
        raise ModelError(
            f"{directory} is a SigLIP 2 of variable resolution (NaFlex), whose pictures have no "
            "one size; use a SigLIP 2 of fixed resolution, such as …-patch16-256"
        )
    model = MODEL_MAPPING.get(CONFIG_MAPPING[kind], None)
    if not all(hasattr(model, name) for name in _ENTRANCES):
        raise ModelError(
            f"{directory} is a model of the type {kind!r}, which does not encode both pictures "
            f"and sentences; supported are {SUPPORTED}"
        )


def load_model(directory: Path) -> Any:
    """Return the model in evaluation mode, float32, with plain attention.

    Raises ModelError when the weights are damaged, do not fit, or are not all there.
    """
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            directory,
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (*FAILURES, SafetensorError) as error:
        raise ModelError(f"the model in {directory} cannot be loaded: {reason(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{directory} lacks {len(missing)} weights of a {type(model).__name__} "
            f"({missing[0]}, …); use the whole model"
        )
    return model.eval()


def load_processor(directory: Path, *, backend: str | None = None) -> Any:
    """Return the image processor; `backend` "pil" resizes with Pillow, None is the default.

    Raises ModelError when it cannot be made.
    """
    from transformers import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(
            directory, backend=backend, local_files_only=True, trust_remote_code=False
        )
    except FAILURES as error:
        raise ModelError(
            f"the image processor in {directory} cannot be loaded: {reason(error)}"
        ) from error


def reason(error: BaseException) -> str:
    """Return the first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and giving advice while it loads."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
