"""Where a model is to come from: the grammar of `mmsearch models add`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from mmsearch.errors import ModelError

OPEN_CLIP: Final = "open_clip:"
HUB: Final = "hf:"
_RUN_MODEL: Final = "model"
_NAME: Final = re.compile(r"\w[\w.+-]*")
DEFAULT_FILE: Final = "default"
"""In the folder of added models: the name of the one to use when nobody says."""
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?", re.ASCII)
_FORMS: Final = (
    "give open_clip:ARCH/TAG, open_clip:ARCH//FILE.safetensors, hf:ORG/NAME, hf:ORG/NAME@REVISION, "
    "or a folder"
)


@dataclass(frozen=True, slots=True)
class OpenClipTag:
    """Weights that open_clip publishes under an architecture and a tag."""

    architecture: str
    tag: str

    def __str__(self) -> str:
        return f"{OPEN_CLIP}{self.architecture}/{self.tag}"


@dataclass(frozen=True, slots=True)
class OpenClipFile:
    """A file of weights on the disk for one of open_clip's architectures."""

    architecture: str
    file: Path

    def __str__(self) -> str:
        return f"{OPEN_CLIP}{self.architecture}//{self.file}"


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository of a model hub; `revision` is a branch, a tag or a commit."""

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{HUB}{self.name}" + (f"@{self.revision}" if self.revision else "")


@dataclass(frozen=True, slots=True)
class Directory:
    """A folder on the disk; what it holds decides how it is read."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


Spec: TypeAlias = OpenClipTag | OpenClipFile | HubRepository | Directory


def parse_spec(text: str) -> Spec:
    """Return what a source means; paths become absolute, so that the spec holds anywhere.

    Raises ModelError, with the forms there are, when it is none of them.
    """
    if text.startswith(OPEN_CLIP):
        return _open_clip(text)
    if text.startswith(HUB):
        return _repository(text)
    if not text.strip():
        raise ModelError(f"no source is given; {_FORMS}")
    return Directory(_absolute(text))


def is_source(text: str) -> bool:
    """Say whether a model spec names a source of another project."""
    return text.startswith((OPEN_CLIP, HUB))


def default_name(spec: Spec) -> str:
    """Return the name that a model gets unless the user gives one."""
    match spec:
        case OpenClipTag(architecture, tag):
            name = f"{architecture}-{tag}"
        case OpenClipFile(architecture, file):
            name = f"{architecture}-{file.stem}"
        case HubRepository(repository):
            name = repository.rpartition("/")[2]
        case Directory(path):
            name = path.parent.name if path.name == _RUN_MODEL else path.name
    plain = re.sub(r"[^\w.+-]+", "-", name).lstrip(".+-")
    return check_name(plain or "model")


def check_name(name: str) -> str:
    """Return the name if it can be a model's: a word that is no path and no file of our own.

    Raises ModelError.
    """
    if name.casefold() == DEFAULT_FILE:  # some file systems take the cases for one
        raise ModelError(
            f"{name!r} cannot be a model's name: it stands for the default model; give --name NAME"
        )
    if not _NAME.fullmatch(name) or len(name.encode()) > 200:
        raise ModelError(
            f"{name!r} cannot be a model's name; use letters, digits and . _ + - and begin with a "
            "letter or digit: --name NAME"
        )
    return name


def _open_clip(text: str) -> OpenClipTag | OpenClipFile:
    rest = text.removeprefix(OPEN_CLIP)
    architecture, double, file = rest.partition("//")
    if double:
        if not architecture or not file:
            raise ModelError(f"{text!r} names no architecture and file; {_FORMS}")
        return OpenClipFile(_architecture(architecture), _absolute(file))
    architecture, _, tag = rest.rpartition("/")
    if not architecture or not tag:
        raise ModelError(f"{text!r} names no architecture and tag; {_FORMS}")
    return OpenClipTag(_architecture(architecture), tag)


def _architecture(name: str) -> str:
    return name.strip("/").replace("/", "-")  # ViT-B/32, as the papers write it


def repository_named(name: str) -> HubRepository:
    """Return the repository of a name that a file gives, never a path. Raises ModelError."""
    return _repository(f"{HUB}{name}")


def _repository(text: str) -> HubRepository:
    name, at, revision = text.removeprefix(HUB).strip().partition("@")
    if not _REPOSITORY.fullmatch(name) or ".." in name or (at and not revision):
        raise ModelError(f"{text!r} names no repository; {_FORMS}")
    return HubRepository(name, revision or None)


def _absolute(text: str) -> Path:
    return Path(text).expanduser().absolute()
