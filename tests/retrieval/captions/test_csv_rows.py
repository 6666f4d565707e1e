import csv
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.errors import DataError
from mmsearch.retrieval.captions import CaptionData, DataFormat, load_captions


def folder(path: Path, content: str | bytes, *images: str, file: str = "captions.csv") -> Path:
    for image in images or ("a.jpg", "b.jpg"):
        (path / image).touch()
    (path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def captions(data: CaptionData, split: str = "all") -> dict[str, tuple[str, ...]]:
    return {image.path.name: image.captions for image in data.splits[split]}


def reasons(data: CaptionData) -> list[tuple[str, str]]:
    return [(problem.where.rpartition("/")[2], problem.reason) for problem in data.problems]


def test_a_header_and_rows_give_images_with_their_captions_in_order(tmp_path: Path) -> None:
    data = load_captions(
        folder(tmp_path, "image,caption\na.jpg,A dog runs.\nb.jpg,A cat\na.jpg,Ein Hund\n")
    )
    assert data.format is DataFormat.CSV
    assert captions(data) == {"a.jpg": ("A dog runs.", "Ein Hund"), "b.jpg": ("A cat",)}
    assert data.splits["all"][0].path == tmp_path / "a.jpg"
    assert data.problems == ()
    assert data.warnings == ()


@pytest.mark.parametrize(
    "content",
    [
        "caption,image\nA dog,a.jpg\n",
        "image;caption\na.jpg;A dog\n",
        "image\tcaption\na.jpg\tA dog\n",
        "image_name| comment_number| comment\na.jpg| 0| A dog\n",
        "file_name,text\na.jpg,A dog\n",
        "\ufeffimage,caption\r\na.jpg,A dog\r\n",
        '"image","caption"\n"a.jpg","A dog"\n',
        "Image, Caption\n a.jpg ,  A dog  \n\n\n",
        "image,caption\ra.jpg,A dog\r",
        "id,image,author,caption\n7,a.jpg,me,A dog",
    ],
    ids=[
        "other order",
        "semicolons",
        "tabs",
        "bars",
        "other names",
        "byte order mark and CRLF",
        "quoted",
        "spaces and blank lines",
        "old Mac line ends",
        "more columns, no last line end",
    ],
)
def test_the_ways_to_write_a_csv_mean_the_same(tmp_path: Path, content: str) -> None:
    data = load_captions(folder(tmp_path, content))
    assert captions(data) == {"a.jpg": ("A dog",)}
    assert data.problems == ()


def test_quoted_captions_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    content = 'image,caption\na.jpg,"A dog, a ""good"" one"\nb.jpg,"two\nlines"\na.jpg,5" nails\n'
    data = load_captions(folder(tmp_path, content))
    assert captions(data) == {
        "a.jpg": ('A dog, a "good" one', '5" nails'),
        "b.jpg": ("two\nlines",),
    }
    assert data.problems == ()


def test_captions_of_any_language_are_composed(tmp_path: Path) -> None:
    content = "image,caption\na.jpg,Cafe\u0301 der Hündin\na.jpg,草地上的狗\na.jpg,a\u2028b\n"
    data = load_captions(folder(tmp_path, content))
    assert captions(data) == {"a.jpg": ("Caf\u00e9 der Hündin", "草地上的狗", "a\u2028b")}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a.jpg,", "the caption of a.jpg is empty"),
        (b"a.jpg,   ", "the caption of a.jpg is empty"),
        (b'a.jpg,""', "the caption of a.jpg is empty"),
        (b",A dog", "no image name"),
        (b"a.jpg", "1 cell(s) where the header has 2; quote captions that hold ','"),
        (b"a.jpg,A dog, running", "3 cell(s) where the header has 2; quote captions that hold ','"),
        (b"a.jpg,caf\xe9", "bytes that are not UTF-8"),
        (b"\xff.jpg,A dog", "bytes that are not UTF-8"),
        (b'a.jpg,"A dog', "a quote is opened and not closed properly"),
        (b'a.jpg,"A dog" runs', "a quote is opened and not closed properly"),
    ],
)
def test_a_broken_line_is_reported_and_costs_only_itself(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    content = b"image,caption\na.jpg,first\n" + line + b'\nb.jpg,"last, one"\n'
    data = load_captions(folder(tmp_path, content))
    assert reasons(data) == [("captions.csv:3", reason)]
    assert str(data.problems[0]) == f"{tmp_path / 'captions.csv'}:3: {reason}"
    assert captions(data) == {"a.jpg": ("first",), "b.jpg": ("last, one",)}


def test_line_numbers_count_the_lines_of_quoted_captions(tmp_path: Path) -> None:
    data = load_captions(folder(tmp_path, 'image,caption\na.jpg,"two\nlines"\n\na.jpg,\n'))
    assert reasons(data) == [("captions.csv:5", "the caption of a.jpg is empty")]


def test_a_missing_image_is_one_problem_at_its_first_line(tmp_path: Path) -> None:
    data = load_captions(folder(tmp_path, "image,caption\na.jpg,x\nz.jpg,y\nz.jpg,w\n"))
    assert reasons(data) == [("captions.csv:3", f"image z.jpg is missing (looked in {tmp_path})")]
    assert captions(data) == {"a.jpg": ("x",)}


@pytest.mark.parametrize("name", ["x" * 5000 + ".jpg", "a\x00.jpg", "."])
def test_an_image_name_that_no_file_can_have_is_missing(tmp_path: Path, name: str) -> None:
    data = load_captions(folder(tmp_path, f"image,caption\na.jpg,x\n{name},y\n"))
    assert len(data.problems) == 1
    assert "is missing" in data.problems[0].reason


def test_a_csv_without_header_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions.csv:1: no header .*image,caption.*'a.jpg,x'"):
        load_captions(folder(tmp_path, "a.jpg,x\nb.jpg,y\n"))


def test_utf16_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"captions.csv is UTF-16; save it as UTF-8"):
        load_captions(folder(tmp_path, "image,caption\na.jpg,x\n".encode("utf-16")))


