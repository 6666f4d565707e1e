"""Measure which changed copies of photos `mmsearch duplicates` finds, and what it takes for one.

    python benchmarks/near_photos.py --photos DIR [--photos DIR ...] [--strangers DIR]

Draws changed copies of some photos of each DIR and indexes all of them. For each change it looks
for duplicates among the photos and those copies alone, and prints the share of copies that are in
the group of their photo. Then it indexes the strangers, distinct photos, and counts the groups
among them; --show writes a page of those, to be judged by eye.
"""

import argparse
import html
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measuring import WORK, Facts, keep, machine, say, table
from PIL import Image, ImageEnhance, ImageOps

import mmsearch
from mmsearch.core import Ids
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval.duplicates import DEFAULT, Group, Wanted, find_duplicates
from mmsearch.retrieval.stars import Nearness

_SUFFIXES = (".jpg", ".jpeg", ".png")


def _half(image: Image.Image) -> Image.Image:
    return image.resize(
        (max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS
    )


def _cropped(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    width, height = image.size
    return image.crop(
        (int(width * left), int(height * top), int(width * (1 - right)), int(height * (1 - bottom)))
    )


def _turned(image: Image.Image, degrees: float) -> Image.Image:
    margin = 0.018 * degrees
    turned = image.rotate(degrees, Image.Resampling.BICUBIC)
    return _cropped(turned, margin, margin, margin, margin)


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], int]] = {
    "half the size": (_half, 92),
    "JPEG, quality 40": (lambda image: image, 40),
    "JPEG, quality 15": (lambda image: image, 15),
    "3 % cut off": (lambda image: _cropped(image, 0.015, 0.015, 0.015, 0.015), 92),
    "10 % brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.1), 92),
    "30 % more contrast": (lambda image: ImageEnhance.Contrast(image).enhance(1.3), 92),
    "turned by 1 degree": (lambda image: _turned(image, 1), 92),
    "turned by 2 degrees": (lambda image: _turned(image, 2), 92),
    "black and white": (lambda image: image.convert("L").convert("RGB"), 92),
    "10 % cut off at the left": (lambda image: _cropped(image, 0.1, 0, 0, 0), 92),
    "mirrored": (ImageOps.mirror, 92),
}
"""What is done to a photo, and the quality that it is saved with."""


def draw(photos: Sequence[Path], folder: Path) -> None:
    """Write the photos and their changed copies, a folder a change, under the same names."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("original", *CHANGES):
        (folder / name).mkdir(parents=True)
    for number, file in enumerate(photos):
        shutil.copy(file, folder / "original" / f"{number:05}.jpg")
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        for name, (change, quality) in CHANGES.items():
            change(image).save(folder / name / f"{number:05}.jpg", quality=quality)


def indexed(folder: Path, model: str) -> mmsearch.Library:
    """Return the library of a folder, open; made or brought up to date."""
    name = f"{Path(model).resolve().parent.name}-{Path(model).name}" if "/" in model else model
    library = mmsearch.open(WORK / f"library-near-{folder.name}-{name}", model=model)
    library.add(folder)
    return library


def shares(library: mmsearch.Library, near: Nearness, photos: int) -> dict[str, float]:
    """Return for each change which share of its copies is in a group with their photo."""
    catalog, found = library.catalog, {}
    folders = {name: _of(catalog, name) for name in ("original", *CHANGES)}
    for name in CHANGES:
        among = np.sort(np.concatenate([folders["original"], folders[name]]))
        together = find_duplicates(catalog, Wanted(exact=True, near=near, among=among))
        count = 0
        for group in (*together.exact, *together.near):
            members = [path for member in names(group) for path in member]
            originals = {path.name for path in members if path.parent.name == "original"}
            count += sum(p.name in originals for p in members if p.parent.name == name)
        found[name] = count / photos
    return found


def _of(catalog: Catalog, name: str) -> Ids:
    rows = catalog.rows("SELECT id FROM items WHERE CAST(path AS TEXT) LIKE ?", f"%/{name}/%")
    return np.array([row[0] for row in rows], dtype=np.int64)


def names(group: Group) -> list[list[Path]]:
    """Return the paths of a group, a list for each member with its copies."""
    return [[Path(i.path or "") for i in (m.item, *m.copies)] for m in group.members]


def mixed(found: Sequence[Group]) -> int:
    """Return how many groups hold copies of more than one photo."""
    return sum(len({p.name for m in names(g) for p in m}) > 1 for g in found)


def page(found: Sequence[Group]) -> str:
    """Return a page that shows groups."""
    rows = []
    for group in found:
        cells = "".join(
            f"<figure><img height=160 src='{html.escape(Path(m.item.path or '').as_uri())}'>"
            f"<figcaption>{m.cosine:.3f} {m.distance}</figcaption></figure>"
            for m in group.members
        )
        rows.append(f"<div style='display:flex'>{cells}</div>")
    return "<meta charset=utf-8>" + "\n".join(rows)


def pictures(folder: Path) -> list[Path]:
    """Return the photos below a folder."""
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES)


def main() -> None:
    """Draw, index, count, print, keep."""
    parser = argparse.ArgumentParser(description="Measure what near duplicates are found.")
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument("--strangers", type=Path, help="distinct photos")
    parser.add_argument("--most", type=int, default=150, help="photos of each folder")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--threshold", type=float, default=DEFAULT.threshold)
    parser.add_argument("--distance", type=int, default=DEFAULT.distance)
    parser.add_argument("--show", type=Path, help="write the groups among the strangers as a page")
    asked = parser.parse_args()
    near = Nearness(asked.threshold, asked.distance)
    drawn = [
        file
        for folder in asked.photos
        for file in random.Random(0).sample(
            pictures(folder), min(asked.most, len(pictures(folder)))
        )
    ]
    folder = WORK / "near-photos"
    draw(drawn, folder)
    with indexed(folder, asked.model) as library:
        together = find_duplicates(library.catalog, Wanted(near=near)).near
        facts: Facts = {
            "model": asked.model,
            "threshold": near.threshold,
            "distance": near.distance,
            "photos": len(drawn),
            "found": shares(library, near, len(drawn)),
            "mixed": mixed(together),
            "machine": machine(),
        }
    rows = [[name, f"{100 * share:.1f} %"] for name, share in facts["found"].items()]
    say("\n" + table([f"of {len(drawn)} photos", "found"], rows))
    say(f"groups of all together: {len(together)}, of more than one photo: {facts['mixed']}")
    if asked.strangers is not None:
        with indexed(asked.strangers, asked.model) as library:
            alone = find_duplicates(library.catalog, Wanted(near=near))
        facts |= {"strangers": alone.compared, "groups": len(alone.near)}
        say(f"near groups among {alone.compared} other photos: {len(alone.near)}, to judge by eye")
        if asked.show is not None:
            asked.show.write_text(page(alone.near), encoding="utf-8")
    keep(f"near-photos-{Path(asked.model).name}", facts)


if __name__ == "__main__":
    main()
