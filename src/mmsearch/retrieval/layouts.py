"""What a folder or a repository holds, judged by the names in it, and which files are needed."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

from mmsearch.errors import ModelError
from mmsearch.retrieval.description import MODEL_FILE, TEXT_FILE, TOKENIZER_FILE

OPEN_CLIP_CONFIG: Final = "open_clip_config.json"
OPEN_CLIP_WEIGHTS: Final = "open_clip_model.safetensors"
CONFIG: Final = "config.json"
PREPROCESSOR: Final = "preprocessor_config.json"
CLIP_VOCABULARY: Final = "bpe_simple_vocab_16e6.txt.gz"
TOKENIZER_FILES: Final = (
    TOKENIZER_FILE,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_WEIGHTS: Final = "model.safetensors"
_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors|model\.safetensors\.index\.json")
_MODEL_FILES: Final = re.compile(
    r"model\.json|tokenizer\.json|(image|text)(\.int8)?\.onnx(\.data)?|LICENSE|NOTICE"
)
_PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_VARIANTS: Final = ("", "_fp16", "_quantized")
"""How transformers.js names the same network in other precisions, best first."""
_DEPTH: Final = 3


class Layout(StrEnum):
    """How a model lies there; the value names it for people."""

    MODEL_FOLDER = "an mmsearch model folder"
    OPEN_CLIP = "an open_clip model"
    TRANSFORMERS = "a transformers model"
    PHOTO_SERVER = "an ONNX pair as photo servers have it"
    TRANSFORMERS_JS = "an ONNX pair as transformers.js has it"
    RCLIP = "an ONNX pair as rclip has it"


ONNX_PAIRS: Final = frozenset({Layout.PHOTO_SERVER, Layout.TRANSFORMERS_JS, Layout.RCLIP})
"""Those that need no torch."""


@dataclass(frozen=True, slots=True)
class PairFiles:
    """The two networks of a ready ONNX pair, as paths below its folder."""

    image: str
    text: str


def names_in(folder: Path) -> set[str]:
    """Return the files of a folder as paths below it, with /; a few levels deep.

    Raises ModelError when it cannot be read.
    """
    found: set[str] = set()
    waiting = [folder]
    try:
        while waiting:
            for entry in waiting.pop().iterdir():
                below = entry.relative_to(folder)
                if entry.is_file():
                    found.add(below.as_posix())
                elif len(below.parts) < _DEPTH and entry.is_dir():
                    waiting.append(entry)
    except OSError as error:
        raise ModelError(f"cannot read {folder}: {error.strerror}") from error
    return found


def layouts(names: Collection[str]) -> list[Layout]:
    """Return what the files are, what is read with the most certainty first; may be empty."""
    tests = {
        Layout.MODEL_FOLDER: {MODEL_FILE, TEXT_FILE, TOKENIZER_FILE} <= set(names),
        Layout.OPEN_CLIP: OPEN_CLIP_CONFIG in names and open_clip_weights(names) is not None,
        Layout.TRANSFORMERS: CONFIG in names and bool(_transformers_weights(names)),
        **{layout: pair_files(layout, names) is not None for layout in sorted(ONNX_PAIRS)},
    }
    return [layout for layout in Layout if tests[layout]]


def pair_files(layout: Layout, names: Collection[str]) -> PairFiles | None:
    """Return where the two networks of an ONNX pair are; None: it is no such pair."""
    match layout:
        case Layout.PHOTO_SERVER:
            candidates = [PairFiles("visual/model.onnx", "textual/model.onnx")]
        case Layout.TRANSFORMERS_JS:
            candidates = [
                PairFiles(
                    f"{folder}vision_model{variant}.onnx", f"{folder}text_model{variant}.onnx"
                )
                for variant in _VARIANTS
                for folder in ("onnx/", "")
            ]
        case Layout.RCLIP:
            if not any(PurePosixPath(name).name == CLIP_VOCABULARY for name in names):
                return None
            folders = sorted(name.removesuffix("visual.onnx") for name in names)
            candidates = [PairFiles(f"{at}visual.onnx", f"{at}textual.onnx") for at in folders]
        case _:
            return None
    return next((p for p in candidates if p.image in names and p.text in names), None)


def needed_files(layout: Layout, names: Iterable[str]) -> list[str]:
    """Return which files of a repository are wanted, weights that lie beside a graph aside."""
    held = set(names)
    pair = pair_files(layout, held)
    card = {"README.md"}
    match layout:
        case Layout.MODEL_FOLDER:
            wanted = {name for name in held if _MODEL_FILES.fullmatch(name)}
        case Layout.OPEN_CLIP:
            wanted = {OPEN_CLIP_CONFIG, open_clip_weights(held) or "", *TOKENIZER_FILES}
        case Layout.TRANSFORMERS:
            weights = _transformers_weights(held)
            wanted = {CONFIG, PREPROCESSOR, "processor_config.json", *TOKENIZER_FILES, *weights}
        case Layout.PHOTO_SERVER:
            wanted = {CONFIG, "visual/preprocess_cfg.json"}
            wanted |= {f"textual/{name}" for name in TOKENIZER_FILES}
        case Layout.TRANSFORMERS_JS:
            wanted = {CONFIG, PREPROCESSOR, *TOKENIZER_FILES}
        case Layout.RCLIP:
            wanted = {name for name in held if name.endswith(CLIP_VOCABULARY)}
    if pair is not None:
        wanted |= {pair.image, pair.text}
    return sorted((wanted | card) & held)


def open_clip_weights(names: Collection[str]) -> str | None:
    """Return the safetensors that hold an open_clip model; None when there are none."""
    if OPEN_CLIP_WEIGHTS in names:
        return OPEN_CLIP_WEIGHTS
    others = [n for n in sorted(names) if re.fullmatch(r"open_clip[^/]*\.safetensors", n)]
    return others[0] if others else None


def not_a_model(where: str, names: Collection[str]) -> ModelError:
    """Return the error for files that are no model, which says what they lack."""
    suffixes = {PurePosixPath(name).suffix for name in names}
    if suffixes & _PICKLES and ".safetensors" not in suffixes:
        pickles = [n for n in sorted(names) if PurePosixPath(n).suffix in _PICKLES]
        return ModelError(
            f"{where} holds only pickled weights ({pickles[0]}), which can run any code when they "
            "are read; find the same model as .safetensors, or convert it where you trust it"
        )
    return ModelError(
        f"{where} holds none of: a model folder or training run ({MODEL_FILE}), a transformers "
        f"model ({CONFIG}, {_WEIGHTS}), an open_clip model ({OPEN_CLIP_CONFIG}, "
        f"{OPEN_CLIP_WEIGHTS}), an ONNX pair (visual/model.onnx and textual/model.onnx, or "
        "onnx/vision_model.onnx and onnx/text_model.onnx)"
    )


def _transformers_weights(names: Collection[str]) -> list[str]:
    if _WEIGHTS in names:
        return [_WEIGHTS]
    return sorted(name for name in names if _SHARD.fullmatch(name))