@pytest.mark.parametrize("content", ["", "\n\n", "image,caption\n"])
def test_a_csv_without_rows_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match="holds no usable caption; it is empty"):
        load_captions(folder(tmp_path, content))


def test_nothing_usable_is_an_error_that_shows_the_first_problem(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"2 problem\(s\), the first: .*captions.csv:2: image z"):
        load_captions(folder(tmp_path, "image,caption\nz.jpg,x\nb.jpg,\n"))


def test_file_names_define_the_splits_and_val_is_dev(tmp_path: Path) -> None:
    for split, image in (("train", "a.jpg"), ("val", "b.jpg"), ("test", "c.jpg")):
        folder(tmp_path, f"image,caption\n{image},x{image}\n", image, file=f"captions_{split}.csv")
    data = load_captions(tmp_path)
    assert {split: list(captions(data, split)) for split in data.splits} == {
        "train": ["a.jpg"],
        "dev": ["b.jpg"],
        "test": ["c.jpg"],
    }


def test_a_split_file_with_nothing_usable_is_a_warning(tmp_path: Path) -> None:
    folder(tmp_path, "image,caption\na.jpg,x\n", file="captions_train.csv")
    folder(tmp_path, "image,caption\nb.jpg,\n", file="captions_dev.csv")
    data = load_captions(tmp_path)
    assert list(data.splits) == ["train"]
    assert data.warnings == (f"{tmp_path / 'captions_dev.csv'} holds nothing usable",)


def test_a_split_column_defines_the_splits(tmp_path: Path) -> None:
    data = load_captions(
        folder(
            tmp_path,
            "image,caption,split\na.jpg,x,train\nb.jpg,y,Validation\nb.jpg,z,\nc.jpg,w,restval\n",
            "a.jpg",
            "b.jpg",
            "c.jpg",
        )
    )
    assert captions(data, "train") == {"a.jpg": ("x",), "c.jpg": ("w",)}
    assert captions(data, "dev") == {"b.jpg": ("y",)}
    assert reasons(data) == [
        ("captions.csv:4", "no split for b.jpg, while other lines name one"),
    ]


@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
        min_size=1,
        max_size=5,
    ),
    delimiter=st.sampled_from(",;\t|"),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path: Path, texts: list[str], delimiter: str
) -> None:
    (tmp_path / "a.jpg").touch()
    with (tmp_path / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("image", "caption"), *(("a.jpg", text) for text in texts)])
    data = load_captions(tmp_path)
    assert data.problems == ()
    assert captions(data)["a.jpg"] == tuple(
        unicodedata.normalize("NFC", text.strip()) for text in texts
    )


def test_a_first_line_too_long_for_a_header_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text("x" * 200_000)
    with pytest.raises(DataError, match="no header"):
        load_captions(tmp_path)
