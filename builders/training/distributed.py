"""Training with one process or several (DDP or FSDP2), through Hugging Face accelerate."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from builders.networks.nested_unet import NestedUNet
from builders.precision import pick_precision
from builders.training.errors import ProcessLost, TrainingError
from builders.training.sharding.launcher import launcher_shards, without_plugin
from builders.training.sharding.network import process_mesh, shard
from builders.training.starting.lost import first_line, lost_process
from builders.training.starting.meeting import Meeting
from builders.training.starting.patience import WAIT, patience

__all__ = ["Processes", "is_main"]

T = TypeVar("T")

#: Precisions by their names in accelerate.
_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class Processes:
    """The processes that train together. All of them must call the same methods in the same order.

    Args:
        device: "cpu" or "cuda". Under a launcher (``accelerate launch``, ``torchrun``) each process has its own GPU.
        precision: Precision of activations: "auto", "float32", "bfloat16" or "float16".
        unused: Whether some parameters have no gradient, because their level has no loss.
        sharded: Whether to divide the network among the processes. The launcher may ask for it too.

    Attributes:
        precision: Precision of activations.
        device: Device of this process.
        index: Rank of this process, from 0.
        count: Number of processes (world size).
        main: Whether this is the main process, which writes the files.
        sharded: Whether networks, gradients and optimizer state are divided among the processes (FSDP2). If not, every
            process holds them whole (DDP).
        scaler: Gradient scaler of float16, or None.

    Raises:
        TrainingError: The device does not support the precision, the launcher asks for what is not supported, or not
            all processes join in time.
    """

    def __init__(
        self, device: torch.device | str, precision: str = "float32", *, unused: bool = False, sharded: bool = False
    ) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import (
            DistributedDataParallelKwargs,
            DistributedType,
            GradientAccumulationPlugin,
            InitProcessGroupKwargs,
        )

        sharded = launcher_shards() or sharded
        device = torch.device(device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        self.precision = pick_precision(precision, device)
        if self.precision == "float16" and device.type != "cuda":
            raise TrainingError(f"precision float16 needs a GPU, not {device.type}; use float32 or bfloat16")
        if AcceleratorState._shared_state and not torch.distributed.is_initialized():
            AcceleratorState._reset_state(True)  # an earlier run in this process may have used another precision
        self._meeting = Meeting.of_launcher()
        if self._meeting is not None:
            self._meeting.join("start")
        with without_plugin():
            self.accelerator = Accelerator(
                cpu=device.type == "cpu",
                mixed_precision=_PRECISIONS[self.precision],
                # A launcher may ask for gradient accumulation, which would divide the loss.
                gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
                kwargs_handlers=[
                    DistributedDataParallelKwargs(find_unused_parameters=unused),
                    InitProcessGroupKwargs(timeout=timedelta(seconds=patience(WAIT))),
                ],
            )
        kind = self.accelerator.distributed_type
        if kind != DistributedType.NO and not kind.value.startswith("MULTI_"):
            raise TrainingError(f"training does not run under {kind.value}; use torchrun or accelerate launch")
        self.device: torch.device = self.accelerator.device
        self.index, self.count = int(self.accelerator.process_index), int(self.accelerator.num_processes)
        self.main = self.index == 0
        self.scaler: Any = self.accelerator.scaler
        self.sharded = sharded and self.count > 1
        self._mesh = process_mesh(self.device, self.count) if self.sharded else None

    def place(self, network: NestedUNet) -> None:
        """Move a network to the device of this process, or this process's part of it.

        Args:
            network: Network, the same in all processes. If it is divided, its parameters become sharded tensors.
        """
        if self.sharded:
            shard(network, self._mesh)
        else:
            network.to(self.device)

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Wrap the model, which is in its place, and the optimizer for training."""
        # Those of the previous phase are no longer needed.
        self.accelerator.free_memory()
        if not self.sharded:
            return self.accelerator.prepare(model, optimizer)

        def forward(*args: Any, **kwargs: Any) -> Any:
            from accelerate.utils import convert_outputs_to_fp32

            with self.accelerator.autocast():
                return convert_outputs_to_fp32(model)(*args, **kwargs)

        return forward, self.accelerator.prepare_optimizer(optimizer)

    def accumulate(self, model: Any, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context for one of several passes: gradients are averaged over processes after the last one only.

        Those of a sharded network are averaged after every pass: until then, a process would hold them whole.
        """
        return nullcontext() if last or self.sharded else self.accelerator.no_sync(model)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, averaged over processes."""
        self.accelerator.backward(loss)

    def unscale(self, optimizer: Any) -> None:
        """Remove the scale of float16 from the gradients."""
        self.accelerator.unscale_gradients(optimizer)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over processes."""
        return values if self.count == 1 else self.accelerator.reduce(values, "sum")

    def norms(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return norms of gradients by name, from those of what this process holds."""
        if not self.sharded or not parts:
            return dict(parts)
        values = torch.stack(list(parts.values()))
        return dict(zip(parts, self.sum(values.double().square()).sqrt().to(values.dtype), strict=True))

    def gather(self, value: Any) -> list[Any]:
        """Return the value of each process, by rank. Values are pickled, so this is slow.

        Raises:
            ProcessLost: Another process has failed or does not answer.
        """
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        try:
            return gather_object([value])
        except RuntimeError as error:
            lost = lost_process(error, (self.index, self.count))
            raise lost or error from None

    def agree(self, action: Callable[[], T], *, in_step: bool = False) -> T:
        """Run an action in every process, and return its result in this one.

        Args:
            action: Action without arguments.
            in_step: Whether it runs a sharded network, all processes in step. One that fails inside cannot report it to
                the others, which wait for its weights. It then ends, and with it the others.

        Raises:
            Exception: It failed in one of them: the first error by rank, in all processes.
            ProcessLost: It failed in step.
        """
        if self.count == 1:
            return action()
        value, error = None, None
        try:
            value = action()
        except Exception as found:
            if in_step:
                self._end_in_step(found)
            error = found
        _raise_first(self.gather(_portable(error)))
        return value  # type: ignore[return-value]

    def together(self, action: Callable[[], T], *, in_step: bool = False) -> list[T]:
        """Run an action in every process as :meth:`agree`, and return all results by rank."""
        return self.gather(self.agree(action, in_step=in_step))

    def measure(self, measured: Callable[[Callable[[Tensor], Tensor]], T]) -> T:
        """Let every process measure a share, and return the result of all.

        Args:
            measured: Function that measures this process's share, and calls its argument once with a tensor, for the
                sum over processes.

        Raises:
            Exception: It failed in one of them: the first error by rank, in all processes.
            ProcessLost: It failed because of the device or of another process, and the network is sharded: the others
                wait for weights of this process.
        """
        sums: list[Tensor] = []

        def total(values: Tensor) -> Tensor:
            sums.append(values)
            return torch.stack([each.to(values.device) for each in self.together(values.cpu)]).sum(0)

        if self.count == 1:
            return measured(lambda values: values)
        try:
            return measured(total)
        except Exception as error:
            if not sums:  # the others are in `total`, or come to it
                if self.sharded:
                    self._end_in_step(error)
                _raise_first(self.gather(_portable(error)))
            raise

    def _end_in_step(self, error: Exception) -> None:
        """Raise a ProcessLost for an error of the device or of another process, while all compute in step."""
        if not isinstance(error, (RuntimeError, MemoryError)):
            return
        lost = lost_process(error, (self.index, self.count))
        if lost is None:
            lost = ProcessLost(
                f"rank {self.index} failed ({first_line(error)}) while the other processes waited for its part of the "
                "network, and ends, and they with it"
            )
        raise lost from None

    def on_main(self, action: Callable[[], T]) -> T:
        """Run an action in the main process, and return its result, or raise its error, in all."""
        return self.together(lambda: action() if self.main else None)[0]  # type: ignore[return-value]

    def wait(self) -> None:
        """Wait for all processes to be ready for the first step, for a limited time.

        Raises:
            TrainingError: Another process is not ready in time, perhaps because it failed.
        """
        if self._meeting is not None:
            self._meeting.join("ready")
        self.accelerator.wait_for_everyone()


def is_main() -> bool:
    """Return whether this is the main process, or the only one."""
    from accelerate import PartialState

    return not PartialState._shared_state or bool(PartialState().is_main_process)


def _raise_first(errors: list[Exception | None]) -> None:
    """Raise the first of the errors of all processes, by rank, if there is one."""
    for error in errors:
        if error is not None:
            raise error


def _portable(error: Exception | None) -> Exception | None:
    """Return an error that other processes can read."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # whatever a class with arguments of its own raises
        return TrainingError(str(error))
