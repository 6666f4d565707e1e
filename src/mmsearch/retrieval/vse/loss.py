"""The hinge triplet loss with in-batch negatives, and a contrastive term beside it.

Faghri et al., "VSE++", BMVC 2018, equations 4 to 6. Scores are cosines, (n, n) float32, row i
the picture and column j the caption of pair i and j; every loss is a mean over the n pairs, so
that its scale does not depend on the batch size.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mmsearch.retrieval.vse.config import Mining

NEVER = -1e4
"""Below any cosine, also after division by a temperature."""


def similarities(images: Tensor, texts: Tensor) -> Tensor:
    """Return cosines (n, m) float32 of unit rows (n, dim), (m, dim), whatever autocast says."""
    with torch.autocast(device_type=images.device.type, enabled=False):
        return images.float() @ texts.float().t()


def same_image(image_ids: Tensor) -> Tensor:
    """Return (n, n) bool: the pairs whose captions describe one picture; never negatives."""
    return image_ids.view(-1, 1) == image_ids.view(1, -1)


def triplet_loss(scores: Tensor, same: Tensor, *, margin: float, mining: Mining) -> Tensor:
    """Return the mean over pairs of the hinge, both directions added.

    HARDEST takes the hardest negative of each row and column; SEMI_HARD the hardest that scores
    less than the positive (Schroff et al., FaceNet, 2015); ALL sums over every negative. A pair
    without a negative costs nothing. AUTO is a schedule, not a loss: raises ValueError.
    """
    if mining is Mining.AUTO:
        raise ValueError("'auto' is resolved by a MiningSchedule before the loss")
    one = _one_direction(scores, same, margin, mining)
    other = _one_direction(scores.t(), same.t(), margin, mining)
    return (one + other).mean()


def _one_direction(scores: Tensor, same: Tensor, margin: float, mining: Mining) -> Tensor:
    positive = scores.diagonal().view(-1, 1)
    allowed = ~same
    if mining is Mining.ALL:
        hinge = functional.relu(margin + scores - positive)
        return hinge.masked_fill(same, 0).sum(1)
    if mining is Mining.SEMI_HARD:
        allowed = allowed & (scores < positive)
    hardest = scores.masked_fill(~allowed, NEVER).amax(1)
    return functional.relu(margin + hardest - positive.squeeze(1))


def contrastive_loss(scores: Tensor, same: Tensor, *, temperature: float) -> Tensor:
    """Return the mean of both directions' cross-entropy (InfoNCE; CLIP, Radford et al., 2021).

    Other captions of the same picture leave the denominator: they are no negatives.
    """
    diagonal = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    logits = (scores / temperature).masked_fill(same & ~diagonal, NEVER)
    target = torch.arange(len(scores), device=scores.device)
    i2t = functional.cross_entropy(logits, target)
    t2i = functional.cross_entropy(logits.t(), target)
    return (i2t + t2i) / 2


def gap(scores: Tensor, same: Tensor) -> Tensor:
    """Return mean(positive) - mean(hardest negative) of rows and columns; inf without any."""
    negatives = scores.masked_fill(same, NEVER)
    hardest = torch.cat([negatives.amax(0), negatives.amax(1)])
    seen = hardest > NEVER
    if not bool(seen.any()):
        return scores.new_tensor(float("inf"))
    return scores.diagonal().mean() - hardest[seen].mean()
