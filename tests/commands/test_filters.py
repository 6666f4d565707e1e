"""The flags that narrow a search: what each means, and that it is loaded with nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from mmsearch.commands.filters import Aspect, FilterFlags, condition
from mmsearch.errors import InputError, QueryError
from mmsearch.index.where.show import show


def shown(flags: FilterFlags) -> str:
    found = condition(flags)
    assert found is not None
    return show(found)


def test_no_flag_is_no_condition() -> None:
    assert condition(FilterFlags()) is None
    assert not FilterFlags()
    assert FilterFlags(size="")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (FilterFlags(after="2024-06-01"), "date >= 2024-06-01"),
        (FilterFlags(before="2024-07"), "date < 2024-07"),
        (FilterFlags(camera=" canon "), "camera LIKE '%canon%'"),
        (FilterFlags(near="-48.2, 16.4,500 m"), "near(-48.2, 16.4, 0.5)"),
        (FilterFlags(label=("dog",)), "label = 'dog'"),
        (FilterFlags(label=("dog", "new york")), "label = 'dog' AND label = 'new york'"),
        (FilterFlags(label=("  new\t york ",)), "label = 'new york'"),
        (FilterFlags(label=("e\u0301te\u0301",)), "label = '\u00e9t\u00e9'"),
        (FilterFlags(size="2MP.."), "megapixels >= 2"),
        (FilterFlags(size="..500kB"), "size <= 500000"),
        (FilterFlags(size="1.5mp .. 12MP"), "megapixels >= 1.5 AND megapixels <= 12"),
        (FilterFlags(aspect=Aspect.LANDSCAPE), "aspect > 1"),
        (FilterFlags(aspect=Aspect.PORTRAIT), "aspect < 1"),
        (FilterFlags(aspect=Aspect.SQUARE), "aspect = 1"),
        (FilterFlags(aspect=Aspect.PANORAMA), "aspect >= 2 OR aspect <= 0.5"),
        (FilterFlags(where=("width > 1", "height > 2")), "width > 1 AND height > 2"),
        (
            FilterFlags(where=("width > 1 OR height > 2",), before="2024", label=("dog",)),
            "date < 2024 AND label = 'dog' AND (width > 1 OR height > 2)",
        ),
    ],
)
def test_a_flag_means_this(flags: FilterFlags, text: str) -> None:
    assert shown(flags) == text


def test_a_folder_is_made_absolute_and_real_as_index_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos" / "2024").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    real = tmp_path.resolve()
    assert shown(FilterFlags(under=(Path("link/2024"),))) == f"under('{real}/photos/2024')"
    assert shown(FilterFlags(under=(Path(), Path("gone")))) == (
        f"under('{real}') OR under('{real}/gone')"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (FilterFlags(after="June"), "--after: expected a date"),
        (FilterFlags(before="2024-02-30"), "--before: there is no 2024-02-30"),
        (FilterFlags(camera=" "), "--camera: a part of the camera's name is needed"),
        (FilterFlags(near="48.2"), "--near: '48.2' is not LATITUDE,LONGITUDE,DISTANCE"),
        (FilterFlags(near="1,2,3) OR near(1,2,3"), "--near: '1,2,3) OR near(1,2,3' is not"),
        (FilterFlags(near="1,2,3) OR (width>1"), "--near: '1,2,3) OR (width>1' is not"),
        (FilterFlags(near="1,2,3) OR TRUE --"), "is not LATITUDE,LONGITUDE,DISTANCE"),
        (FilterFlags(near="91,2,3"), "a latitude is from -90 to 90 degrees"),
        (FilterFlags(label=("a\0",)), "--label: a text with a zero byte"),
        (FilterFlags(label=(" ",)), "--label: a label's name is needed"),
        (FilterFlags(size=""), "--size: '' is no range; write 2MP.."),
        (FilterFlags(size=".."), "--size: '..' is no range"),
        (FilterFlags(size="2MP"), "--size: '2MP' is no range"),
        (FilterFlags(size="2.."), "--size: '2' is no size; write 12MP"),
        (FilterFlags(size="2MP..1GB"), "begins with pixels and ends with bytes"),
        (FilterFlags(size=f"{'9' * 50}MP.."), "--size: a number of 50 characters"),
        (
            FilterFlags(where=("width > 1", "width >=")),
            '--where: expected a number after "width >=" at character 9',
        ),
    ],
)
def test_a_mistake_names_its_flag(flags: FilterFlags, message: str) -> None:
    with pytest.raises(QueryError) as raised:
        condition(flags)
    assert message in str(raised.value)


def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(InputError, match="no file can have the name"):
        condition(FilterFlags(under=(Path("a\0b"),)))


def test_the_flags_alone_load_nothing_that_reads_them() -> None:
    code = (
        "import sys, mmsearch.commands.filters as filters;"
        "filters.condition(filters.FilterFlags());"
        "print(sorted(name for name in sys.modules if 'where' in name or 'conditions' in name))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert shown.stdout.strip() == "[]"
