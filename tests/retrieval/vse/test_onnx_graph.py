"""Torch modules written as ONNX graphs."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmsearch.retrieval.vse.onnx_graph import Signature, run_graph, write_graph

SIGNATURE = Signature({"rows": {0: "batch"}}, "embedding")


class _Wide(nn.Module):
    """A linear map, and a second one as large as wanted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, width), nn.Linear(width, 3)

    def forward(self, rows: Tensor) -> Tensor:
        found: Tensor = self.second(self.first(rows))
        return found


def _agrees(module: nn.Module, path: Path) -> bool:
    rows = torch.randn(5, 4)
    expected = module(rows).detach().numpy()
    return np.allclose(run_graph(path, threads=1)(rows=rows.numpy()), expected, atol=1e-4)


def test_small_weights_lie_in_the_graphs_own_file(tmp_path: Path) -> None:
    module = _Wide(8)
    write_graph(module, [torch.zeros(2, 4)], SIGNATURE, tmp_path / "text.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["text.onnx"]
    assert _agrees(module, tmp_path / "text.onnx")


def test_large_weights_lie_beside_the_graph_and_are_replaced_with_it(tmp_path: Path) -> None:
    path = tmp_path / "text.onnx"
    for seed in range(2):
        torch.manual_seed(seed)
        module = _Wide(200_000)
        write_graph(module, [torch.zeros(2, 4)], SIGNATURE, path)
        assert {file.name for file in tmp_path.iterdir()} == {"text.onnx", "text.onnx.data"}
        assert path.stat().st_size < 10_000
        assert 6_400_000 <= (tmp_path / "text.onnx.data").stat().st_size < 6_500_000
        assert _agrees(module, path)
