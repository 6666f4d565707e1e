"""The towers of open_clip's models as networks of pixels and of tokens alone."""

from typing import Any

import torch
from torch import Tensor, nn

from mmsearch.errors import ModelError


class ImageTower(nn.Module):
    """Pixels (b, 3, h, w) to rows (b, dim): the model's `encode_image`, of any length."""

    def __init__(self, visual: nn.Module) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the pooled features; further outputs, as CoCa has them, are left out."""
        return _first(self.visual(pixels))


class WholeTextTower(nn.Module):
    """Tokens (b, length) to rows (b, dim), by a text tower as it is: one of transformers.

    It reads its mask from the padding.
    """

    def __init__(self, text: nn.Module) -> None:
        super().__init__()
        self.text = text

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the pooled features; further outputs are left out."""
        return _first(self.text(tokens))


class CutTextTower(nn.Module):
    """Tokens (b, any length) to rows (b, dim), by the parts of open_clip's own text tower.

    The original takes the full length only: here positions and causal mask are cut to the
    length that comes. `parts` is a CLIP model, over which the tower is spread, or a
    TextTransformer; that of CoCa puts a token behind the sentence, which is what is pooled.
    """

    def __init__(self, parts: Any) -> None:
        super().__init__()
        self.token_embedding: nn.Module = parts.token_embedding
        self.positional_embedding: Tensor = parts.positional_embedding
        self.transformer: nn.Module = parts.transformer
        self.ln_final: nn.Module = parts.ln_final
        self.text_projection: Tensor | nn.Module | None = parts.text_projection
        self.cls_emb: Tensor | None = getattr(parts, "cls_emb", None)
        self.attn_mask: Tensor | None
        self.register_buffer("attn_mask", parts.attn_mask, persistent=False)
        self._pool = "last" if self.cls_emb is not None else _pool_type(parts)
        self._end = _end_id(parts)
        self._pad = int(getattr(parts, "pad_id", 0))
        self._heads = int(getattr(parts, "heads", 0))
        self._last_is_seen = bool(getattr(parts, "correct_cls_mask", False))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the features of the pooled position, projected."""
        x = self.token_embedding(tokens)
        if self.cls_emb is not None:
            x = torch.cat([x, self.cls_emb.expand(x.shape[0], 1, -1)], dim=1)
        length = x.shape[1]
        x = x + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, attn_mask=self._mask(tokens, length)))
        pooled = self._pooled(x, tokens)
        match self.text_projection:
            case None:
                return pooled
            case nn.Module() as project:
                projected: Tensor = project(pooled)
                return projected
            case weights:
                return pooled @ weights

    def _mask(self, tokens: Tensor, length: int) -> Tensor | None:
        """Return what is added to the scores of attention, (length, length) or a head's each."""
        mask = None if self.attn_mask is None else self.attn_mask[:length, :length]
        if self.cls_emb is None:
            return mask
        seen, always = tokens != self._pad, torch.ones_like(tokens[:, :1], dtype=torch.bool)
        # Published weights were trained with the mask one place off: the added token in front.
        seen = torch.cat([seen, always] if self._last_is_seen else [always, seen], dim=1)
        hidden = torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, -torch.inf)
        each = hidden[:, None, :].expand(-1, length, -1).repeat_interleave(self._heads, dim=0)
        return each if mask is None else mask + each

    def _pooled(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return (b, width): of (b, length, width), the position that stands for a sentence."""
        match self._pool:
            case "first":
                return x[:, 0]
            case "last":
                return x[:, -1]
            case "eos":
                position = (tokens == self._end).int().argmax(dim=-1)
            case _:
                position = tokens.argmax(dim=-1)
        return x[torch.arange(tokens.shape[0], device=tokens.device), position]


class Without(nn.Module):
    """A text tower for which one token, such as a separator, is read as 0."""

    token: Tensor

    def __init__(self, tower: nn.Module, token: int) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("token", torch.tensor(token))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the rows of tokens (b, length)."""
        rows: Tensor = self.tower(torch.where(tokens == self.token, 0, tokens))
        return rows


def text_tower(model: Any, pad: int) -> tuple[nn.Module, bool]:
    """Return a model's text tower, and whether sentences must be filled up to the full length.

    `pad` is the id they are filled up with. Raises ModelError when the tower does not make one
    vector of a sentence.
    """
    from open_clip.hf_model import HFTextEncoder

    parts = getattr(model, "text", None) or model
    if isinstance(parts, HFTextEncoder):  # its mask leaves out what has the padding's id
        return WholeTextTower(parts), parts.config.pad_token_id != pad
    added = getattr(parts, "cls_emb", None) is not None
    if not added and _pool_type(parts) not in {"first", "last", "eos", "argmax"}:
        raise ModelError(f"a text tower that pools by {_pool_type(parts)!r} is not supported")
    return CutTextTower(parts), added or not _padding_is_unseen(parts, pad)


def _padding_is_unseen(parts: Any, pad: int) -> bool:
    """Return whether what follows a sentence cannot change its vector."""
    if parts.attn_mask is None:
        return False
    match _pool_type(parts):
        case "argmax":  # the position of the largest id, which only 0 can never be
            return pad == 0
        case "eos":
            return pad != _end_id(parts)
        case pool:
            return pool == "first"


def _pool_type(parts: Any) -> str:
    return str(getattr(parts, "text_pool_type", None) or parts.pool_type)


def _end_id(parts: Any) -> int:
    return int(parts.text_eos_id if hasattr(parts, "text_eos_id") else parts.eos_id)


def _first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
