"""Commands that read while another process writes: what they print is of one moment."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands.conftest import Command
from tests.retrieval.onnx_models import make_model
from tests.retrieval.overtaking import overtake

from mmsearch.core import Encoder, Modality
from mmsearch.index.attributes import set_labels
from mmsearch.index.catalog import Catalog
from mmsearch.index.rows import Batch, LabelChange, LabelSource, TextRow
from mmsearch.retrieval import opening
from mmsearch.retrieval.encoder import Use
from mmsearch.retrieval.models import load_encoder


@pytest.fixture
def writer(indexed: Path) -> Iterator[Catalog]:
    """The library of sentences 1 to 3 and pictures 4 to 6, open for writing."""
    assert indexed.is_dir()
    with Catalog.open(Path(os.environ["MMSEARCH_LIBRARY"]), write=True) as opened:
        yield opened


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("flags", [(), ("--online",), ("--where", "id < 9")])
def test_answers_are_said_to_be_partial_when_they_are(
    run: Command,
    writer: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    flags: tuple[str, ...],
) -> None:
    space = writer.space()
    assert space is not None
    table = writer.vector_table(space, Modality.IMAGE).name
    (kept,) = writer.rows(f"SELECT item_id, revision, crc, vector FROM {table} WHERE item_id = 4")

    def commit(moment: int) -> None:  # picture 4 has its vector, or waits for it
        with writer.transaction() as db:
            db.execute(f"DELETE FROM {table} WHERE item_id = 4")
            if moment % 3 == first:
                db.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?)", kept)

    overtake(monkeypatch, commit)
    done = run("query", "red", "--json", "--for", "images", *flags)
    assert done.exit_code == 0, done.stderr
    assert ("1 item has no vector" in done.stderr) == (len(json.loads(done.stdout)) == 2)


@pytest.mark.parametrize("first", range(3))
@pytest.mark.parametrize("stdin", [None, "red\nblue\ngreen\n"])
def test_the_labels_of_answers_are_those_that_they_were_found_with(
    run: Command,
    writer: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    first: int,
    stdin: str | None,
) -> None:
    def commit(moment: int) -> None:
        remove = moment % 3 == first
        change = (LabelChange(n, "sky", LabelSource.USER, None, remove=remove) for n in (4, 5, 6))
        set_labels(writer, list(change))

    overtake(monkeypatch, commit)
    words = ("red",) if stdin is None else ("-",)
    done = run("query", *words, "--json", "--where", "label = 'sky'", stdin=stdin)
    assert done.exit_code in (0, 1), done.stderr
    if stdin is None:
        hits = json.loads(done.stdout)
    else:
        hits = [hit for line in done.stdout.splitlines() for hit in json.loads(line)["hits"]]
    assert bool(hits) == (done.exit_code == 0)
    assert [hit.get("labels") for hit in hits] == [["sky"]] * len(hits)


@pytest.mark.parametrize("first", range(3))
def test_why_there_is_no_answer_is_of_its_moment(
    run: Command, writer: Catalog, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    space = writer.space()
    assert space is not None
    vector = writer.vectors(space, [1])[0]
    digest = "ab" * 32

    def commit(moment: int) -> None:
        held = [row[0] for row in writer.rows("SELECT id FROM items WHERE modality = 'text'")]
        if moment % 3 == first:
            writer.commit(Batch(gone=tuple(held)))
        elif not held:
            writer.commit(Batch(texts=(TextRow("a red rose", None, digest, vector),)))

    overtake(monkeypatch, commit)
    done = run("query", "red", "--for", "texts")
    if done.exit_code == 1:
        assert done.stderr.startswith("mmsearch: the library has no sentences;")
    else:
        assert (done.exit_code, done.stderr) == (0, "")


def test_a_query_is_asked_again_when_the_library_has_got_another_model(
    run: Command, indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "other", name="other")
    loaded = []

    def load(spec: str, use: Use | None = None) -> Encoder:
        """Load the model that was the library's until just now."""
        encoder = load_encoder(spec, use)
        loaded.append(encoder.space.name)
        if len(loaded) == 1:
            monkeypatch.setattr(opening, "load_encoder", load_encoder)
            done = run("index", "--reindex", indexed, "--model", tmp_path / "other")
            assert done.exit_code == 0, done.stderr
            monkeypatch.setattr(opening, "load_encoder", load)
        return encoder

    monkeypatch.setattr(opening, "load_encoder", load)
    done = run("query", "red", "--paths")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == str(indexed / "red.png")
    assert loaded == ["colours", "other"]
