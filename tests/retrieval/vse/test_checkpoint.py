"""Checkpoints on disk."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmsearch.errors import InputError, ModelError
from mmsearch.retrieval.vse import checkpoint
from mmsearch.retrieval.vse.checkpoint import (
    STATE_FILE,
    WEIGHTS_FILE,
    has_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.full((2, 3), value), "count": torch.tensor(3)}


def test_weights_and_state_come_back_as_they_were(tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    torch.autograd.backward(module(torch.ones(1, 2)).sum())
    optimizer.step()
    generator = np.random.default_rng(5)
    state: dict[str, Any] = {
        "optimizer": optimizer.state_dict(),
        "torch": torch.random.get_rng_state(),
        "numpy": generator.bit_generator.state,
        "epoch": 3,
        "best": None,
        "history": [1.5, ("a", True)],
    }
    save_checkpoint(tmp_path / "last", module.state_dict(), state)
    found_weights, found = load_checkpoint(tmp_path / "last")
    assert torch.equal(found_weights["weight"], module.weight)
    assert torch.equal(found["torch"], state["torch"])
    assert found["numpy"] == state["numpy"]
    assert (found["epoch"], found["best"], found["history"]) == (3, None, [1.5, ("a", True)])
    moment = optimizer.state_dict()["state"][0]["exp_avg"]
    assert torch.equal(found["optimizer"]["state"][0]["exp_avg"], moment)


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    tensor = torch.ones(2, 2)
    save_checkpoint(tmp_path / "last", {"a": tensor, "b": tensor.t()}, {})
    assert torch.equal(load_weights(tmp_path / "last")["b"], tensor)


def test_a_checkpoint_replaces_the_one_before_and_leaves_nothing_beside(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        save_checkpoint(tmp_path / "last", weights(value), {"epoch": value})
    assert load_checkpoint(tmp_path / "last")[1] == {"epoch": 2.0}
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert sorted(path.name for path in (tmp_path / "last").iterdir()) == [WEIGHTS_FILE, STATE_FILE]


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("call", range(11))
def test_killed_at_any_call_the_old_or_the_new_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    save_checkpoint(tmp_path / "last", weights(1.0), {"epoch": 1})
    calls = 0

    def dying(real: Any) -> Any:
        def function(*args: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > call:
                raise KilledError
            return real(*args, **named)

        return function

    with monkeypatch.context() as patch:
        for owner, name in (
            (checkpoint, "save_file"),
            (torch, "save"),
            (checkpoint, "_sync"),
            (Path, "rename"),
            (shutil, "rmtree"),
        ):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        with pytest.raises(KilledError):
            save_checkpoint(tmp_path / "last", weights(2.0), {"epoch": 2})
    assert has_checkpoint(tmp_path / "last")
    found, state = load_checkpoint(tmp_path / "last")
    assert found["a"][0, 0].item() == state["epoch"]
    save_checkpoint(tmp_path / "last", weights(3.0), {"epoch": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert load_checkpoint(tmp_path / "last")[1] == {"epoch": 3}


def test_an_absent_checkpoint_is_an_error_that_names_it(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path / "none")
    with pytest.raises(ModelError, match="none is not a checkpoint"):
        load_checkpoint(tmp_path / "none")
    with pytest.raises(ModelError, match="none is not a checkpoint"):
        load_weights(tmp_path / "none")


@pytest.mark.parametrize("name", [WEIGHTS_FILE, STATE_FILE])
@pytest.mark.parametrize("kept", [0, 10, -1])
def test_a_truncated_file_is_told(tmp_path: Path, name: str, kept: int) -> None:
    save_checkpoint(tmp_path / "last", weights(1.0), {"epoch": 1})
    file = tmp_path / "last" / name
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(tmp_path / "last")


def test_weights_of_another_checkpoint_are_told(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", weights(1.0), {})
    save_checkpoint(tmp_path / "b", weights(2.0), {})
    (tmp_path / "a" / WEIGHTS_FILE).replace(tmp_path / "b" / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="do not belong together"):
        load_checkpoint(tmp_path / "b")


def test_another_format_is_refused_with_both_numbers(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", weights(1.0), {})
    torch.save({"format": 2}, tmp_path / "last" / STATE_FILE)
    with pytest.raises(ModelError, match="format 2 and this mmsearch reads 1"):
        load_checkpoint(tmp_path / "last")


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_with_code_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "last", weights(1.0), {})
    torch.save({"format": 1, "state": Evil()}, tmp_path / "last" / STATE_FILE)
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(tmp_path / "last")
    (tmp_path / "last" / STATE_FILE).write_bytes(pickle.dumps(Evil(), protocol))
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(tmp_path / "last")
    assert not (tmp_path / "evil").exists()


def test_a_disk_that_refuses_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "file" / "last", weights(1.0), {})
