"""What the launcher asks for, in the environment variables that ``accelerate launch`` sets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from builders.training.errors import TrainingError

__all__ = ["launcher_shards", "without_plugin"]

#: Engines that are not supported, by the variable that asks for them.
_OTHERS = {"ACCELERATE_USE_DEEPSPEED": "DeepSpeed", "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM"}
_FSDP = "ACCELERATE_USE_FSDP"
#: Settings of FSDP that are not supported, and what to do instead.
_REFUSED = {
    "FSDP_ACTIVATION_CHECKPOINTING": (
        "--fsdp_activation_checkpointing: it drops the random states of dropout. Set memory.checkpoint in the recipe"
    ),
    "FSDP_OFFLOAD_PARAMS": "--fsdp_offload_params: weights stay on the device. Use more processes",
}


def launcher_shards() -> bool:
    """Return whether ``accelerate launch --use_fsdp`` started this process.

    Raises:
        TrainingError: The launcher asks for something else that divides the network.
    """
    for variable, name in _OTHERS.items():
        if _is_set(variable):
            raise TrainingError(
                f"training does not run under {name}. To divide the network among the processes, use accelerate launch "
                "--use_fsdp --fsdp_version 2, or memory.shard=true in the recipe"
            )
    if not _is_set(_FSDP):
        return False
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise TrainingError(
            f"training runs under FSDP 2, not {version}: use accelerate launch --use_fsdp --fsdp_version 2"
        )
    for variable, advice in _REFUSED.items():
        if _is_set(variable):
            raise TrainingError(f"training does not support {advice}")
    return True


@contextlib.contextmanager
def without_plugin() -> Iterator[None]:
    """Hide the request from accelerate, whose own wrapping works on GPUs alone and knows no blocks."""
    found = os.environ.pop(_FSDP, None)
    try:
        yield
    finally:
        if found is not None:
            os.environ[_FSDP] = found


def _is_set(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("true", "1", "yes", "on", "y", "t")
