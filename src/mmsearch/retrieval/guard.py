"""Decode pictures in processes of their own, so that no file can end the run.

A decoder in C that meets a file made to break it may crash, loop, or take all memory. Here it does
so in a process (`guarded_process.py`) that has nothing to lose: the file is a failure with a
reason, and the next one is decoded by a new process.
"""

import json
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Self

from mmsearch.core import Photo, Pixels, Preprocessing
from mmsearch.errors import MMSearchError
from mmsearch.retrieval.decode import Limits
from mmsearch.retrieval.guarded_messages import HEAD, Kind, receive, send, unpack_answer

_START: Final = (
    "import json, sys; sys.path += json.loads(sys.argv.pop()); "
    "from mmsearch.retrieval.guarded_process import main; main()"
)
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_START_SECONDS: Final = 60.0
_STARTS: Final = 3
"""So often a process is started that something outside ends before it can work."""
_CLOCK: Final = 5
"""By the clock a picture may take so many times its seconds of a processor."""
_FROM_OUTSIDE: Final = (-signal.SIGKILL, -signal.SIGTERM)
_DEFECTIVE: Final = (EOFError, OSError, ValueError, struct.error)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of one file.

    `digest`: hex SHA-256, None when not even its bytes could be read; `pixels` and `photo` (what
    the file says of the picture) None: see `reason`. `read` in seconds by the clock, `decode` and
    `preprocess` in those of a processor.
    """

    digest: str | None = None
    pixels: Pixels | None = None
    reason: str = ""
    read: float = 0.0
    decode: float = 0.0
    preprocess: float = 0.0
    photo: Photo | None = None


class _DiedError(Exception):
    """The process ended, or was ended, before it answered."""

    def __init__(self, reason: str, digest: str | None, *, again: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.digest = digest
        self.again = again


class GuardedDecoder:
    """Decodes files in as many processes as threads ask at once; each starts when it is needed.

    A thread that asks must live as long as the decoder: the system ends a process with the
    thread that started it.
    """

    def __init__(self, preprocessing: Preprocessing, limits: Limits) -> None:
        self._preprocessing = preprocessing
        self._limits = limits
        self._large = Lock()
        self._changing = Lock()
        self._all: set[_Process] = set()
        self._idle: list[_Process] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def decode(self, file: int, suffix: str) -> Decoded:
        """Read, digest, decode and resize an open file, given by its descriptor.

        `suffix` is what its name ends with. Whatever is wrong with the file is in the result.
        Raises MMSearchError when no process can be started.
        """
        try:
            return self._once(file, suffix)
        except _DiedError as death:
            if not death.again:
                return Decoded(death.digest, reason=death.reason)
        try:  # perhaps neither the file nor the decoder was to blame
            os.lseek(file, 0, os.SEEK_SET)
            return self._once(file, suffix)
        except OSError as error:
            return Decoded(reason=(error.strerror or "unreadable").lower())
        except _DiedError as death:
            return Decoded(death.digest, reason=death.reason)

    def processes(self) -> list[int]:
        """Return the ids of the processes at hand."""
        with self._changing:
            return sorted(process.id for process in self._all)

    def close(self) -> None:
        """End all processes, busy or not; threads that wait for one get a failure."""
        with self._changing:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = self._all.difference(idle)
        for process in busy:
            process.kill()  # the thread that waits for it does the rest
        for process in idle:
            self._discard(process)

    def _once(self, file: int, suffix: str) -> Decoded:
        process = self._borrow()
        try:
            decoded = process.ask(file, suffix)
        except _DiedError:
            self._discard(process)
            raise
        with self._changing:
            self._idle.append(process)
            closed = self._closed
        if closed:
            self.close()
        return decoded

    def _borrow(self) -> "_Process":
        with self._changing:
            if self._idle:
                return self._idle.pop()
            closed = self._closed
        if not closed:
            process = self._started(_STARTS)
            with self._changing:
                self._all.add(process)
                closed = self._closed
            if not closed:
                return process
            self._discard(process)
        raise _DiedError("the run was ended", None, again=False)

    def _started(self, tries: int) -> "_Process":
        """Return a new process. Raises MMSearchError when none can be started."""
        try:
            return _Process(self._preprocessing, self._limits, self._large)
        except _DiedError as death:
            if death.again and tries > 1:
                return self._started(tries - 1)
            raise _not_started(death.reason) from death

    def _discard(self, process: "_Process") -> None:
        with self._changing:
            self._all.discard(process)
        process.end()


class _Process:
    """A decoding process and the socket that leads to it. Raises _DiedError if it cannot start."""

    def __init__(self, preprocessing: Preprocessing, limits: Limits, large: Lock) -> None:
        self._shape = preprocessing.size
        self._limits = limits
        self._large = large
        ours, theirs = socket.socketpair()
        self._channel = ours
        with theirs:
            try:
                self._process = _spawn(theirs.fileno())
            except OSError as error:
                ours.close()
                reason = error.strerror or "no reason known"
                raise _DiedError(reason, None, again=False) from error
        self._greet(pickle.dumps((preprocessing, limits)))
        ours.settimeout(_CLOCK * limits.seconds)

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    def ask(self, file: int, suffix: str) -> Decoded:
        """Return what came of an open file. Raises _DiedError."""
        digest: str | None = None
        try:
            self._send(file, os.fsencode(suffix))
            while True:
                kind, body = receive(self._channel)
                match kind:
                    case Kind.DIGEST:
                        digest = body.decode("ascii")
                    case Kind.LARGE:
                        with self._large:
                            send(self._channel, Kind.GO_ON)
                            kind, body = receive(self._channel)
                        return self._result(digest, kind, body)
                    case _:
                        return self._result(digest, kind, body)
        except TimeoutError as error:
            allowed = _CLOCK * self._limits.seconds
            reason = f"takes longer than {allowed:g} s to read and decode"
            raise _DiedError(reason, digest, again=True) from error
        except _DEFECTIVE as error:
            reason, again = self._cause_of_death()
            raise _DiedError(reason, digest, again=again) from error

    def kill(self) -> None:
        """End the process at once; who waits for its answer learns that it died."""
        self._process.kill()

    def end(self) -> None:
        """End the process and forget it."""
        self.kill()
        with suppress(subprocess.TimeoutExpired):  # it hangs in a disk that does not answer
            self._process.wait(1.0)
        self._channel.close()

    def _greet(self, settings: bytes) -> None:
        self._channel.settimeout(_START_SECONDS)
        try:
            send(self._channel, Kind.SETTINGS, settings)
            receive(self._channel)
        except _DEFECTIVE as error:
            reason, again = self._cause_of_death()
            self.end()
            raise _DiedError(reason, None, again=again) from error

    def _send(self, file: int, suffix: bytes) -> None:
        head = HEAD.pack(Kind.READ.value, len(suffix))
        socket.send_fds(self._channel, [head + suffix], [file])

    def _result(self, digest: str | None, kind: Kind, body: bytearray) -> Decoded:
        """Return a result; ValueError for one that no sound process gives."""
        if kind is Kind.REASON:
            return Decoded(digest, reason=body.decode("utf-8", "replace"))
        if kind is not Kind.PIXELS or digest is None:
            raise ValueError
        pixels, photo, seconds = unpack_answer(body, self._shape)
        return Decoded(digest, pixels, "", *seconds, photo)

    def _cause_of_death(self) -> tuple[str, bool]:
        """Return the reason for a failure, and whether another try is worth it."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the decoder gave a senseless answer", False
        if code == -signal.SIGPROF:
            return f"takes longer than {self._limits.seconds:g} s to decode", False
        if code in _FROM_OUTSIDE:
            return "the decoder was ended from outside (no memory left?)", True
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return f"the decoder crashed ({name})", False


def _spawn(channel: int) -> "subprocess.Popen[bytes]":
    """Start a process that inherits one descriptor and no lock.

    In a process group of its own no Ctrl-C reaches it; a session of its own would also take it
    out of the run's share of the processors, and `nice` would not count. It looks for modules
    in Python's own library first, whatever else has their names.
    """
    package = str(Path(__file__).resolve().parents[2])
    places = json.dumps([package, *(os.path.abspath(place) for place in sys.path)])  # noqa: PTH100
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _START, str(channel), str(os.getpid()), places],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # libraries in C write about damaged files
        pass_fds=(channel,),
        process_group=0,
        cwd="/",
        env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
    )


def _not_started(reason: str) -> MMSearchError:
    return MMSearchError(
        f"cannot start the process that decodes pictures: {reason}; see what "
        "`python -m mmsearch.retrieval.guarded_process` says"
    )
