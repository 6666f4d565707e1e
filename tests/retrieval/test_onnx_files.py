"""ONNX graphs as files, and what their networks give."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, integers
from tests.retrieval.ready_pairs import DIM, Shape, photo_server, save_text_network

from mmsearch.errors import ModelError
from mmsearch.retrieval.layouts import Layout
from mmsearch.retrieval.onnx_files import files_beside, place_network
from mmsearch.retrieval.onnx_pairs import write_pair
from mmsearch.retrieval.pair_probe import choose_outputs


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An empty folder for the model."""
    path = tmp_path / "made"
    path.mkdir()
    return path


def test_the_files_beside_a_graph_are_those_it_names(tmp_path: Path) -> None:
    plain = photo_server(tmp_path / "plain")
    apart = photo_server(tmp_path / "apart", Shape(beside=True))
    assert files_beside(plain / "visual" / "model.onnx") == []
    assert files_beside(apart / "visual" / "model.onnx") == ["model.onnx_data"]


def test_a_copy_stands_on_its_own(tmp_path: Path) -> None:
    apart = photo_server(tmp_path / "apart", Shape(beside=True))
    place_network(apart / "textual" / "model.onnx", tmp_path / "text.onnx")
    assert set(files_beside(tmp_path / "text.onnx")) <= {"text.onnx.data"}


def test_outputs_are_known_by_name_and_width() -> None:
    image = {"last": 7, "pooler_output": 512, "image_embeds": 64}
    text = {"pooler_output": 512, "text_embeds": 64}
    assert choose_outputs(image, text) == ("image_embeds", "text_embeds", 64)
    assert choose_outputs({"pooler_output": 8}, {"x": 9, "y": 8}) == ("pooler_output", "y", 8)
    with pytest.raises(ModelError, match="pictures: a 768; text: none"):
        choose_outputs({"a": 768}, {})


def test_networks_of_two_models_are_refused(tmp_path: Path, made: Path) -> None:
    source = photo_server(tmp_path / "source")
    save_text_network(source / "textual" / "model.onnx", Shape(), seed=0, dim=DIM + 1)
    with pytest.raises(ModelError, match="no vectors of the same width"):
        write_pair(Layout.PHOTO_SERVER, source, made, name="photos")


@pytest.mark.parametrize("content", [b"", b"\x08", b"<html>", b"\x3a\xff\xff\xff\xff\x0f"])
def test_a_damaged_graph_is_one_clear_error(tmp_path: Path, made: Path, content: bytes) -> None:
    source = photo_server(tmp_path / "source")
    (source / "visual" / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx") as caught:
        write_pair(Layout.PHOTO_SERVER, source, made, name="photos")
    assert "\n" not in str(caught.value)


def test_a_graph_that_reaches_out_of_its_folder_is_refused(tmp_path: Path, made: Path) -> None:
    source = photo_server(tmp_path / "source", Shape(beside=True))
    graph = source / "visual" / "model.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"model.onnx_data", b"../../../passwd"))
    with pytest.raises(ModelError):
        write_pair(Layout.PHOTO_SERVER, source, made, name="photos")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A graph whose weights lie beside it."""
    folder = photo_server(tmp_path_factory.mktemp("pair") / "apart", Shape(beside=True))
    return (folder / "textual" / "model.onnx").read_bytes()


@settings(max_examples=300, deadline=None)
@given(place=integers(0, 10_000), change=binary(min_size=1, max_size=6))
def test_a_damaged_graph_never_names_a_file_elsewhere(
    graph: bytes, tmp_path_factory: pytest.TempPathFactory, place: int, change: bytes
) -> None:
    at = place % len(graph)
    file = tmp_path_factory.getbasetemp() / "damaged.onnx"
    file.write_bytes(graph[:at] + change + graph[at + len(change) :])
    try:
        found = files_beside(file)
    except ModelError:
        return
    assert not [name for name in found if not name or name.startswith("/") or ".." in name]
