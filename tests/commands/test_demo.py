"""The demo, in a size that trains in seconds."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mmsearch.cli import app


def _demo(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["demo", *arguments])


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    result = _demo("--folder", str(tmp_path))
    assert result.exit_code == 2
    assert "choose another --folder" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    place.write_text("mine")
    result = _demo("--folder", str(place))
    assert result.exit_code == 2
    assert place.read_text() == "mine"


@pytest.mark.slow
def test_the_demo_trains_measures_and_answers_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    for _ in range(2):
        result = _demo("--folder", str(place), "--scenes", "40", "--seed", "3")
        assert result.exit_code == 0, result.output
        for shown in ("rsum", "chance", "text → image", "image → text", "gallery.html"):
            assert shown in result.stdout
        assert "data:image/jpeg" in (place / "gallery.html").read_text()
        assert (place / "run" / "model" / "model.json").exists()
