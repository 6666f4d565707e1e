"""Compare indexing with rclip 3.3: pictures a second, memory, and where the time goes.

    python benchmarks/indexing.py [--files 300] [--large 60] [--growth 20000] [--int8 FOLDER]

Both tools run the same randomly initialised ViT-B/32 at 256 pixels on the same drawn JPEGs
(640 x 480, then 4000 x 3000 with little noise and with more, which makes larger files of the same
pixels), in turn, each from an empty library. rclip indexes as part of a
query, so that the time of a query without indexing is taken off; off ours, that of a second
`mmsearch index`, which finds nothing new. Memory is summed over the processes of each tool. With
`--int8` a model folder whose image network has 8 bits is measured as well. `--growth` indexes
1,000 and then that many small pictures with the bundled model, to see whether memory grows. The
limits: the network alone on pictures that are ready, in the same threads as `index`, and the
decoder alone on a processor.
"""

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import measuring
import numpy as np
from measuring import WORK, Facts, FailedError, Run, keep, mmsearch_command, say, seconds, size
from networks import clip_folder, question, rclip_data
from peer_rclip import VERSION, Rclip, install
from photos import LITTLE_NOISE, NOISE, Photos, draw_photos
from resident import measure_tree

from mmsearch.core import Modality
from mmsearch.retrieval.decode import decode
from mmsearch.retrieval.encoder import Precision, Use
from mmsearch.retrieval.machine import batch_size
from mmsearch.retrieval.models import load_encoder
from mmsearch.retrieval.network import Network
from mmsearch.retrieval.processors import available_processors

SMALL_TARGET = 1.15
INT8_TARGET = 2.8
LARGE_TARGET = 4.0
FLAT = 1.1
"""How much more memory the larger of two runs may take."""
_LIMIT_PICTURES = 96
_LANES = 4


def ours(photos: Photos, model: Path | str, *options: str) -> Run:
    """Index pictures into a new library; the time of a run without news is taken off.

    Raises FailedError unless the first run encodes all and the second none.
    """
    library = WORK / "indexing-library"
    shutil.rmtree(library, ignore_errors=True)
    words = ["index", photos.folder, "--library", library, "--model", model, "--json", "-v"]
    run = measure_tree(mmsearch_command(*words, *options))
    counts = json.loads(run.output)
    if counts["encoded"] != photos.count:
        raise FailedError(f"{photos.count} pictures should be encoded: {counts}")
    again = measure_tree(mmsearch_command(*words))
    counts = json.loads(again.output)
    if counts["unchanged"] != photos.count:
        raise FailedError(f"{photos.count} pictures should be as before: {counts}")
    return replace(run, wall=run.wall - again.wall, cpu=run.cpu - again.cpu)


def theirs(photos: Photos, turn: int) -> Run:
    """Let rclip index pictures into a new library; the time of a query alone is taken off."""
    data = WORK / "indexing-rclip"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(rclip_data(), data, copy_function=shutil.copyfile)
    rclip = Rclip(data)
    command = rclip.command(question(turn), indexing=True)
    run = measure_tree(command, env=rclip.environment, cwd=photos.folder)
    alone = rclip.query(question(turn), photos.folder)
    return replace(run, wall=run.wall - alone.wall, cpu=run.cpu - alone.cpu)


def compare(photos: Photos, models: dict[str, Path], runs: int, *options: str) -> Facts:
    """Time both tools in turn, ours once for each model."""
    say(f"indexing {photos.count} pictures of {photos.width} x {photos.height}")
    seen: dict[str, list[Run]] = {name: [] for name in (*models, "rclip")}
    for turn in range(runs):
        for name, found in seen.items():
            run = ours(photos, models[name], *options) if name in models else theirs(photos, turn)
            found.append(run)
            say(f"  {name}: {seconds(run.wall)}, {photos.count / run.wall:.1f}/s, {size(run.peak)}")
    summaries = {name: measuring.summarise(found) for name, found in seen.items()}
    return {
        "files": photos.count,
        "pixels": [photos.width, photos.height],
        "bytes": photos.bytes,
        "rates": {name: photos.count / found.wall for name, found in summaries.items()},
        "ratios": {name: summaries["rclip"].wall / found.wall for name, found in summaries.items()},
        "stages": {name: _stages(seen[name]) for name in models},
        **{name: asdict(found) for name, found in summaries.items()},
    }


