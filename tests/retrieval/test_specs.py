"""The grammar of sources."""

from pathlib import Path

import pytest

from mmsearch.errors import ModelError
from mmsearch.retrieval.specs import (
    Directory,
    HubRepository,
    OpenClipFile,
    OpenClipTag,
    Spec,
    check_name,
    default_name,
    is_source,
    parse_spec,
)


@pytest.mark.parametrize(
    ("text", "spec", "name"),
    [
        ("open_clip:ViT-B-32/openai", OpenClipTag("ViT-B-32", "openai"), "ViT-B-32-openai"),
        ("open_clip:ViT-B/32/openai", OpenClipTag("ViT-B-32", "openai"), "ViT-B-32-openai"),
        (
            "open_clip:ViT-B-32///data/my weights.safetensors",
            OpenClipFile("ViT-B-32", Path("/data/my weights.safetensors")),
            "ViT-B-32-my-weights",
        ),
        (
            "hf:google/siglip-base-patch16-224",
            HubRepository("google/siglip-base-patch16-224"),
            "siglip-base-patch16-224",
        ),
        ("hf:org/name@refs/pr/1", HubRepository("org/name", "refs/pr/1"), "name"),
        ("hf:gpt2", HubRepository("gpt2"), "gpt2"),
        ("/models/größe", Directory(Path("/models/größe")), "größe"),
        ("/runs/first/model", Directory(Path("/runs/first/model")), "first"),
    ],
)
def test_a_source_is_read_and_has_a_name(text: str, spec: Spec, name: str) -> None:
    assert parse_spec(text) == spec
    assert default_name(spec) == name
    assert parse_spec(str(spec)) == spec


def test_paths_hold_in_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_spec("here") == Directory(tmp_path / "here")
    assert parse_spec("open_clip:RN50//w.safetensors") == OpenClipFile(
        "RN50", tmp_path / "w.safetensors"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_spec("~/here") == Directory(tmp_path / "here")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "hf:",
        "hf:a/b/c",
        "hf:../secret",
        "hf:org/..",
        "hf:org/name@",
        "hf:org/na me",
        "open_clip:",
        "open_clip:ViT-B-32",
        "open_clip:/openai",
        "open_clip:ViT-B-32/",
        "open_clip://file",
    ],
)
def test_what_is_no_source_names_the_forms_there_are(text: str) -> None:
    with pytest.raises(ModelError, match="give open_clip:ARCH/TAG") as caught:
        parse_spec(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "-x", "a b", "x" * 300, "a\0"])
def test_names_that_are_no_plain_word_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        check_name(name)


@pytest.mark.parametrize("name", ["default", "Default"])
def test_no_model_takes_the_place_of_the_file_that_names_the_default(name: str) -> None:
    with pytest.raises(ModelError, match="stands for the default model"):
        check_name(name)
    with pytest.raises(ModelError, match="give --name NAME"):
        default_name(Directory(Path("/models") / name))


def test_sources_of_other_projects_are_told_from_names_and_folders() -> None:
    assert is_source("hf:org/name")
    assert is_source("open_clip:a/b")
    assert not is_source("mini")
    assert not is_source("./hf:x")
