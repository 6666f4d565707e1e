"""Models of a hub: which of a repository's files are wanted, and getting them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mmsearch.errors import ModelError
from mmsearch.retrieval.download import partial_bytes
from mmsearch.retrieval.hub import Listing, OnReceived, fetch_files, list_repository
from mmsearch.retrieval.layouts import (
    CONFIG,
    OPEN_CLIP_CONFIG,
    OPEN_CLIP_WEIGHTS,
    TOKENIZER_FILES,
    Layout,
    layouts,
    needed_files,
    not_a_model,
    open_clip_weights,
    pair_files,
)
from mmsearch.retrieval.onnx_files import files_beside
from mmsearch.retrieval.pair_config import read_json
from mmsearch.retrieval.specs import HubRepository, repository_named

Choose = Callable[[Sequence[Layout]], Layout]
"""Picks one of the ways in which a repository can be read."""

_VOCABULARIES: Final = ("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told what goes on: `say` a line, `received` bytes there and bytes in all."""

    say: Callable[[str], None] = lambda _: None
    received: OnReceived = lambda _, __: None


QUIET: Final = Watch()


@dataclass(frozen=True, slots=True)
class TextSources:
    """Which repositories a model of open_clip names for its text; empty: none.

    `tokenizer` has the files of a tokenizer, `network` the settings of a network of transformers.
    """

    tokenizer: str = ""
    network: str = ""


def text_sources(model: Mapping[str, Any]) -> TextSources:
    """Return what the configuration of an open_clip model names."""
    text = model.get("text_cfg")
    named = text if isinstance(text, dict) else {}
    return TextSources(
        str(named.get("hf_tokenizer_name") or ""), str(named.get("hf_model_name") or "")
    )


@dataclass(frozen=True, slots=True)
class Fetched:
    """A repository's files on the disk: where, what they are, and what the hub says of them."""

    folder: Path
    layout: Layout
    commit: str
    licence: str


@dataclass(frozen=True, slots=True)
class Downloads:
    """The folder where files wait until their model is added; one is kept when that fails."""

    directory: Path
    watch: Watch = field(default_factory=Watch)

    def repository(self, repository: HubRepository, choose: Choose) -> Fetched:
        """Fetch what is needed of a repository.

        Raises ModelError when it holds no model that can be read, and what `fetch_files` does.
        """
        listing = list_repository(repository)
        ways = layouts(listing.files)
        if not ways:
            raise not_a_model(f"the repository {repository.name}", listing.files)
        layout = choose(ways)
        folder = self._folder(listing)
        self._fetch(listing, needed_files(layout, listing.files), folder)
        self._fetch_beside(listing, layout, folder)
        if layout is Layout.OPEN_CLIP:
            config = read_json(folder / OPEN_CLIP_CONFIG).get("model_cfg")
            named = text_sources(config if isinstance(config, dict) else {})
            self._text_parts(named, listing, folder)
        return Fetched(folder, layout, listing.commit, listing.licence)

    def weights(self, repository: HubRepository, file: str, text: TextSources) -> Fetched:
        """Fetch weights of open_clip, `file` or the usual one, and what the text side needs.

        The weights are given the usual name.
        """
        listing = list_repository(repository)
        name = file or open_clip_weights(listing.files) or OPEN_CLIP_WEIGHTS
        if name not in listing.files:
            raise not_a_model(f"the repository {repository.name}", listing.files)
        folder = self._folder(listing)
        small = [n for n in (*TOKENIZER_FILES, "README.md") if n in listing.files]
        if not (folder / OPEN_CLIP_WEIGHTS).exists():
            self._fetch(listing, [name, *small], folder)
            (folder / name).replace(folder / OPEN_CLIP_WEIGHTS)
        self._text_parts(text, listing, folder)
        return Fetched(folder, Layout.OPEN_CLIP, listing.commit, listing.licence)

    def clear(self) -> None:
        """Delete everything; the model is added."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _folder(self, listing: Listing) -> Path:
        return self.directory / listing.repository.name.replace("/", "--") / listing.commit

    def _text_parts(self, named: TextSources, listing: Listing, folder: Path) -> None:
        """Fetch a tokenizer and settings from other repositories, to folders of their names.

        Not the tokenizer when the repository itself has one.
        """
        own = any(name in listing.files for name in _VOCABULARIES)
        wanted: dict[str, set[str]] = {}
        if named.tokenizer and not own:
            wanted.setdefault(named.tokenizer, set()).update(TOKENIZER_FILES)
        if named.network:
            wanted.setdefault(named.network, set()).add(CONFIG)
        for name, files in wanted.items():
            if name != listing.repository.name:
                other = list_repository(repository_named(name))
                self._fetch(other, sorted(files & other.files.keys()), folder / name)

    def _fetch(self, listing: Listing, names: Sequence[str], folder: Path) -> None:
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            size = listing.bytes(missing)
            there = sum(partial_bytes(folder / name) for name in missing)
            left = (
                f"{(size - there) / 1e6:,.1f} of {size / 1e6:,.1f}"
                if there
                else f"{size / 1e6:,.1f}"
            )
            self.watch.say(
                f"fetching {len(missing)} files, {left} MB, of {listing.repository.name}"
            )
            fetch_files(listing, missing, folder, self.watch.received)

    def _fetch_beside(self, listing: Listing, layout: Layout, folder: Path) -> None:
        """Fetch the files that hold the weights of an ONNX pair, which its graphs name."""
        pair = pair_files(layout, listing.files)
        for graph in () if pair is None else (pair.image, pair.text):
            at = PurePosixPath(graph).parent
            names = [str(at / name) for name in files_beside(folder / graph)]
            absent = [name for name in names if name not in listing.files]
            if absent:
                raise ModelError(
                    f"{listing.repository.name} lacks {absent[0]}, to which {graph} refers"
                )
            self._fetch(listing, names, folder)
