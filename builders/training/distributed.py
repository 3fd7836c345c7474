"""Training with one process or several (DDP), through Hugging Face accelerate."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from builders.training.errors import TrainingError
from builders.training.starting.meeting import Meeting

__all__ = ["Processes", "is_main"]

#: Precisions by their names in accelerate.
_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class Processes:
    """The processes that train together. All of them must call the same methods in the same order.

    Args:
        device: "cpu" or "cuda". Under a launcher (``accelerate launch``, ``torchrun``) each process has its own GPU.
        precision: Precision of activations: "auto", "float32", "bfloat16" or "float16".
        unused: Whether some parameters have no gradient, because their level has no loss.

    Attributes:
        precision: Precision of activations.
        device: Device of this process.
        index: Rank of this process, from 0.
        count: Number of processes (world size).
        main: Whether this is the main process, which writes the files.
        scaler: Gradient scaler of float16, or None.

    Raises:
        TrainingError: The device does not support the precision, the launcher asks for sharding, or not all processes
            join in time.
    """

    def __init__(self, device: torch.device | str, precision: str = "float32", *, unused: bool = False) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import (
            DistributedDataParallelKwargs,
            DistributedType,
            GradientAccumulationPlugin,
            InitProcessGroupKwargs,
        )

        _refuse_sharding()
        device = torch.device(device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        self.precision = _precision(precision, device)
        if AcceleratorState._shared_state and not torch.distributed.is_initialized():
            AcceleratorState._reset_state(True)  # an earlier run in this process may have used another precision
        self._meeting = Meeting.of_launcher()
        if self._meeting is not None:
            self._meeting.join("start")
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=_PRECISIONS[self.precision],
            # A launcher may ask for gradient accumulation, which would divide the loss.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[
                DistributedDataParallelKwargs(find_unused_parameters=unused),
                InitProcessGroupKwargs(timeout=_PATIENCE),
            ],
        )
        kind = self.accelerator.distributed_type
        if kind != DistributedType.NO and not kind.value.startswith("MULTI_"):
            raise TrainingError(_refusal(kind.value))
        self.device: torch.device = self.accelerator.device
        self.index, self.count = int(self.accelerator.process_index), int(self.accelerator.num_processes)
        self.main = self.index == 0
        self.scaler: Any = self.accelerator.scaler

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Wrap the model and the optimizer for training."""
        # Those of the previous phase are no longer needed.
        self.accelerator.free_memory()
        return self.accelerator.prepare(model, optimizer)

    def accumulate(self, model: Any, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context for one of several passes: gradients are averaged over processes after the last one only."""
        return nullcontext() if last else self.accelerator.no_sync(model)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, averaged over processes."""
        self.accelerator.backward(loss)

    def unscale(self, optimizer: Any) -> None:
        """Remove the scale of float16 from the gradients."""
        self.accelerator.unscale_gradients(optimizer)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes."""
        return values if self.count == 1 else self.accelerator.reduce(values, "sum")

    def gather(self, value: Any) -> list[Any]:
        """Return the value of each process, by rank. Values are pickled, so this is slow."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Wait for all processes to be ready for the first step, for a limited time.

        Raises:
            TrainingError: Another process is not ready in time, perhaps because it failed.
        """
        if self._meeting is not None:
            self._meeting.join("ready")
        self.accelerator.wait_for_everyone()


#: Timeout of collectives: the other processes wait while the main process validates, samples and saves.
_PATIENCE = timedelta(hours=4)
#: Environment variables that ``accelerate launch`` sets for sharding, and what they stand for.
_SHARDING = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
}


def is_main() -> bool:
    """Return whether this is the main process, or the only one."""
    from accelerate import PartialState

    return not PartialState._shared_state or bool(PartialState().is_main_process)


def _refuse_sharding() -> None:
    # Checked before accelerate does, which fails if a library is not installed.
    for variable, name in _SHARDING.items():
        if os.environ.get(variable, "").lower() in ("true", "1", "yes", "on", "y", "t"):
            raise TrainingError(_refusal(name))


def _refusal(name: str) -> str:
    return (
        f"training does not run under {name}: every process holds the whole network. Use torchrun, or accelerate "
        "launch --multi_gpu (without --use_fsdp and --use_deepspeed). To save memory, set "
        "memory.rows_per_pass or memory.checkpoint, or use more processes or precision bfloat16"
    )


def _precision(name: str, device: torch.device) -> str:
    if name == "auto":
        return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if name == "float16" and device.type != "cuda":
        raise TrainingError(f"precision float16 needs a GPU, not {device.type}; use float32 or bfloat16")
    return name
