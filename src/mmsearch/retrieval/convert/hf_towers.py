"""The two towers of a transformers model as modules that can be traced."""

import copy
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from mmsearch.errors import ModelError

PADDING_DRIFT: Final = 0.01
"""How far padding may move a sentence, as a part of how far sentences are apart."""


class ImageTower(nn.Module):
    """`get_image_features`: normalised pixels (b, 3, h, w) to rows (b, dim)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = without(model, "text")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the rows, not of length one."""
        return embedding(self.model.get_image_features(pixel_values=pixels))


class TextTower(nn.Module):
    """`get_text_features`: tokens (b, length), and their mask where it is given, to rows."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = without(model, "vis")

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the rows, not of length one."""
        if attention_mask is None:
            return embedding(self.model.get_text_features(input_ids=tokens))
        return embedding(
            self.model.get_text_features(input_ids=tokens, attention_mask=attention_mask)
        )


class PaddedLeft(nn.Module):
    """A text tower that was trained with the padding before the sentence.

    The padding behind each sentence is moved to its front.
    """

    def __init__(self, tower: nn.Module, pad: int) -> None:
        super().__init__()
        self.tower = tower
        self.pad = pad

    def forward(self, tokens: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the rows of tokens (b, length), and their mask where it is given."""
        width = tokens.shape[1]
        places = torch.arange(width, device=tokens.device)[None]
        last = (places * (tokens != self.pad)).max(dim=1, keepdim=True).values
        source = places - (width - 1 - last)
        source = torch.where(source < 0, source + width, source)
        moved = [
            torch.gather(part, 1, source) for part in (tokens, attention_mask) if part is not None
        ]
        rows: Tensor = self.tower(*moved)
        return rows


def embedding(output: Any) -> Tensor:
    """Return the rows (b, dim) of what `get_…_features` gives, in any version of transformers.

    Raises ModelError when there is no one row for each input.
    """
    rows = output if isinstance(output, Tensor) else getattr(output, "pooler_output", None)
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        raise ModelError("the model gives no single vector for a picture or a sentence")
    return rows


def without(model: nn.Module, prefix: str) -> Any:
    """Return the model without the parts whose name begins so; the rest is shared."""
    part = copy.copy(model)
    part.__dict__["_modules"] = {
        name: child for name, child in model.named_children() if not name.startswith(prefix)
    }
    return part


def check_padding(
    tower: nn.Module, sentences: Sequence[Sequence[int]], *, pad: int, masked: bool
) -> None:
    """Compare sentences encoded alone with the same in one batch, filled up with `pad`.

    `masked`: the tower is given a mask. Raises ModelError when padding changes the answer: it is
    part of the model then, and how much of it there should be is not known.
    """
    width = max(len(ids) for ids in sentences)
    batch = [[*ids, *[pad] * (width - len(ids))] for ids in sentences]
    masks = [[1] * len(ids) + [0] * (width - len(ids)) for ids in sentences]

    def rows(tokens: Sequence[Sequence[int]], mask: Sequence[Sequence[int]]) -> Tensor:
        given = (torch.tensor(tokens), torch.tensor(mask))
        found: Tensor = tower(*given) if masked else tower(given[0])
        return found

    with torch.inference_mode():
        together = rows(batch, masks)
        alone = torch.cat([rows([ids], [[1] * len(ids)]) for ids in sentences])
    spread = (alone - alone.mean(dim=0)).abs().max()
    if (together - alone).abs().max() > PADDING_DRIFT * spread:
        raise ModelError(
            "the text tower answers otherwise when a sentence is filled up in a batch; "
            "models whose padding matters are supported for SigLIP alone"
        )
