"""Giving and taking labels, by hand and from files."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.retrieval.drawing import BLUE, GREEN, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import ItemTerm, Query
from mmsearch.errors import DataError, InputError, LibraryBusyError, QueryError
from mmsearch.index import attributes
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import LabelChange, LabelSource
from mmsearch.index.store import IndexStore
from mmsearch.index.where.grammar import parse_condition
from mmsearch.retrieval.labelling import LONGEST_LABEL, chosen, clean_label, label, label_from
from mmsearch.retrieval.library import Library


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Pictures 1 to 4: blue, green and red in `trip`, and red in `home`."""
    folder = tmp_path / "photos"
    for name, colour in {"trip/blue": BLUE, "trip/green": GREEN, "trip/red": RED}.items():
        draw(folder / f"{name}.png", colour)
    draw(folder / "z home" / "red.png", RED, size=(9, 9))
    return folder


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> Iterator[Library]:
    """The four pictures and two sentences, 5 and 6, of a file."""
    Catalog.open(tmp_path / "library", write=True).close()
    catalog = Catalog.open(tmp_path / "library")
    (tmp_path / "notes.txt").write_text("red rose\nblue sky\n")
    with Library(catalog, IndexStore(catalog, tmp_path / "library"), FakeEncoder()) as made:
        made.add(photos)
        made.add_texts(tmp_path / "notes.txt")
        yield made


@pytest.fixture
def writing(library: Library) -> Iterator[Catalog]:
    with Catalog.open(library.directory, write=True) as catalog:
        yield catalog


def _labels(catalog: Catalog) -> dict[int, list[str]]:
    found = attributes.labels(catalog, range(1, 10))
    return {number: [each.name for each in some] for number, some in found.items()}


def test_a_label_is_kept_clean() -> None:
    assert clean_label("  summer\t 2024 ") == "summer 2024"
    assert clean_label("Cafe\u0301") == "Caf\u00e9"
    assert clean_label("x" * LONGEST_LABEL) == "x" * LONGEST_LABEL


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("a\0b", "control"),
        ("bell\a", "control"),
        ("x" * (LONGEST_LABEL + 1), "201 characters"),
        ("\udcff", "Unicode"),
    ],
)
def test_a_text_that_is_no_label_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        clean_label(text)


@given(st.text(st.characters(exclude_categories=()), max_size=220))
def test_cleaning_a_label_again_changes_nothing_and_the_catalog_takes_it(text: str) -> None:
    try:
        name = clean_label(text)
    except InputError:
        return
    assert clean_label(name) == name
    LabelChange(1, name, LabelSource.USER, None)


def test_items_are_meant_by_id_by_path_and_by_folder(writing: Catalog, photos: Path) -> None:
    assert chosen(writing, [2, 2]).tolist() == [2]
    assert chosen(writing, [photos / "z home" / "red.png", 1]).tolist() == [1, 4]
    assert chosen(writing, [str(photos / "trip")]).tolist() == [1, 2, 3]
    assert chosen(writing, [photos.parent / "notes.txt"]).tolist() == [5, 6]
    assert chosen(writing, []).tolist() == []


def test_a_condition_narrows_what_is_named_and_else_chooses_by_itself(
    writing: Catalog, photos: Path
) -> None:
    red = parse_condition("name = 'red.png'")
    assert chosen(writing, [], red).tolist() == [3, 4]
    assert chosen(writing, [photos / "trip"], red).tolist() == [3]
    assert chosen(writing, [1], red).tolist() == []


