"""The settings of a transformers image processor as our preprocessing, or a refusal.

Settings are read from the processor that transformers itself builds, defaults included, and what
comes of them is compared with it on pictures (`check_pixels`).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import Image
from torch import Tensor, nn

from mmsearch.core import Cut, Interpolation, Preprocessing, Resize
from mmsearch.errors import ModelError
from mmsearch.retrieval.encoder import normalise
from mmsearch.retrieval.resizing import resize

_FILTERS: Final = {
    Image.Resampling.BILINEAR: Interpolation.BILINEAR,
    Image.Resampling.BICUBIC: Interpolation.BICUBIC,
    Image.Resampling.LANCZOS: Interpolation.LANCZOS,
}
_STEPS: Final = frozenset(
    {"preprocess", "_preprocess", "process_image", "convert_to_rgb", "resize", "center_crop"}
    | {"pad", "rescale", "normalize", "rescale_and_normalize"}
)
_BASES: Final = frozenset({"TorchvisionBackend", "PilBackend"})
_EFFICIENTNET: Final = frozenset({"EfficientNetImageProcessor", "EfficientNetImageProcessorPil"})


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the network's input that the model looks at, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Framing:
    """How a picture reaches the model.

    `window` is cut by the image tower itself, where a picture is squashed to one size and the
    centre of that is looked at, which a `Preprocessing` cannot say.
    """

    preprocessing: Preprocessing
    window: Window | None = None


class Windowed(nn.Module):
    """An image tower that looks at a part of its input."""

    def __init__(self, tower: nn.Module, window: Window) -> None:
        super().__init__()
        self.tower = tower
        self.window = window

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the rows of (b, 3, h, w) pixels."""
        part = self.window
        seen = pixels[:, :, part.top : part.top + part.height, part.left : part.left + part.width]
        rows: Tensor = self.tower(seen)
        return rows


def read_framing(processor: Any) -> Framing:
    """Return what a transformers image processor does as our preprocessing.

    Raises ModelError naming the first setting that has no exact counterpart.
    """
    _refuse_own_steps(processor)
    if not processor.do_resize:
        raise _unsupported(processor, "it leaves pictures at their own size (do_resize)")
    mean, std = _affine(processor)
    filtered = _FILTERS.get(processor.resample)
    if filtered is None:
        raise _unsupported(processor, f"the filter of its resize, {processor.resample!r}")
    size, cut = processor.size, processor.crop_size if processor.do_center_crop else None
    if size.height and size.width:
        framing = _squashed(processor, Preprocessing(
            (size.height, size.width), Resize.SQUASH, filtered, mean, std
        ), cut)  # fmt: skip
    elif size.shortest_edge and not size.longest_edge and cut is not None:
        short, whole = size.shortest_edge, (cut.height, cut.width)
        if max(whole) > short:
            raise _unsupported(processor, f"a cut of {whole} from a short side of {short} pixels")
        framing = Framing(
            Preprocessing(whole, Resize.CROP, filtered, mean, std, short_side=short, cut=Cut.FLOOR)
        )
    else:
        raise _unsupported(processor, f"pictures of no one size (size: {dict(size)})")
    _refuse_padding(processor, framing)
    return framing


def check_pixels(processor: Any, framing: Framing, *, levels: float) -> None:
    """Compare what the network sees with what it would see in transformers, on three pictures.

    Raises ModelError when pixels are apart by more than `levels` of 255 on average.
    """
    preprocessing, part = framing.preprocessing, framing.window
    scale = 255 * np.array(preprocessing.std, dtype=np.float32)[:, None, None]
    for width, height in ((331, 203), (97, 150), (640, 480)):
        picture = _picture(width, height)
        found = normalise(resize(picture, preprocessing)[None], preprocessing)[0]
        if part is not None:
            found = found[:, part.top :, part.left :][:, : part.height, : part.width]
        theirs = processor(images=[Image.fromarray(picture)], return_tensors="np")
        expected = np.asarray(theirs["pixel_values"][0], dtype=np.float32)
        if expected.shape != found.shape:
            raise _unsupported(processor, f"pixels of shape {expected.shape}")
        apart = float(np.abs((expected - found) * scale).mean())
        if apart > levels:
            raise _unsupported(
                processor, f"pixels that are {apart:.1f} of 255 levels from what its settings say"
            )


def _refuse_own_steps(processor: Any) -> None:
    for kind in type(processor).__mro__:
        if kind.__name__ in _BASES or kind.__name__ in _EFFICIENTNET:
            return
        own = sorted(_STEPS & set(vars(kind)))
        if own:
            raise _unsupported(processor, f"steps of its own ({', '.join(own)})")


def _affine(processor: Any) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return mean and std on RGB in [0, 1] of all that is done to the values of pixels.

    They become ((x · factor - offset) - mean) / std / top, with x in [0, 255].
    """
    factor = processor.rescale_factor if processor.do_rescale else 1.0
    mean = _three(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0)
    std = _three(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0)
    offset, top = 0.0, (1.0, 1.0, 1.0)
    if type(processor).__name__ in _EFFICIENTNET:
        offset = 1.0 if processor.rescale_offset and processor.do_rescale else 0.0
        top = _three(processor.image_std) if processor.include_top else top
    whole = 255.0 * factor
    means = [(value + offset) / whole for value in mean]
    stds = [one * other / whole for one, other in zip(std, top, strict=True)]
    if min(stds) <= 0:
        raise _unsupported(processor, f"a standard deviation of {min(stds)}")
    return (means[0], means[1], means[2]), (stds[0], stds[1], stds[2])


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = [values] * 3 if isinstance(values, int | float) else values
    return float(red), float(green), float(blue)


def _squashed(processor: Any, whole: Preprocessing, cut: Any) -> Framing:
    if cut is None or (cut.height, cut.width) == whole.size:
        return Framing(whole)
    top, left = whole.size[0] - cut.height, whole.size[1] - cut.width
    if min(top, left) < 0:
        raise _unsupported(processor, f"a cut of {dict(cut)} from pictures of {whole.size}")
    return Framing(whole, Window(top // 2, left // 2, cut.height, cut.width))


def _refuse_padding(processor: Any, framing: Framing) -> None:
    """Refuse padding that would do something: pictures have their size by now."""
    size = getattr(processor, "pad_size", None) if getattr(processor, "do_pad", None) else None
    part = framing.window
    seen = framing.preprocessing.size if part is None else (part.height, part.width)
    if size is not None and (size.height, size.width) != seen:
        raise _unsupported(processor, f"padding to {dict(size)}")


def _picture(width: int, height: int) -> Any:
    """Return (height, width, 3) uint8: slopes, stripes and a circle; nothing random."""
    y, x = np.mgrid[:height, :width]
    red = 255 * x / width
    green = 127 + 120 * np.sin(x / 5 + y / 9)
    blue = np.where((x - width / 2) ** 2 + (y - height / 3) ** 2 < (height / 4) ** 2, 230, 20)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def _unsupported(processor: Any, what: str) -> ModelError:
    return ModelError(
        f"the image processor {type(processor).__name__} has {what}, which cannot be reproduced "
        "exactly; use a model with a fixed input size"
    )
