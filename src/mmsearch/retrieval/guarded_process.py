"""The process that decodes pictures from anywhere: Pillow and NumPy, no library, no network.

`guard.py` starts it with one end of a socket, and sends a picture at a time as an open file: this
process needs no name of any file and can write none. It is gone when the other end is, or when
it takes more memory or time than `Limits` allow. What it sends back is plain bytes, which
the other end need not trust: numbers, a reason, pixels.
"""

import ctypes
import hashlib
import os
import pickle
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Final

from mmsearch.core import Preprocessing
from mmsearch.errors import DecodeError
from mmsearch.retrieval.decode import Limits, Watch, decode_bytes, read_open
from mmsearch.retrieval.guarded_messages import (
    HEAD,
    Kind,
    pack_answer,
    receive,
    receive_exactly,
    send,
)
from mmsearch.retrieval.photo_facts import Facts

_DIE_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG of prctl(2)
_FIRST_TO_GO: Final = "1000"


class _Permission:
    """Entered when the other end allows: it lets one process at a time decode a large picture."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def __enter__(self) -> None:
        send(self._channel, Kind.LARGE)
        receive(self._channel)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: the answer ends it."""


def serve(channel: socket.socket) -> None:
    """Decode what is asked for until the other end is gone."""
    _, settings = receive(channel)
    preprocessing, limits = pickle.loads(settings)  # from the process that started this one
    confine(limits)
    send(channel, Kind.READY)
    while True:
        file, suffix = _request(channel)
        with file:
            signal.setitimer(signal.ITIMER_PROF, limits.seconds)  # ends the process when it is up
            try:
                _answer(channel, file, suffix, (preprocessing, limits))
            except DecodeError as error:
                send(channel, Kind.REASON, error.reason.encode("utf-8", "replace"))
            signal.setitimer(signal.ITIMER_PROF, 0)


def _request(channel: socket.socket) -> tuple[BufferedReader, str]:
    """Return the file to read and what its name ends with."""
    head, files, _, _ = socket.recv_fds(channel, HEAD.size, 1)
    if not head:
        raise EOFError
    head += receive_exactly(channel, HEAD.size - len(head))
    _, size = HEAD.unpack(head)
    suffix = receive_exactly(channel, size)
    return os.fdopen(files[0], "rb"), os.fsdecode(bytes(suffix))


def _answer(
    channel: socket.socket,
    file: BufferedReader,
    suffix: str,
    settings: tuple[Preprocessing, Limits],
) -> None:
    """Send the digest, then facts and pixels. Raises DecodeError."""
    preprocessing, limits = settings
    began = time.perf_counter()
    data = read_open(file, limits)
    read = time.perf_counter() - began
    send(channel, Kind.DIGEST, hashlib.sha256(data).hexdigest().encode())
    facts = Facts(data, suffix)
    watch = Watch(large=_Permission(channel), look=facts.look)
    began = time.thread_time()
    pixels = decode_bytes(data, preprocessing, limits, suffix=suffix, watch=watch)
    preprocess = time.thread_time() - watch.loaded
    decode = watch.loaded - began
    head = pack_answer(pixels, facts.photo, (read, decode, preprocess))
    channel.sendall(HEAD.pack(Kind.PIXELS.value, len(head) + pixels.nbytes) + head)
    channel.sendall(pixels.data)


def confine(limits: Limits) -> None:
    """Take from this process what a decoder does not need.

    It writes no files, not even a core, and has `limits.memory` beside what it has loaded. When
    the machine's memory ends it is the first to go.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space() + limits.memory
    if hard == resource.RLIM_INFINITY or most < hard:
        with suppress(OSError, ValueError):  # some systems have no such limit
            resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _address_space() -> int:
    """Return the bytes of address space in use."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return 1 << 30
    return pages * resource.getpagesize()


def die_with_parent(parent: int) -> None:
    """Ask the system to end this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        raise EOFError


def main() -> None:
    """Serve the socket whose descriptor is the first argument; the second is the parent's id."""
    if len(sys.argv) != 3:
        raise SystemExit("this process is started by mmsearch, to decode pictures; it works")
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        die_with_parent(int(sys.argv[2]))
        with socket.socket(fileno=int(sys.argv[1])) as channel:
            serve(channel)


if __name__ == "__main__":
    main()
