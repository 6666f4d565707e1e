"""What an ONNX network takes and gives, found by looking at it and by running it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mmsearch.errors import ModelError
from mmsearch.retrieval.tower import Setting, Tower

ONE_THREAD: Final = Setting(threads=1)
EMBEDDINGS: Final = (
    "image_embeds",
    "text_embeds",
    "embedding",
    "embeddings",
    "image_embeddings",
    "text_embeddings",
    "output",
    "sentence_embedding",
    "pooler_output",
)
"""Names that outputs with the embedding have, the surest first."""


class Probe(Tower):
    """A network that is asked what it gives."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, 0, ONE_THREAD)

    def axis(self, rank: int, number: int) -> int | None:
        """Return an axis of the first input of some rank, when the graph states it."""
        return next((i.shape[number] for i in self.inputs if len(i.shape) == rank), None)

    def widths(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, int]:
        """Return the width of every output that is a row of numbers for each row of input."""
        ready = {each.name: self._fitting(feed[each.name], each) for each in self.inputs}
        count = len(next(iter(ready.values())))
        names = [node.name for node in self._session.get_outputs()]
        try:
            outputs = self._session.run(names, ready)
        except self._failures as error:
            reason = str(error).splitlines()[0][:200]
            raise ModelError(f"the network {self._file} failed: {reason}") from error
        return {
            name: output.shape[1]
            for name, output in zip(names, outputs, strict=True)
            if getattr(output, "ndim", 0) == 2
            and len(output) == count
            and np.issubdtype(output.dtype, np.floating)
        }


def choose_outputs(image: Mapping[str, int], text: Mapping[str, int]) -> tuple[str, str, int]:
    """Return the outputs that are the embeddings, and their width, from the widths by name.

    Raises ModelError when no two have the same width.
    """
    for one in sorted(image, key=_preference):
        for other in sorted(text, key=_preference):
            if image[one] == text[other]:
                return one, other, image[one]
    raise ModelError(
        "the networks give no vectors of the same width (pictures: "
        f"{_widths(image)}; text: {_widths(text)}); they may lack their projections"
    )


def _preference(name: str) -> tuple[int, str]:
    return (EMBEDDINGS.index(name) if name in EMBEDDINGS else len(EMBEDDINGS), name)


def _widths(outputs: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {width}" for name, width in outputs.items()) or "none"
