"""Fixtures for the whole suite."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test networks are tiny: one thread is fastest, and runs repeat to the last bit.
# Set before any numeric package loads, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# A shell that puts the suite into the background lets it, and all it starts, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the suite measures and caches, in processes as well, from the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        if "MMSEARCH_CACHE" not in os.environ:
            patch.setenv("MMSEARCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, never part of the repository."""
    default = CHECKOUT.parent / "shared" / "data"
    folder = Path(os.environ.get("MMSEARCH_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(
            f"no real photos at {folder}; set MMSEARCH_TEST_DATA to the folder that has them"
        )
    return folder
