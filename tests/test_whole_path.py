"""Train, evaluate, index and search on real photos, from the command line."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mmsearch.cli import app

IMAGES = {"train": 150, "dev": 40}


def run(*args: object) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return result


def write_subset(photos: Path, folder: Path) -> list[str]:
    """Write captions of some photos; return the names of the dev photos."""
    folder.mkdir()
    kept: dict[str, None] = {}
    for split, count in IMAGES.items():
        with (photos / f"captions_{split}.csv").open(newline="") as source:
            rows = list(csv.DictReader(source))
        kept = dict.fromkeys(list(dict.fromkeys(row["image"] for row in rows))[:count])
        with (folder / f"captions_{split}.csv").open("w", newline="") as target:
            writer = csv.DictWriter(target, ["image", "caption"])
            writer.writeheader()
            writer.writerows(row for row in rows if row["image"] in kept)
    return list(kept)


@pytest.mark.shared_data
@pytest.mark.slow
def test_the_whole_path_on_real_photos(shared_data: Path, tmp_path: Path) -> None:
    photos = shared_data / "flickr8k"
    dev = write_subset(photos, tmp_path / "data")
    model, library = tmp_path / "run", tmp_path / "library"
    run(
        *("train", tmp_path / "data", "--output", model, "--images", photos / "images"),
        *("--image-encoder", "timm:mobilenetv2_100", "--feature-views", 1, "--epochs", 12),
        *("--backbone-weights", shared_data / "backbones" / "mobilenetv2_imagenet.safetensors"),
        *(
            "--warmup-steps",
            0,
            "--batch-size",
            64,
            "--embed-dim",
            128,
            "--threads",
            1,
            "--cache",
            tmp_path / "cache",
        ),
    )
    figures = json.loads(
        run(
            *("evaluate", model, tmp_path / "data", "--images", photos / "images"),
            *("--split", "dev", "--json"),
        ).stdout
    )
    assert figures["images"] == IMAGES["dev"]
    assert figures["rsum"] > 2 * figures["chance"]["rsum"]

    (tmp_path / "photos").mkdir()
    for name in dev:
        (tmp_path / "photos" / name).symlink_to(photos / "images" / name)
    report = json.loads(
        run(
            *("index", tmp_path / "photos", "--texts", tmp_path / "data" / "captions_dev.csv"),
            *("--model", model, "--library", library, "--json"),
        ).stdout
    )
    assert report["new"] >= IMAGES["dev"] + 4 * IMAGES["dev"]
    assert report["failed"] == 0

    hits = json.loads(run("query", "a dog", "-k", 3, "--library", library, "--json").stdout)
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert all(Path(hit["path"]).name in dev for hit in hits)
    picture = tmp_path / "photos" / dev[0]
    sentences = run("query", "--image", picture, "--library", library).stdout.splitlines()
    assert len(sentences) == 10
    best = run(
        *("query", "--image", picture, "--own", "--for", "images", "-k", 1, "--paths"),
        *("--library", library),
    )
    assert best.stdout.strip() == str(picture)
