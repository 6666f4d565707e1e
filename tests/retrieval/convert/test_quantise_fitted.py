"""Networks whose scales are fitted to the pictures of the user."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.retrieval.convert.quantise_models import (
    SIDE,
    convolutional,
    make_wide_model,
    patched,
    pictures,
    sentences,
)

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.quantise import quantise_folder
from mmsearch.retrieval.convert.quantise_recipes import recipes


def test_scales_are_fixed_for_typical_samples_only(tmp_path: Path) -> None:
    patched(tmp_path / "image.onnx")
    feed = np.random.default_rng(3).normal(size=(8, 3, SIDE, SIDE)).astype(np.float32)
    names = {
        typical: [
            recipe.name
            for recipe in recipes(tmp_path / "image.onnx", [{"pixels": feed}], typical=typical)
        ]
        for typical in (True, False)
    }
    assert names[True] == [
        "fixed for 2 of 2 products, else by row, weights of 7 bits",
        "fixed for 2 of 2 products, else by row, weights of 8 bits",
        *names[False],
    ]
    assert names[False][0] == "dynamic by row, weights of 7 bits"


def test_a_recipe_writes_fixed_products_among_others_with_weights_of_its_bits(
    tmp_path: Path,
) -> None:
    patched(tmp_path / "image.onnx")
    feed = {"pixels": np.random.default_rng(3).normal(size=(8, 3, SIDE, SIDE)).astype(np.float32)}
    fitted = recipes(tmp_path / "image.onnx", [feed], typical=True)
    for bits, recipe in zip((7, 8), fitted, strict=False):
        recipe.write(tmp_path / "int8.onnx")
        model = onnx.load(str(tmp_path / "int8.onnx"))
        kinds = [node.op_type for node in model.graph.node]
        assert kinds.count("MatMulIntegerToFloat") == 3
        assert kinds.count("ReduceMax") == 1  # of the patches, which are no product of their own
        largest = {
            int(np.abs(numpy_helper.to_array(each).astype(int)).max())
            for each in model.graph.initializer
            if each.name.endswith("_values")
        }
        assert largest == {2 ** (bits - 1) - 1}


def test_where_no_scales_can_be_measured_the_reason_is_noted_and_rows_have_theirs(
    tmp_path: Path,
) -> None:
    patched(tmp_path / "image.onnx")
    feed = {"pixels": np.zeros((1, 3, SIDE + 1, SIDE), dtype=np.float32)}
    ladder = recipes(tmp_path / "image.onnx", [feed], typical=True)
    with pytest.raises(ModelError, match=r"no int8\.onnx: .*cannot be measured"):
        next(ladder).write(tmp_path / "int8.onnx")
    recipe = next(ladder)
    assert recipe.name == "dynamic by row, weights of 7 bits"
    recipe.write(tmp_path / "int8.onnx")


def _let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks pass that are too small to gain."""
    monkeypatch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_SPEED", 0.0)
    monkeypatch.setattr("mmsearch.retrieval.convert.quantise_check.LEAST_NEIGHBOURS", 0.5)


@pytest.mark.parametrize("image", [patched, convolutional])
def test_a_network_of_a_fixed_batch_is_measured_on_fewer_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: Callable[[Path], None]
) -> None:
    def of_sixteen(file: Path) -> None:
        image(file)
        model = onnx.load(str(file))
        for each in (*model.graph.input, *model.graph.output):
            each.type.tensor_type.shape.dim[0].dim_value = 16
        onnx.save(model, str(file))

    _let_pass(monkeypatch)
    make_wide_model(tmp_path, image=of_sixteen)
    facts: Any = quantise_folder(tmp_path, pictures(20), sentences(20))
    assert facts["image"]["kept"], facts["image"]


def test_pictures_of_the_users_own_are_typical_and_drawn_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_pass(monkeypatch)
    make_wide_model(tmp_path, image=patched)
    facts: Any = quantise_folder(tmp_path, pictures(60), sentences(60))
    assert facts["image"]["recipe"].startswith("fixed for 2 of 2 products")
    assert facts["text"]["recipe"].startswith("dynamic by row")
    facts = quantise_folder(tmp_path, (), sentences(60))
    assert facts["image"]["recipe"].startswith("dynamic by row")


def test_nothing_is_fixed_to_pictures_that_check_it_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_pass(monkeypatch)
    make_wide_model(tmp_path, image=patched)
    for count, begin in ((15, "dynamic by row"), (16, "fixed for 2 of 2")):
        facts: Any = quantise_folder(tmp_path, pictures(count), sentences(20))
        assert facts["image"]["recipe"].startswith(begin)
