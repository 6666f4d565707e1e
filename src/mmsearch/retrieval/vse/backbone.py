"""Image backbones: a small network from scratch, or one of timm with local or hub weights."""

import difflib
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmsearch.core import Interpolation, Preprocessing, Resize
from mmsearch.errors import ConfigError, MissingExtraError, ModelError
from mmsearch.retrieval.vse.cnn import SmallCNN
from mmsearch.retrieval.vse.weights import (
    WeightsFile,
    check_architecture,
    load_tensors,
    read_weights,
    with_metadata,
)

CNN: Final = "cnn"
TIMM: Final = "timm:"
HUB_WEIGHT_FILES: Final = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT_SECONDS: Final = 10


class Backbone(nn.Module):
    """Pixels to one pooled feature a picture.

    `dim` is the feature's width, `preprocessing` what the pixels must have gone through,
    `arguments` what the architecture was built with.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        name: str,
        preprocessing: Preprocessing,
        arguments: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.network = network
        self.name = name
        self.preprocessing = preprocessing
        self.arguments = dict(arguments)
        self.statistics_frozen = False
        self.dim = _feature_width(network, name, preprocessing)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (b, 3, h, w) float, normalised by mean and std, to (b, dim) float32."""
        features: Tensor = self.network(pixels)
        return features.flatten(1).float()

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.statistics_frozen:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def load_backbone(
    name: str, weights: Path | None = None, *, size: int = 128, width: int = 32
) -> Backbone:
    """Build a backbone, in evaluation mode.

    `name` is `cnn` (random weights from torch's global generator; pictures of `size` x `size`,
    `width` channels at the stem) or `timm:NAME`, with the hub's weights or those of a
    safetensors file. The file's metadata decides over timm's defaults: architecture, timm_args,
    input_size, mean, std, resize, interpolation. The centre crop takes the whole short side,
    whatever crop_pct says. float16 weights become float32.

    Raises ModelError when weights are absent, damaged or of another network, ConfigError when
    the name is unknown, MissingExtraError when timm is not installed.
    """
    if name == CNN:
        return _load_cnn(weights, size, width)
    if name.startswith(TIMM):
        return _load_timm(name, weights)
    raise ConfigError(f"unknown image encoder {name!r}; use 'cnn' or 'timm:NAME'")


def save_backbone(backbone: Backbone, path: Path) -> None:
    """Write weights and the metadata that `load_backbone` honours as one safetensors file."""
    preprocessing = backbone.preprocessing
    metadata = {
        "format": "pt",
        "architecture": backbone.name.removeprefix(TIMM),
        "timm_args": json.dumps(backbone.arguments),
        "input_size": json.dumps([3, *preprocessing.size]),
        "mean": json.dumps(preprocessing.mean),
        "std": json.dumps(preprocessing.std),
        "resize": preprocessing.resize.value,
        "interpolation": preprocessing.interpolation.value,
    }
    tensors = {key: value.contiguous() for key, value in backbone.network.state_dict().items()}
    save_file(tensors, path, metadata)


def freeze_batch_norm(module: nn.Module) -> None:
    """Keep the batch-norm statistics of every backbone in `module`, also after `.train()`.

    Scale and bias go on learning.
    """
    for part in module.modules():
        if isinstance(part, Backbone):
            part.statistics_frozen = True
            part.train(part.training)


