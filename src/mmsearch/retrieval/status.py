"""What is in a library, read without its model."""

from dataclasses import dataclass
from pathlib import Path

from mmsearch.core import Space
from mmsearch.index import attributes, fusing
from mmsearch.index.caption_files import caption_files
from mmsearch.index.catalog import Catalog
from mmsearch.index.checking_files import files_below, size_of
from mmsearch.index.database import QUARANTINE
from mmsearch.index.rows import Root
from mmsearch.retrieval.remembered import remembered_model


@dataclass(frozen=True, slots=True)
class Status:
    """What `status` shows. `made` False: there is no library yet, and all counts are zero.

    `images`: those among them whose file cannot be read at present, which `failed` counts too.
    `offline`: items whose root is not there. `waiting`: items without a vector in the current
    space, because encoding them anew was interrupted. `bytes`: what the files of the library
    take on the disk, `set_aside` those of them that repairs put into quarantine. `model`: the
    spec remembered with the space. `captioned`: pictures with captions; `fused`: those whose
    vector is one of both; `fuse`: the weight of captions that the next run sees to, 0 for none;
    `captions`: the files that they are from.
    """

    directory: Path
    made: bool = False
    images: int = 0
    texts: int = 0
    failed: int = 0
    offline: int = 0
    waiting: int = 0
    revision: int = 0
    bytes: int = 0
    set_aside: int = 0
    space: Space | None = None
    model: str | None = None
    roots: tuple[Root, ...] = ()
    captioned: int = 0
    fused: int = 0
    fuse: float = 0.0
    captions: tuple[str, ...] = ()

    @property
    def items(self) -> int:
        """Pictures and sentences together."""
        return self.images + self.texts

    def as_dict(self) -> dict[str, object]:
        """Return what `status --json` prints."""
        return {
            "images": self.images,
            "texts": self.texts,
            "items": self.items,
            "failed": self.failed,
            "offline": self.offline,
            "waiting": self.waiting,
            "model": self.model,
            "space": None
            if self.space is None
            else {
                "name": self.space.name,
                "dim": self.space.dim,
                "digest": self.space.digest,
            },
            "revision": self.revision,
            "bytes": self.bytes,
            "set_aside": self.set_aside,
            "library": str(self.directory),
            "roots": [
                {"path": root.path, "kind": root.kind.value, "offline": root.offline}
                for root in self.roots
            ],
            "captioned": self.captioned,
            "fused": self.fused,
            "fuse": {"caption": self.fuse},
            "captions": list(self.captions),
        }


def read_status(directory: Path) -> Status:
    """Return what is in the library; an absent or half-made one is empty.

    Raises UnsoundLibraryError when it is damaged or was written by a newer version.
    """
    if not Catalog.exists(directory):
        return Status(directory.absolute())
    with Catalog.open(directory) as catalog, catalog.snapshot():
        counts = catalog.counts()
        space = catalog.space()
        return Status(
            directory.absolute(),
            made=True,
            images=counts.images,
            texts=counts.texts,
            failed=counts.failed,
            offline=counts.offline,
            waiting=catalog.waiting(),
            revision=catalog.revision,
            bytes=_size_on_disk(directory),
            set_aside=_size_on_disk(directory / QUARANTINE),
            space=space,
            model=None if space is None else remembered_model(catalog),
            roots=tuple(catalog.roots()),
            captioned=attributes.captioned_count(catalog),
            fused=0 if space is None else fusing.fused_count(catalog, space),
            fuse=fusing.wanted_weight(catalog),
            captions=tuple(file.path for file in caption_files(catalog)),
        )


def _size_on_disk(directory: Path) -> int:
    return sum(map(size_of, files_below(directory)))
