"""Drawing samples with all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from builders.networks.nested_unet import NestedUNet
from builders.sampling.generation import Request, draw
from builders.text.encoder import TextEncoder
from builders.training.batches import joined
from builders.training.sharding.tensors import is_sharded
from specs.schemas.sampling import SamplerSpec

if TYPE_CHECKING:
    from builders.training.distributed import Processes

__all__ = ["SharedDrawing", "draw_together"]


def draw_together(
    model: NestedUNet,
    request: Request,
    settings: SamplerSpec | None = None,
    *,
    processes: Processes,
    encoder: TextEncoder | None = None,
    progress: Callable[[int], object] | None = None,
) -> Iterator[tuple[range, list[Tensor]]]:
    """Draw samples batch by batch as :func:`builders.sampling.generation.draw`, each process a share of the rows.

    All processes must call this and take all batches. Each has its own copy of the network, or its part of one.

    Args:
        model: Network.
        request: Seeds, and classes or prompts, the same in all processes.
        settings: Sampler, steps and guidance.
        processes: Processes that draw.
        encoder: Text encoder for the prompts.
        progress: Called after every step with the number of samples in the batch of all processes.

    Yields:
        Rows of the request and their samples by level, the same in all processes.

    Raises:
        ValueError: As for :func:`builders.sampling.generation.draw`; in all processes.
    """
    count, number = len(request.seeds), processes.count
    # Every process draws as many rows: those of a divided network run in step. The last row may be drawn twice.
    mine = [min(row, count - 1) for row in range(processes.index, -(-count // number) * number, number)]
    part = _rows(request, mine) if count else request
    done = 0

    def advance(rows: int) -> None:
        if progress is not None:
            progress(min(rows * number, count - done))

    batches = draw(model, part, settings, encoder=encoder, progress=advance)
    in_step = is_sharded(next(model.parameters()))
    while True:
        found = processes.together(lambda: next(batches, None), in_step=in_step)
        drawn = [each for each in found if each is not None]
        if len(drawn) < number:
            return
        own = drawn[0][0]
        rows = range(own.start * number, min(own.stop * number, count))
        done = rows.stop
        levels = zip(*(levels for _, levels in drawn), strict=True)
        yield rows, [joined(list(parts))[: len(rows)] for parts in levels]


class SharedDrawing:
    """Drawing that the main process asks the others to take part in.

    Args:
        processes: Processes that draw.
    """

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._asked = False

    def draw(
        self,
        model: NestedUNet,
        request: Request,
        settings: SamplerSpec | None = None,
        *,
        encoder: TextEncoder | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[tuple[range, list[Tensor]]]:
        """Draw in the main process, as :func:`draw_together`, while the others are in :meth:`follow`."""
        self._asked = True
        self.processes.gather((request, settings))
        options = {"encoder": encoder, "progress": progress}
        yield from draw_together(model, request, settings, processes=self.processes, **options)  # type: ignore[arg-type]

    def follow(self, model: NestedUNet, encoder: TextEncoder | None = None) -> None:
        """Take part in what the main process draws, in the others."""
        asked = self.processes.gather(None)[0]
        if asked is not None:
            request, settings = asked
            for _ in draw_together(model, request, settings, processes=self.processes, encoder=encoder):
                pass

    def end(self) -> None:
        """Release the others if the main process has asked for nothing, because something failed before."""
        if not self._asked:
            self.processes.gather(None)


def _rows(request: Request, rows: list[int]) -> Request:
    def taken(values: tuple | None) -> tuple | None:
        return None if values is None else tuple(values[row] for row in rows)

    return Request(taken(request.seeds) or (), taken(request.classes), taken(request.prompts))