def weights_digest(module: nn.Module) -> str:
    """Return the hex SHA-256 of a module's state: names in order, dtypes, shapes, bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _feature_width(network: nn.Module, name: str, preprocessing: Preprocessing) -> int:
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            features = network(torch.zeros(1, 3, *preprocessing.size))
    except (AssertionError, RuntimeError, ValueError) as error:
        height, width = preprocessing.size
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{name} does not take pictures of {height} x {width} ({reason}); "
            "use a size or weights that it was made for"
        ) from error
    network.train(was_training)
    return int(features.flatten(1).shape[1])


def _load_cnn(weights: Path | None, size: int, width: int) -> Backbone:
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing((size, size), Resize.SQUASH, Interpolation.BILINEAR, half, half)
    if weights is None:
        network = SmallCNN(width)
    else:
        file = read_weights(weights)
        check_architecture(file, CNN)
        width = _saved_width(file, width)
        preprocessing = with_metadata(preprocessing, file)
        network = SmallCNN(width)
        load_tensors(network, file, heads=())
    return Backbone(
        network.to(memory_format=torch.channels_last),
        name=CNN,
        preprocessing=preprocessing,
        arguments={"width": width},
    ).eval()


def _saved_width(file: WeightsFile, default: int) -> int:
    width = file.arguments.get("width", default)
    if not isinstance(width, int) or width < 1:
        raise ModelError(f"timm_args in the metadata of {file.path} has no usable width: {width!r}")
    return width


def _load_timm(name: str, weights: Path | None) -> Backbone:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "train") from error
    model_name = name.removeprefix(TIMM)
    if not timm.is_model(model_name):
        close = difflib.get_close_matches(model_name.split(".")[0], timm.list_models(), n=1)
        hint = f"did you mean {TIMM}{close[0]}?" if close else "timm.list_models() lists them"
        raise ConfigError(f"timm has no model {model_name!r}; {hint}")
    arguments: dict[str, Any] = {}
    if weights is None:
        network = _hub_network(model_name)
        preprocessing = _timm_preprocessing(network)
    else:
        file = read_weights(weights)
        check_architecture(file, model_name)
        arguments = file.arguments
        network = _empty_network(model_name, file)
        preprocessing = with_metadata(_timm_preprocessing(network), file)
        load_tensors(network, file, heads=_classifiers(network))
    return Backbone(
        network.to(memory_format=torch.channels_last),
        name=name,
        preprocessing=preprocessing,
        arguments=arguments,
    ).eval()


def _hub_network(model_name: str) -> nn.Module:
    import timm

    try:
        _check_hub(getattr(timm.get_pretrained_cfg(model_name), "hf_hub_id", None))
        network: nn.Module = timm.create_model(model_name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"cannot fetch the weights of {TIMM}{model_name} ({reason}); "
            "give a local file with --backbone-weights FILE.safetensors"
        ) from error
    return network


def _check_hub(repository: str | None) -> None:
    """Fail at once where the hub's client would retry for a minute."""
    from huggingface_hub import constants, try_to_load_from_cache

    if repository is None or constants.HF_HUB_OFFLINE:
        return
    if any(isinstance(try_to_load_from_cache(repository, name), str) for name in HUB_WEIGHT_FILES):
        return
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return  # an answer, whatever it says: the hub is there


def _empty_network(model_name: str, file: WeightsFile) -> nn.Module:
    import timm

    try:
        network: nn.Module = timm.create_model(
            model_name, pretrained=False, num_classes=0, **file.arguments
        )
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(
            f"timm cannot build {model_name} with the timm_args of {file.path}: {error}"
        ) from error
    return network


def _timm_preprocessing(network: nn.Module) -> Preprocessing:
    from timm.data import config as timm_config

    resolve: Callable[..., dict[str, Any]] = timm_config.resolve_data_config
    config = resolve({}, model=network)
    _, height, width = config["input_size"]
    known = set(Interpolation)
    return Preprocessing(
        size=(height, width),
        resize=Resize.SQUASH if config["crop_mode"] == "squash" else Resize.CROP,
        interpolation=(
            Interpolation(config["interpolation"])
            if config["interpolation"] in known
            else Interpolation.BILINEAR  # `random`, of networks trained with several
        ),
        mean=config["mean"],
        std=config["std"],
    )


def _classifiers(network: nn.Module) -> tuple[str, ...]:
    config: Mapping[str, Any] = getattr(network, "pretrained_cfg", {})
    names = config.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)
