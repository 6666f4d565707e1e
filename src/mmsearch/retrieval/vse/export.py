"""From torch towers to a model folder, checked on real pictures and sentences."""

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from mmsearch.core import Pixels, Preprocessing, Space, Vectors
from mmsearch.errors import InputError, ModelError
from mmsearch.retrieval.encoder import OnnxEncoder, Use, normalise
from mmsearch.retrieval.folder import (
    IMAGE_FILE,
    TEXT_FILE,
    TOKENIZER_FILE,
    Facts,
    ModelDescription,
    ModelFolder,
    TextSpec,
    read_model_folder,
    write_model_folder,
)
from mmsearch.retrieval.resizing import resize
from mmsearch.retrieval.vse.agreement import Agreement, TowerAgreement, inversion, tower_agreement
from mmsearch.retrieval.vse.backbone import weights_digest
from mmsearch.retrieval.vse.onnx_graph import IMAGE_SIGNATURE, TEXT_SIGNATURE, write_graph

CHECK_BATCH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Towers:
    """What is exported.

    `image` maps normalised pixels (b, 3, h, w) and `text` tokens (b, t) with lengths (b,) to
    unit rows (b, dim); `image` and `preprocessing` are None when the model has no image tower.
    The text tower must not pack its input. `tokenizer` gives the pad token the id `pad_id`.
    """

    image: nn.Module | None
    text: nn.Module
    tokenizer: Tokenizer
    preprocessing: Preprocessing | None
    pad_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSpec:
    """What `model.json` records; `length` is the most tokens a sentence keeps."""

    name: str
    length: int
    licence: str = ""
    source: Facts = field(default_factory=dict)
    data: Facts = field(default_factory=dict)
    metrics: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Samples:
    """Pictures of any size and sentences on which the export is compared with torch.

    Real ones, some dozens of each: agreement on noise proves little.
    """

    pictures: Sequence[Pixels]
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Exported:
    """A written model folder, and how well it agrees with torch."""

    folder: ModelFolder
    agreement: Agreement


