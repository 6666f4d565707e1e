"""What adding a model looks like."""

import io

import pytest

from mmsearch.commands import adding_view
from mmsearch.commands.adding_view import watching


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_in_a_file_each_step_is_a_line_and_bytes_are_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    with watching(stream) as watch:
        watch.say("fetching 2 files")
        watch.received(1_500_000, 6_000_000)
        monkeypatch.setattr(adding_view, "SPARSE_SECONDS", 0.0)
        watch.received(3_000_000, 6_000_000)
    assert stream.getvalue() == "fetching 2 files\n3.0 of 6.0 MB\n"


def test_on_a_terminal_the_bytes_are_a_bar() -> None:
    stream = Terminal()
    with watching(stream) as watch:
        watch.say("fetching [2] files")
        watch.received(1_500_000, 6_000_000)
        watch.received(6_000_000, 6_000_000)
        watch.say("reading")
    assert "fetching [2] files\n" in stream.getvalue()
    assert "/6.0 MB" in stream.getvalue()
    assert "reading\n" in stream.getvalue()
