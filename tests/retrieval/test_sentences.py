import unicodedata
from pathlib import Path

import pytest

from mmsearch.errors import DataError
from mmsearch.retrieval.sentences import read_sentences


def texts(path: Path, content: str | bytes) -> tuple[str, ...]:
    """Write and read a file that has no problems."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    read = read_sentences(path)
    assert read.problems == ()
    return read.texts


def problems(path: Path, content: str | bytes) -> list[str]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [f"{Path(p.where).name} {p.reason}" for p in read_sentences(path).problems]


def test_a_text_file_is_a_sentence_a_line(tmp_path: Path) -> None:
    assert texts(tmp_path / "a.txt", "a dog\n\n  a cat  \r\n\t\na\tbird") == (
        "a dog",
        "a cat",
        "a bird",
    )


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert texts(tmp_path / "a.txt", b"\xef\xbb\xbfa dog\n") == ("a dog",)


def test_sentences_are_composed_and_kept_once(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "un café")
    assert texts(tmp_path / "a.txt", f"{decomposed}\nun café\n") == ("un café",)


@pytest.mark.parametrize("name", ["caption", "Text", " sentence "])
def test_a_csv_column_is_told_by_its_name(tmp_path: Path, name: str) -> None:
    content = f'image,{name}\n1.jpg,"a dog, running"\n2.jpg,a cat\n3.jpg,\n'
    assert texts(tmp_path / "a.csv", content) == ("a dog, running", "a cat")


def test_a_single_column_may_have_any_name(tmp_path: Path) -> None:
    assert texts(tmp_path / "a.csv", "titel\nein Hund\n") == ("ein Hund",)


def test_a_quoted_line_break_becomes_a_space(tmp_path: Path) -> None:
    assert texts(tmp_path / "a.csv", 'caption\n"a dog\nruns"\na cat\n') == ("a dog runs", "a cat")


def test_tabs_separate_a_tsv(tmp_path: Path) -> None:
    assert texts(tmp_path / "a.tsv", "id\ttext\n1\ta dog, running\n") == ("a dog, running",)


def test_a_csv_without_a_column_of_sentences_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,x\n")
    with pytest.raises(DataError, match=r"a\.csv:1: no column with sentences.*it has id, name"):
        read_sentences(tmp_path / "a.csv")


def test_jsonl_lines_are_strings_or_objects_with_one_or_many(tmp_path: Path) -> None:
    content = '"a dog"\n{"caption": "a cat"}\n\n{"text": ["a bird", "a fish"]}\n{"sentence": ""}\n'
    assert texts(tmp_path / "a.jsonl", content) == ("a dog", "a cat", "a bird", "a fish")


def test_broken_lines_are_reported_with_file_and_line(tmp_path: Path) -> None:
    assert problems(tmp_path / "a.txt", b"good\nbad \xff\nnul\0\n") == [
        "a.txt:2 bytes that are not UTF-8",
        "a.txt:3 a NUL character; is this a text file?",
    ]
    assert problems(tmp_path / "a.jsonl", '{"text": 1}\nnot json\n{"other": "x"}\n"ok"\n') == [
        "a.jsonl:1 no string under caption, text or sentence",
        "a.jsonl:2 not JSON",
        "a.jsonl:3 no string under caption, text or sentence",
    ]
    assert problems(tmp_path / "a.csv", 'text,id\na dog\nb,1,2\n"open\nend,2\n') == [
        "a.csv:3 3 cells where the header has 2; quote sentences that hold ','",
        "a.csv:4 a quote is opened and not closed properly",
    ]


def test_a_lone_surrogate_in_json_is_reported(tmp_path: Path) -> None:
    assert problems(tmp_path / "a.jsonl", '"\\ud800"\n') == ["a.jsonl:1 bytes that are not UTF-8"]


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    for name in ("a.txt", "a.csv", "a.jsonl"):
        assert texts(tmp_path / name, "") == ()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_sentences(tmp_path)
