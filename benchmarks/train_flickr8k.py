"""Train presets on Flickr8k with frozen backbone features and record R@K by epoch.

    python benchmarks/train_flickr8k.py --preset vsepp --seed 0
    python benchmarks/train_flickr8k.py --summary

DATA (by default flickr8k/ in $MMSEARCH_TEST_DATA) holds captions_train.csv, captions_dev.csv and
images/; the weights are by default those in its backbones/. Features are extracted beforehand
(cached); only the training loop is timed. One JSON line an epoch goes to
OUTPUT/PRESET[-NAME]-SEED.jsonl; a summary of all files there is printed with --summary.
"""

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import torch

from mmsearch.retrieval.vse.backbone import load_backbone
from mmsearch.retrieval.vse.config import TrainConfig, preset, with_settings
from mmsearch.retrieval.vse.model import build_model
from mmsearch.retrieval.vse.prepare import InputLoader, read_splits
from mmsearch.retrieval.vse.threads import available_cores, keep_freed_memory
from mmsearch.retrieval.vse.trainer import Trainer
from mmsearch.retrieval.vse.vocabulary import learn_tokenizer

SHARED = Path(os.environ.get("MMSEARCH_TEST_DATA", "../shared/data"))
WEIGHTS = "mobilenetv2_imagenet.safetensors"
REFERENCE_RSUM = 240.3
REFERENCE_EPOCH_SECONDS = 89.0  # two cores, official code, the same features


class Lines:
    """Appends every epoch's record to a file and prints it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_step(self, *_: object) -> None:
        """Say nothing."""

    def on_message(self, message: str) -> None:
        """Print the message."""
        print(message, flush=True)

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Record the epoch."""
        with self.file.open("a") as stream:
            stream.write(json.dumps(record) + "\n")
        print(
            f"epoch {record['epoch']:>3}  loss {record['loss']:.4f}  rsum {record['rsum']:.1f}  "
            f"best {record['best_rsum']:.1f}  {record['seconds']:.0f} s, "
            f"{record['cpu_seconds']:.0f} CPU-s",
            flush=True,
        )


def run(config: TrainConfig, data: Path, cache: Path, file: Path) -> None:
    """Train once."""
    keep_freed_memory()
    torch.set_num_threads(config.threads or available_cores())
    torch.manual_seed(config.seed)
    captions = read_splits(data, config, layout=None, images=None)
    tokenizer = learn_tokenizer([c for image in captions.train for c in image.captions], config)
    backbone = load_backbone(config.image_encoder, Path(config.backbone_weights))
    loader = InputLoader(backbone, config, cache, lambda *_: None)
    inputs = loader.load(captions, tokenizer)
    model = build_model(
        config,
        features=backbone.dim,
        vocabulary_size=tokenizer.get_vocab_size(),
        backbone=None,
    )
    if inputs.train_features is not None:
        model.head.normalize.fit(inputs.train_features)
    file.unlink(missing_ok=True)
    Trainer(config, model, inputs.train, inputs.dev, Lines(file), lambda *_: None).run()


def summary(folder: Path) -> None:
    """Print the best epoch of every run, and mean and spread over seeds."""
    runs: dict[str, list[float]] = {}
    print("| run | best rsum | epoch | i2t R@1/5/10 | t2i R@1/5/10 | CPU-s to 240.3 | CPU-s |")
    print("|---|---|---|---|---|---|---|")
    for file in sorted(folder.glob("*.jsonl")):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        best = max(records, key=lambda record: record["rsum"])
        reached = [r["cpu_seconds"] for r in records if r["rsum"] >= REFERENCE_RSUM]
        recalls = [
            "/".join(f"{best[d][k]:.1f}" for k in ("r1", "r5", "r10")) for d in ("i2t", "t2i")
        ]
        print(
            f"| {file.stem} | {best['rsum']:.1f} | {best['epoch']} of {len(records)} | "
            f"{recalls[0]} | {recalls[1]} | {reached[0] if reached else '-'} | "
            f"{records[-1]['cpu_seconds']:.0f} |"
        )
        runs.setdefault(file.stem.rpartition("-")[0], []).append(best["rsum"])
    for name, rsums in runs.items():
        spread = f" ± {statistics.stdev(rsums):.1f}" if len(rsums) > 1 else ""
        print(
            f"{name}: {statistics.mean(rsums):.1f}{spread} over {len(rsums)} seed(s), "
            f"{statistics.mean(rsums) / REFERENCE_RSUM:.3f} x the reference"
        )


def main() -> None:
    """Parse, then train or summarise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED / "flickr8k")
    parser.add_argument("--weights", type=Path, default=SHARED / "backbones" / WEIGHTS)
    parser.add_argument("--encoder", default="timm:mobilenetv2_100")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="", help="added to the file name of a variant")
    parser.add_argument("--output", type=Path, default=Path("build/flickr8k"))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--summary", action="store_true")
    asked = parser.parse_args()
    if asked.summary:
        summary(asked.output)
        return
    if not asked.data.is_dir():
        print(f"skipped: no photos at {asked.data}; set MMSEARCH_TEST_DATA, or name the folder")
        return
    config = preset(asked.preset, seed=asked.seed, image_encoder=asked.encoder)
    settings: dict[str, Any] = {"backbone_weights": str(asked.weights)}
    for pair in asked.set:
        key, _, value = pair.partition("=")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    config = with_settings(config, settings)
    asked.output.mkdir(parents=True, exist_ok=True)
    name = "-".join(part for part in (asked.preset, asked.name, str(asked.seed)) if part)
    run(config, asked.data, asked.output / "cache", asked.output / f"{name}.jsonl")


if __name__ == "__main__":
    main()
