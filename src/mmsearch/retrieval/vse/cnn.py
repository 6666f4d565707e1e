"""A small residual network, trained from random initialisation on a CPU."""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al., CVPR 2016, fig. 2).

    The last batch norm starts at zero, so that a fresh block passes its input on.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(channels_in, channels, 3, stride)
        self.second = _conv(channels, channels, 3, 1, scale=0.0)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = _conv(channels_in, channels, 1, stride)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, channels_in, h, w) to (b, channels, h / stride, w / stride)."""
        residual = self.second(self.activation(self.first(x)))
        out: Tensor = self.activation(residual + self.shortcut(x))
        return out


class SmallCNN(nn.Module):
    """Two strided convolutions, four stages of residual blocks, global average pool.

    Depth is spent at a sixteenth of the input size, where a block costs a CPU little. At
    `width` 32: 1.5 M parameters, 72 M multiply-adds for a picture of 128 x 128.
    """

    blocks = (1, 1, 2, 1)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dim = 8 * width
        stem = (_conv(3, width, 3, 2), nn.ReLU(), _conv(width, width, 3, 2), nn.ReLU())
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(self.blocks):
            wider = width * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(ResidualBlock(channels, wider, stride))
                channels = wider
        self.layers = nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (b, 3, h, w) to (b, 8 * width) pooled features."""
        features: Tensor = self.layers(pixels)
        return features


def _conv(
    channels_in: int, channels: int, kernel: int, stride: int, *, scale: float = 1.0
) -> nn.Sequential:
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.weight, scale)
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, norm)
