"""What an exported file says of itself: the space of its vectors, as JSON."""

import json
from typing import Any

from mmsearch.core import Space
from mmsearch.errors import InputError
from mmsearch.retrieval.transfer.records import FORMAT, Manifest


def manifest_text(manifest: Manifest, more: dict[str, Any] | None = None) -> str:
    """Return the manifest as a JSON object, with more keys."""
    from importlib.metadata import version

    space = manifest.space
    record = {
        "format": FORMAT,
        "mmsearch": version("mmsearch"),
        "space": None
        if space is None
        else {"name": space.name, "dim": space.dim, "digest": space.digest},
        "model": manifest.model,
    }
    return json.dumps(record | (more or {}), indent=2)


def read_manifest(text: str | bytes, name: str) -> tuple[Manifest, dict[str, Any]]:
    """Return the manifest of a file and the whole object.

    Raises InputError when it is damaged or of a newer version.
    """
    try:
        record = json.loads(text)
        version = record["format"]
        if not isinstance(version, int):
            raise TypeError(version)
        if version > FORMAT:
            raise InputError(
                f"{name} was written by a newer mmsearch (format {version}); update this one"
            )
        space = Space(
            str(record["space"]["name"]),
            int(record["space"]["dim"]),
            str(record["space"]["digest"]),
        )
        model = record.get("model")
        return Manifest(space, None if model is None else str(model)), record
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name} is damaged: what it says of itself cannot be read") from error
