"""Whole conversions: a model folder answers as transformers does, for every family."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.retrieval.convert.hf_models import FAMILIES
from tests.retrieval.convert.hf_reference import ODD, Transformers, draw_pictures

from mmsearch.core import Cut, Vectors
from mmsearch.retrieval.convert.agreement import check_source
from mmsearch.retrieval.convert.hf_source import load_hf
from mmsearch.retrieval.convert.source import Source, write_source
from mmsearch.retrieval.encoder import OnnxEncoder, Use
from mmsearch.retrieval.folder import ModelFolder
from mmsearch.retrieval.vse.agreement import inversion, tower_agreement

ORDER = 1e-5
"""Scores that are nearer than this may change places."""


@dataclass(frozen=True)
class Converted:
    """A model as published, as a source and as a model folder."""

    family: str
    directory: Path
    source: Source
    folder: ModelFolder
    theirs: Transformers

    def pictures(self, pictures: list[Image.Image], *, batch: int = 32) -> Vectors:
        encoder = OnnxEncoder(self.folder, Use(batch_size=batch))
        return encoder.encode_images([np.asarray(picture) for picture in pictures])

    def sentences(self, sentences: list[str], *, batch: int = 32) -> Vectors:
        return OnnxEncoder(self.folder, Use(batch_size=batch)).encode_texts(sentences)

    def reference(self, sentences: list[str]) -> Vectors:
        padding = "max_length" if self.source.text_spec.fixed or self.family == "align" else True
        length = self.source.text_spec.length
        return self.theirs.texts(sentences, length=length, padding=padding)


@pytest.fixture(scope="module", params=FAMILIES)
def converted(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Converted:
    family: str = request.param
    path = tmp_path_factory.mktemp(family)
    directory = FAMILIES[family](path / "published")
    source = load_hf(directory)
    folder = written(source, path / "folder")
    return Converted(family, directory, source, folder, Transformers(directory))


def test_pictures_get_the_vectors_of_transformers(converted: Converted) -> None:
    pictures = draw_pictures()
    expected = converted.theirs.images(pictures)
    found = converted.pictures(pictures)
    agreement = tower_agreement(expected, found, converted.pictures(pictures, batch=1))
    assert agreement.faults() == []
    assert spread(expected)


def test_pictures_are_exactly_those_of_the_pillow_backend(converted: Converted) -> None:
    pictures = [picture for picture in draw_pictures() if max(picture.size) < 2 * min(picture.size)]
    expected, found = converted.theirs.by_pillow(pictures), converted.pictures(pictures)
    assert tower_agreement(expected, found, found).centred_cosine > 0.99999
    assert inversion(expected @ expected.T, found @ found.T) < ORDER


def test_odd_sentences_get_the_vectors_of_transformers(converted: Converted) -> None:
    expected, found = converted.reference(ODD), converted.sentences(ODD)
    agreement = tower_agreement(expected, found, converted.sentences(ODD, batch=1))
    assert agreement.faults() == []
    assert spread(expected)
    assert inversion(expected @ expected.T, found @ found.T) < ORDER


def test_the_pipeline_of_a_source_is_that_of_transformers(converted: Converted) -> None:
    pictures = draw_pictures(5)
    pipeline = converted.source.pipeline
    expected = converted.theirs.by_pillow(pictures)
    np.testing.assert_allclose(pipeline.images(pictures), expected, atol=1e-5)
    np.testing.assert_allclose(pipeline.texts(ODD), converted.reference(ODD), atol=1e-5)


def test_a_conversion_passes_the_check_of_models_add(converted: Converted) -> None:
    figures = check_source(converted.source, converted.folder.path)
    assert figures["image"]["centred_cosine"] > 0.99999
    assert figures["inversion"] < ORDER


@pytest.mark.shared_data
def test_fifty_photos_and_sentences_agree(converted: Converted, shared_data: Path) -> None:
    files = sorted((shared_data / "gallery" / "images").iterdir())[:50]
    photos = [Image.open(file).convert("RGB").reduce(2) for file in files]
    captions = (shared_data / "flickr8k" / "captions_dev.csv").read_text(encoding="utf-8")
    sentences = [line.split(",", 1)[1] for line in captions.splitlines()[1:34]] + ODD
    assert (len(photos), len(sentences)) == (50, 50)
    found = converted.pictures(photos)
    expected = converted.theirs.images(photos)
    assert tower_agreement(expected, found, found).faults() == []
    expected = converted.theirs.by_pillow(photos)
    assert inversion(expected @ expected.T, found @ found.T) < ORDER
    found = converted.sentences(sentences)
    expected = converted.reference(sentences)
    assert tower_agreement(expected, found, found).faults() == []
    assert inversion(expected @ expected.T, found @ found.T) < ORDER


@pytest.mark.parametrize("converted", ["metaclip2"], indirect=True)
def test_a_wrong_mean_or_cut_does_not_pass(converted: Converted, tmp_path: Path) -> None:
    pictures = draw_pictures()
    expected = converted.source.pipeline.images(pictures)
    right = converted.source.preprocessing
    assert (right.short_side, right.cut) == (36, Cut.FLOOR)
    wrong = {
        "mean": replace(right, mean=(0.5, 0.5, 0.5)),
        "side": replace(right, short_side=None),
        "cut": replace(right, cut=Cut.ROUND),
    }
    for name, preprocessing in wrong.items():
        folder = written(replace(converted.source, preprocessing=preprocessing), tmp_path / name)
        found = OnnxEncoder(folder).encode_images([np.asarray(picture) for picture in pictures])
        assert tower_agreement(expected, found, found).faults(), name


@pytest.mark.parametrize("converted", ["siglip"], indirect=True)
def test_padding_that_is_left_out_does_not_pass(converted: Converted, tmp_path: Path) -> None:
    spec = converted.source.text_spec
    assert spec.fixed
    assert spec.pad == 1
    folder = written(replace(converted.source, text_spec=replace(spec, pad=0)), tmp_path / "x")
    found = OnnxEncoder(folder).encode_texts(ODD)
    assert tower_agreement(converted.reference(ODD), found, found).faults()


def test_every_length_and_batch_gives_what_torch_gives(converted: Converted) -> None:
    sentences = ["a photo of the cat on two mats in red snow"[:n] for n in range(33)]
    expected = converted.source.pipeline.texts(sentences)
    for batch in (1, 2, 33):
        found = converted.sentences(sentences, batch=batch)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def written(source: Source, path: Path) -> ModelFolder:
    path.mkdir()
    return write_source(source, path)


def spread(vectors: Vectors) -> bool:
    """Return whether vectors point elsewhere, so that agreement says something."""
    nearness = vectors @ vectors.T
    return float(np.mean(nearness)) < 0.95
