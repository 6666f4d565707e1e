"""The text tower: word embedding, recurrent network, pooling, projection, unit length."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from mmsearch.retrieval.vse.config import Pooling, TextKind, TrainConfig
from mmsearch.retrieval.vse.image import unit
from mmsearch.retrieval.vse.recurrence import run_packed_gru
from mmsearch.retrieval.vse.vocabulary import SPECIAL, UNKNOWN_ID


class TextTower(nn.Module):
    """Tokens to the joint space.

    A bidirectional network is two one-directional ones, averaged, the second over the caption
    reversed in place; nothing is packed in `forward`, so that it can be exported. With
    `text_skip` the mean word embedding is projected and added (a bag of words beside the
    recurrent network, which then has order to learn, not words).
    """

    def __init__(self, vocabulary_size: int, config: TrainConfig) -> None:
        super().__init__()
        self.kind, self.pooling = config.text_encoder, config.text_pooling
        self.word_dropout = config.word_dropout
        self.embedding = nn.Embedding(vocabulary_size, config.word_dim)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        cell = nn.LSTM if self.kind is TextKind.LSTM else nn.GRU
        self.forwards: nn.GRU | nn.LSTM = cell(config.word_dim, config.hidden_dim, batch_first=True)
        self.backwards = (
            nn.GRU(config.word_dim, config.hidden_dim, batch_first=True)
            if self.kind is TextKind.BIGRU
            else None
        )
        self.dropout = nn.Dropout(config.dropout)
        same = config.hidden_dim == config.embed_dim and not config.text_skip
        self.projection = nn.Identity() if same else nn.Linear(config.hidden_dim, config.embed_dim)
        self.skip = nn.Linear(config.word_dim, config.embed_dim) if config.text_skip else None
        self.product_dtype = torch.float32

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Map tokens (n, t) and lengths (n,), both int64, to (n, embed_dim) float32 unit rows."""
        words = self._words(tokens)
        states = self.forwards(words)[0]
        if self.backwards is not None:
            order = _reversal(lengths, tokens.shape[1])
            mirrored = self.backwards(_reorder(words, order))[0]
            states = self._merge(states, mirrored, order)
        return self._finish(words, states, lengths)

    def forward_packed(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Compute what `forward` does without work on padding; for training."""
        words = self._words(tokens)
        states = self._run_packed(self.forwards, words, lengths)
        if self.backwards is not None:
            order = _reversal(lengths, tokens.shape[1])
            mirrored = self._run_packed(self.backwards, _reorder(words, order), lengths)
            states = self._merge(states, mirrored, order)
        return self._finish(words, states, lengths)

    def _words(self, tokens: Tensor) -> Tensor:
        if self.training and self.word_dropout > 0:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = torch.where(dropped & (tokens >= len(SPECIAL)), UNKNOWN_ID, tokens)
        return cast("Tensor", self.dropout(self.embedding(tokens)))

    def _run_packed(self, cell: nn.GRU | nn.LSTM, words: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(words, lengths.cpu(), batch_first=True, enforce_sorted=False)
        if isinstance(cell, nn.GRU) and words.device.type == "cpu":
            packed = run_packed_gru(cell, packed, self.product_dtype)
        else:
            packed = cast("PackedSequence", cell(packed)[0])
        return pad_packed_sequence(packed, batch_first=True, total_length=words.shape[1])[0]

    def _merge(self, states: Tensor, mirrored: Tensor, order: Tensor) -> Tensor:
        if self.pooling is Pooling.LAST:  # each direction's own last state
            return (states + mirrored) / 2
        return (states + _reorder(mirrored, order)) / 2

    def _finish(self, words: Tensor, states: Tensor, lengths: Tensor) -> Tensor:
        pooled = self.projection(self.dropout(pool(states, lengths, self.pooling)))
        if self.skip is not None:
            pooled = pooled + self.skip(pool(words, lengths, Pooling.MEAN))
        return unit(pooled)


def pool(states: Tensor, lengths: Tensor, pooling: Pooling) -> Tensor:
    """Return (n, d): last valid state, or mean or maximum over the valid ones of (n, t, d)."""
    if pooling is Pooling.LAST:
        last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, states.shape[2])
        return states.gather(1, last).squeeze(1)
    valid = _positions(states.shape[1], lengths) < lengths.view(-1, 1)
    mask = valid.unsqueeze(2)
    if pooling is Pooling.MEAN:
        return (states * mask).sum(1) / lengths.view(-1, 1)
    return states.masked_fill(~mask, torch.finfo(states.dtype).min).amax(1)


def _positions(width: int, lengths: Tensor) -> Tensor:
    return torch.arange(width, device=lengths.device).view(1, -1)


def _reversal(lengths: Tensor, width: int) -> Tensor:
    """Indices (n, t) that reverse each caption in place; padding points at the first word."""
    return (lengths.view(-1, 1) - 1 - _positions(width, lengths)).clamp(min=0)


def _reorder(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(1, order.unsqueeze(2).expand(-1, -1, x.shape[2]))