def _stages(runs: Sequence[Run]) -> Facts:
    """Return where the time of the median run went."""
    middle = sorted(runs, key=lambda run: run.wall)[len(runs) // 2]
    found: Facts = json.loads(middle.output)["seconds"]
    return found


def limits(photos: Photos, model: Path) -> Facts:
    """Return pictures a second of the network alone, and of the decoder alone on a processor."""
    lanes = min(available_processors(), _LANES)
    encoder = load_encoder(str(model), Use(lanes=lanes, precision=Precision.AUTO))
    height, width = encoder.preprocessing.size
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (_LIMIT_PICTURES, height, width, 3), dtype=np.uint8)
    batch = batch_size(encoder, Modality.IMAGE)
    encoder.encode_images(pictures[:batch])
    network = Network(encoder, batch, _LIMIT_PICTURES)
    began = time.perf_counter()
    parts = range(0, _LIMIT_PICTURES, batch)
    for waiting in [network.encode(pictures[at : at + batch]) for at in parts]:
        waiting.result()
    alone = time.perf_counter() - began
    network.close()
    files = sorted(photos.folder.rglob("*.jpg"))[:24]
    decode(files[0], encoder.preprocessing)
    began = time.perf_counter()
    for file in files:
        decode(file, encoder.preprocessing)
    decoding = time.perf_counter() - began
    return {"batch": batch, "network": _LIMIT_PICTURES / alone, "decoder": len(files) / decoding}


def growth(most: int) -> Facts:
    """Index a thousand small pictures and then many, with the bundled model."""
    say(f"memory for 1,000 and {most:,} small pictures")
    found = {}
    for count in (1000, most):
        run = ours(draw_photos(count, 160, 120), "mini")
        say(f"  {count:,}: {seconds(run.wall)}, {count / run.wall:.0f}/s, {size(run.peak)}")
        found[str(count)] = {"wall": run.wall, "peak": run.peak}
    return {"model": "mini", "runs": found, "ratio": run.peak / found["1000"]["peak"]}


def report(compared: Sequence[Facts], grown: Facts | None) -> None:
    """Print what was measured beside what is wanted."""
    for facts in compared:
        width, height = facts["pixels"]
        say(f"\n{width} x {height}, {size(facts['bytes'])} a file")
        for name, rate in facts["rates"].items():
            ratio, peak = facts["ratios"][name], size(facts[name]["peak"])
            say(f"  {name}: {rate:.1f}/s, {ratio:.2f} times rclip, {peak}{_wanted(facts, name)}")
        for name, limit in facts["limits"].items():
            say(
                f"  limits of {name}: network {limit['network']:.1f}/s, "
                f"decoder {limit['decoder']:.1f}/s on one processor"
            )
    if grown is not None:
        say(f"memory grows by {grown['ratio']:.2f}: {_met(grown['ratio'] <= FLAT)}")


def _wanted(facts: Facts, name: str) -> str:
    if name == "rclip":
        return ""
    large = facts["pixels"][0] > 1000
    target = LARGE_TARGET if large else INT8_TARGET if name == "int8" else SMALL_TARGET
    lean = facts[name]["peak"] <= facts["rclip"]["peak"]
    return (
        f" ({_met(facts['ratios'][name] >= target)}: {target} times; memory no higher: "
        f"{_met(lean)})"
    )


def _met(good: bool) -> str:
    return "met" if good else "NOT MET"


def main() -> None:
    """Install, draw, measure, print, keep."""
    parser = argparse.ArgumentParser(description=f"Compare indexing with rclip {VERSION}.")
    parser.add_argument("--files", type=int, default=300, help="of 640 x 480; 0 for none")
    parser.add_argument(
        "--large", type=int, default=60, help="of 4000 x 3000, of each kind; 0 for none"
    )
    parser.add_argument("--growth", type=int, default=0, help="small pictures; 0 for none")
    parser.add_argument("--int8", type=Path, help="a model folder with an 8-bit image network")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument(
        "--batch-size", help="of ours, for a machine too busy to measure it once and for all"
    )
    asked = parser.parse_args()
    install()
    models = {"fp32": clip_folder(), **({"int8": asked.int8} if asked.int8 else {})}
    machine = measuring.machine("pillow")
    options = ["--batch-size", asked.batch_size] if asked.batch_size else []
    compared = []
    for name, count, width, height, noise in (
        ("640x480", asked.files, 640, 480, NOISE),
        ("4000x3000-light", asked.large, 4000, 3000, LITTLE_NOISE),
        ("4000x3000", asked.large, 4000, 3000, NOISE),
    ):
        if count:
            photos = draw_photos(count, width, height, noise)
            alone = {name: limits(photos, model) for name, model in models.items()}
            facts = {**compare(photos, models, asked.runs, *options), "limits": alone}
            keep(f"rclip-index-{name}", {"machine": machine, **facts})
            compared.append(facts)
    grown = growth(asked.growth) if asked.growth else None
    if grown is not None:
        keep(f"index-growth-{asked.growth}", {"machine": machine, **grown})
    report(compared, grown)


if __name__ == "__main__":
    main()
