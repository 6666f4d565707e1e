"""What SQLite lacks: the parts of a path that is bytes, and distances on the globe.

A function that SQL calls must not raise: a value of a type that no row has, which a flipped bit
can make, is not known.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

EARTH_KM: Final = 6371.0088
"""The mean radius of the Earth, (2a + b) / 3 of the WGS 84 ellipsoid."""

_MARGIN: Final = 1e-7  # degrees, a centimetre: a box that rounding cannot make too small


def name_of(path: object) -> bytes | None:
    """Return the last part of an absolute path."""
    return path[path.rfind(b"/") + 1 :] if isinstance(path, bytes) else None


def folder_of(path: object) -> bytes | None:
    """Return an absolute path without its last part and the slash before it."""
    return (path[: path.rfind(b"/")] or b"/") if isinstance(path, bytes) else None


def extension_of(path: object) -> bytes | None:
    """Return what follows the last dot of the name.

    None where there is no dot, where it is the first or the last character.
    """
    if not isinstance(path, bytes):
        return None
    dot = path.rfind(b".")
    slash = path.rfind(b"/")
    return path[dot + 1 :] or None if dot > slash + 1 else None


def folded(text: object) -> bytes | None:
    """Return UTF-8 text without regard to case; what is not UTF-8 stays as it is."""
    if not isinstance(text, bytes):
        return None
    return text.decode("utf-8", "surrogateescape").casefold().encode("utf-8", "surrogateescape")


def haversine(latitude: object, longitude: object, north: float, east: float) -> float | None:
    """Return the haversine of the angle between two places in degrees, 0 to 1.

    It grows with the distance: see `haversine_of`. R. W. Sinnott, "Virtues of the Haversine",
    Sky and Telescope 68 (1984).
    """
    if not (isinstance(latitude, float) and isinstance(longitude, float)):
        return None
    if not (math.isfinite(latitude) and math.isfinite(longitude)):
        return None
    up = math.sin(math.radians(latitude - north) / 2)
    along = math.sin(math.radians(longitude - east) / 2)
    found = up * up + math.cos(math.radians(latitude)) * math.cos(math.radians(north)) * along**2
    return min(1.0, found)  # on the other side of the globe rounding goes beyond


def haversine_of(kilometres: float) -> float:
    """Return the haversine of a distance along a great circle; 1 from half the globe on."""
    return math.sin(min(kilometres / EARTH_KM, math.pi) / 2) ** 2


def box(
    latitude: float, longitude: float, kilometres: float
) -> tuple[tuple[float, float], list[tuple[float, float]]]:
    """Return the latitudes and the ranges of longitudes within which a circle lies.

    A circle that holds a pole has every longitude; one across the date line has two ranges.
    J. P. Snyder, "Map Projections - A Working Manual" (1987), for the widest meridians.
    """
    angle = kilometres / EARTH_KM
    reach = math.degrees(angle) + _MARGIN
    south, north = latitude - reach, latitude + reach
    everywhere = [(-180.0, 180.0)]
    if south <= -90 or north >= 90:
        return (south, north), everywhere
    spread = math.degrees(math.asin(min(1, math.sin(angle) / math.cos(math.radians(latitude)))))
    west, east = longitude - spread - _MARGIN, longitude + spread + _MARGIN
    if east - west >= 360:
        return (south, north), everywhere
    if west < -180:
        return (south, north), [(west + 360, 180.0), (-180.0, east)]
    if east > 180:
        return (south, north), [(west, 180.0), (-180.0, east - 360)]
    return (south, north), [(west, east)]


FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "mmsearch_name": name_of,
    "mmsearch_folder": folder_of,
    "mmsearch_extension": extension_of,
    "mmsearch_folded": folded,
    "mmsearch_haversine": haversine,
}
"""By the names that SQL calls them."""
