"""A model folder's graphs, simplified once by ONNX Runtime instead of at every start.

The level is "extended": what it makes runs on every processor. The level above also lays the
weights of convolutions out for the very processor at hand, which a copied folder must not be.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.core import Modality, Vectors
from mmsearch.errors import InputError, ModelError
from mmsearch.retrieval.feeding import normalise, sample_pixels, sample_sentences
from mmsearch.retrieval.folder import (
    IMAGE_FILE,
    IMAGE_INT8_FILE,
    TEXT_FILE,
    TEXT_INT8_FILE,
    WEIGHTS_SUFFIX,
    ModelDescription,
    ModelFolder,
    read_model_folder,
    write_model_folder,
)
from mmsearch.retrieval.processors import available_processors
from mmsearch.retrieval.providers import Feed
from mmsearch.retrieval.runtime import load_runtime
from mmsearch.retrieval.tokens import Tokens
from mmsearch.retrieval.tower import SLOW_FUSIONS, Setting, Tower, runtime_errors, session_options

AGREEMENT: Final = 0.9999
"""The least cosine, after the mean was taken off, of a simplified graph's vectors."""
_SMALLEST_APART: Final = 1 << 10
_BATCHES: Final = (1, 3, 4, 2)
_TOWERS: Final = {
    IMAGE_FILE: Modality.IMAGE,
    IMAGE_INT8_FILE: Modality.IMAGE,
    TEXT_FILE: Modality.TEXT,
    TEXT_INT8_FILE: Modality.TEXT,
}


class Level(StrEnum):
    """How far a graph is simplified: BASIC folds constants, EXTENDED fuses operations."""

    BASIC = "basic"
    EXTENDED = "extended"


def optimise_folder(path: Path) -> ModelFolder:
    """Replace a model's graphs by simplified ones; those that would differ stay as they are.

    Weights come to lie beside each graph, from where they are mapped, not copied. What was done
    is the fact `optimised` of `model.json`. A folder that is interrupted is damaged and must be
    made again, so work on a new one. Raises ModelError when the folder is no model, InputError
    when the disk does not take the files.
    """
    folder = read_model_folder(path)
    done: list[str] = []
    kept: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory(prefix=".optimise-", dir=path) as place:
            for name in (name for name in _TOWERS if name in folder.files):
                reason = _replace(folder, name, Path(place) / name)
                if reason:
                    kept[name] = reason
                else:
                    done.append(name)
        facts = {
            "runtime": load_runtime().__version__,
            "level": Level.EXTENDED.value,
            "files": done,
            **({"left": kept} if kept else {}),
        }
        return write_model_folder(path, replace(description_of(folder), optimised=facts))
    except OSError as error:
        raise InputError(f"cannot write into {path}: {error.strerror or error}") from error


def simplify(source: Path, target: Path, level: Level) -> None:
    """Write the simplified graph of `source`, and its weights beside it, for any processor.

    Raises ModelError when ONNX Runtime cannot.
    """
    runtime = load_runtime()
    levels = runtime.GraphOptimizationLevel
    options = session_options(available_processors())
    options.optimized_model_filepath = str(target)
    options.graph_optimization_level = (
        levels.ORT_ENABLE_BASIC if level is Level.BASIC else levels.ORT_ENABLE_EXTENDED
    )
    apart = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{apart}_file_name", target.name + WEIGHTS_SUFFIX)
    options.add_session_config_entry(f"{apart}_min_size_in_bytes", str(_SMALLEST_APART))
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        runtime.InferenceSession(
            str(source),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOW_FUSIONS,
        )
    except runtime_errors() as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelError(f"ONNX Runtime cannot simplify {source.name}: {reason}") from error
    if not target.exists():
        raise ModelError(f"ONNX Runtime wrote no simplified {source.name}")


def description_of(folder: ModelFolder) -> ModelDescription:
    """Return the description of a folder alone, to be written anew."""
    names = [each.name for each in fields(ModelDescription)]
    return ModelDescription(**{name: getattr(folder, name) for name in names})


def centred_cosine(expected: Vectors, found: Vectors) -> NDArray[np.float32]:
    """Return each row's cosine after the mean of all expected rows was taken off both, (n,).

    Rows of a network that has learnt nothing are nearly alike, so that the plain cosine proves
    little. A single row, or rows that are all alike, are compared as they are.
    """
    mean = expected.mean(axis=0)
    if np.linalg.norm(expected - mean, axis=1).min() < 1e-4:
        mean = np.zeros_like(mean)
    one, other = expected - mean, found - mean
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.maximum(lengths, 1e-12), dtype=np.float32)


def _replace(folder: ModelFolder, name: str, target: Path) -> str:
    """Put a simplified graph in the place of one; return why not, else nothing."""
    source = folder.path / name
    try:
        simplify(source, target, Level.EXTENDED)
        cosine = _agreement(folder, name, source, target)
    except ModelError as error:
        return str(error)
    if not cosine >= AGREEMENT:
        return f"the simplified graph gives other vectors (cosine {cosine:.5f})"
    weights = target.with_name(target.name + WEIGHTS_SUFFIX)
    place = source.with_name(weights.name)
    # The session that looked at the old files may still map them: they are replaced, not written.
    if weights.exists():
        weights.replace(place)
    else:
        place.unlink(missing_ok=True)
    target.replace(source)
    return ""


def _agreement(folder: ModelFolder, name: str, source: Path, target: Path) -> float:
    """Return the least centred cosine of two graphs on noise, of several batches and lengths."""
    tower = _TOWERS[name]
    output = folder.image_output if tower is Modality.IMAGE else folder.text_output
    setting = Setting(available_processors())
    plain, simple = (Tower(file, folder.space.dim, setting, output) for file in (source, target))
    feeds = [*_feeds(folder, tower, plain)]
    expected = np.concatenate([plain.run(feed) for feed in feeds])
    found = np.concatenate([simple.run(feed) for feed in feeds])
    return float(centred_cosine(expected, found).min())


def _feeds(folder: ModelFolder, tower: Modality, network: Tower) -> Iterator[Feed]:
    tokens = Tokens(folder)
    for seed, asked in enumerate(_BATCHES):
        count = min(asked, network.batch or asked)
        if tower is Modality.IMAGE and folder.preprocessing is not None:
            pixels = sample_pixels(folder.preprocessing, count, seed=seed)
            yield {network.inputs[0].name: normalise(pixels, folder.preprocessing)}
        else:
            sentences = sample_sentences(count, 1 + 5 * seed, seed=seed)
            yield tokens.feed(network, tokens.encode(sentences))
