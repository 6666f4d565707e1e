"""Where open_clip's published weights are."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from mmsearch.errors import MissingExtraError, ModelError
from mmsearch.retrieval.convert.open_clip_config import find_architecture
from mmsearch.retrieval.fetching import TextSources, text_sources
from mmsearch.retrieval.specs import HubRepository, OpenClipTag


@dataclass(frozen=True, slots=True)
class Published:
    """A repository of a hub; `file` in it, or empty: the usual one.

    `text` are the repositories of its tokenizer and of the settings of its text network.
    """

    repository: HubRepository
    file: str
    text: TextSources


def find_published(tag: OpenClipTag) -> Published:
    """Return where the weights of a tag are.

    Raises ModelError for an unknown architecture or tag, with the nearest, and for weights that
    only a plain address has; MissingExtraError when open_clip is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError("open-clip-torch", "train") from error
    architecture = find_architecture(f"{tag.architecture}/{tag.tag}", None)
    place = str(open_clip.get_pretrained_cfg(tag.architecture, tag.tag).get("hf_hub") or "")
    repository, _, file = place.rpartition("/")
    if not repository:
        raise ModelError(
            f"open_clip publishes {tag.architecture}/{tag.tag} as a pickled file alone, which can "
            "run any code when it is read; convert it where you trust it, and give "
            f"open_clip:{tag.architecture}//FILE.safetensors"
        )
    return Published(
        HubRepository(repository), _safetensors(file), text_sources(architecture.model)
    )


def _safetensors(file: str) -> str:
    """Return the safetensors file that stands beside a pickled one of the same name."""
    return str(PurePosixPath(file).with_suffix(".safetensors")) if file else ""
