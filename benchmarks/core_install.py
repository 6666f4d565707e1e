"""Install mmsearch without extras into a fresh environment: seconds, megabytes, does it work?

    python benchmarks/core_install.py

builds the wheel of this checkout and installs it with pip, from the package index that pip is
set up for. Bytes are those of all installed files, pip itself not; with and without the compiled
modules, which pip writes when it installs and other installers leave to the first start.
In the environment a few drawn pictures are indexed and asked for with the bundled model.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import ROOT, WORK, Facts, FailedError, keep, machine, measure, say, seconds, size

PLACE = WORK / "core"
TARGET = 240_000_000
"""Bytes, FAISS apart."""
_FAISS = "faiss-cpu"
_NOT_OURS = ("pip", "setuptools", "wheel")

_WEIGH = """
import importlib.metadata, json, sys
weights = {}
for found in importlib.metadata.distributions(path=sys.argv[1:]):
    files = {file.locate().resolve() for file in found.files or ()}
    sizes = [(f.stat().st_size, f.suffix == ".pyc") for f in files if f.exists()]
    compiled = sum(size for size, made in sizes if made)
    weights[found.metadata["Name"].lower()] = [sum(size for size, _ in sizes), compiled]
print(json.dumps(weights))
"""
_DRAW = """
import pathlib, sys
from PIL import Image
for colour in ("red", "green", "blue"):
    Image.new("RGB", (320, 240), colour).save(pathlib.Path(sys.argv[1]) / f"{colour}.jpg")
"""


def install(place: Path) -> tuple[Path, float]:
    """Make a new environment with the core; return its folder of programs, and pip's seconds."""
    shutil.rmtree(place, ignore_errors=True)
    say("building the wheel")
    dist = place / "dist"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = dist.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    programs = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    say("installing it")
    began = time.perf_counter()
    subprocess.run([programs / "python", "-m", "pip", "install", "-q", wheel], check=True)
    return programs, time.perf_counter() - began


def weigh(programs: Path) -> dict[str, tuple[int, int]]:
    """Return the bytes of every installed distribution, the heaviest first.

    Of each, those of all files, and those of compiled modules among them.
    """
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    place = _output([programs / "python", "-c", show]).strip()
    found: dict[str, tuple[int, int]]
    found = json.loads(_output([programs / "python", "-c", _WEIGH, place]))
    kept = {name: count for name, count in found.items() if name not in _NOT_OURS}
    return dict(sorted(kept.items(), key=lambda pair: -pair[1][0]))


def try_out(programs: Path) -> Facts:
    """Index three pictures and ask for one; raise FailedError when the answer is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        photos, library = Path(folder) / "photos", Path(folder) / "library"
        photos.mkdir()
        subprocess.run([programs / "python", "-c", _DRAW, photos], check=True)
        mmsearch = programs / "mmsearch"
        subprocess.run([mmsearch, "index", photos, "--library", library], check=True)
        asked = measure([mmsearch, "query", "a red picture", "--json", "--library", library])
    if len(json.loads(asked.output)) != 3:
        raise FailedError(f"the query answers: {asked.output}")
    return {"wall": asked.wall, "peak": asked.peak}


def _output(command: list[str | Path]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Install, weigh, try, keep."""
    argparse.ArgumentParser(description="Install the core alone.").parse_args()
    programs, spent = install(PLACE)
    weights = weigh(programs)
    query = try_out(programs)
    faiss, faiss_compiled = weights.pop(_FAISS)
    rest = sum(count for count, _ in weights.values())
    compiled = sum(count for _, count in weights.values())
    for name, (count, _) in weights.items():
        say(f"  {name:20} {size(count)}")
    say(
        f"installed in {seconds(spent)}: {size(rest + faiss)}, of which FAISS {size(faiss)}; "
        f"a query takes {seconds(query['wall'])}"
    )
    for name, count in (("all else", rest), ("without compiled modules", rest - compiled)):
        say(f"{name} {size(count)} ({'met' if count <= TARGET else 'NOT MET'}: {size(TARGET)})")
    facts = {
        "seconds": spent,
        "faiss": faiss,
        "faiss_compiled": faiss_compiled,
        "rest": rest,
        "compiled": compiled,
        "weights": {name: count for name, (count, _) in weights.items()},
        "query": query,
    }
    keep("core-install", {"machine": machine("pillow", "tokenizers"), **facts})


if __name__ == "__main__":
    main()
