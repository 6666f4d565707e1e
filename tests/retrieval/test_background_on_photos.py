"""The cut-off on real photos, with the bundled model: far weaker than what the figures are of."""

import csv
import random
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mmsearch.core import Cutoff, Modality, Mode, Query, TextTerm
from mmsearch.index.catalog import Catalog
from mmsearch.index.store import IndexStore
from mmsearch.retrieval.background import Backgrounds
from mmsearch.retrieval.library import Library
from mmsearch.retrieval.models import load_encoder

PHOTOS = 300


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "flickr8k"


@pytest.fixture(scope="module")
def captions(folder: Path) -> dict[str, list[str]]:
    """Return the captions of the first photos of the dev split."""
    found: dict[str, list[str]] = {}
    with (folder / "captions_dev.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["image"] in found or len(found) < PHOTOS:
                found.setdefault(row["image"], []).append(row["caption"])
    return found


@pytest.fixture(scope="module")
def photos(
    folder: Path, captions: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Library]:
    """A library of those photos and of nothing else."""
    place = tmp_path_factory.mktemp("photos") / "library"
    Catalog.open(place, write=True).close()
    catalog = Catalog.open(place)
    with Library(catalog, IndexStore(catalog, place), load_encoder("mini")) as library:
        library.add([folder / "images" / name for name in captions])
        yield library


def answers(library: Library, texts: list[str]) -> tuple[list[list[str]], NDArray[np.float32]]:
    """Return the names and the cosines of the ten best photos for each sentence."""
    space = library.encoder.space
    store = IndexStore(library.catalog, library.directory)
    found = store.search(space, Modality.IMAGE, library.encoder.encode_texts(texts), 10)
    items = library.catalog.items(range(1, PHOTOS + 1))
    names = {number: Path(item.path or "").name for number, item in items.items()}
    return (
        [[names[number] for number in matches.ids.tolist()] for matches in found],
        np.stack([matches.scores for matches in found]),
    )


@pytest.mark.shared_data
def test_true_matches_stay_and_letters_go(photos: Library, captions: dict[str, list[str]]) -> None:
    store = IndexStore(photos.catalog, photos.directory)
    backgrounds = Backgrounds(photos.catalog, store, photos.encoder, photos.encoder.space)
    level = backgrounds.threshold(Modality.IMAGE, {Modality.TEXT})
    assert level is not None
    own = [name for name, texts in captions.items() for _ in texts]
    names, scores = answers(photos, [text for texts in captions.values() for text in texts])
    true = np.array([[name == mine for name in row] for row, mine in zip(names, own, strict=True)])
    assert (scores[true] > level).mean() > 0.85
    draw = random.Random(7)
    letters = [
        " ".join("".join(draw.choices(string.ascii_lowercase, k=6)) for _ in range(3))
        for _ in range(100)
    ]
    assert (answers(photos, letters)[1] > level).mean() < 0.1


@pytest.mark.shared_data
def test_a_question_marks_and_drops_the_same_answers(photos: Library) -> None:
    terms = (TextTerm("the exchange rate of a currency"),)
    marked = photos.search(Query(terms, mode=Mode.VECTOR, cutoff=Cutoff.MARK))
    dropped = photos.search(Query(terms, mode=Mode.VECTOR, cutoff=Cutoff.DROP))
    assert len(marked) == 10
    assert [hit.item.id for hit in dropped] == [hit.item.id for hit in marked if not hit.weak]
    assert any(hit.weak for hit in marked)
