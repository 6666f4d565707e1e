"""What a model spec means."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.retrieval.onnx_models import make_model

from mmsearch.errors import ModelError
from mmsearch.retrieval import loading, models
from mmsearch.retrieval.encoder import Use
from mmsearch.retrieval.folder import read_model_folder, write_model_folder
from mmsearch.retrieval.models import (
    canonical_spec,
    installed_models,
    load_encoder,
    resolve_model,
)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with the bundled model `mini` and the added model `photos`."""
    make_model(tmp_path / "bundled" / "mini", name="mini")
    make_model(tmp_path / "data" / "mmsearch" / "models" / "photos", name="photos")
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "bundled")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(models, "models_directory", lambda: tmp_path / "data/mmsearch/models")
    monkeypatch.delenv("MMSEARCH_MODEL", raising=False)
    return tmp_path


def test_nothing_asked_for_is_the_bundled_model(machine: Path) -> None:
    assert resolve_model() == machine / "bundled" / "mini"


def test_the_environment_names_the_default(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSEARCH_MODEL", "photos")
    assert resolve_model().name == "photos"
    assert resolve_model("mini").name == "mini"


def test_a_folder_is_a_model(machine: Path) -> None:
    folder = machine / "mine"
    make_model(folder)
    assert resolve_model(folder) == folder
    assert resolve_model(str(folder)) == folder


def test_a_run_folder_means_its_exported_model(machine: Path) -> None:
    make_model(machine / "run" / "model")
    assert resolve_model(machine / "run") == machine / "run" / "model"


def test_a_name_wins_over_a_folder_of_that_name(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(machine / "here" / "mini")
    monkeypatch.chdir(machine / "here")
    assert resolve_model("mini") == machine / "bundled" / "mini"
    assert resolve_model("./mini") == Path("mini")


def test_a_canonical_spec_holds_in_every_working_directory(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(machine / "mine")
    monkeypatch.chdir(machine)
    assert canonical_spec("mine") == str(machine / "mine")
    assert canonical_spec() == "mini"
    assert canonical_spec(machine / "bundled" / "mini") == "mini"


def test_the_error_lists_what_there_is(machine: Path) -> None:
    with pytest.raises(ModelError, match="no model 'maxi'; models here: mini, photos"):
        resolve_model("maxi")


def test_a_run_that_has_not_finished_says_so(machine: Path) -> None:
    (machine / "run").mkdir()
    (machine / "run" / "config.json").touch()
    with pytest.raises(ModelError, match="no exported model yet"):
        resolve_model(machine / "run")


def test_a_folder_that_is_no_model_says_so(machine: Path) -> None:
    with pytest.raises(ModelError, match="neither a model folder nor a training run"):
        resolve_model(machine)


@pytest.mark.parametrize("spec", ["hf:org/name", "open_clip:ViT-B-32/x"])
def test_a_source_that_was_not_added_names_the_command(spec: str) -> None:
    with pytest.raises(ModelError, match=f"not added yet; run: mmsearch models add {spec}"):
        resolve_model(spec)


def test_a_source_means_the_model_that_was_added_from_it(machine: Path) -> None:
    folder = machine / "data" / "mmsearch" / "models" / "photos"
    source = {"spec": "open_clip:ViT-B-32/x"}
    write_model_folder(folder, replace(read_model_folder(folder), source=source))
    assert resolve_model("open_clip:ViT-B-32/x") == folder
    assert resolve_model("open_clip:ViT-B/32/x") == folder
    assert canonical_spec("open_clip:ViT-B-32/x") == "photos"
    (folder.parent / "mini" / "model.json").parent.mkdir()
    (folder.parent / "mini" / "model.json").write_text("{")  # a damaged one is in nobody's way
    assert resolve_model("open_clip:ViT-B-32/x") == folder


def test_the_chosen_default_comes_after_the_environment(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "data" / "mmsearch" / "models" / "default").write_text("photos\n")
    assert resolve_model().name == "photos"
    assert canonical_spec() == "photos"
    monkeypatch.setenv("MMSEARCH_MODEL", "mini")
    assert resolve_model().name == "mini"


def test_a_model_that_is_being_made_has_no_name(machine: Path) -> None:
    make_model(machine / "data" / "mmsearch" / "models" / ".new.adding")
    assert [model.name for model in installed_models()] == ["mini", "photos"]


def test_without_the_bundled_model_the_error_says_what_to_give(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "BUNDLED", machine / "none")
    with pytest.raises(ModelError, match=r"not part of this installation.*--model"):
        resolve_model()


def test_installed_models_have_each_name_once(machine: Path) -> None:
    make_model(machine / "data" / "mmsearch" / "models" / "mini")
    found = [(model.name, model.bundled) for model in installed_models()]
    assert found == [("mini", True), ("photos", False)]


def test_an_encoder_is_loaded_from_its_spec() -> None:
    assert load_encoder("photos").encode_texts(["green"]).tolist() == [[0, 1, 0, 0]]


def test_a_large_file_is_compared_with_its_checksum_when_asked_for(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "SMALL_FILE_BYTES", 10)
    file = machine / "bundled" / "mini" / "image.onnx"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    pixels = [np.zeros((4, 4, 3), dtype=np.uint8)]
    checking = load_encoder("mini", Use(verified=True))
    with pytest.raises(ModelError, match=r"image\.onnx differs"):
        checking.encode_images(pixels)
    assert checking.encode_texts(["red"]).tolist() == [[1, 0, 0, 0]]  # that tower is sound
