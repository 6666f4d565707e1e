"""From a source to a model folder: read it, or fetch and convert it."""

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmsearch.errors import MissingExtraError, ModelError
from mmsearch.retrieval.fetching import Downloads
from mmsearch.retrieval.folder import read_model_folder, verify, write_model_folder
from mmsearch.retrieval.hub import check_reachable
from mmsearch.retrieval.layouts import (
    ONNX_PAIRS,
    OPEN_CLIP_WEIGHTS,
    Layout,
    layouts,
    names_in,
    not_a_model,
)
from mmsearch.retrieval.models import RUN_MODEL
from mmsearch.retrieval.specs import (
    Directory,
    HubRepository,
    OpenClipFile,
    OpenClipTag,
    Spec,
)

if TYPE_CHECKING:
    from mmsearch.retrieval.convert.source import Source

_CARDS: Final = ("README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt")
_CONVERTER: Final = ("torch", "timm", "safetensors", "onnx", "onnxscript")
_PACKAGES: Final[Mapping[Layout, Sequence[str]]] = {
    Layout.TRANSFORMERS: (*_CONVERTER, "transformers"),
    Layout.OPEN_CLIP: (*_CONVERTER, "open_clip"),
}
QUANTISER: Final = ("onnx",)
"""Packages that make 8-bit networks."""
_PIP_NAMES: Final = {"open_clip": "open-clip-torch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is known of where a model came from, beside what its folder says.

    `commit` is that of the repository; `agreement` how well the folder agrees with the source
    library, as figures.
    """

    commit: str = ""
    licence: str = ""
    agreement: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Builder:
    """Writes one model as the model folder `path`, which is empty."""

    path: Path
    name: str
    downloads: Downloads

    def build(self, spec: Spec) -> Origin:
        """Write the model of a source.

        Raises ModelError when it cannot be fetched or read, or the folder does not give its
        vectors; MissingExtraError, before anything is fetched, when it needs absent packages.
        """
        match spec:
            case Directory():
                folder, ways = _local(spec.path)
                return self._read(self._choose(ways), folder)
            case HubRepository():
                fetched = self.downloads.repository(spec, self._choose)
                origin = self._read(fetched.layout, fetched.folder)
                return replace(origin, commit=fetched.commit, licence=fetched.licence)
            case OpenClipFile():
                self._choose([Layout.OPEN_CLIP])
                return self._open_clip(spec.architecture, spec.file, None)
            case OpenClipTag():
                return self._tag(spec)

    def _tag(self, spec: OpenClipTag) -> Origin:
        self._choose([Layout.OPEN_CLIP])
        check_reachable()  # open_clip, which knows where to ask, takes seconds to load
        from mmsearch.retrieval.convert.published import find_published

        place = find_published(spec)
        fetched = self.downloads.weights(place.repository, place.file, place.text)
        origin = self._open_clip(
            f"{spec.architecture}/{spec.tag}", fetched.folder / OPEN_CLIP_WEIGHTS, fetched.folder
        )
        return replace(origin, commit=fetched.commit, licence=fetched.licence)

    def _choose(self, ways: Sequence[Layout]) -> Layout:
        """Return the first way to read a source whose packages are there."""
        lacking = {way: _absent(_PACKAGES.get(way, ())) for way in ways}
        chosen = next((way for way in ways if not lacking[way]), None)
        if chosen is None:
            raise MissingExtraError(lacking[ways[0]], "train")
        if chosen is not ways[0]:
            self.downloads.watch.say(
                f"{lacking[ways[0]]} is not installed: taking {chosen.value}, not {ways[0].value}"
            )
        return chosen

    def _read(self, layout: Layout, folder: Path) -> Origin:
        self.downloads.watch.say(f"reading {layout.value}")
        if layout is Layout.MODEL_FOLDER:
            return self._copy(folder)
        if layout in ONNX_PAIRS:
            from mmsearch.retrieval.onnx_pairs import write_pair

            write_pair(layout, folder, self.path, name=self.name)
            return Origin(licence=_stated_licence(folder))
        if layout is Layout.OPEN_CLIP:
            return self._open_clip("", None, folder)
        from mmsearch.retrieval.convert.hf_source import load_hf

        return self._convert(load_hf(folder))

    def _open_clip(self, architecture: str, weights: Path | None, folder: Path | None) -> Origin:
        from mmsearch.retrieval.convert.open_clip_source import load_open_clip

        return self._convert(load_open_clip(architecture, weights, folder))

    def _convert(self, source: "Source") -> Origin:
        from mmsearch.retrieval.convert.agreement import check_source
        from mmsearch.retrieval.convert.source import write_source

        self.downloads.watch.say("writing its networks as ONNX")
        source = replace(source, name=self.name)
        write_source(source, self.path)
        self.downloads.watch.say("comparing them with the source library")
        return Origin(agreement=dict(check_source(source, self.path)))

    def _copy(self, folder: Path) -> Origin:
        """Copy a model folder under its new name. Raises ModelError when it is damaged."""
        model = read_model_folder(folder)
        verify(model)
        for name in (*model.files, *(card for card in _CARDS if (folder / card).is_file())):
            shutil.copyfile(folder / name, self.path / name)
        space = replace(model.space, name=self.name)
        write_model_folder(self.path, replace(model, space=space))
        return Origin()


def _local(path: Path) -> tuple[Path, list[Layout]]:
    """Return the folder that holds a model, `path` or its `model`, and the ways to read it.

    Raises ModelError when there is none.
    """
    if path.is_file():
        raise ModelError(
            f"{path} is a file; give its folder, or for weights of open_clip: "
            f"open_clip:ARCH//{path.name}"
        )
    if not path.is_dir():
        raise ModelError(
            f"there is no folder {path}; give a folder, open_clip:ARCH/TAG or hf:ORG/NAME"
        )
    names = names_in(path)
    ways = layouts(names)
    if ways:
        return path, ways
    inner = [name.removeprefix(f"{RUN_MODEL}/") for name in names if name.startswith(RUN_MODEL)]
    if layouts(inner) == [Layout.MODEL_FOLDER]:
        return path / RUN_MODEL, [Layout.MODEL_FOLDER]
    raise not_a_model(str(path), names)


def _stated_licence(folder: Path) -> str:
    from mmsearch.retrieval.convert.card import hub_facts

    return hub_facts(folder).licence


def require_packages(names: Sequence[str]) -> None:
    """Raise MissingExtraError for the first package that is not installed."""
    missing = _absent(names)
    if missing:
        raise MissingExtraError(missing, "train")


def _absent(names: Sequence[str]) -> str:
    """Return the first package that is not installed, as pip calls it, or nothing."""
    for name in names:
        try:
            there = importlib.util.find_spec(name) is not None
        except ValueError:  # forbidden to this process
            there = False
        if not there:
            return _PIP_NAMES.get(name, name)
    return ""
