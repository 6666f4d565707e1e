"""`mmsearch tune`: a table, or JSON, and one line for what is wrong."""

import json
from pathlib import Path

from tests.commands.conftest import Command

from mmsearch.commands.tuning import shortfalls
from mmsearch.core import Modality
from mmsearch.index.policy import IndexKind
from mmsearch.retrieval.tuning import Tuned


def test_a_small_library_is_flat_and_exact(run: Command, indexed: Path) -> None:
    done = run("tune")
    assert done.exit_code == 0, done.stderr
    head, images, texts, _, *origins = done.stdout.splitlines()
    assert head.split()[:4] == ["modality", "kind", "rows", "lists"]
    assert images.split()[:7] == ["image", "flat", "3", "all,", "exact", "-", "-"]
    assert images.split()[7] == "1.0000"
    assert "not measured" in texts
    assert origins == [
        "image: measured with 256 questions (plain sentences), target 0.99",
        "text: nothing of the other modality to measure with; exact",
    ]


def test_the_kind_and_the_sentences_can_be_given(
    run: Command, indexed: Path, tmp_path: Path
) -> None:
    file = tmp_path / "queries.txt"
    file.write_text("\n".join(f"red number {n}" for n in range(80)), encoding="utf-8")
    done = run("tune", "--kind", "ivf-sq8", "--recall", "0.9", "--queries", file, "--json")
    assert done.exit_code == 0, done.stderr
    images, texts = json.loads(done.stdout)
    assert images["kind"] == texts["kind"] == "ivf-sq8"
    assert (images["recall"], images["questions"]) == (1.0, 40)
    assert images["origin"] == "the sentences given"
    assert (images["nlist"], images["nprobe"], images["target"]) == (1, 1, 0.9)
    assert (texts["recall"], texts["questions"]) == (None, 0)
    found = run("query", "red")
    assert found.exit_code == 0
    assert found.stdout.splitlines()[0].endswith("red.png")


def test_what_cannot_be_is_one_line(run: Command, indexed: Path, tmp_path: Path) -> None:
    for arguments, words in {
        ("--recall", "1.5"): "must be above 0 and at most 1, not 1.5",
        ("--recall", "many"): "Invalid value for '--recall'",
        ("--kind", "tree"): "Invalid value for '--kind'",
        ("--queries", str(tmp_path / "none.txt")): "none.txt",
        ("--library", str(tmp_path / "nowhere")): "there is no library",
    }.items():
        done = run("tune", *arguments)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert words in done.stderr


def test_a_recall_below_its_target_is_a_warning() -> None:
    rows = [
        Tuned(Modality.IMAGE, IndexKind.IVF_SQ8, 9, 3, 1, 12, 0.99, recall, 0.1, 128, "text")
        for recall in (0.985, 0.99, None)
    ]
    (warning,) = shortfalls(rows)
    assert warning.startswith("the image index found 0.9850 of what it should, below 0.99")
