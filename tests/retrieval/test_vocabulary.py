"""Words that a model does not know."""

from pathlib import Path

import pytest
from tests.retrieval.fakes import FakeEncoder
from tests.retrieval.onnx_models import make_model
from tokenizers import Tokenizer, models

from mmsearch.retrieval.encoder import OnnxEncoder, Use
from mmsearch.retrieval.folder import read_model_folder, write_model_folder
from mmsearch.retrieval.vocabulary import unknown_words


@pytest.fixture(params=[False, True], ids=["many", "once"])
def encoder(tmp_path: Path, request: pytest.FixtureRequest) -> OnnxEncoder:
    """A model that knows red, green and blue."""
    make_model(tmp_path / "model")
    return OnnxEncoder(read_model_folder(tmp_path / "model"), Use(once=request.param))


@pytest.mark.parametrize("encoded", [False, True])
def test_unknown_words_are_named_once_each_as_they_were_written(
    encoder: OnnxEncoder, *, encoded: bool
) -> None:
    text = "a Red Zebra zürich, a"
    if encoded:
        encoder.encode_texts([text])
    assert unknown_words(encoder, text) == ("a", "Zebra", "zürich")


@pytest.mark.parametrize("text", ["red GREEN blue", "", "  ", "red ?! red", "\N{ZEBRA FACE}", "\0"])
def test_known_words_and_signs_are_not_unknown_words(encoder: OnnxEncoder, text: str) -> None:
    assert unknown_words(encoder, text) == ()


def test_words_beyond_the_length_of_the_model_are_not_asked_about(encoder: OnnxEncoder) -> None:
    assert unknown_words(encoder, "red red red red red red zebra") == ()


def test_a_single_question_is_not_tokenised_with_a_tokenizer_loaded_anew(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    encoder = OnnxEncoder(read_model_folder(tmp_path / "model"), Use(once=True))
    encoder.encode_texts(["red zebra"])
    (tmp_path / "model" / "tokenizer.json").unlink()
    assert unknown_words(encoder, "red zebra") == ("zebra",)


def test_a_vocabulary_of_bytes_knows_every_word(tmp_path: Path) -> None:
    folder = make_model(tmp_path)
    letters = {chr(code): number for number, code in enumerate(range(33, 127))}
    Tokenizer(models.BPE(letters, [])).save(str(tmp_path / "tokenizer.json"))
    encoder = OnnxEncoder(write_model_folder(tmp_path, folder))
    assert unknown_words(encoder, "a zebra") == ()


def test_an_encoder_that_cannot_tell_has_no_unknown_words() -> None:
    assert unknown_words(FakeEncoder(), "a zebra") == ()
