from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsearch.core import Modality
from mmsearch.index.catalog import Catalog


@pytest.fixture
def synthetic() -> Any:
    return import_module("synthetic")


def test_a_block_is_the_same_whenever_it_is_asked_for(synthetic: Any) -> None:
    one, other = (synthetic.Synthetic(600, sentences=60).block(0) for _ in range(2))

    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.texts, other.texts)
    assert one.images.shape == (600, synthetic.DIM)
    assert one.texts.shape == (60, synthetic.DIM)


def test_the_last_block_holds_what_is_left(synthetic: Any) -> None:
    source = synthetic.Synthetic(synthetic.BLOCK + 7, sentences=0)

    assert source.blocks == 2
    assert source.block(1).images.shape == (7, synthetic.DIM)
    assert source.block(1).texts.shape == (0, synthetic.DIM)


def test_vectors_are_unit_rows(synthetic: Any) -> None:
    source = synthetic.Synthetic(500, sentences=100)
    block = source.block(0)

    for rows in (block.images, block.texts, source.queries(20)):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_pictures_and_sentences_lie_in_different_cones_as_those_of_clip_do(synthetic: Any) -> None:
    block = synthetic.Synthetic(2000, sentences=500).block(0)
    upper = np.triu_indices(500, 1)
    images = (block.images[:500] @ block.images[:500].T)[upper]
    texts = (block.texts @ block.texts.T)[upper]
    pairs = np.einsum("nd,nd->n", block.texts, block.images[block.about])
    others = block.texts @ block.images[:500].T

    assert 0.45 < np.median(images) < 0.55
    assert 0.45 < np.median(texts) < 0.55
    assert 0.25 < np.median(pairs) < 0.35
    assert 0.10 < np.median(others) < 0.20


def test_questions_are_not_sentences_of_the_library(synthetic: Any) -> None:
    source = synthetic.Synthetic(500, sentences=100)

    assert (source.queries(30) @ source.block(0).texts.T).max() < 0.99


def test_paths_and_sentences_are_unique(synthetic: Any) -> None:
    paths = {synthetic.picture_path(n, n % 3) for n in range(200)}

    assert len(paths) == 200
    assert len({synthetic.sentence(n) for n in range(200)}) == 200


def test_a_library_is_built_once_and_brute_force_agrees_with_its_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = import_module("libraries")
    searching = import_module("searching")
    monkeypatch.setattr(libraries, "WORK", tmp_path)
    built = libraries.build(300, 30)
    again = libraries.build(300, 30)

    assert again == built
    with Catalog.open(built.directory) as catalog:
        counts = catalog.counts()
        assert (counts.images, counts.texts) == (300, 30)
        ids, vectors = catalog.all_vectors(libraries.SPACE, Modality.IMAGE)
        queries = built.stamp.source.queries(4)
        some = ids[::3]
        best, few = libraries.brute_force(catalog, queries, searching.K, [None, some])
        store = libraries.IndexStore(catalog, built.directory)
        answered = searching.ask_all(
            catalog, store, queries, [searching.Choice("all", None), searching.Choice("few", some)]
        )
    expected = -np.sort(-(queries @ vectors.T), axis=1)[:, : searching.K]
    np.testing.assert_allclose(best, expected, atol=1e-6)
    expected = -np.sort(-(queries @ vectors[::3].T), axis=1)[:, : searching.K]
    np.testing.assert_allclose(few, expected, atol=1e-6)
    assert [a.recall for a in answered] == [1.0, 1.0]
    assert [a.rows for a in answered] == [300, 100]


def test_an_interrupted_build_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = import_module("libraries")
    synthetic = import_module("synthetic")
    monkeypatch.setattr(libraries, "WORK", tmp_path)
    monkeypatch.setattr(synthetic, "BLOCK", 100)
    commit = Catalog.commit
    committed: list[int] = []

    def stopping(catalog: Catalog, batch: Any) -> None:
        if len(committed) == 2:
            raise KeyboardInterrupt
        commit(catalog, batch)
        committed.append(len(batch.files))

    monkeypatch.setattr(Catalog, "commit", stopping)
    with pytest.raises(KeyboardInterrupt):
        libraries.build(300, 30)
    monkeypatch.setattr(Catalog, "commit", commit)
    built = libraries.build(300, 30)

    with Catalog.open(built.directory) as catalog:
        found = catalog.all_vectors(libraries.SPACE, Modality.IMAGE)[1]
    blocks = [built.stamp.source.block(number).images for number in range(3)]
    np.testing.assert_allclose(found, np.concatenate(blocks), atol=1e-3)