def export_model(towers: Towers, spec: ExportSpec, samples: Samples, path: Path) -> Exported:
    """Write the model folder `path`, replacing it once the new one agrees with torch.

    Towers may be on any device and in any mode; they are left as they are.
    Raises ModelError when a tower has an operation that ONNX lacks or the ONNX towers differ
    from torch, InputError when the disk does not take the files or there are no samples.
    """
    if not samples.sentences or (towers.image is not None and not samples.pictures):
        raise InputError("an export is checked on samples; give at least one picture and sentence")
    towers = _prepared(towers, spec.length)
    partial = path.with_name(f".{path.name}.new")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        folder = _write(towers, spec, partial)
        agreement = compare(towers, folder, samples)
        agreement.check()
        _replace(partial, path)
    except OSError as error:
        raise InputError(
            f"cannot write the model folder {path}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Exported(read_model_folder(path), agreement)


def space_digest(towers: Towers, length: int) -> str:
    """Return the hex SHA-256 of weights, tokenizer, preprocessing and text length.

    What the ONNX files look like leaves it as it is.
    """
    preprocessing = towers.preprocessing
    parts = [
        "" if towers.image is None else weights_digest(towers.image),
        weights_digest(towers.text),
        towers.tokenizer.to_str(),
        json.dumps(None if preprocessing is None else _facts(preprocessing)),
        str(length),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _facts(preprocessing: Preprocessing) -> dict[str, object]:
    """Return what a trained model's preprocessing consists of; the other settings are fixed."""
    names = ("size", "resize", "interpolation", "mean", "std")
    return {name: getattr(preprocessing, name) for name in names}


def compare(towers: Towers, folder: ModelFolder, samples: Samples) -> Agreement:
    """Encode the samples with torch and with ONNX Runtime, one by one and in batches."""
    one, many = (OnnxEncoder(folder, Use(batch_size=size)) for size in (1, CHECK_BATCH))
    texts = _embed_texts(towers, samples.sentences)
    found_texts = many.encode_texts(samples.sentences)
    text = tower_agreement(texts, found_texts, one.encode_texts(samples.sentences))
    image: TowerAgreement | None = None
    images, found_images = texts, found_texts
    if towers.image is not None and towers.preprocessing is not None:
        pictures = [resize(picture, towers.preprocessing) for picture in samples.pictures]
        images = _embed_images(towers.image, towers.preprocessing, pictures)
        found_images = many.encode_images(pictures)
        image = tower_agreement(images, found_images, one.encode_images(pictures))
    expected, found = images @ texts.T, found_images @ found_texts.T
    swapped = max(inversion(expected, found), inversion(expected.T, found.T))
    return Agreement(image=image, text=text, inversion=swapped)


def _prepared(towers: Towers, length: int) -> Towers:
    """Copy the towers to the CPU and the tokenizer with its truncation and padding set."""
    tokenizer = Tokenizer.from_str(towers.tokenizer.to_str())
    tokenizer.enable_truncation(length)
    pad = tokenizer.id_to_token(towers.pad_id) or "<pad>"
    tokenizer.enable_padding(pad_id=towers.pad_id, pad_token=pad)
    return Towers(
        image=None if towers.image is None else copy.deepcopy(towers.image).cpu().eval(),
        text=copy.deepcopy(towers.text).cpu().eval(),
        tokenizer=tokenizer,
        preprocessing=towers.preprocessing,
        pad_id=towers.pad_id,
    )


def _write(towers: Towers, spec: ExportSpec, path: Path) -> ModelFolder:
    tokens = torch.tensor([[1, 2, 3], [1, 2, towers.pad_id]])
    lengths = torch.tensor([3, 2])
    with torch.inference_mode():
        dim = int(towers.text(tokens, lengths).shape[1])
    try:
        write_graph(towers.text, [tokens, lengths], TEXT_SIGNATURE, path / TEXT_FILE)
        if towers.image is not None and towers.preprocessing is not None:
            pixels = torch.zeros(2, 3, *towers.preprocessing.size)
            write_graph(towers.image, [pixels], IMAGE_SIGNATURE, path / IMAGE_FILE)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"a tower cannot be written as ONNX: {reason}") from error
    towers.tokenizer.save(str(path / TOKENIZER_FILE))
    return write_model_folder(
        path,
        ModelDescription(
            space=Space(spec.name, dim, space_digest(towers, spec.length)),
            preprocessing=towers.preprocessing,
            text=TextSpec(spec.length),
            licence=spec.licence,
            source=spec.source,
            data=spec.data,
            metrics=spec.metrics,
        ),
    )


def _replace(new: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _embed_images(
    tower: nn.Module, preprocessing: Preprocessing, pictures: Sequence[Pixels]
) -> Vectors:
    def embed(part: slice) -> Tensor:
        pixels = normalise(np.stack(pictures[part]), preprocessing)
        rows: Tensor = tower(torch.from_numpy(pixels))
        return rows

    return _in_batches(embed, len(pictures))


def _embed_texts(towers: Towers, sentences: Sequence[str]) -> Vectors:
    def embed(part: slice) -> Tensor:
        encodings = towers.tokenizer.encode_batch(list(sentences[part]))
        tokens = torch.tensor([encoding.ids for encoding in encodings])
        lengths = torch.tensor([sum(encoding.attention_mask) for encoding in encodings])
        rows: Tensor = towers.text(tokens, lengths)
        return rows

    return _in_batches(embed, len(sentences))


def _in_batches(embed: Callable[[slice], Tensor], count: int) -> Vectors:
    with torch.inference_mode():
        rows: list[Any] = [
            embed(slice(start, start + CHECK_BATCH)).float().numpy()
            for start in range(0, count, CHECK_BATCH)
        ]
    return np.concatenate(rows)
