from pathlib import Path

import pytest

from mmsearch.retrieval.captions import CaptionData, DataFormat, load_captions

TOKENS = (
    "a.jpg#0\tA dog .\na.jpg#1\tA brown dog .\nb.jpg#0\tA cat , asleep .\n"
    "c.jpg#0\tA bird\nd.jpg#0\tA fish\n"
)


def folder(path: Path, tokens: str | bytes = TOKENS, file: str = "Flickr8k.token.txt") -> Path:
    for image in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        (path / image).touch()
    (path / file).write_bytes(tokens.encode() if isinstance(tokens, str) else tokens)
    return path


def names(data: CaptionData) -> dict[str, list[str]]:
    return {split: [one.path.name for one in images] for split, images in data.splits.items()}


def test_without_lists_the_data_is_whole(tmp_path: Path) -> None:
    data = load_captions(folder(tmp_path))
    assert data.format is DataFormat.FLICKR
    assert names(data) == {"all": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]}
    assert data.splits["all"][0].captions == ("A dog .", "A brown dog .")
    assert data.problems == ()
    assert data.warnings == ()


def test_lists_define_the_splits_and_others_are_left_out(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("a.jpg\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("b.jpg\n")
    (tmp_path / "Flickr_8k.testImages.txt").write_text("c.jpg\n\n")
    (tmp_path / "readme.txt").write_text("about")
    (tmp_path / "Flickr8k.lemma.token.txt").write_text("a.jpg#0\tdog run\n")
    data = load_captions(tmp_path)
    assert names(data) == {"train": ["a.jpg"], "dev": ["b.jpg"], "test": ["c.jpg"]}
    assert data.splits["train"][0].captions == ("A dog .", "A brown dog .")
    assert data.warnings == ("1 image(s) stand in no split list and are left out",)
    assert data.problems == ()


def test_flickr30k_lists_leave_the_suffix_out(tmp_path: Path) -> None:
    folder(tmp_path, file="results_20130124.token")
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c\n")
    (tmp_path / "test.txt").write_text("d\n")
    assert names(load_captions(tmp_path)) == {
        "train": ["a.jpg", "b.jpg"],
        "dev": ["c.jpg"],
        "test": ["d.jpg"],
    }


def test_the_archives_own_folders_are_known(tmp_path: Path) -> None:
    (tmp_path / "Flickr8k_text").mkdir()
    folder(tmp_path / "Flickr8k_text", "x.jpg#0\tA dog\n")
    (tmp_path / "Flicker8k_Dataset").mkdir()
    (tmp_path / "Flicker8k_Dataset" / "x.jpg").touch()
    data = load_captions(tmp_path)
    assert data.splits["all"][0].path == tmp_path / "Flicker8k_Dataset" / "x.jpg"


def test_an_image_in_two_lists_is_in_both_splits_and_warned_of(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "trainImages.txt").write_text("a.jpg\nb.jpg\n")
    (tmp_path / "testImages.txt").write_text("b.jpg\nc.jpg\nd.jpg\n")
    data = load_captions(tmp_path)
    assert names(data) == {"train": ["a.jpg", "b.jpg"], "test": ["b.jpg", "c.jpg", "d.jpg"]}
    assert data.warnings == (
        "1 image(s) stand in both train and test, such as b.jpg: figures on test will be too good",
    )


def test_the_figures_of_train_are_never_what_an_overlap_spoils(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "devImages.txt").write_text("a.jpg\n")
    (tmp_path / "trainImages.txt").write_text("a.jpg\nb.jpg\nc.jpg\nd.jpg\n")
    (warning,) = load_captions(tmp_path).warnings
    assert warning.endswith("figures on dev will be too good")


def test_a_listed_image_without_caption_is_reported_at_its_line(tmp_path: Path) -> None:
    folder(tmp_path)
    (tmp_path / "trainImages.txt").write_text("a.jpg\nz.jpg\n")
    (problem,) = load_captions(tmp_path).problems
    assert problem.where == f"{tmp_path / 'trainImages.txt'}:2"
    assert problem.reason == "z.jpg has no caption"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a.jpg A dog", "not a line of the form image.jpg#0<TAB>caption"),
        (b"a.jpg\tA dog", "not a line of the form image.jpg#0<TAB>caption"),
        (b"a.jpg#0\t", "the caption of a.jpg is empty"),
        (b"a.jpg#0\tcaf\xe9", "bytes that are not UTF-8"),
        (b"a.jpg.1#0\tA dog", "image a.jpg.1 is missing"),
    ],
)
def test_a_broken_line_is_reported_and_costs_only_itself(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    data = load_captions(folder(tmp_path, b"b.jpg#0\tfirst\n" + line + b"\nb.jpg#1\tlast\n"))
    (problem,) = data.problems
    assert problem.where == f"{tmp_path / 'Flickr8k.token.txt'}:2"
    assert problem.reason.startswith(reason)
    assert data.splits["all"][0].captions == ("first", "last")