@pytest.mark.parametrize(("named", "reason"), [(99, "no item 99"), ("nowhere", "holds nothing")])
def test_what_the_library_does_not_have_is_refused(
    writing: Catalog, named: int | str, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        chosen(writing, [1, named])


def test_labels_are_given_and_taken_and_counted(writing: Catalog) -> None:
    report = label(writing, chosen(writing, [1, 2]), add=["Beach", "trip", "beach"])
    assert (report.items, report.given, report.taken) == (2, 4, 0)
    again = label(writing, chosen(writing, [2, 3]), add=["trip"], remove=["Beach", "nothing"])
    assert (again.items, again.given, again.taken) == (2, 1, 1)
    assert _labels(writing) == {1: ["Beach", "trip"], 2: ["trip"], 3: ["trip"]}


def test_case_makes_no_other_label_and_the_first_spelling_holds(writing: Catalog) -> None:
    label(writing, chosen(writing, [1]), add=["Straße"])
    label(writing, chosen(writing, [2]), add=["STRASSE"])
    assert _labels(writing) == {1: ["Straße"], 2: ["Straße"]}
    assert label(writing, chosen(writing, [1]), remove=["strasse"]).taken == 1
    assert _labels(writing) == {2: ["Straße"]}


def test_a_label_that_is_given_and_taken_at_once_is_given(writing: Catalog) -> None:
    label(writing, chosen(writing, [1]), add=["a"])
    label(writing, chosen(writing, [1, 2]), add=["A"], remove=["a"])
    assert _labels(writing) == {1: ["a"], 2: ["a"]}


def test_a_label_of_the_model_becomes_that_of_the_person_who_gives_it(writing: Catalog) -> None:
    attributes.set_labels(writing, [LabelChange(1, "sea", LabelSource.AUTO, 0.3)])
    assert label(writing, chosen(writing, [1]), add=["Sea"]).given == 1
    (found,) = attributes.labels(writing, [1])[1]
    assert (found.name, found.source, found.score) == ("sea", LabelSource.USER, None)


def test_a_bad_label_changes_nothing(writing: Catalog) -> None:
    with pytest.raises(InputError, match="empty"):
        label(writing, chosen(writing, [1]), add=["good", " "])
    assert _labels(writing) == {}


def _from(catalog: Catalog, file: Path, content: str) -> list[str]:
    """Label from a file; return the problems, without the file's name."""
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    report = label_from(catalog, file)
    return [str(problem).removeprefix(f"{file}:") for problem in report.problems]


@pytest.mark.parametrize("header", ["path,label", "label,FILE", "x,image,keywords", "tags;path"])
def test_a_file_beside_the_pictures_labels_them(
    writing: Catalog, photos: Path, header: str
) -> None:
    delimiter = ";" if ";" in header else ","
    cells = {"path": "trip/red.png", "file": "trip/red.png", "image": "trip/red.png", "x": ""}
    row = delimiter.join(
        cells.get(name.lower(), '"sea; sun|sand"') for name in header.split(delimiter)
    )
    assert _from(writing, photos / "labels.csv", f"{header}\n{row}\n") == []
    assert _labels(writing) == {3: ["sand", "sea", "sun"]}


def test_rows_add_up_and_what_fits_nothing_is_reported_with_its_line(
    writing: Catalog, photos: Path
) -> None:
    content = (
        "id,path,label\n"
        "1,,first\n"
        ",trip/blue.png,second\n"
        ",trip/none.png,third\n"
        "77,,third\n"
        "one,,third\n"
        ",,third\n"
        "2,,\n"
        f"3,,{'x' * 201}|fourth\n"
        "\n"
        ",trip/\udcff.png,fifth\n"
        '4,,"open\n'
        f",{photos}/z home/red.png,sixth\n"
        "1,2,3,4\n"
    )
    problems = _from(writing, photos / "labels.csv", content)
    assert [problem.partition(":")[0] for problem in problems] == [
        "4",
        "5",
        "6",
        "7",
        "9",
        "11",
        "12",
        "14",
    ]
    assert "no picture trip/none.png" in problems[0]
    assert "no item 77" in problems[1]
    assert _labels(writing) == {1: ["first", "second"], 3: ["fourth"], 4: ["sixth"]}


def test_json_lines_have_labels_as_a_text_or_a_list(writing: Catalog, photos: Path) -> None:
    rows: list[object] = [
        {"path": "trip/blue.png", "labels": ["sea", "sun"]},
        {"id": 2, "tags": "a;b"},
        {"id": "3", "label": "c"},
        {"path": "trip/red.png"},
        ["trip/red.png", "sea"],
        {"id": 2.5, "label": "c"},
        {"id": True, "label": "c"},
        {"id": 1, "label": [1]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows) + "{broken\n\n"
    problems = _from(writing, photos / "labels.jsonl", lines)
    assert [problem.partition(":")[0] for problem in problems] == ["5", "6", "7", "8", "9"]
    assert _labels(writing) == {1: ["sea", "sun"], 2: ["a", "b"], 3: ["c"]}


def test_a_file_without_a_header_is_refused(writing: Catalog, photos: Path) -> None:
    for content in ("trip/red.png,sea\n", "path\ntrip/red.png\n", "label\nsea\n"):
        with pytest.raises(DataError, match="no header"):
            _from(writing, photos / "labels.csv", content)
    with pytest.raises(DataError, match="cannot read"):
        label_from(writing, photos / "none.csv")
    assert _from(writing, photos / "empty.csv", "") == []


@given(st.binary(max_size=200))
def test_any_bytes_are_labels_problems_or_an_error_of_ours(content: bytes) -> None:
    from tempfile import TemporaryDirectory

    from mmsearch.retrieval.label_files import read_label_file

    with TemporaryDirectory() as folder:
        for name in ("a.csv", "a.jsonl"):
            file = Path(folder) / name
            file.write_bytes(b"path,label\n" + content if name == "a.csv" else content)
            with suppress(DataError):
                for row in read_label_file(file):
                    assert row.where.startswith(f"{os.fspath(file)}:")


def test_the_library_labels_and_counts(library: Library, photos: Path) -> None:
    item = library.search(Query((ItemTerm(3),), k=1))[0].item
    report = library.label([item, photos / "trip"], add=["Trip", "sea"])
    assert (report.items, report.given) == (4, 8)
    library.label(1, remove="SEA")
    library.label(photos / "trip" / "red.png", add="one word")
    assert library.labels() == {"Trip": 4, "one word": 1, "sea": 3}
    with pytest.raises(InputError):
        library.label(99, add="x")
    with pytest.raises(QueryError):
        library.search("red", where="label ==== 'x'")


def test_a_second_writer_is_told_to_wait(library: Library) -> None:
    with Catalog.open(library.directory, write=True), pytest.raises(LibraryBusyError):
        library.label(1, add="x")
    assert library.labels() == {}


def test_an_interruption_leaves_all_labels_as_they_were(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmsearch.index import failpoints

    def interrupt(place: str) -> None:
        if place == "before-commit":
            raise KeyboardInterrupt

    monkeypatch.setattr(failpoints, "reach", interrupt)
    with pytest.raises(KeyboardInterrupt):
        library.label([1, 2, 3], add=["x", "y"])
    monkeypatch.undo()
    assert library.labels() == {}
