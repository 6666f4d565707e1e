"""Towers as graphs: attention taken apart, weights in a file beside, parts of timm folded."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from mmsearch.errors import ModelError
from mmsearch.retrieval.convert.attention import PlainAttention
from mmsearch.retrieval.convert.graph import write_tower
from mmsearch.retrieval.vse.onnx_graph import Signature, run_graph

PIXELS = Signature({"pixels": {0: "batch"}}, "embedding")
TOKENS = Signature({"tokens": {0: "batch", 1: "length"}}, "embedding")


class Attending(nn.Module):
    """A layer of attention over embedded tokens, the mean pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        mixed, _ = self.attention(x, x, x, need_weights=False)
        pooled: Tensor = mixed.mean(dim=1)
        return pooled


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", ["none", "one", "each"])
@pytest.mark.parametrize("source", ["same", "other"])
def test_plain_attention_is_torchs_attention(
    batch_first: bool, bias: bool, mask: str, source: str
) -> None:
    torch.manual_seed(0)
    other = {"kdim": 10, "vdim": 12} if source == "other" else {}
    theirs = nn.MultiheadAttention(16, 4, bias=bias, batch_first=batch_first, **other).eval()
    if bias:
        nn.init.normal_(theirs.in_proj_bias)
        nn.init.normal_(theirs.out_proj.bias)
    query, length = torch.randn(3, 5, 16), 7 if other else 5
    key = torch.randn(3, length, 10) if other else query
    value = torch.randn(3, length, 12) if other else query
    if not batch_first:
        query, key, value = (each.transpose(0, 1) for each in (query, key, value))
    masks = {"none": None, "one": torch.randn(5, length), "each": torch.randn(12, 5, length)}
    expected, _ = theirs(query, key, value, need_weights=False, attn_mask=masks[mask])
    plain = PlainAttention(theirs)
    found, weights = plain(query, key, value, attn_mask=masks[mask])
    torch.testing.assert_close(found, expected)
    assert weights is None
    assert plain.key.bias is None  # neither is seen behind the softmax
    assert plain.value.bias is None


def test_a_graph_takes_any_batch_and_length(tmp_path: Path) -> None:
    tower = Attending().eval()
    path = tmp_path / "text.onnx"
    assert write_tower(tower, [torch.ones(2, 3, dtype=torch.int64)], TOKENS, path) == 16
    run = run_graph(path, threads=1)
    for batch in range(1, 34, 4):
        for length in range(1, 20, 3):
            tokens = torch.randint(0, 50, (batch, length))
            expected = tower(tokens).detach().numpy()
            np.testing.assert_allclose(run(tokens=tokens.numpy()), expected, atol=1e-5)


def test_the_module_is_left_as_it_is(tmp_path: Path) -> None:
    tower = Attending().train()
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    write_tower(tower, [torch.ones(2, 3, dtype=torch.int64)], TOKENS, tmp_path / "text.onnx")
    assert tower.training
    assert isinstance(tower.attention, nn.MultiheadAttention)
    for name, tensor in tower.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_weights_lie_in_one_file_page_by_page(tmp_path: Path) -> None:
    tower = nn.Sequential(nn.Flatten(), nn.Linear(48, 300), nn.ReLU(), nn.Linear(300, 8)).eval()
    path = tmp_path / "image.onnx"
    write_tower(tower, [torch.zeros(2, 3, 4, 4)], PIXELS, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["image.onnx", "image.onnx.data"]
    graph = onnx.load(path, load_external_data=False).graph
    offsets = []
    for tensor in graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert place["location"] == "image.onnx.data"
            offsets.append(int(place["offset"]))
        else:
            assert len(tensor.raw_data) < 1024
    assert len(offsets) == 3
    assert all(offset % 4096 == 0 for offset in offsets)
    assert path.stat().st_size < 4000
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == 8
    assert not any(node.doc_string or node.metadata_props for node in graph.node)


def test_a_network_of_small_weights_has_no_second_file(tmp_path: Path) -> None:
    tower = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    write_tower(tower, [torch.zeros(2, 3, 2, 2)], PIXELS, tmp_path / "image.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["image.onnx"]


def test_parts_of_timm_are_folded_in_a_copy(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    tower = timm.create_model("repvgg_a0", num_classes=4).eval()
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    names = list(tower.state_dict())
    path = tmp_path / "image.onnx"
    write_tower(tower, [torch.zeros(2, 3, 32, 32)], PIXELS, path)
    assert list(tower.state_dict()) == names
    kinds = [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]
    assert kinds.count("Conv") == 22
    assert "BatchNormalization" not in kinds
    pixels = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        expected = tower(pixels).numpy()
    found = run_graph(path, threads=1)(pixels=pixels.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


class Impossible(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, pixels: Tensor) -> Tensor:
        rows: Tensor = torch.special.bessel_j0(pixels.flatten(1))
        return rows


def test_an_operation_that_onnx_lacks_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be written as ONNX") as caught:
        write_tower(Impossible(), [torch.zeros(2, 3, 2, 2)], PIXELS, tmp_path / "image.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
