"""Decoding in guarded processes: crashes, loops and bombs end a process and never the run."""

import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.retrieval import hostile
from tests.retrieval.conftest import counts
from tests.retrieval.drawing import BLUE, RED, draw
from tests.retrieval.fakes import FakeEncoder

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.errors import MMSearchError
from mmsearch.index.catalog import Catalog
from mmsearch.retrieval import guard
from mmsearch.retrieval.decode import Limits, decode
from mmsearch.retrieval.guard import Decoded, GuardedDecoder
from mmsearch.retrieval.ingest import IngestOptions, ingest

CHECKOUT = Path(__file__).resolve().parents[2]
PREPROCESSING = Preprocessing(
    (32, 32), Resize.CROP, Interpolation.BICUBIC, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def decoder() -> Iterator[GuardedDecoder]:
    with GuardedDecoder(PREPROCESSING, Limits()) as decoder:
        yield decoder


def ask(decoder: GuardedDecoder, path: Path) -> Decoded:
    with path.open("rb") as file:
        return decoder.decode(file.fileno(), path.suffix)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about within 20 s"
        time.sleep(0.01)


def gone(process: int) -> bool:
    """Say whether a process has ended, if not been waited for."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def slow_picture(path: Path, side: int = 3000) -> Path:
    """Write a sound picture that takes a good part of a second to unpack."""
    rows = np.zeros((side, 3 * side + 1), dtype=np.uint8)
    rows[:, 1:] = np.arange(3 * side, dtype=np.uint16).astype(np.uint8)
    rows[:, 0] = 4  # the filter that costs most
    path.write_bytes(hostile.png(side, side, data=zlib.compress(rows.tobytes(), 1)))
    return path


def test_what_comes_back_is_what_decoding_here_gives(
    decoder: GuardedDecoder, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    hostile.noise(200).save(path, quality=90)
    found = ask(decoder, path)
    assert found.pixels is not None
    assert np.array_equal(found.pixels, decode(path, PREPROCESSING))
    assert found.digest is not None
    assert len(bytes.fromhex(found.digest)) == 32
    assert found.decode + found.preprocess > 0


def test_a_broken_file_is_a_reason_and_costs_no_process(
    decoder: GuardedDecoder, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing of the kind")
    found = ask(decoder, tmp_path / "a.png")
    assert (found.pixels, found.reason[:13]) == (None, "not a picture")
    assert found.digest is not None
    before = decoder.processes()
    assert ask(decoder, draw(tmp_path / "b.png")).pixels is not None
    assert decoder.processes() == before


def test_the_process_knows_pillow_and_numpy_and_nothing_else(tmp_path: Path) -> None:
    script = (
        "import sys; from mmsearch.retrieval import guarded_process; "
        "from mmsearch.retrieval.decode import decode; "
        f"decode({str(draw(tmp_path / 'a.png'))!r}, None); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names)
    own = {name for name in loaded if not name.startswith(("_", "cython", "sitecustomize"))}
    assert own == {"mmsearch", "numpy", "PIL"}


def test_a_picture_that_takes_too_long_is_a_failure_and_the_next_is_read(tmp_path: Path) -> None:
    with GuardedDecoder(PREPROCESSING, Limits(seconds=0.05)) as decoder:
        found = ask(decoder, slow_picture(tmp_path / "slow.png"))
        assert found.reason == "takes longer than 0.05 s to decode"
        assert found.digest is not None
        assert ask(decoder, draw(tmp_path / "quick.png")).pixels is not None


def test_a_file_that_never_ends_to_be_read_is_a_failure(tmp_path: Path) -> None:
    with GuardedDecoder(PREPROCESSING, Limits(seconds=0.05)) as decoder:
        read, write = os.pipe()  # nobody writes
        try:
            found = decoder.decode(read, ".png")
        finally:
            os.close(read)
            os.close(write)
        assert found.pixels is None
        assert found.reason
        assert ask(decoder, draw(tmp_path / "quick.png")).pixels is not None


def test_a_picture_that_takes_too_much_memory_is_a_failure(tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    Image.new("RGB", (8000, 6000)).save(picture)  # 192 MB unpacked, 145 kB on disk
    with GuardedDecoder(PREPROCESSING, Limits(memory=100_000_000)) as decoder:
        found = ask(decoder, picture)
        assert "memory" in found.reason
        assert ask(decoder, draw(tmp_path / "small.png")).pixels is not None
    with GuardedDecoder(PREPROCESSING, Limits(memory=1_000_000_000)) as decoder:
        assert ask(decoder, picture).pixels is not None


def kill_when_busy(decoder: GuardedDecoder, how: signal.Signals) -> None:
    wait_for(lambda: bool(decoder.processes()))
    (process,) = decoder.processes()
    time.sleep(0.3)
    os.kill(process, how)


def test_a_crash_is_a_failure_that_names_its_signal(
    decoder: GuardedDecoder, tmp_path: Path
) -> None:
    slow = slow_picture(tmp_path / "slow.png", 6000)
    ask(decoder, draw(tmp_path / "first.png"))
    killer = threading.Thread(target=kill_when_busy, args=(decoder, signal.SIGSEGV))
    killer.start()
    found = ask(decoder, slow)
    killer.join()
    assert found.reason == "the decoder crashed (SIGSEGV)"
    assert ask(decoder, tmp_path / "first.png").pixels is not None


def test_what_was_killed_from_outside_is_tried_once_more(
    decoder: GuardedDecoder, tmp_path: Path
) -> None:
    slow = slow_picture(tmp_path / "slow.png", 6000)
    ask(decoder, draw(tmp_path / "first.png"))
    before = decoder.processes()
    killer = threading.Thread(target=kill_when_busy, args=(decoder, signal.SIGKILL))
    killer.start()
    found = ask(decoder, slow)
    killer.join()
    assert found.pixels is not None
    assert decoder.processes() != before


def test_many_crashes_leave_no_processes_behind(tmp_path: Path) -> None:
    slow = slow_picture(tmp_path / "slow.png", 1500)
    with GuardedDecoder(PREPROCESSING, Limits(seconds=0.01)) as decoder:
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda _: ask(decoder, slow), range(12)))
            assert {each.pixels is None for each in found} == {True}
            assert len(decoder.processes()) <= 2
        children = decoder.processes()
    assert decoder.processes() == []
    assert all(map(gone, children))


def test_large_pictures_are_decoded_one_at_a_time(tmp_path: Path) -> None:
    picture = tmp_path / "large.png"
    Image.new("L", (8200, 8200)).save(picture)
    with GuardedDecoder(PREPROCESSING, Limits()) as decoder, ThreadPoolExecutor(2) as pool:
        with decoder._large:
            waiting = [pool.submit(ask, decoder, picture) for _ in range(2)]
            time.sleep(0.5)
            assert not any(future.done() for future in waiting)
        assert all(future.result().pixels is not None for future in waiting)


@LINUX
def test_a_process_inherits_nothing_and_can_write_nothing(
    decoder: GuardedDecoder, tmp_path: Path
) -> None:
    with Catalog.open(tmp_path / "library", write=True):
        ask(decoder, draw(tmp_path / "a.png"))
        (process,) = decoder.processes()
        os.kill(process, signal.SIGSTOP)  # its list of files stands still
        files = [path.readlink() for path in Path(f"/proc/{process}/fd").iterdir()]
        os.kill(process, signal.SIGCONT)
        limits = Path(f"/proc/{process}/limits").read_text(encoding="ascii")
    files = [file for file in files if file != tmp_path / "a.png"]  # it may be about to close it
    assert {str(file).partition(":")[0] for file in files} == {"/dev/null", "socket"}
    assert sum(str(file).startswith("socket") for file in files) == 1
    (line,) = (line for line in limits.splitlines() if line.startswith("Max file size"))
    assert line.split()[3:5] == ["0", "0"]


PARENT = """
import sys, time
from pathlib import Path
from tests.retrieval.test_guard import PREPROCESSING, ask
from mmsearch.retrieval.decode import Limits
from mmsearch.retrieval.guard import GuardedDecoder

decoder = GuardedDecoder(PREPROCESSING, Limits())
ask(decoder, Path(sys.argv[1]))
print(*decoder.processes(), flush=True)
ask(decoder, Path(sys.argv[2]))
"""


@LINUX
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_process_is_gone_when_its_parent_is_killed(tmp_path: Path, busy: bool) -> None:
    small = draw(tmp_path / "small.png")
    other = slow_picture(tmp_path / "slow.png", 9000) if busy else small
    command = [sys.executable, "-c", PARENT, str(small), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as parent:
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        parent.kill()
    began = time.monotonic()
    wait_for(lambda: gone(process))
    assert time.monotonic() - began < 2


def test_ctrl_c_does_not_reach_the_process(decoder: GuardedDecoder, tmp_path: Path) -> None:
    ask(decoder, draw(tmp_path / "a.png"))
    (process,) = decoder.processes()
    assert os.getpgid(process) == process != os.getpgid(0)
    assert os.getsid(process) == os.getsid(0)  # one share of the processors, one `nice`


def test_closing_ends_a_process_that_is_busy(tmp_path: Path) -> None:
    decoder = GuardedDecoder(PREPROCESSING, Limits())
    ask(decoder, draw(tmp_path / "a.png"))
    (process,) = decoder.processes()
    slow = slow_picture(tmp_path / "slow.png", 9000)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, decoder, slow)
        time.sleep(0.2)
        decoder.close()
        assert waiting.result().pixels is None
    assert gone(process)
    assert ask(decoder, tmp_path / "a.png").reason == "the run was ended"


def test_modules_with_the_names_of_python_s_own_are_passed_over(
    decoder: GuardedDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hashlib", "pathlib", "struct"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert ask(decoder, draw(tmp_path / "a.png")).pixels is not None


def test_a_process_that_cannot_start_is_one_error(
    decoder: GuardedDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_START", "raise SystemExit(3)")
    with pytest.raises(MMSearchError, match="exit status 3"):
        ask(decoder, draw(tmp_path / "a.png"))
    assert decoder.processes() == []


def test_a_process_that_is_ended_while_it_starts_is_started_again(
    decoder: GuardedDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = str(tmp_path / "killed")
    once = (
        f"import os; first = not os.path.exists({mark!r}); open({mark!r}, 'w').close(); "
        "first and os.kill(os.getpid(), 9); "
    )
    monkeypatch.setattr(guard, "_START", once + guard._START)
    assert ask(decoder, draw(tmp_path / "a.png")).pixels is not None
    monkeypatch.setattr(guard, "_START", "import os; os.kill(os.getpid(), 9)")
    with GuardedDecoder(PREPROCESSING, Limits()) as other:
        with pytest.raises(MMSearchError, match="ended from outside"):
            ask(other, tmp_path / "a.png")
        assert other.processes() == []


def test_the_run_goes_on_after_a_decoder_that_does_not(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    draw(folder / "a.png", RED)
    draw(folder / "z.png", BLUE)
    slow_picture(folder / "slow.png")
    Image.new("RGB", (8000, 6000)).save(folder / "large.png")
    limits = Limits(seconds=0.1, memory=100_000_000)
    report = ingest(catalog, FakeEncoder(), [folder], IngestOptions(limits=limits))
    assert report.as_dict() == counts(new=2, failed=2, encoded=2)
    reasons = {Path(os.fsdecode(f.path)).name: f.reason for f in catalog.failures()}
    assert "longer than" in reasons["slow.png"]
    assert "memory" in reasons["large.png"] or "longer than" in reasons["large.png"]
    again = ingest(catalog, FakeEncoder(), [folder], IngestOptions(limits=limits))
    assert again.as_dict() == counts(unchanged=2, failed=2)
