"""The network at work beside everything else: batches are encoded in threads of their own."""

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil
from typing import Final, Protocol, runtime_checkable

from mmsearch.core import Encoder, Modality, Pixels, Space, Vectors

_SMALLEST_SHARE: Final = 4
_LEAST_AHEAD: Final = 32


@runtime_checkable
class SideBySide(Protocol):
    """An encoder that several threads may call at once, each with a share of the processors."""

    @property
    def lanes(self) -> int:
        """How many batches of pictures are best encoded at once."""
        ...

    def load_images(self) -> None:
        """Load the network of pictures unless it is there. Raises ModelError."""
        ...


@runtime_checkable
class Tried(Protocol):
    """An encoder whose networks load when they are first used, and can be tried before."""

    def seconds(self, tower: Modality, count: int, /) -> float:
        """Return the seconds that a batch of drawn pictures takes. Raises ModelError."""
        ...

    def try_texts(self) -> None:
        """Encode a drawn sentence, and let go of the network again. Raises ModelError."""
        ...


def try_networks(encoder: Encoder, *, images: bool) -> None:
    """Run the networks of an encoder, that of pictures if `images`, to see that they can be used.

    Raises ModelError when one cannot.
    """
    if isinstance(encoder, Tried):
        encoder.try_texts()
        if images:
            encoder.seconds(Modality.IMAGE, 1)


def lanes(encoder: Encoder) -> int:
    """Return how many batches of pictures an encoder takes at once."""
    return max(1, encoder.lanes) if isinstance(encoder, SideBySide) else 1


class Network:
    """An encoder that works in the background, on at most `lanes` batches at once.

    `batch`: the most pictures in one; `total`: how many are expected. Loading begins at once.
    """

    def __init__(self, encoder: Encoder, batch: int, total: int) -> None:
        self.lanes = lanes(encoder)
        self._encoder = encoder
        self._batch = batch
        self._left = total
        self._pool = ThreadPoolExecutor(self.lanes, thread_name_prefix="mmsearch-encode")
        if isinstance(encoder, SideBySide):
            self._pool.submit(encoder.load_images)  # what fails here fails again with a batch

    @property
    def space(self) -> Space:
        """The space that the vectors belong to."""
        return self._encoder.space

    @property
    def ahead(self) -> int:
        """How many pictures should be ready before they are wanted: two batches, or all lanes'.

        Small batches get more, so that decoding goes on while the network is loaded.
        """
        return max(max(self.lanes, 2) * self._batch, _LEAST_AHEAD)

    def wanted(self) -> int:
        """Return how many pictures the next batch should have.

        Towards the end they get smaller, so that all lanes end at about the same time.
        """
        share = max(ceil(self._left / self.lanes), _SMALLEST_SHARE)
        return min(self._batch, share)

    def passed(self, count: int) -> None:
        """Take note that so many of the expected pictures have been dealt with."""
        self._left -= count

    def encode(self, images: Sequence[Pixels]) -> Future[tuple[Vectors, float]]:
        """Begin to encode a batch; vectors, one a picture, and the seconds it took."""
        return self._pool.submit(self._encode, images)

    def close(self) -> None:
        """End the threads; what has begun ends first."""
        self._pool.shutdown(cancel_futures=True)

    def _encode(self, images: Sequence[Pixels]) -> tuple[Vectors, float]:
        began = time.monotonic()
        return self._encoder.encode_images(images), time.monotonic() - began
