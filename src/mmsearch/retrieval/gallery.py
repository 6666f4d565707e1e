"""A page of answers that opens anywhere: one HTML file with its pictures inside."""

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmsearch.core import Hit
from mmsearch.errors import DecodeError, InputError
from mmsearch.retrieval.decode import shown
from mmsearch.retrieval.details import Details, facts, known
from mmsearch.retrieval.ordering import Group
from mmsearch.retrieval.thumbnails import data_uri

_FORBIDDEN = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --back: #f6f6f4; --card: #fff; --ink: #1d1d1b; --soft: #6f6f6a;
  --line: #0000001a; --accent: #2f6feb; }
@media (prefers-color-scheme: dark) { :root { --back: #161615; --card: #222220; --ink: #ececea;
  --soft: #9b9b95; --line: #ffffff1f; --accent: #7aa7ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 2rem clamp(1rem, 4vw, 3rem); background:
  var(--back); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; align-items: center; gap: 1rem; margin: 1rem 0 1.25rem; }
header img { height: 72px; border-radius: 8px; }
h1 { margin: 0; font-size: 1.45rem; font-weight: 650; overflow-wrap: anywhere; }
header p, footer { margin: .15rem 0 0; color: var(--soft); font-size: .87rem; }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 1rem;
  margin: 0 0 2.5rem; padding: 0; list-style: none; }
li { display: flex; flex-direction: column; overflow: hidden; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
li > a, .absent { position: relative; display: block; aspect-ratio: 1;
  border-bottom: 1px solid var(--line); }
li img { position: absolute; inset: 10px; width: calc(100% - 20px); height: calc(100% - 20px);
  object-fit: scale-down; }
.absent { display: grid; place-items: center; padding: 10px; color: var(--soft);
  text-align: center; font-size: .87rem; }
li a:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px; }
blockquote { flex: 1; margin: 0; padding: 1rem; font-size: 1.02rem; overflow-wrap: anywhere; }
.facts { padding: .6rem .75rem .7rem; font-size: .84rem; }
.facts b { font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); }
.bar { height: 3px; margin: .4rem 0; border-radius: 2px; background: var(--line); }
.bar i { display: block; height: 100%; border-radius: 2px; background: var(--accent); }
.name { overflow-wrap: anywhere; }
.folder { color: var(--soft); font-size: .78rem; overflow-wrap: anywhere; }
.facts .weak { color: #b3261e; }
h2 { margin: 0 0 .75rem; font-size: 1.05rem; overflow-wrap: anywhere; }
code { padding: .05em .4em; border-radius: 4px; background: var(--line); font-size: .85em;
  overflow-wrap: anywhere; }
""".strip()


@dataclass(frozen=True, slots=True)
class Section:
    """One question and its answers. `text` None: the question is its `images` alone.

    `details` of the items by id; `groups` of the hits when they are shown so; `notes`: what
    else was asked, such as filters, a line each.
    """

    text: str | None
    images: tuple[Path, ...]
    hits: tuple[Hit, ...]
    details: Mapping[int, Details] = field(default_factory=dict)
    groups: Sequence[Group] | None = None
    notes: tuple[str, ...] = ()


def write_gallery(file: Path, sections: Iterable[Section]) -> None:
    """Write the page at once: a reader sees the old one or the whole new one.

    A link, a pipe or a device stays what it is, and the page is written to it. Raises InputError
    when it cannot be written.
    """
    content = gallery_page(list(sections)).encode("utf-8")
    if not file.name:
        raise InputError(f"cannot write {shown(file)}: it is a folder; name a file in it")
    try:
        if file.is_symlink() or (file.exists() and not file.is_file()):
            file.write_bytes(content)
        else:
            _replace(file, content)
    except OSError as error:
        raise InputError(f"cannot write {shown(file)}: {error.strerror}") from error


def _replace(file: Path, content: bytes) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def gallery_page(sections: Sequence[Section]) -> str:
    """Return the page: UTF-8 HTML that asks nothing of the network and runs no script.

    Pictures are JPEG thumbnails of at most 240 pixels a side inside the page; one that cannot
    be read is shown as a card with the reason.
    """
    title = _escaped(sections[0].text or "like a picture") if sections else "nothing"
    body = "\n".join(_section(section) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_FORBIDDEN}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title} · mmsearch</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
        f"{body}\n<footer>Found by mmsearch. Numbers are cosines: higher "
        "is nearer. Bars are measured against the best answer.</footer>\n</body>\n</html>\n"
    )


def _section(section: Section) -> str:
    pictures = "".join(_question_image(path) for path in section.images)
    title = _escaped(section.text) if section.text else "Like this picture"
    count = len(section.hits)
    found = "nothing was found" if count == 0 else f"{count} answer{'s' if count > 1 else ''}"
    notes = "".join(f"<p><code>{_escaped(note)}</code></p>" for note in section.notes)
    return (
        f"<header>{pictures}<div><h1>{title}</h1><p>{found}</p>{notes}</div></header>\n"
        + "\n".join(_lists(section))
    )


def _lists(section: Section) -> Iterable[str]:
    """Yield the cards, in groups when there are any."""
    top = max((hit.score for hit in section.hits), default=1.0)
    if section.groups is None:
        yield _list(section.hits, section, top)
    for group in section.groups or ():
        yield f"<h2>{_escaped(group.name)}</h2>\n{_list(group.hits, section, top)}"


def _list(hits: Sequence[Hit], section: Section, top: float) -> str:
    cards = "\n".join(_card(hit, known(section.details, hit), top) for hit in hits)
    return f"<ol>\n{cards}\n</ol>"


def _question_image(path: Path) -> str:
    try:
        return f'<img src="{data_uri(path)}" alt="the picture asked with">'
    except DecodeError:
        return ""


def _card(hit: Hit, details: Details, top: float) -> str:
    item = hit.item
    width = 100 * max(0.0, min(1.0, hit.score / top)) if top > 0 else 0
    weak = ' <span class="weak">no better than chance</span>' if hit.weak else ""
    facts = (
        f"<b>{hit.score:.3f}</b> <span>no. {hit.rank}</span>{weak}"
        f'<div class="bar"><i style="width:{width:.1f}%"></i></div>'
    )
    if item.path is None:
        content = f"<blockquote>{_escaped(item.text or '')}</blockquote>"
        return f'<li>{content}<div class="facts">{facts}</div></li>'
    folder, name = os.path.split(item.path)
    place = f'<div class="name">{_escaped(name)}</div><div class="folder">{_escaped(folder)}</div>'
    return (
        f'<li>{_picture(item.path)}<div class="facts">{facts}{place}{_extras(details)}</div></li>'
    )


def _extras(details: Details) -> str:
    """Return what is known of a picture beside its place."""
    line = _escaped(" · ".join(facts(details))).replace(" x ", "&nbsp;x&nbsp;")
    lines = [f'<div class="folder">{line}</div>'] if line else []
    lines += [f"<div>{_escaped(caption)}</div>" for caption in details.captions[:1]]
    labels = "".join(f"<code>{_escaped(label)}</code> " for label in details.labels)
    return "".join(lines) + (f"<div>{labels}</div>" if labels else "")


def _picture(path: str) -> str:
    try:
        source = data_uri(path)
    except DecodeError as error:
        return f'<div class="absent">cannot be shown:<br>{_escaped(error.reason)}</div>'
    link = html.escape(Path(path).as_uri())
    return f'<a href="{link}"><img src="{source}" alt="{_escaped(os.path.basename(path))}"></a>'  # noqa: PTH119 - a string


def _escaped(text: str) -> str:
    return html.escape(shown(text))
