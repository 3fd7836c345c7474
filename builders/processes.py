"""One process or several, through Hugging Face accelerate: devices, precision, gradients, and sums over processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from builders.growth import TrainingError

__all__ = ["Processes"]

#: accelerate's names of precisions.
_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class Processes:
    """The processes that train together; all of them call the same methods in the same order.

    Args:
        device: "cpu" or "cuda"; under a launcher (``accelerate launch``, ``torchrun``) each process has its own GPU.
        precision: "auto", "float32", "bfloat16" or "float16".
        unused: whether some parameters have no gradient, because their level has no loss.

    Raises:
        TrainingError: the device cannot compute in this precision.
    """

    def __init__(self, device: torch.device | str, precision: str = "float32", *, unused: bool = False) -> None:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
        from accelerate.utils import DistributedDataParallelKwargs

        device = torch.device(device)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        self.precision = _precision(precision, device)
        if AcceleratorState._shared_state and not torch.distributed.is_initialized():
            AcceleratorState._reset_state(True)  # an earlier run in this process, perhaps in another precision
        self.accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=_PRECISIONS[self.precision],
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=unused)],
        )

    @property
    def device(self) -> torch.device:
        """Where this process trains."""
        return self.accelerator.device

    @property
    def index(self) -> int:
        """Number of this process, from 0; 0 writes the files."""
        return int(self.accelerator.process_index)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    @property
    def scaler(self) -> Any:
        """The scaler of float16 losses, or None."""
        return self.accelerator.scaler

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """The model and the optimizer as they are to be called."""
        # Those of the phase before are done with.
        self.accelerator.free_memory()
        return self.accelerator.prepare(model, optimizer)

    def backward(self, loss: Tensor, optimizer: Any) -> None:
        """Gradients of ``loss``, averaged over processes, in their true size."""
        self.accelerator.backward(loss)
        self.accelerator.unscale_gradients(optimizer)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        return values if self.count == 1 else self.accelerator.reduce(values, "sum")

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in their order; for the rare case, as it is pickled among them."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return gather_object([value])

    def wait(self) -> None:
        """Until all processes are here."""
        self.accelerator.wait_for_everyone()


def _precision(name: str, device: torch.device) -> str:
    if name == "auto":
        return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    if name == "float16" and device.type != "cuda":
        raise TrainingError(f"precision float16 needs a GPU, not {device.type}; use float32 or bfloat16")
    return name
