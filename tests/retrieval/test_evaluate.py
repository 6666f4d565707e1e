import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmsearch.core import Interpolation, Pixels, Preprocessing, Resize, Space, Vectors
from mmsearch.errors import ConfigError, DataError, ModelError
from mmsearch.retrieval.captions import CaptionData, CaptionedImage, DataFormat, Problem
from mmsearch.retrieval.evaluate import EvaluationSettings, choose_split, evaluate

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColourEncoder:
    """Maps a picture to its mean colour, and a sentence to the colours that it names."""

    space = Space("colours", 3, "0" * 64)
    preprocessing = Preprocessing(
        (8, 8), Resize.SQUASH, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    )

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.sentences: list[str] = []

    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        self.shapes += [image.shape for image in images]
        means = np.stack([image.mean(axis=(0, 1)) for image in images])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float32)

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        self.sentences += texts
        rows = np.array([[colour in text for colour in COLOURS] for text in texts], np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


class BrokenEncoder(ColourEncoder):
    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        return np.full((len(texts), 3), np.nan, np.float32)


class CollapsedEncoder(ColourEncoder):
    def encode_images(self, images: Sequence[Pixels], /) -> Vectors:
        return self.encode_texts(["red green blue"] * len(images))

    def encode_texts(self, texts: Sequence[str], /) -> Vectors:
        return super().encode_texts(["red green blue"] * len(texts))


def draw(folder: Path, colour: str, *captions: str) -> CaptionedImage:
    path = folder / f"{colour}.png"
    Image.new("RGB", (20, 10), COLOURS[colour]).save(path)
    return CaptionedImage(path, captions)


@pytest.fixture
def images(tmp_path: Path) -> list[CaptionedImage]:
    return [
        draw(tmp_path, "red", "a red square", "red", "it is red"),
        draw(tmp_path, "green", "a green square"),
        draw(tmp_path, "blue", "a red square, not this one"),
    ]


def test_figures_are_those_of_the_pictures_and_sentences(images: list[CaptionedImage]) -> None:
    result = evaluate(ColourEncoder(), images)
    # The blue picture's only caption names red. It ties with the red picture's own captions
    # (rank 2), and scores 0 on the blue picture, as the other four do (rank 5). From that
    # caption, the red picture comes before the blue one and the green one ties with it.
    assert result.metrics.i2t.r1 == pytest.approx(100 / 3)
    assert result.metrics.i2t.meanr == pytest.approx((2 + 1 + 5) / 3)
    assert result.metrics.t2i.r1 == pytest.approx(80.0)
    assert result.metrics.t2i.meanr == pytest.approx((1 + 1 + 1 + 1 + 3) / 5)
    assert (result.metrics.images, result.metrics.captions) == (3, 5)
    assert result.chance.t2i.r1 == pytest.approx(100 / 3)
    assert result.chance.i2t.r1 == pytest.approx(100 * (3 / 5 + 1 / 5 + 1 / 5) / 3)
    low, high = result.intervals.t2i.r1
    assert low <= 80.0 <= high
    assert result.problems == ()


def test_each_image_and_caption_is_encoded_once_at_the_encoders_size(
    images: list[CaptionedImage],
) -> None:
    encoder = ColourEncoder()
    evaluate(encoder, images, EvaluationSettings(batch_size=2))
    assert encoder.shapes == [(8, 8, 3)] * 3
    assert encoder.sentences == [caption for image in images for caption in image.captions]


def test_batches_and_threads_change_nothing(images: list[CaptionedImage]) -> None:
    results = [
        evaluate(ColourEncoder(), images, EvaluationSettings(batch_size=size, threads=threads))
        for size, threads in ((1, 1), (2, 3), (32, None))
    ]
    assert results[0] == results[1] == results[2]


def test_a_collapsed_model_scores_nothing(images: list[CaptionedImage]) -> None:
    result = evaluate(CollapsedEncoder(), images)
    assert result.metrics.i2t.r1 == result.metrics.t2i.r1 == 0.0


def test_a_model_that_gives_nan_is_an_error(images: list[CaptionedImage]) -> None:
    with pytest.raises(ModelError, match="5 of 5 text vectors hold NaN"):
        evaluate(BrokenEncoder(), images)


def test_an_unreadable_image_is_reported_and_left_out_with_its_captions(
    images: list[CaptionedImage], tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    broken = CaptionedImage(tmp_path / "broken.jpg", ("one", "two"))
    encoder = ColourEncoder()
    result = evaluate(encoder, [images[0], broken, *images[1:]])
    (problem,) = result.problems
    assert problem.where == str(tmp_path / "broken.jpg")
    assert problem.reason
    assert "one" not in encoder.sentences
    assert result.metrics == evaluate(ColourEncoder(), images).metrics


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    gone = CaptionedImage(tmp_path / "gone.jpg", ("x",))
    with pytest.raises(DataError, match=r"none of 1 images can be read; the first: .*gone.jpg"):
        evaluate(ColourEncoder(), [gone])


def test_folds_average_over_runs_of_images(images: list[CaptionedImage]) -> None:
    result = evaluate(ColourEncoder(), images, EvaluationSettings(folds=3))
    # One image a fold has no rival; its own captions never count against each other.
    assert result.metrics.rsum == 600.0
    assert result.chance.rsum == pytest.approx(600.0)
    assert result.folds == 3
    assert (result.metrics.images, result.metrics.captions) == (3, 5)


def test_more_folds_than_images_fail_before_anything_is_encoded(
    images: list[CaptionedImage],
) -> None:
    encoder = ColourEncoder()
    with pytest.raises(ConfigError, match="3 images into 4 folds"):
        evaluate(encoder, images, EvaluationSettings(folds=4))
    assert encoder.shapes == []


@pytest.mark.parametrize("name", ["folds", "samples", "batch_size", "threads"])
def test_settings_below_one_are_errors(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name.replace('_', ' ')} must be at least 1, not 0"):
        EvaluationSettings(**{name: 0})


def test_progress_counts_images_then_captions(images: list[CaptionedImage]) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate(
        ColourEncoder(),
        images,
        EvaluationSettings(batch_size=2),
        lambda what, done, total: seen.append((what, done, total)),
    )
    assert seen == [
        ("images", 2, 3),
        ("images", 3, 3),
        ("captions", 2, 5),
        ("captions", 4, 5),
        ("captions", 5, 5),
    ]


def test_the_evaluation_is_plain_json(images: list[CaptionedImage]) -> None:
    plain = json.loads(json.dumps(evaluate(ColourEncoder(), images).as_dict()))
    assert set(plain["i2t"]) == {"r1", "r5", "r10", "medr", "meanr"}
    assert set(plain["intervals"]) == set(plain["chance"]) == {"i2t", "t2i", "rsum"}
    assert plain["intervals"]["t2i"]["r1"][0] <= plain["t2i"]["r1"]
    assert (plain["images"], plain["captions"], plain["folds"]) == (3, 5, 1)
    assert plain["problems"] == []


def data(*names: str) -> CaptionData:
    return CaptionData(
        DataFormat.CSV,
        {name: (CaptionedImage(Path(f"{name}.jpg"), ("x",)),) for name in names},
        problems=(Problem("f:1", "broken"),),
    )


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (("train", "dev", "test"), None, "test"),
        (("train", "dev"), None, "dev"),
        (("all",), None, "all"),
        (("train",), None, "train"),
        (("train", "dev"), "train", "train"),
        (("train", "dev"), "val", "dev"),
        (("all",), "all", "all"),
    ],
)
def test_the_split_is_the_wanted_one_else_test_else_dev_else_all(
    names: tuple[str, ...], wanted: str | None, chosen: str
) -> None:
    name, images = choose_split(data(*names), wanted)
    assert name == chosen
    assert [image.path.stem for image in images] == [chosen]


def test_all_means_each_image_of_every_split_once() -> None:
    shared = CaptionedImage(Path("both.jpg"), ("x",))
    both = CaptionData(
        DataFormat.CSV, {"train": (shared,), "dev": (shared, *data("dev").splits["dev"])}
    )
    name, images = choose_split(both, "all")
    assert name == "all"
    assert [image.path.name for image in images] == ["both.jpg", "dev.jpg"]


def test_a_split_that_is_not_there_is_an_error_that_lists_them() -> None:
    with pytest.raises(DataError, match="no split 'test'; choose one of train, dev or all"):
        choose_split(data("train", "dev"), "test")
    with pytest.raises(DataError, match="neither a test nor a dev split; choose one of a, b"):
        choose_split(data("a", "b"), None)
