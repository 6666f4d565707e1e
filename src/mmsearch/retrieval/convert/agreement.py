"""Whether a converted model folder gives the vectors of the library it came from."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from mmsearch.core import Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.samples import Samples, drawn_samples
from mmsearch.retrieval.convert.source import Source
from mmsearch.retrieval.encoder import OnnxEncoder, Precision, Use
from mmsearch.retrieval.folder import ModelFolder, read_model_folder
from mmsearch.retrieval.providers import Provider
from mmsearch.retrieval.vse.agreement import SPREAD, Agreement, inversion, tower_agreement

_BATCH: Final = 8
_LEAST_APART: Final = 0.5
"""The share of samples that must be apart from the mean for the comparison to mean something."""


def check_source(source: Source, folder: Path, samples: Samples | None = None) -> dict[str, Any]:
    """Compare a folder's vectors with those of the source library's own pipeline.

    Pictures are given fully decoded, sentences as they are; by default drawn scenes, their
    captions and odd sentences. Returns the figures, as plain JSON types: for each tower the worst
    cosine, the worst after the mean vector is subtracted, and how much a vector depends on the
    batch; and by how much neighbours change places.

    Raises ModelError, with the figures, when they are not those of the same model: below 0.9999,
    0.999 around the mean, or in another order; and when the vectors are too much alike to tell.
    """
    samples = samples or drawn_samples()
    model = read_model_folder(folder)
    images = source.pipeline.images(samples.pictures)
    texts = source.pipeline.texts(samples.sentences)
    _check_usable(images, "picture")
    _check_usable(texts, "sentence")
    found_images, found_texts = _encoded(model, samples, _BATCH)
    one_image, one_text = _encoded(model, samples, 1)
    expected, found = images @ texts.T, found_images @ found_texts.T
    agreement = Agreement(
        image=tower_agreement(images, found_images, one_image),
        text=tower_agreement(texts, found_texts, one_text),
        inversion=max(
            inversion(scores, of)
            for scores, of in (
                (expected, found),
                (expected.T, found.T),
                (images @ images.T, found_images @ found_images.T),
                (texts @ texts.T, found_texts @ found_texts.T),
            )
        ),
    )
    faults = agreement.faults()
    if faults:
        raise ModelError(
            f"the written model differs from {source.name} as its own library runs it "
            f"({'; '.join(faults)}); it was not kept"
        )
    return agreement.as_dict()


def _encoded(model: ModelFolder, samples: Samples, batch: int) -> tuple[Vectors, Vectors]:
    """Return the vectors of pictures and of sentences; the networks are let go of."""
    use = Use(batch_size=batch, precision=Precision.FP32, provider=Provider.CPU)
    encoder = OnnxEncoder(model, use)
    pixels = [np.asarray(picture.convert("RGB")) for picture in samples.pictures]
    return encoder.encode_images(pixels), encoder.encode_texts(samples.sentences)


def _check_usable(vectors: Vectors, what: str) -> None:
    if not np.isfinite(vectors).all():
        raise ModelError(
            f"the model gives numbers that are not finite for a {what}, in its own library; its "
            "weights are damaged"
        )
    apart = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1) >= SPREAD
    if apart.mean() < _LEAST_APART:
        raise ModelError(
            f"the model gives nearly the same vector for every {what}, so that nothing can be "
            "compared; its weights are damaged or were never trained"
        )
