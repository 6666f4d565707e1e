"""The image tower: backbone, feature normalisation, projection head, unit length."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmsearch.retrieval.vse.config import FeatureNorm, HeadKind, TrainConfig

EPSILON = 1e-8
"""Added to norms, so that a zero vector stays zero instead of becoming NaN."""


def unit(x: Tensor) -> Tensor:
    """Return rows of length one, (n, dim) float32; a zero row stays zero."""
    return functional.normalize(x.float(), dim=-1, eps=EPSILON)


class FeatureNormalizer(nn.Module):
    """Brings backbone features to a common scale before the projection.

    L2 divides by the length, as VSE++ does. STANDARDIZE subtracts the training mean and divides
    by the training deviation of each feature, kept in the model as buffers: the features of a
    ReLU network share a large mean that would otherwise dominate every cosine. POWER takes the
    signed square root first (Perronnin et al., ECCV 2010): a few strong features weigh less.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int, kind: FeatureNorm) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, features: Tensor) -> None:
        """Take mean and deviation from training features (n, dim); no-op for L2."""
        if self.kind is not FeatureNorm.L2:
            features = self._compressed(features)
            self.mean.copy_(features.mean(0))
            deviation = features.std(0, correction=0)
            floor = 1e-3 * float(deviation.mean()) + EPSILON
            self.scale.copy_(1 / deviation.clamp(min=floor))

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, dim) to (n, dim)."""
        if self.kind is FeatureNorm.L2:
            return unit(features)
        return (self._compressed(features.float()) - self.mean) * self.scale

    def _compressed(self, features: Tensor) -> Tensor:
        if self.kind is FeatureNorm.POWER:
            return features.sign() * (features.abs() + EPSILON).sqrt()
        return features


class ImageHead(nn.Module):
    """Projection of backbone features into the joint space: (n, features) to (n, dim) unit rows."""

    def __init__(self, features: int, config: TrainConfig) -> None:
        super().__init__()
        self.normalize = FeatureNormalizer(features, config.feature_norm)
        self.dropout = nn.Dropout(config.feature_dropout)
        self.projection = nn.Linear(features, config.embed_dim)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)
        self.residual: nn.Module | None = None
        if config.image_head is HeadKind.MLP:
            self.residual = nn.Sequential(
                nn.Linear(features, config.embed_dim // 2),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.embed_dim // 2, config.embed_dim),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, embed_dim) float32 unit rows."""
        x = self.dropout(self.normalize(features))
        projected = self.projection(x)
        if self.residual is not None:
            projected = projected + self.residual(x)
        return unit(projected)


class ImageTower(nn.Module):
    """Pixels to the joint space; the part that is exported."""

    def __init__(self, backbone: nn.Module, head: ImageHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, pixels: Tensor) -> Tensor:
        """Map normalised pixels (n, 3, h, w) float32 to (n, embed_dim) unit rows."""
        embedded: Tensor = self.head(self.backbone(pixels))
        return embedded
