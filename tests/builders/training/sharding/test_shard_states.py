"""States in shards: written by every process, checked by their hashes, and deleted when no state names them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from builders.checkpoints.tensor_file import CheckpointError, write_tensors
from builders.training.distributed import Processes
from builders.training.sharding.network import process_mesh
from builders.training.sharding.states import FACT, ShardFolder, remove_unused_shards, write_shards
from builders.training.sharding.tensors import is_sharded, placed_like, whole

TENSORS = {
    "model/weight": torch.arange(12.0).view(3, 4),
    "optimizer/exp_avg/weight": torch.arange(12.0).view(3, 4) + 0.5,
    "optimizer/step/weight": torch.tensor(7.0),
    "optimizer/row/weight": torch.arange(3.0, dtype=torch.float64),
}


@pytest.fixture(scope="module")
def like() -> Iterator[Tensor]:
    """A sharded tensor of one process."""
    from torch.distributed.tensor import Shard, distribute_tensor

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield distribute_tensor(torch.zeros(3, 4), process_mesh(torch.device("cpu"), 1), [Shard(0)])
    finally:
        distributed.destroy_process_group()


@pytest.fixture
def processes() -> Any:
    """This process alone."""
    alone = Processes.__new__(Processes)
    alone.count, alone.index, alone.main, alone.sharded = 1, 0, True, False
    return alone


@pytest.fixture
def shards(like: Tensor, processes: Any, tmp_path: Path) -> ShardFolder:
    return write_shards(tmp_path, 4, {name: placed_like(each, like) for name, each in TENSORS.items()}, processes)


def name_in_state(path: Path, shards: ShardFolder) -> None:
    write_tensors(path, {"monitor/norms": torch.zeros(1)}, {FACT: shards.facts()})


def test_shards_are_read_whole_or_divided(shards: ShardFolder, like: Tensor) -> None:
    assert shards.path.name.startswith("shards-000000004-") and len(shards.hashes) == 1
    shards.check()
    found = shards.read("optimizer", {})
    assert all(torch.equal(found[name.removeprefix("optimizer/")], TENSORS[name]) for name in list(TENSORS)[1:])
    assert not any(is_sharded(each) for each in found.values())
    divided = shards.read("optimizer", {"weight": like})
    assert [name for name, each in divided.items() if is_sharded(each)] == ["exp_avg/weight"]
    assert torch.equal(whole(divided, keep=True)["exp_avg/weight"], TENSORS["optimizer/exp_avg/weight"])
    assert shards.read("ema", {}) == {}


def test_damaged_missing_and_other_shards_are_refused(shards: ShardFolder) -> None:
    (file,) = shards.path.iterdir()
    intact = file.read_bytes()
    file.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="damaged: its contents do not match the stored hash"):
        shards.check()
    shards.check((1, 2))  # another process looks at it
    file.write_bytes(intact[:100])
    with pytest.raises(CheckpointError, match="the shards cannot be read"):
        shards.read("model", {})
    file.write_bytes(intact)
    other = shards.path / "other.safetensors"
    other.touch()
    with pytest.raises(CheckpointError, match="other.safetensors: no shard of this state; move it away"):
        shards.check()
    other.unlink()
    file.unlink()
    with pytest.raises(CheckpointError, match="this shard of the state is missing"):
        shards.check()


@pytest.mark.parametrize(
    "fact",
    [
        "no JSON", "[]", json.dumps({"folder": "shards-000000004-0123abcd"}),
        json.dumps({"folder": "../elsewhere", "files": {}}),
        json.dumps({"folder": "shards-000000004-0123abcd", "files": {"../../x": "0"}}),
    ],
)  # fmt: skip
def test_a_state_that_names_other_places_is_refused(fact: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="damaged: its list of shards"):
        ShardFolder.of_state(tmp_path / "state.safetensors", {FACT: fact})


def test_states_name_their_shards(shards: ShardFolder, tmp_path: Path) -> None:
    for path in (tmp_path / "state.safetensors", tmp_path / "checkpoints" / "state-000000004.safetensors"):
        assert ShardFolder.of_state(path, {FACT: shards.facts()}) == shards
    assert ShardFolder.of_state(tmp_path / "state.safetensors", {}) is None


def test_shards_that_no_state_names_are_deleted(shards: ShardFolder, tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    unfinished, theirs = place / ".shards-000000009-0123abcd.tmp", place / "shards-of-mine"
    unfinished.mkdir()
    theirs.mkdir()
    name_in_state(place / "state-000000004.safetensors", shards)
    remove_unused_shards(tmp_path)
    assert sorted(path.name for path in place.iterdir() if path.is_dir()) == [shards.path.name, theirs.name]
    (place / "state-000000004.safetensors").unlink()
    name_in_state(tmp_path / "state.safetensors", shards)
    remove_unused_shards(tmp_path)
    assert shards.path.is_dir()
    (tmp_path / "state.safetensors").write_bytes(b"damaged")
    remove_unused_shards(tmp_path)
    assert shards.path.is_dir()
    (tmp_path / "state.safetensors").unlink()
    remove_unused_shards(tmp_path)
    assert not shards.path.exists() and theirs.is_dir()


def test_a_disk_that_fails_leaves_nothing(
    like: Tensor, processes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builders.training.sharding.states.rename_synced", full)
    with pytest.raises(CheckpointError, match="cannot be written .No space left on device.; an existing checkpoint"):
        write_shards(tmp_path, 4, {"model/weight": placed_like(TENSORS["model/weight"], like)}, processes)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_shards(tmp_path, 4, {"model/weight": placed_like(TENSORS["model/weight"], like)}, processes)
