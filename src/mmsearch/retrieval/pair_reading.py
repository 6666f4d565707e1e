"""What the folder of a ready ONNX pair holds: networks, tokenizer, what is done beforehand."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsearch.core import Preprocessing
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.clip_tokenizer import CLIP_LENGTH, clip_tokenizer, read_byte_pairs
from mmsearch.retrieval.description import TOKENIZER_FILE, TextSpec
from mmsearch.retrieval.description_json import preprocessing_document
from mmsearch.retrieval.layouts import (
    CLIP_VOCABULARY,
    CONFIG,
    PREPROCESSOR,
    Layout,
    PairFiles,
    names_in,
    pair_files,
)
from mmsearch.retrieval.onnx_files import files_beside
from mmsearch.retrieval.pair_config import (
    clip_pictures,
    open_clip_cleaning,
    open_clip_pictures,
    pad_token,
    pads_always,
    read_json,
    text_length,
    transformers_pictures,
)
from mmsearch.retrieval.pair_probe import Probe

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyPair:
    """A pair of networks, and what is done to pictures and sentences before them.

    `vocabulary` is the file that the tokenizer was read from.
    """

    folder: Path
    files: PairFiles
    preprocessing: Preprocessing
    text: TextSpec
    tokenizer: "Tokenizer"
    vocabulary: Path

    @property
    def image(self) -> Path:
        """The image network's file."""
        return self.folder / self.files.image

    @property
    def text_network(self) -> Path:
        """The text network's file."""
        return self.folder / self.files.text


def read_pair(layout: Layout, folder: Path) -> ReadyPair:
    """Return what a folder holds. Raises ModelError when a file is missing or says nonsense."""
    files = pair_files(layout, names_in(folder))
    if files is None:
        raise ModelError(f"{folder} does not hold {layout.value}")
    image, text = Probe(folder / files.image), Probe(folder / files.text)
    try:
        match layout:
            case Layout.PHOTO_SERVER:
                pair = _photo_server(folder, files, text)
            case Layout.RCLIP:
                pair = _rclip(folder, files, (image, text))
            case _:
                pair = _transformers_js(folder, files, text)
    except (ConfigError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the JSON files in {folder} say something that cannot be understood ({error})"
        ) from error
    _check_picture_input(pair, image)
    return pair


def space_digest(pair: ReadyPair) -> str:
    """Return the hex SHA-256 of both networks, tokenizer, preprocessing and text handling."""
    text = pair.text
    parts = [
        *(_file_digest(file) for file in (*_network_files(pair), pair.vocabulary)),
        json.dumps(preprocessing_document(pair.preprocessing)),
        json.dumps([text.length, [step.value for step in text.cleaning], text.pad, text.fixed]),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _photo_server(folder: Path, files: PairFiles, text: Probe) -> ReadyPair:
    config = read_json(folder / CONFIG).get("text_cfg") or {}
    vocabulary = folder / "textual" / TOKENIZER_FILE
    tokenizer = _read_tokenizer(vocabulary)
    named = read_json(folder / "textual" / "tokenizer_config.json")
    masked = any(each.name in {"attention_mask", "mask"} for each in text.inputs)
    length = config.get("context_length") or text.axis(2, 1) or CLIP_LENGTH
    return ReadyPair(
        folder=folder,
        files=files,
        preprocessing=open_clip_pictures(folder / "visual" / "preprocess_cfg.json"),
        text=TextSpec(
            length=min(int(length), text.axis(2, 1) or int(length)),
            cleaning=open_clip_cleaning(config, masked=masked),
            pad=_pad_id(tokenizer, named),
            fixed=not masked,
        ),
        tokenizer=tokenizer,
        vocabulary=vocabulary,
    )


def _transformers_js(folder: Path, files: PairFiles, text: Probe) -> ReadyPair:
    config = read_json(folder / CONFIG)
    vocabulary = folder / TOKENIZER_FILE
    tokenizer = _read_tokenizer(vocabulary)
    named = read_json(folder / "tokenizer_config.json")
    stated = [n for n in (text_length(named, config), text.axis(2, 1)) if n is not None]
    if not stated:
        raise ModelError(
            f"{folder} does not say how many tokens a sentence may have: "
            "tokenizer_config.json lacks model_max_length"
        )
    return ReadyPair(
        folder=folder,
        files=files,
        preprocessing=transformers_pictures(folder / PREPROCESSOR),
        text=TextSpec(
            length=min(stated),
            cleaning=(),
            pad=_pad_id(tokenizer, named),
            fixed=pads_always(config),
        ),
        tokenizer=tokenizer,
        vocabulary=vocabulary,
    )


def _rclip(folder: Path, files: PairFiles, networks: tuple[Probe, Probe]) -> ReadyPair:
    image, text = networks
    names = sorted(n for n in names_in(folder) if n.endswith(CLIP_VOCABULARY))
    vocabulary = folder / names[0]
    side = image.axis(4, 2)
    if side is None:
        raise ModelError(f"{folder / files.image} does not state how large its pictures are")
    return ReadyPair(
        folder=folder,
        files=files,
        preprocessing=clip_pictures((side, image.axis(4, 3) or side)),
        text=TextSpec(
            length=text.axis(2, 1) or CLIP_LENGTH,
            cleaning=open_clip_cleaning({}, masked=False),
            pad=0,
            fixed=True,
        ),
        tokenizer=clip_tokenizer(read_byte_pairs(vocabulary)),
        vocabulary=vocabulary,
    )


def _read_tokenizer(file: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer {file} cannot be read: {error}") from error
    return tokenizer


def _pad_id(tokenizer: "Tokenizer", config: Mapping[str, Any]) -> int | None:
    token = pad_token(config)
    found = None if token is None else tokenizer.token_to_id(token)
    return None if found is None else int(found)


def _check_picture_input(pair: ReadyPair, image: Probe) -> None:
    if len(image.inputs) != 1 or len(image.inputs[0].shape) != 4:
        names = ", ".join(each.name for each in image.inputs)
        raise ModelError(f"{pair.image} does not take pictures alone: its inputs are {names}")
    stated = (image.axis(4, 2), image.axis(4, 3))
    wanted = pair.preprocessing.size
    if any(a is not None and a != b for a, b in zip(stated, wanted, strict=True)):
        raise ModelError(f"{pair.image} takes pictures of {stated}, its JSON file says {wanted}")


def _network_files(pair: ReadyPair) -> list[Path]:
    graphs = (pair.image, pair.text_network)
    return [f for g in graphs for f in (g, *(g.parent / name for name in files_beside(g)))]


def _file_digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
