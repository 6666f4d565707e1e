"""What a decoding process and the one that started it say to each other through a socket."""

import socket
import struct
from enum import Enum
from typing import Final

import numpy as np

from mmsearch.core import Photo, Pixels
from mmsearch.retrieval.photo_facts import pack, unpack

HEAD: Final = struct.Struct("!cI")
"""A message: what it is, and how many bytes follow."""
_RESULT: Final = struct.Struct("!IIddd?")
"""Before the pixels: height, width; seconds of reading, of decoding and of preprocessing; whether
facts of the picture follow."""


class Kind(Enum):
    """What a message says; those up to READ go to the process, the others come from it."""

    SETTINGS = b"S"
    GO_ON = b"G"
    READ = b"F"
    READY = b"R"
    DIGEST = b"D"
    LARGE = b"L"
    PIXELS = b"P"
    REASON = b"E"


def send(channel: socket.socket, kind: Kind, body: bytes = b"") -> None:
    """Send one message."""
    channel.sendall(HEAD.pack(kind.value, len(body)) + body)


def receive_exactly(channel: socket.socket, count: int) -> bytearray:
    """Return the next bytes. Raises EOFError when the other end is gone."""
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        got = channel.recv_into(view[at:])
        if not got:
            raise EOFError
        at += got
    return data


def receive(channel: socket.socket) -> tuple[Kind, bytearray]:
    """Return the next message. Raises EOFError as `receive_exactly`, ValueError for nonsense."""
    letter, size = HEAD.unpack(receive_exactly(channel, HEAD.size))
    return Kind(letter), receive_exactly(channel, size)


def pack_answer(pixels: Pixels, photo: Photo | None, seconds: tuple[float, ...]) -> bytes:
    """Return what is sent before the pixels; `seconds` of reading, decoding, preprocessing."""
    facts = b"" if photo is None else pack(photo)
    return _RESULT.pack(*pixels.shape[:2], *seconds, photo is not None) + facts


def unpack_answer(
    body: bytearray, shape: tuple[int, int]
) -> tuple[Pixels, Photo | None, tuple[float, float, float]]:
    """Return pixels of a shape, facts and seconds.

    Raises ValueError or struct.error for what no sound process sends.
    """
    height, width, read, decode, preprocess, has_facts = _RESULT.unpack_from(body)
    photo, at = unpack(body, _RESULT.size) if has_facts else (None, _RESULT.size)
    if (height, width) != shape:
        raise ValueError("pixels of another shape")
    values = np.frombuffer(body, dtype=np.uint8, offset=at)
    return values.reshape(height, width, 3), photo, (read, decode, preprocess)
