"""Read `.mmsearchignore` files: which entries of a folder a scan passes over.

The rules are those of gitignore(5), byte for byte: a file speaks for its folder and all below,
the last matching pattern decides, a deeper file before a higher one, `!` takes an entry back,
and what lies in a folder that is left out cannot be taken back.
"""

import os
import re
import string
from dataclasses import dataclass
from typing import Final, TypeAlias

from mmsearch.retrieval.files import open_regular

FILE: Final = b".mmsearchignore"
_LARGEST: Final = 1 << 20  # bytes; more than this is not a list of patterns
_MARK: Final = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
_NOT_SLASH: Final = b"[^/]"


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern. `whole`: compared with the path below the file's folder, not with the name."""

    pattern: re.Pattern[bytes]
    takes_back: bool
    folders_only: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """The rules of one file, in its order, for its `folder` and what lies below."""

    folder: bytes
    rules: tuple[Rule, ...]

    def verdict(self, path: bytes, *, is_folder: bool) -> bool | None:
        """Say whether an entry below the folder is left out; None when no rule is about it."""
        name = os.path.basename(path)  # noqa: PTH119 - bytes
        below = path[len(self.folder.rstrip(b"/")) + 1 :]
        for rule in reversed(self.rules):
            if rule.folders_only and not is_folder:
                continue
            if rule.pattern.fullmatch(below if rule.whole else name):
                return not rule.takes_back
        return None


Stack: TypeAlias = tuple[IgnoreFile, ...]
"""The files that speak for a folder, the highest first."""


def is_ignored(stack: Stack, path: bytes, *, is_folder: bool) -> bool:
    """Say whether the files leave an entry out. Its folder is taken not to be left out."""
    for file in reversed(stack):
        verdict = file.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def read_ignore_file(folder: bytes) -> IgnoreFile | None:
    """Read the file of a folder; None when there is none. Raises OSError."""
    path = os.path.join(folder, FILE)  # noqa: PTH118 - bytes
    if not os.path.isfile(path):  # noqa: PTH113 - bytes
        return None
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST)
    except FileNotFoundError:
        return None
    return IgnoreFile(folder, parse(content))


def stack_above(base: bytes, path: bytes) -> Stack | None:
    """Return the files that speak for `path`, from the folder `base` above it downwards.

    None when they leave out a folder between the two. Raises OSError.
    """
    stack: Stack = ()
    here = base
    for name in _steps(base, path):
        if here != base and is_ignored(stack, here, is_folder=True):
            return None
        own = read_ignore_file(here)
        stack = stack if own is None else (*stack, own)
        here = os.path.join(here, name)  # noqa: PTH118 - bytes
    return stack


def _steps(base: bytes, path: bytes) -> list[bytes]:
    below = path[len(base) :].strip(b"/")
    return below.split(b"/") if below else []


def parse(content: bytes) -> tuple[Rule, ...]:
    """Return the rules of a file's content; a pattern that can match nothing is left out."""
    lines = content.removeprefix(_MARK).split(b"\n")
    rules = (_rule(line.removesuffix(b"\r")) for line in lines)
    return tuple(rule for rule in rules if rule is not None)


def _rule(line: bytes) -> Rule | None:
    line = _without_trailing_spaces(line)
    if line.startswith(b"#"):
        return None
    takes_back = line.startswith(b"!")
    line = line.removeprefix(b"!")
    folders_only = line.endswith(b"/")
    line = line.removesuffix(b"/")
    whole = b"/" in line
    expression = _translated(line.removeprefix(b"/"))
    if not line or expression is None:
        return None
    return Rule(re.compile(expression, re.DOTALL), takes_back, folders_only, whole)


def _without_trailing_spaces(line: bytes) -> bytes:
    """Drop the spaces at the end that no backslash stands before."""
    bare = line.rstrip(b" ")
    slashes = len(bare) - len(bare.rstrip(b"\\"))
    return bare + b" " if slashes % 2 and len(bare) < len(line) else bare


def _translated(glob: bytes) -> bytes | None:
    """Return the regular expression of a pattern; None for one that matches nothing."""
    parts: list[bytes] = []
    segments = glob.split(b"/")
    for place, segment in enumerate(segments):
        last = place == len(segments) - 1
        if segment == b"**" and len(segments) > 1:
            parts.append(b".+" if last else b"(?:.+/)?")
            continue
        expression = _segment(segment)
        if expression is None:
            return None
        parts.append(expression if last else expression + b"/")
    return b"".join(parts)


def _segment(glob: bytes) -> bytes | None:
    """Return the expression of one name's pattern.

    A `*` takes as little as possible and never gives back what follows it was found at, which
    finds every match, and none takes exponential time.
    """
    runs: list[bytes] = [b""]
    place = 0
    while place < len(glob):
        if glob[place : place + 1] == b"*":
            runs.append(b"")
            place += 1
            continue
        one = _one(glob, place)
        if one is None:
            return None
        expression, place = one
        runs[-1] += expression
    first, *starred = runs
    if not starred:
        return first
    middle = b"".join(b"(?>" + _NOT_SLASH + b"*?" + run + b")" for run in starred[:-1])
    return first + middle + _NOT_SLASH + b"*" + starred[-1]


def _one(glob: bytes, place: int) -> tuple[bytes, int] | None:
    """Return the expression for the one byte that stands at `place`, and the place after it."""
    match glob[place : place + 1]:
        case b"?":
            return _NOT_SLASH, place + 1
        case b"[":
            return _class(glob, place + 1)
        case b"\\":
            escaped = glob[place + 1 : place + 2]
            return (re.escape(escaped), place + 2) if escaped else None
        case plain:
            return re.escape(plain), place + 1


_NAMED: Final = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, [*range(32), 127])),
    b"digit": string.digits,
    b"graph": string.ascii_letters + string.digits + string.punctuation,
    b"lower": string.ascii_lowercase,
    b"print": string.ascii_letters + string.digits + string.punctuation + " ",
    b"punct": string.punctuation,
    b"space": string.whitespace,
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


def _class(glob: bytes, place: int) -> tuple[bytes, int] | None:
    """Return the expression of a bracket whose `[` stands before `place`; None when it is bad."""
    negated = glob[place : place + 1] in (b"!", b"^")
    place += negated
    first = place
    members: set[int] = set()
    while place < len(glob) and (glob[place : place + 1] != b"]" or place == first):
        taken = _members(glob, place)
        if taken is None:
            return None
        members |= taken[0]
        place = taken[1]
    if place >= len(glob):
        return None
    chosen = (set(range(256)) - members if negated else members) - {ord("/")}
    inside = b"".join(b"\\x%02x" % member for member in sorted(chosen))
    return (b"[" + inside + b"]" if inside else b"(?!)"), place + 1


def _members(glob: bytes, place: int) -> tuple[set[int], int] | None:
    """Return the bytes that one member of a bracket stands for, and the place after it."""
    if glob.startswith(b"[:", place):
        end = glob.find(b":]", place + 2)
        named = _NAMED.get(glob[place + 2 : end]) if end > 0 else None
        return None if named is None else (set(named.encode()), end + 2)
    low = _literal(glob, place)
    if low is None:
        return None
    start, place = low
    if glob[place : place + 1] != b"-" or glob[place + 1 : place + 2] in (b"", b"]"):
        return {start}, place
    high = _literal(glob, place + 1)
    if high is None:
        return None
    return set(range(start, high[0] + 1)), high[1]


def _literal(glob: bytes, place: int) -> tuple[int, int] | None:
    place += glob[place : place + 1] == b"\\"
    return (glob[place], place + 1) if place < len(glob) else None
