"""A picture's file as a term of a question."""

import os
from hashlib import sha256

from mmsearch.core import ImageTerm, Preprocessing
from mmsearch.errors import DecodeError
from mmsearch.retrieval.decode import decode_bytes, read_bytes, shown
from mmsearch.retrieval.files import AnyPath


def picture_term(file: AnyPath, preprocessing: Preprocessing, weight: float = 1.0) -> ImageTerm:
    """Read a picture for an encoder, with the digest of its file. Raises DecodeError."""
    try:
        data = read_bytes(file)
        suffix = os.path.splitext(os.fsdecode(file))[1]  # noqa: PTH122 - a path may be bytes
        pixels = decode_bytes(data, preprocessing, suffix=suffix)
    except DecodeError as error:
        raise DecodeError(error.reason, shown(file)) from error
    return ImageTerm(pixels, weight, sha256(data).hexdigest())
