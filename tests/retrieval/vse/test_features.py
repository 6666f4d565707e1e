"""Features and pixels of pictures, each computed once."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmsearch.errors import InputError
from mmsearch.retrieval.decode import decode, decode_bytes
from mmsearch.retrieval.encoder import normalise
from mmsearch.retrieval.vse import features as features_module
from mmsearch.retrieval.vse.backbone import Backbone, load_backbone
from mmsearch.retrieval.vse.features import extract_features, load_pixels

COUNT = 40


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    found = []
    for number in range(COUNT):
        pixels = generator.integers(0, 256, (24, 20, 3), np.uint8)
        found.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(found[-1])
    return found


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(0)
    return load_backbone("cnn", size=16, width=4)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """One element for every picture decoded."""
    calls: list[Any] = []
    real = decode_bytes

    def count(*args: Any, **named: Any) -> Any:
        calls.append(args)
        return real(*args, **named)

    monkeypatch.setattr(features_module, "decode_bytes", count)
    return calls


def expected(backbone: Backbone, paths: list[Path]) -> Any:
    pixels = np.stack([decode(path, backbone.preprocessing) for path in paths])
    with torch.inference_mode():
        return backbone(torch.from_numpy(normalise(pixels, backbone.preprocessing))).numpy()


def test_features_are_those_of_the_backbone_in_the_order_asked(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    asked = [paths[3], paths[1], paths[3]]
    found = extract_features(backbone, asked, tmp_path / "cache")
    assert found.array.dtype == np.float32
    assert np.allclose(found.array, expected(backbone, asked), atol=1e-5)
    assert found.computed == 2
    assert found.digests[0] == found.digests[2] != found.digests[1]


def test_many_pictures_go_through_a_graph_with_the_same_result(
    backbone: Backbone, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "WORTH_A_GRAPH", 1)
    monkeypatch.setattr(features_module, "_torch_forward", None)
    found = extract_features(backbone, paths, tmp_path / "cache", threads=2)
    assert np.allclose(found.array, expected(backbone, paths), atol=1e-5)


def test_a_second_run_decodes_nothing(
    backbone: Backbone, paths: list[Path], tmp_path: Path, decoded: list[Any]
) -> None:
    first = extract_features(backbone, paths, tmp_path / "cache")
    assert len(decoded) == COUNT
    second = extract_features(backbone, paths, tmp_path / "cache")
    assert len(decoded) == COUNT
    assert second.computed == 0
    assert np.array_equal(first.array, second.array)


def test_a_second_run_opens_no_picture(
    backbone: Backbone, paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_features(backbone, paths, tmp_path / "cache")
    monkeypatch.setattr(features_module, "read_bytes", None)
    assert extract_features(backbone, paths, tmp_path / "cache").computed == 0


def test_a_renamed_picture_is_recognised_by_its_content(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    first = extract_features(backbone, paths, tmp_path / "cache")
    moved = paths[5].rename(tmp_path / "elsewhere.png")
    second = extract_features(backbone, [moved], tmp_path / "cache")
    assert second.computed == 0
    assert np.array_equal(second.array[0], first.array[5])


def test_a_changed_picture_is_computed_again(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    extract_features(backbone, paths, tmp_path / "cache")
    Image.new("RGB", (9, 9), "red").save(paths[0])
    found = extract_features(backbone, paths, tmp_path / "cache")
    assert found.computed == 1
    assert np.allclose(found.array, expected(backbone, paths), atol=1e-5)


def test_other_weights_do_not_share_features(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    extract_features(backbone, paths[:2], tmp_path / "cache")
    with torch.no_grad():
        next(backbone.parameters()).mul_(2)
    assert extract_features(backbone, paths[:2], tmp_path / "cache").computed == 2


def test_a_run_killed_half_way_is_continued(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    class KilledError(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done >= COUNT // 2:
            raise KilledError

    with pytest.raises(KilledError):
        extract_features(backbone, paths, tmp_path / "cache", threads=1, on_progress=kill)
    found = extract_features(backbone, paths, tmp_path / "cache")
    assert 0 < found.computed <= COUNT // 2
    assert np.allclose(found.array, expected(backbone, paths), atol=1e-5)


def test_rows_written_but_not_indexed_are_overwritten(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    extract_features(backbone, paths[:4], tmp_path / "cache")
    (rows,) = (tmp_path / "cache").glob("*.rows")
    with rows.open("ab") as file:
        file.write(b"half a row of a process that died")
    found = extract_features(backbone, paths, tmp_path / "cache")
    assert found.computed == COUNT - 4
    assert np.allclose(found.array, expected(backbone, paths), atol=1e-5)


@pytest.mark.parametrize("damage", ["garbage", "empty", "index lost", "rows lost", "bit", "cut"])
def test_a_damaged_cache_is_made_good(
    backbone: Backbone, paths: list[Path], tmp_path: Path, damage: str
) -> None:
    cache = tmp_path / "cache"
    extract_features(backbone, paths, cache)
    (rows,), (index,) = cache.glob("*.rows"), cache.glob("*.sqlite")
    data = bytearray(rows.read_bytes())
    match damage:
        case "garbage":
            index.write_bytes(b"not a database" * 1000)
        case "empty":
            index.write_bytes(b"")
        case "index lost":
            index.unlink()
        case "rows lost":
            rows.unlink()
        case "bit":
            data[7] ^= 1
            rows.write_bytes(data)
        case "cut":
            rows.write_bytes(data[:-5])
    found = extract_features(backbone, paths, cache)
    assert np.allclose(found.array, expected(backbone, paths), atol=1e-5)
    assert bool(found.warnings) is (damage not in {"empty", "index lost"})
    assert found.computed == (1 if damage in {"bit", "cut"} else COUNT)
    assert extract_features(backbone, paths, cache).computed == 0


def test_unreadable_pictures_are_told_and_the_rest_goes_on(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    paths[1].write_bytes(b"no picture")
    absent = tmp_path / "absent.png"
    asked = [absent, *paths[:3]]
    found = extract_features(backbone, asked, tmp_path / "cache")
    assert set(found.failed) == {absent, paths[1]}
    assert all(found.failed.values())
    assert np.allclose(found.array, expected(backbone, [paths[0], paths[2]]), atol=1e-5)


def test_when_nothing_can_be_read_the_array_is_empty(backbone: Backbone, tmp_path: Path) -> None:
    found = extract_features(backbone, [tmp_path / "absent.png"], tmp_path / "cache")
    assert found.array.shape == (0, backbone.dim)


def test_progress_counts_every_picture(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    paths[0].write_bytes(b"no picture")
    seen: list[tuple[int, int]] = []
    extract_features(backbone, paths, tmp_path / "cache", on_progress=lambda *now: seen.append(now))
    assert seen[0] == (0, COUNT)
    assert seen[-1] == (COUNT, COUNT)
    assert seen == sorted(seen)


def test_pixels_are_those_of_the_one_resize(paths: list[Path], tmp_path: Path) -> None:
    preprocessing = load_backbone("cnn", size=16, width=4).preprocessing
    found = load_pixels(paths, preprocessing, tmp_path / "cache")
    assert found.array.shape == (COUNT, 16, 16, 3)
    assert found.array.dtype == np.uint8
    assert isinstance(found.array, np.memmap)
    assert all(
        np.array_equal(row, decode(path, preprocessing))
        for row, path in zip(found.array, paths, strict=True)
    )
    backwards = load_pixels(paths[::-1], preprocessing, tmp_path / "cache")
    assert backwards.computed == 0
    assert np.array_equal(backwards.array, found.array[::-1])


def test_pictures_of_the_same_content_are_stored_once(paths: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(paths[0].read_bytes())
    preprocessing = load_backbone("cnn", size=16, width=4).preprocessing
    found = load_pixels([paths[0], copy], preprocessing, tmp_path / "cache")
    assert len(found.store) == 1
    assert found.rows.tolist() == [0, 0]
    (index,) = (tmp_path / "cache").glob("*.sqlite")
    connection = sqlite3.connect(index)
    assert connection.execute("SELECT count(*) FROM files").fetchone() == (2,)
    connection.close()


def test_two_runs_may_fill_one_cache_at_the_same_time(
    backbone: Backbone, paths: list[Path], tmp_path: Path
) -> None:
    preprocessing = backbone.preprocessing
    with ThreadPoolExecutor(2) as pool:
        orders = (paths, paths[::-1])
        runs = [
            pool.submit(load_pixels, order, preprocessing, tmp_path / "cache") for order in orders
        ]
        found = [run.result().array for run in runs]
    assert np.array_equal(found[0], found[1][::-1])
    assert len(load_pixels(paths, preprocessing, tmp_path / "cache").store) == COUNT


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(
    paths: list[Path], backbone: Backbone, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write the cache .*file"):
        extract_features(backbone, paths, tmp_path / "file")
