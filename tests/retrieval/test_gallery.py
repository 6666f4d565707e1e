"""The gallery page."""

import base64
import io
import os
import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from tests.retrieval.drawing import BLUE, RED, draw

from mmsearch.core import Hit, Item, Modality, Photo
from mmsearch.errors import DecodeError, InputError
from mmsearch.retrieval.details import Details
from mmsearch.retrieval.gallery import Section, gallery_page, write_gallery
from mmsearch.retrieval.ordering import Group
from mmsearch.retrieval.thumbnails import data_uri


def _hit(path: Path | str | None = None, text: str | None = None, score: float = 0.5) -> Hit:
    kind = Modality.TEXT if path is None else Modality.IMAGE
    name = None if path is None else str(path)
    return Hit(1, score, Item(7, kind, None, name, text, "00" * 32, 1, 1))


def _page(*hits: Hit, text: str | None = "a dog") -> str:
    return gallery_page([Section(text, (), hits)])


def _decoded(uri: str) -> Image.Image:
    kind, content = uri.split(",", 1)
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


class _Resources(HTMLParser):
    """Collects what a browser would fetch, and which elements there are."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "srcset"}]


def test_a_thumbnail_keeps_the_shape_and_fits(tmp_path: Path) -> None:
    wide = _decoded(data_uri(draw(tmp_path / "wide.jpg", RED, (1200, 300))))
    assert wide.size == (240, 60)
    small = _decoded(data_uri(draw(tmp_path / "small.png", BLUE, (30, 20))))
    assert small.size == (30, 20)
    red, green, blue = small.convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    assert (red < 10, green < 10, blue > 240) == (True, True, True)


def test_a_thumbnail_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (400, 100)).save(tmp_path / "turned.jpg", exif=exif)
    assert _decoded(data_uri(tmp_path / "turned.jpg")).size == (60, 240)


def test_a_thumbnail_of_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DecodeError):
        data_uri(tmp_path / "absent.jpg")


def test_a_pipe_where_a_picture_was_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DecodeError, match="not a file"):
        data_uri(tmp_path / "pipe.jpg")


def test_a_thumbnail_of_a_very_large_picture_is_made_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = draw(tmp_path / "large.png", RED, (480, 400))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # Pillow warns from here on
    assert _decoded(data_uri(file)).size == (240, 200)


def test_the_page_fetches_nothing_but_what_it_holds(tmp_path: Path) -> None:
    parser = _Resources()
    parser.feed(_page(_hit(draw(tmp_path / "a.png")), _hit(text="a sentence")))
    assert parser.fetched
    assert all(source.startswith("data:image/jpeg;base64,") for source in parser.fetched)
    assert "script" not in parser.elements
    assert "link" not in parser.elements


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&'
    page = _page(_hit(tmp_path / f"{evil[:7]}.png"), _hit(text=evil), text=evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;") == 3


def test_a_file_that_cannot_be_shown_is_a_card_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"nothing")
    page = _page(_hit(tmp_path / "bad.jpg"), _hit(tmp_path / "gone.jpg"))
    assert page.count("cannot be shown") == 2
    assert "no such file" in page


def test_a_name_that_is_not_text_is_shown_and_linked(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.png")
    os.rename(draw(tmp_path / "a.png"), path)  # noqa: PTH104 - not a valid name
    page = _page(_hit(path))
    page.encode("utf-8")
    assert "caf\\udce9\\n.png" in page
    assert "caf%E9%0A.png" in page


def test_score_rank_and_place_are_on_the_card(tmp_path: Path) -> None:
    page = _page(_hit(draw(tmp_path / "dog.png"), score=0.4321))
    assert "0.432" in page
    assert "dog.png" in page
    assert str(tmp_path) in page


def test_scores_below_zero_and_no_answers_are_fine() -> None:
    assert "width:0" in _page(_hit(text="x", score=-0.25))
    assert "nothing was found" in _page()


def test_the_picture_asked_with_is_shown(tmp_path: Path) -> None:
    file = draw(tmp_path / "a.png")
    page = gallery_page([Section(None, (file, tmp_path / "gone.png"), ())])
    assert page.count("the picture asked with") == 1
    assert "Like this picture" in page


def test_several_questions_are_several_sections() -> None:
    page = gallery_page([Section("one", (), ()), Section("two", (), ())])
    assert re.findall(r"<h1>(\w+)</h1>", page) == ["one", "two"]


def test_the_file_is_replaced_as_a_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    write_gallery(file, [Section("x", (), ())])
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("page.html", "link", "pipe"))
    file.write_text("old")
    link.symlink_to(file)
    write_gallery(link, [Section("x", (), ())])
    assert link.is_symlink()
    page = file.read_bytes()
    assert page.startswith(b"<!doctype html>")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_gallery(pipe, [Section("x", (), ())])
        assert os.read(reader, 1 << 20) == page
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_gallery(tmp_path / "none" / "page.html", [])
    for nameless in (Path(), Path("/")):
        with pytest.raises(InputError, match="it is a folder"):
            write_gallery(nameless, [])
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_gallery(tmp_path / "folder", [])
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_card_says_what_is_known_of_its_picture(tmp_path: Path) -> None:
    hit = replace(_hit(draw(tmp_path / "a.png", RED)), weak=True)
    photo = Photo(4000, 3000, None, "Some Camera", None, None, 0)
    taken = datetime(2024, 6, 5, 12, 30)  # noqa: DTZ001 - a camera's clock
    details = {7: Details(taken, photo, ("beach <1>",), ("the sea", "again"))}
    page = gallery_page([Section("sea", (), (hit,), details, notes=("--where width > 1",))])
    assert "2024-06-05 12:30 · 4000&nbsp;x&nbsp;3000 · Some Camera" in page
    assert "<code>beach &lt;1&gt;</code>" in page
    assert "<div>the sea</div>" in page
    assert "no better than chance" in page
    assert "<code>--where width &gt; 1</code>" in page


def test_groups_have_headings_in_their_order(tmp_path: Path) -> None:
    first, second = _hit(draw(tmp_path / "a.png", RED)), _hit(text="a <b>")
    groups = [Group("2024-06-05", (first,)), Group("no <date>", (second,))]
    page = gallery_page([Section("sea", (), (first, second), groups=groups)])
    assert re.findall("<h2>(.*?)</h2>", page) == ["2024-06-05", "no &lt;date&gt;"]
    assert page.count("<li>") == 2
