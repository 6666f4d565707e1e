"""What is shown of an answer beside its score: date, size, labels, captions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from mmsearch.core import Hit, Item, Photo
from mmsearch.index.catalog import Catalog

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - a camera's clock has no zone
_NANOSECONDS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Details:
    """What a library knows of an item. `date` is local time without a zone; see `date_of`."""

    date: datetime | None = None
    photo: Photo | None = None
    labels: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()


NOTHING: Final = Details()


def details_of(catalog: Catalog, hits: Sequence[Hit]) -> dict[int, Details]:
    """Return the details of the items of some hits, by id. Three queries."""
    from mmsearch.index import attributes

    numbers = [hit.item.id for hit in hits]
    with catalog.snapshot():
        photos = attributes.photos(catalog, numbers)
        labels = attributes.labels(catalog, numbers)
        captions = attributes.captions(catalog, numbers)
    return {
        hit.item.id: Details(
            date_of(hit.item, photos.get(hit.item.id)),
            photos.get(hit.item.id),
            tuple(label.name for label in labels.get(hit.item.id, ())),
            captions.get(hit.item.id, ()),
        )
        for hit in hits
    }


def date_of(item: Item, photo: Photo | None) -> datetime | None:
    """Return when a picture was taken: by the camera's clock, else when its file was changed.

    Local time without a zone. None for sentences and for times that no calendar has.
    """
    try:
        if photo is not None and photo.taken is not None:
            return _EPOCH + timedelta(seconds=photo.taken)
        if item.path is None:
            return None
        changed = datetime.fromtimestamp(item.mtime_ns // _NANOSECONDS, tz=UTC)
        return changed.astimezone().replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return None


def known(details: Mapping[int, Details], hit: Hit) -> Details:
    """Return the details of a hit; those of nothing when they were not asked for."""
    return details.get(hit.item.id, NOTHING)


def facts(details: Details) -> list[str]:
    """Return date, size in pixels and camera as texts, as far as they are known."""
    photo = details.photo
    parts = [] if details.date is None else [details.date.strftime("%Y-%m-%d %H:%M")]
    if photo is not None:
        parts.append(f"{photo.width} x {photo.height}")
        parts += [photo.camera] if photo.camera else []
    return parts
