"""What groups of duplicates look like on stdout: lines, JSON, CSV, paths."""

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mmsearch.commands.results import Form, one_line
from mmsearch.errors import InputError
from mmsearch.retrieval.details import date_of

if TYPE_CHECKING:
    from mmsearch.core import Item
    from mmsearch.retrieval.duplicates import Duplicates, Group, Member

_COLUMNS: Final = (
    *("kind", "group", "best", "copy", "id", "path", "text"),
    *("width", "height", "size", "date", "cosine", "distance", "offline"),
)


def form(*, as_json: bool, as_csv: bool, null: bool) -> Form:
    """Return the form that the flags ask for. Raises InputError for more than one."""
    asked = [
        form
        for form, wanted in ((Form.JSON, as_json), (Form.CSV, as_csv), (Form.NUL, null))
        if wanted
    ]
    if len(asked) > 1:
        raise InputError("give one of --json, --csv and --null")
    return asked[0] if asked else Form.LINES


def printed(found: "Duplicates", form: Form) -> bytes:
    """Return what is printed of the groups."""
    match form:
        case Form.JSON:
            return _encoded(json.dumps(_record(found), indent=2) + "\n")
        case Form.CSV:
            return _csv(found)
        case Form.NUL:
            return b"".join(_paths(group) for _, group in _groups(found))
        case _:
            return _encoded("\n".join(_lines(kind, group) for kind, group in _groups(found)))


def summary(found: "Duplicates", *, near: bool) -> str:
    """Return how much was found, in one line."""
    spare = sum(group.spare for group in found.exact)
    others = sum(len(group.members) - 1 for group in found.exact)
    parts = [f"{_counted(len(found.exact), 'exact group')}"]
    if others:
        parts[0] += f", {_counted(others, 'copy', 'copies')} of {_size(spare)} in all"
    if near:
        parts.append(
            f"{_counted(len(found.near), 'near group')} among {_counted(found.compared, 'picture')}"
        )
    return "; ".join(parts)


def _groups(found: "Duplicates") -> "Iterator[tuple[str, Group]]":
    yield from (("exact", group) for group in found.exact)
    yield from (("near", group) for group in found.near)


def _items(group: "Group") -> "Iterator[tuple[Member, Item, bool]]":
    """Yield every item of a group; the last value says that it is a copy of its member."""
    for member in group.members:
        yield member, member.item, False
        yield from ((member, copy, True) for copy in member.copies)


def _lines(kind: str, group: "Group") -> str:
    best = group.members[0]
    if kind == "exact":
        what = "sentences" if best.item.path is None else f"files of {_size(best.item.size)}"
        head = f"exact: {len(group.members)} {what}"
    else:
        head = f"near: {len(group.members)} pictures"
    lines = [head]
    for member, item, copy in _items(group):
        away = " (offline)" if member.offline else ""
        lead = "" if kind == "exact" else " " * 48 if copy else _figures(member)
        lines.append(f"  {lead}{'= ' if copy else ''}{one_line(_name(item))}{away}")
    return "\n".join(lines) + "\n"


def _figures(member: "Member") -> str:
    """Return cosine, bits, size in pixels and bytes, and date, in 48 columns."""
    photo = member.photo
    pixels = "" if photo is None else f"{photo.width}x{photo.height}"
    date = date_of(member.item, photo)
    when = "" if date is None else date.strftime("%Y-%m-%d %H:%M")
    size = _size(member.item.size)
    return f"{member.cosine:5.3f} {member.distance:2} {pixels:>11} {size:>8}  {when:<16} "


def _record(found: "Duplicates") -> dict[str, object]:
    return {
        "exact": [_group_record(group, near=False) for group in found.exact],
        "near": [_group_record(group, near=True) for group in found.near],
        "compared": found.compared,
        "unread": found.unread,
        "cut": found.cut,
    }


def _group_record(group: "Group", *, near: bool) -> dict[str, object]:
    return {"spare": group.spare, "members": [_member_record(m, near=near) for m in group.members]}


def _member_record(member: "Member", *, near: bool) -> dict[str, object]:
    item, photo = member.item, member.photo
    date = date_of(item, photo)
    record: dict[str, object] = {"id": item.id}
    record |= {"text": item.text} if item.path is None else {"path": item.path}
    record |= {} if photo is None else {"width": photo.width, "height": photo.height}
    record["size"] = item.size
    record |= {} if date is None else {"date": date.isoformat(timespec="seconds")}
    if near:
        record["cosine"] = round(member.cosine or 0.0, 6)
        record["distance"] = member.distance
        record["copies"] = [{"id": copy.id, "path": copy.path} for copy in member.copies]
    record["offline"] = member.offline
    return record


def _csv(found: "Duplicates") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for number, (kind, group) in enumerate(_groups(found), start=1):
        for member, item, copy in _items(group):
            photo, date = member.photo, date_of(item, member.photo)
            best = member is group.members[0] and not copy
            writer.writerow(
                [
                    *(kind, number, _yes(best), _yes(copy), item.id, item.path, item.text),
                    *((None, None) if photo is None else (photo.width, photo.height)),
                    item.size,
                    None if date is None else date.isoformat(timespec="seconds"),
                    None if member.cosine is None else f"{member.cosine:.6f}",
                    member.distance,
                    _yes(member.offline),
                ]
            )
    return _encoded(text.getvalue())


def _paths(group: "Group") -> bytes:
    raw = (
        _encoded(item.text or "") if item.path is None else os.fsencode(item.path)
        for _, item, _ in _items(group)
    )
    return b"".join(path + b"\0" for path in raw) + b"\0"


def _name(item: "Item") -> str:
    return item.text or "" if item.path is None else item.path


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _counted(number: int, name: str, names: str = "") -> str:
    return f"{number:,} {name if number == 1 else names or name + 's'}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
