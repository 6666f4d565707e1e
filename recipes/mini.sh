#!/usr/bin/env bash
# Train the bundled model and put it in its place:  recipes/mini.sh DATA [RUN]
# DATA is a folder with captions_train.csv, captions_dev.csv and images/ (Flickr8k).
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?usage: recipes/mini.sh DATA [RUN]}
run=${2:-runs/mini}
.venv/bin/mmsearch train "$data" --config recipes/mini.toml --output "$run"
.venv/bin/mmsearch evaluate "$run" "$data" --split dev
for file in model.json image.onnx text.onnx tokenizer.json README.md; do
    cp "$run/model/$file" src/mmsearch/models/mini/
done
