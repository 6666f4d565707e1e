"""The comparison of a written folder with its source must be able to fail."""

import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retrieval.convert.open_clip_models import publish
from tokenizers import Tokenizer, normalizers

from mmsearch.core import Cut, Interpolation, Resize, Vectors
from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.agreement import check_source
from mmsearch.retrieval.convert.open_clip_source import load_open_clip
from mmsearch.retrieval.convert.samples import ODD_SENTENCES, drawn_samples
from mmsearch.retrieval.convert.source import Source, write_source
from mmsearch.retrieval.description import Cleaning, ModelDescription
from mmsearch.retrieval.folder import TOKENIZER_FILE, read_model_folder, write_model_folder

pytest.importorskip("open_clip")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return load_open_clip("", None, publish("clip", tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def written(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(source, tmp_path_factory.mktemp("written")).path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "folder"))


def rewrite(path: Path, tokenizer: Tokenizer | None = None, **changes: Any) -> None:
    """Say something else of the networks in `path` than is true."""
    folder = read_model_folder(path)
    if tokenizer is not None:
        tokenizer.save(str(path / TOKENIZER_FILE))
    facts = {each.name: getattr(folder, each.name) for each in fields(ModelDescription)}
    write_model_folder(path, ModelDescription(**facts | changes))


def test_a_folder_agrees_with_its_own_source(source: Source, path: Path) -> None:
    figures = check_source(source, path)
    assert figures["image"]["samples"] == len(drawn_samples().pictures)
    assert figures["text"]["samples"] >= len(ODD_SENTENCES)
    assert figures["inversion"] <= 1e-5


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.5, 0.5, 0.5)},
        {"mean": (0.40821073, 0.4578275, 0.48145466)},
        {"std": (0.25, 0.25, 0.25)},
        {"interpolation": Interpolation.BILINEAR},
        {"interpolation": Interpolation.LANCZOS},
        {"cut": Cut.FLOOR},
        {"resize": Resize.SQUASH},
        {"resize": Resize.PAD},
        {"short_side": 36},
    ],
    ids=str,
)
def test_other_preprocessing_is_seen(source: Source, path: Path, change: dict[str, object]) -> None:
    rewrite(path, preprocessing=replace(source.preprocessing, **change))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"image tower: cosine.*it was not kept"):
        check_source(source, path)


@pytest.mark.parametrize("other", [Cleaning.FTFY, Cleaning.HTML, Cleaning.LOWER], ids=str)
def test_a_step_of_cleaning_left_out_is_seen(source: Source, path: Path, other: Cleaning) -> None:
    cleaning = tuple(step for step in source.text_spec.cleaning if step is not other)
    rewrite(path, text=replace(source.text_spec, cleaning=cleaning))
    with pytest.raises(ModelError, match="text tower: cosine"):
        check_source(source, path)


def test_a_further_step_of_cleaning_is_seen(source: Source, path: Path) -> None:
    cleaning = (*source.text_spec.cleaning, Cleaning.PUNCTUATION)
    rewrite(path, text=replace(source.text_spec, cleaning=cleaning))
    with pytest.raises(ModelError, match="text tower: cosine"):
        check_source(source, path)


def test_another_length_is_seen(source: Source, path: Path) -> None:
    rewrite(path, text=replace(source.text_spec, length=76))
    with pytest.raises(ModelError, match="text tower: cosine"):
        check_source(source, path)


def test_another_tokenizer_is_seen(source: Source, path: Path) -> None:
    changed = Tokenizer.from_str(source.tokenizer.to_str())
    changed.normalizer = normalizers.StripAccents()
    rewrite(path, changed)
    with pytest.raises(ModelError, match="text tower: cosine"):
        check_source(source, path)


def test_other_weights_are_seen(source: Source, path: Path, tmp_path: Path) -> None:
    other = load_open_clip("", None, publish("clip", tmp_path / "other", seed=1))
    with pytest.raises(ModelError, match="neighbours change places"):
        check_source(other, path)


class Answering:
    """A pipeline whose vectors are made by a function of their number."""

    def __init__(self, make: Callable[[int], Vectors]) -> None:
        self.make = make

    def images(self, pictures: Any) -> Vectors:
        return self.make(len(pictures))

    def texts(self, sentences: Any) -> Vectors:
        return self.make(len(sentences))


def test_vectors_that_are_all_alike_prove_nothing(source: Source, path: Path) -> None:
    alike = Answering(lambda n: np.full((n, 32), 32**-0.5, dtype=np.float32))
    with pytest.raises(ModelError, match="nearly the same vector for every picture"):
        check_source(replace(source, pipeline=alike), path)


def test_vectors_that_are_no_numbers_are_refused(source: Source, path: Path) -> None:
    nothing = Answering(lambda n: np.full((n, 32), np.nan, dtype=np.float32))
    with pytest.raises(ModelError, match="not finite for a picture"):
        check_source(replace(source, pipeline=nothing), path)


def test_samples_are_the_same_each_time_and_of_every_kind() -> None:
    first, second = drawn_samples(), drawn_samples()
    assert first.sentences == second.sentences
    for one, other in zip(first.pictures, second.pictures, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    ratios = [picture.width / picture.height for picture in first.pictures]
    assert min(ratios) < 0.6
    assert max(ratios) > 2
    assert any(min(picture.size) < 40 for picture in first.pictures)
    assert "" in first.sentences
    assert max(map(len, first.sentences)) > 1000
