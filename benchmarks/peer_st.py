"""sentence-transformers, the peer as a Python library: installed apart, beside the project's torch.

Its model is a CLIP ViT-B/32 at 224 pixels of random weights, saved to a folder by transformers;
the same folder is what mmsearch converts. Its scripts are those of its documentation: load the
model, encode pictures or a sentence, look for the nearest with `util.semantic_search`.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
from measuring import ROOT, Run, measure, say
from networks import FOLDER, move_into_the_libraries_space

from mmsearch.core import Vectors
from mmsearch.retrieval.folder import MODEL_FILE, ModelFolder, read_model_folder

PACKAGES = ROOT / "build" / "sentence-transformers"
VERSION = "6.2.0"
THEIRS = FOLDER / "transformers"
OURS = FOLDER / "transformers-converted"
_BESIDE = ("scikit-learn", "scipy", "joblib", "threadpoolctl", "narwhals", "cloudpickle")
_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
_START, _END = "<|startoftext|>", "<|endoftext|>"

_QUERY = """
import sys
import numpy as np
from sentence_transformers import SentenceTransformer, util
model = SentenceTransformer(sys.argv[1], device="cpu")
found = util.semantic_search(model.encode(sys.argv[2]), np.load(sys.argv[3]), top_k=10)[0]
paths = open(sys.argv[4]).read().split("\\n")
for hit in found:
    print(f"{hit['score']:.3f}\\t{paths[hit['corpus_id']]}")
"""
_ENCODE = """
import pathlib, sys, time
from PIL import Image
from sentence_transformers import SentenceTransformer
files = sorted(pathlib.Path(sys.argv[2]).rglob("*.jpg"))
model = SentenceTransformer(sys.argv[1], device="cpu")
began = time.perf_counter()
for start in range(0, len(files), 32):
    pictures = [Image.open(file) for file in files[start : start + 32]]
    model.encode(pictures, batch_size=32)
print(len(files) / (time.perf_counter() - began))
"""


def install() -> None:
    """Install sentence-transformers and what the project lacks of its needs, unless there."""
    if not (PACKAGES / "sentence_transformers").exists():
        say(f"installing sentence-transformers {VERSION} into {PACKAGES.relative_to(ROOT)}")
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", PACKAGES]
        subprocess.run([*pip, f"sentence-transformers=={VERSION}", *_BESIDE], check=True)


def their_folder() -> Path:
    """Return the folder of the random model as transformers saves it, made unless it is there."""
    if not (THEIRS / "config.json").exists():
        _make_theirs()
    return THEIRS


def our_folder() -> ModelFolder:
    """Return the same model as `models add` makes it, made unless it is there."""
    if not (OURS / MODEL_FILE).exists():
        from mmsearch.retrieval.convert.hf_source import load_hf
        from mmsearch.retrieval.convert.source import write_source
        from mmsearch.retrieval.optimise import optimise_folder

        say("converting the model")
        OURS.mkdir(parents=True, exist_ok=True)
        write_source(load_hf(their_folder()), OURS)
        move_into_the_libraries_space(OURS)
        optimise_folder(OURS)
    return read_model_folder(OURS)


def query(text: str, vectors: Path, paths: Path) -> Run:
    """Ask one question in a process of its own, of saved vectors (n, dim) and their paths."""
    return _script(_QUERY, str(their_folder()), text, str(vectors), str(paths))


def encode(photos: Path) -> tuple[float, Run]:
    """Encode a folder of pictures; return pictures a second, the model's loading left out."""
    run = _script(_ENCODE, str(their_folder()), str(photos))
    return float(run.output.split()[-1]), run


def save(vectors: Vectors, paths: list[str], place: Path) -> tuple[Path, Path]:
    """Write what `query` reads; return both files."""
    place.mkdir(parents=True, exist_ok=True)
    np.save(place / "vectors.npy", vectors)
    (place / "paths.txt").write_text("\n".join(paths), encoding="utf-8")
    return place / "vectors.npy", place / "paths.txt"


def _script(program: str, *arguments: str) -> Run:
    offline = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PACKAGES)}
    return measure([sys.executable, "-c", program, *arguments], env=offline)


def _make_theirs() -> None:
    import open_clip
    import torch
    import transformers

    from mmsearch.retrieval.clip_tokenizer import read_byte_pairs

    say("making a randomly initialised CLIP of transformers")
    pairs = read_byte_pairs(Path(open_clip.__file__).with_name(_VOCABULARY))
    places = {"<start_of_text>": _START, "<end_of_text>": _END}
    words = {places.get(word, word): number for word, number in pairs.ids.items()}
    tokenizer = transformers.CLIPTokenizer(
        vocab=words, merges=list(pairs.merges), model_max_length=77
    )
    ends = {"bos_token_id": words[_START], "eos_token_id": words[_END]}
    config = transformers.CLIPConfig(text_config={**ends, "pad_token_id": words[_END]})
    torch.manual_seed(0)
    THEIRS.mkdir(parents=True, exist_ok=True)
    transformers.CLIPModel(config).save_pretrained(THEIRS)
    processor = transformers.CLIPProcessor(transformers.CLIPImageProcessor(), tokenizer)
    processor.save_pretrained(THEIRS)
