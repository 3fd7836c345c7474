"""What a training step takes: memory that autograd saves, and FLOPs, by level; nothing is built, nothing allocated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from registry.costs.recording import record_step
from specs.blocks.tape import Operation, Segment, Storage, Tape, Value
from specs.graph import EntryGraph

__all__ = ["StepCosts", "step_costs"]

#: Bytes or multiply-adds of one row, by the label of the level that has the rows.
PerRow = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Costs of a training step of some levels, for one row of each; multiply by the rows of each level.

    Attributes:
        saved: Bytes that autograd saves between the forward and the backward pass.
        recomputed: For each checkpointed block, bytes that it saves while it is computed again, and bytes of the copies
            of its weights.
        copies: Bytes of the copies of weights in low precision: all that the forward pass holds.
        kept_copies: Those that the backward pass needs, without those of checkpointed blocks.
        gradient: Most bytes of the gradients that one operation reads and writes.
        forward: Multiply-adds of the forward pass.
        backward: Multiply-adds of the backward pass.
        again: Multiply-adds of checkpointed blocks that the backward pass computes again.
    """

    saved: PerRow
    recomputed: tuple[tuple[PerRow, int], ...]
    copies: int
    kept_copies: int
    gradient: PerRow
    forward: PerRow
    backward: PerRow
    again: PerRow

    def activations(self, rows: PerRow) -> int:
        """Return the bytes that are saved at once for these rows: those of the pass, and the largest recomputed block.

        Copies of weights in low precision are included.
        """
        return times(self.saved, rows) + max(self.copies, self.kept_copies + self.recomputed_bytes(rows))

    def recomputed_bytes(self, rows: PerRow) -> int:
        """Return the bytes that the largest checkpointed block saves while it is computed again, copies included."""
        return max((times(each, rows) + copies for each, copies in self.recomputed), default=0)

    @property
    def copies_held(self) -> int:
        """Bytes of the copies of weights that are held at the end of the forward pass."""
        return max(self.copies, self.kept_copies)

    def workspace(self, rows: PerRow) -> int:
        """Return the bytes of the gradients of feature maps that the backward pass holds at once."""
        return max((rows[label] * size for label, size in self.gradient.items()), default=0)

    def flops(self, rows: PerRow, *, again: bool = True) -> int:
        """Return the FLOPs of forward and backward passes for these rows.

        Args:
            rows: Rows by level.
            again: Whether to count checkpointed blocks twice, as they are computed.
        """
        parts = [self.forward, self.backward, *([self.again] if again else [])]
        return 2 * sum(times(part, rows) for part in parts)


def times(each: PerRow, rows: PerRow) -> int:
    """Return the sum over levels of a number for one row, times the rows."""
    return sum(rows[label] * number for label, number in each.items())


@lru_cache(maxsize=256)
def step_costs(
    graph: EntryGraph,
    *,
    frozen: frozenset[str] = frozenset(),
    checkpointed: frozenset[str] = frozenset(),
    without_loss: frozenset[str] = frozenset(),
    half: bool = False,
    gpu: bool = False,
) -> StepCosts:
    """Return the costs of a training step.

    Args:
        graph: Levels that are trained.
        frozen: Labels of the levels that are not trained.
        checkpointed: Labels of the levels whose blocks are checkpointed.
        without_loss: Labels of the levels whose loss has no weight.
        half: Whether the step runs under autocast in bfloat16 or float16.
        gpu: Whether it runs on a GPU.
    """
    tape = Tape(half=half, gpu=gpu)
    losses = record_step(graph, tape, frozen=frozen, checkpointed=checkpointed)
    reached = [loss for label, loss in losses.items() if label not in without_loss]
    backward, again = _backward(tape.operations, reached)
    return StepCosts(
        saved=_by_level(tape.saved),
        recomputed=tuple((_by_level(each.saved), each.copies) for each in tape.segments),
        copies=tape.copies,
        kept_copies=tape.kept_copies,
        gradient=_gradient(tape.operations),
        forward=_sum((each.label, each.macs) for each in tape.operations),
        backward=backward,
        again=again,
    )


def _sum(pairs: object) -> PerRow:
    total: dict[str, int] = {}
    for label, number in pairs:  # type: ignore[attr-defined]
        total[label] = total.get(label, 0) + number
    return total


def _by_level(storages: Collection[Storage]) -> PerRow:
    return _sum((each.label, each.size) for each in storages)


def _backward(operations: Sequence[Operation], losses: Sequence[Value]) -> tuple[PerRow, PerRow]:
    """Return the multiply-adds of the gradients that losses need, and of what they compute again."""
    needed = {id(loss) for loss in losses if loss.grad}
    found: list[tuple[str, int]] = []
    segments: dict[int, Segment] = {}
    for each in reversed(operations):
        if id(each.output) not in needed or not each.output.grad:
            continue
        found.append((each.label, each.parameters + sum(each.back)))
        needed.update(id(value) for value in each.inputs if value.grad)
        if each.segment is not None:
            segments[id(each.segment)] = each.segment
    again = _sum(pair for segment in segments.values() for pair in _again(segment))
    return _sum(found), again


def _again(segment: Segment) -> list[tuple[str, int]]:
    """Return the multiply-adds of a block that is computed again, up to the last tensor that it saves."""
    last = max((index for index, each in enumerate(segment.operations) if each.saves), default=-1)
    if last < 0:
        return []
    # The operation that saves last is not run itself, unless it saves its own result.
    end = last + 1 if segment.operations[last].keeps_result else last
    return [(each.label, each.macs) for each in segment.operations[:end]]


def _gradient(operations: Sequence[Operation]) -> PerRow:
    """Return the most bytes of gradients that an operation of each level reads and writes."""
    largest: dict[str, int] = {}
    for each in operations:
        if each.output.grad:
            held = [each.output, *(value for value in each.inputs if value.grad)]
            size = sum(value.elements * (2 if value.half else 4) for value in held)
            largest[each.label] = max(largest.get(each.label, 0), size)
    return largest
