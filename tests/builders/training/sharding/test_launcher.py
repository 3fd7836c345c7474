"""What a launcher asks for, by its environment variables."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.training.distributed import Processes
from builders.training.errors import TrainingError
from builders.training.sharding.launcher import launcher_shards

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (
            {"ACCELERATE_USE_DEEPSPEED": "true"},
            "does not run under DeepSpeed. To divide .* --use_fsdp --fsdp_version 2",
        ),
        ({"ACCELERATE_USE_MEGATRON_LM": "1"}, "does not run under Megatron-LM"),
        (
            {"ACCELERATE_USE_FSDP": "true"},
            "runs under FSDP 2, not 1: use accelerate launch --use_fsdp --fsdp_version 2",
        ),
        (FSDP | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "random states of dropout. Set memory.checkpoint"),
        (FSDP | {"FSDP_OFFLOAD_PARAMS": "true"}, "does not support --fsdp_offload_params"),
    ],
)
def test_what_is_not_supported_is_refused(values: dict[str, str], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match=match):
        Processes("cpu")


def test_one_process_is_not_sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not launcher_shards()
    for name, value in (FSDP | {"FSDP_OFFLOAD_PARAMS": "false"}).items():
        monkeypatch.setenv(name, value)
    assert launcher_shards()
    processes = Processes("cpu")
    assert not processes.sharded and os.environ["ACCELERATE_USE_FSDP"] == "true"
    assert processes.on_main(lambda: 3) == 3 and processes.together(lambda: 4) == [4]


def test_the_memory_check_counts_what_the_launcher_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zoo
    from specs.recipe import Recipe

    seen: list[Recipe] = []
    for name, value in FSDP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("registry.costs.machine.check_training", lambda recipe, *rest: seen.append(recipe))
    monkeypatch.setattr("builders.training.start.train", lambda recipe, *rest, **options: tmp_path)
    zoo.train("micro-test", output=tmp_path / "run", device="cpu", track=False, quiet=True)
    assert [recipe.memory.shard for recipe in seen] == [True]
