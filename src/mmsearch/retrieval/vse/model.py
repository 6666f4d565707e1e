"""Both towers of a joint space, as one trainable module."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mmsearch.core import Vectors
from mmsearch.retrieval.vse.batches import Split
from mmsearch.retrieval.vse.config import TrainConfig
from mmsearch.retrieval.vse.image import ImageHead
from mmsearch.retrieval.vse.text import TextTower


class JointModel(nn.Module):
    """Image head, text tower and, when it is trained, the backbone."""

    def __init__(self, head: ImageHead, text: TextTower, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.head, self.text, self.backbone = head, text, backbone

    def embed_images(self, inputs: Tensor) -> Tensor:
        """Map features (n, d), or pixels where the backbone is trained, to unit rows."""
        if self.backbone is not None:
            inputs = self.backbone(inputs)
        embedded: Tensor = self.head(inputs)
        return embedded

    def embed_texts(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Map tokens (n, t) and lengths (n,) to unit rows (n, dim)."""
        return self.text.forward_packed(tokens, lengths)


def build_model(
    config: TrainConfig, *, features: int, vocabulary_size: int, backbone: nn.Module | None
) -> JointModel:
    """Build the towers with fresh weights from torch's current generator state.

    `features` is the width of the backbone's output; `backbone` is given when it is trained.
    """
    return JointModel(ImageHead(features, config), TextTower(vocabulary_size, config), backbone)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode without gradients, and back as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes.items():
            module.training = training


def embed_split(
    model: JointModel, split: Split, *, batch_size: int = 256, device: torch.device | None = None
) -> tuple[Vectors, Vectors]:
    """Return all image and caption vectors of a split, float32 unit rows, in order.

    Captions are read in order of length, so that little is computed on padding.
    """
    device = device or torch.device("cpu")
    images, texts = [], np.empty((len(split.owner), 0), np.float32)
    with evaluating(model):
        for start in range(0, len(split.images), batch_size):
            rows = np.arange(start, min(start + batch_size, len(split.images)))
            inputs = split.images.batch(rows, training=False).to(device)
            images.append(model.embed_images(inputs).float().cpu().numpy())
        order = np.argsort(split.lengths, kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            tokens, lengths = split.texts(rows)
            vectors = model.embed_texts(tokens.to(device), lengths.to(device)).float().cpu().numpy()
            if not texts.shape[1]:
                texts = np.empty((len(order), vectors.shape[1]), np.float32)
            texts[rows] = vectors
    return np.concatenate(images), texts
