"""Which execution provider runs a network."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.retrieval.onnx_models import DIM, make_model

from mmsearch.core import Modality, Vectors
from mmsearch.errors import ConfigError, ModelError
from mmsearch.retrieval.encoder import OnnxEncoder, Use
from mmsearch.retrieval.machine import Machine, batch_size
from mmsearch.retrieval.providers import (
    Choice,
    Feed,
    Provider,
    available_providers,
    choose_provider,
    forced_provider,
)
from mmsearch.retrieval.tower import Setting, Tower

FEED: Feed = {"rows": np.zeros((2, 1), dtype=np.float32)}


@dataclass
class SlowNetwork:
    """Takes some seconds to give the unit rows of `answer`."""

    seconds: float
    answer: Sequence[float] = (1.0, 0.0)

    def run(self, feed: Feed, /) -> Vectors:
        time.sleep(self.seconds)
        return np.tile(np.array(self.answer, dtype=np.float32), (len(feed["rows"]), 1))


def _loading(networks: dict[Provider, SlowNetwork]) -> Callable[[Provider], SlowNetwork]:
    def load(provider: Provider) -> SlowNetwork:
        if provider not in networks:
            raise ModelError("no such library")
        return networks[provider]

    return load


def test_the_fastest_that_agrees_is_chosen() -> None:
    networks = {
        Provider.CUDA: SlowNetwork(0.02),
        Provider.OPENVINO: SlowNetwork(0.001),
        Provider.CPU: SlowNetwork(0.06),
    }
    assert choose_provider(_loading(networks), FEED, list(networks)).provider is Provider.OPENVINO


def test_a_slower_one_is_named_and_left() -> None:
    networks = {Provider.CUDA: SlowNetwork(0.05), Provider.CPU: SlowNetwork(0.001)}
    choice = choose_provider(_loading(networks), FEED, list(networks))
    assert choice.provider is Provider.CPU
    assert "cuda takes" in choice.remarks[0]
    assert choice.remarks[0].endswith("cpu is used")


def test_one_that_gives_other_vectors_is_never_chosen() -> None:
    networks = {Provider.CUDA: SlowNetwork(0.0, (0.6, 0.8)), Provider.CPU: SlowNetwork(0.02)}
    choice = choose_provider(_loading(networks), FEED, list(networks))
    assert choice == Choice(
        Provider.CPU, ("cuda gives other vectors (cosine 0.6000); cpu is used",)
    )


def test_one_that_gives_no_numbers_is_never_chosen() -> None:
    networks = {Provider.CUDA: SlowNetwork(0.0, (np.nan, 0.0)), Provider.CPU: SlowNetwork(0.02)}
    assert choose_provider(_loading(networks), FEED, list(networks)).provider is Provider.CPU


def test_the_cpu_is_there_and_last() -> None:
    assert available_providers()[-1] is Provider.CPU


def test_nobody_insists_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMSEARCH_PROVIDER", raising=False)
    assert forced_provider(Provider.AUTO, [Provider.CPU]) is None
    monkeypatch.setenv("MMSEARCH_PROVIDER", "auto")
    assert forced_provider(Provider.AUTO, [Provider.CPU]) is None
    monkeypatch.setenv("MMSEARCH_PROVIDER", "")
    assert forced_provider(Provider.AUTO, [Provider.CPU]) is None


def test_the_caller_outranks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMSEARCH_PROVIDER", "cuda")
    there = [Provider.CUDA, Provider.CPU]
    assert forced_provider(Provider.AUTO, there) is Provider.CUDA
    assert forced_provider(Provider.CPU, there) is Provider.CPU


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda "])
def test_an_unknown_name_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MMSEARCH_PROVIDER", name)
    with pytest.raises(ConfigError, match="here: auto, openvino, cpu"):
        forced_provider(Provider.AUTO, [Provider.OPENVINO, Provider.CPU])


# From here on with ONNX Runtime itself, whose package here has no CUDA.


@pytest.fixture
def cuda_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runtime list CUDA, whose library it cannot load."""
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.delenv("MMSEARCH_PROVIDER", raising=False)


no_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA works here"
)


@no_cuda
def test_a_network_of_a_missing_provider_is_a_model_error(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    with pytest.raises(ModelError, match="cannot load CUDAExecutionProvider"):
        Tower(folder.text_path, DIM, Setting(1, provider=Provider.CUDA))


@no_cuda
def test_an_unavailable_provider_that_is_asked_for_is_an_error(tmp_path: Path) -> None:
    encoder = OnnxEncoder(make_model(tmp_path), Use(threads=1, provider=Provider.CUDA))
    with pytest.raises(ConfigError, match=r"cuda is not available; here: .*cpu"):
        encoder.encode_texts(["red"])


@no_cuda
@pytest.mark.usefixtures("cuda_is_listed")
def test_a_provider_that_does_not_load_is_tried_once_and_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    folder = make_model(tmp_path / "model")
    said: list[str] = []
    for _ in range(2):
        encoder = OnnxEncoder(folder, Use(threads=1, say=said.append))
        assert encoder.encode_texts(["red"]).tolist() == [[1, 0, 0, 0]]
    assert len(said) == 1
    assert said[0].startswith("cuda is installed and does not work")
    assert said[0].endswith("; cpu is used")
    assert "provider" in (tmp_path / "cache" / "machine.json").read_text()


@no_cuda
@pytest.mark.usefixtures("cuda_is_listed")
def test_a_single_question_tries_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    said: list[str] = []
    use = Use(threads=1, once=True, say=said.append)
    OnnxEncoder(make_model(tmp_path / "model"), use).encode_texts(["red"])
    assert said == []
    assert not (tmp_path / "cache").exists()


@no_cuda
@pytest.mark.usefixtures("cuda_is_listed")
def test_what_was_kept_of_a_provider_that_went_away_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    folder = make_model(tmp_path / "model")
    OnnxEncoder(folder, Use(threads=1)).encode_texts(["red"])
    file = tmp_path / "cache" / "machine.json"
    file.write_text(file.read_text().replace('"provider": "cpu"', '"provider": "openvino"'))
    said: list[str] = []
    encoder = OnnxEncoder(folder, Use(threads=1, say=said.append))
    assert encoder.encode_texts(["red"]).tolist() == [[1, 0, 0, 0]]
    assert len(said) == 1


def test_the_cpu_alone_needs_no_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    OnnxEncoder(make_model(tmp_path / "model"), Use(threads=1)).encode_texts(["red"])
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("tower", list(Modality))
def test_the_batch_of_a_network_is_measured_and_kept(
    tmp_path: Path, tower: Modality, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmsearch.retrieval.machine.quiet", lambda: True)
    encoder = OnnxEncoder(make_model(tmp_path / "model"), Use(threads=1, provider=Provider.CPU))
    machine = Machine(tmp_path / "machine.json")
    found = batch_size(encoder, tower, machine=machine)
    assert found == machine.recall(encoder.subject(tower), "batch_size")
    assert encoder.seconds(tower, found) > 0


def test_networks_that_differ_are_measured_apart(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    one, two = (OnnxEncoder(folder, Use(threads=n, provider=Provider.CPU)) for n in (1, 2))
    subjects = {encoder.subject(tower) for encoder in (one, two) for tower in Modality}
    assert len(subjects) == 4
