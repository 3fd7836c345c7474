"""What autograd records in a training step, by sizes alone: the tensors that it saves, and products that it computes.

The tape follows torch's autograd formulas and the precisions of ``torch.autocast``, which differ by device: on the CPU,
norms keep the precision of their input; on a GPU, they compute in float32 and return float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Operation", "Segment", "Storage", "Tape", "Value"]

#: Bytes of one element in float32, and in bfloat16 and float16.
FULL, HALF = 4, 2


@dataclass(eq=False, slots=True)
class Storage:
    """Memory of a tensor, which views share.

    Attributes:
        size: Bytes for one row.
        label: Label of the level whose rows the tensor has.
    """

    size: int
    label: str


@dataclass(eq=False, slots=True)
class Value:
    """A tensor.

    Attributes:
        elements: Elements of one row.
        half: Whether it is in bfloat16 or float16.
        grad: Whether it requires a gradient.
        storage: Its memory.
    """

    elements: int
    half: bool
    grad: bool
    storage: Storage


@dataclass(eq=False, slots=True)
class Operation:
    """One operation, with what its backward pass computes.

    Attributes:
        inputs: Tensors that it reads.
        output: Its result.
        label: Label of the level whose rows it computes.
        macs: Multiply-adds of one row in the forward pass.
        parameters: Multiply-adds of the gradient of its parameters; 0 if they have none.
        back: Multiply-adds of the gradient of each input, as many as ``inputs``.
        saves: Whether it saves tensors for the backward pass.
        keeps_result: Whether one of these is its own result.
        segment: Checkpointed block that it belongs to.
    """

    inputs: tuple[Value, ...]
    output: Value
    label: str
    macs: int = 0
    parameters: int = 0
    back: tuple[int, ...] = ()
    saves: bool = False
    keeps_result: bool = False
    segment: Segment | None = None


@dataclass(eq=False, slots=True)
class Segment:
    """A checkpointed block, whose tensors are saved only while it is computed again in the backward pass.

    Attributes:
        saved: Memory that it saves then.
        copies: Bytes of the copies of its weights in low precision.
        operations: Its operations in order.
    """

    saved: dict[Storage, None] = field(default_factory=dict)
    copies: int = 0
    operations: list[Operation] = field(default_factory=list)


class Tape:
    """Records operations on tensors, of which only the sizes are known.

    Args:
        half: Whether the step runs under autocast in bfloat16 or float16.
        gpu: Whether it runs on a GPU.

    Attributes:
        label: Label of the level whose rows are computed.
        trained: Whether the parameters of the next operations are trained.
        operations: All operations in order.
        saved: Memory that is saved for the backward pass.
        copies: Bytes of the copies of trained weights in low precision, which autocast holds.
        kept_copies: Those that autograd saves, too.
        segments: Checkpointed blocks.
    """

    def __init__(self, *, half: bool = False, gpu: bool = False) -> None:
        self.half, self.gpu = half, gpu
        self.label, self.trained = "", True
        self.operations: list[Operation] = []
        self.saved: dict[Storage, None] = {}
        self.copies = self.kept_copies = 0
        self.segments: list[Segment] = []
        self._segment: Segment | None = None

    # --- tensors

    def value(self, elements: int, *, half: bool = False, grad: bool = False, bytes_each: int | None = None) -> Value:
        """Return a new tensor of the rows of the present level."""
        size = elements * (bytes_each or (HALF if half else FULL))
        return Value(elements, half, grad, Storage(size, self.label))

    def save(self, *values: Value) -> None:
        """Save tensors for the backward pass."""
        target = self.saved if self._segment is None else self._segment.saved
        target.update(dict.fromkeys(value.storage for value in values))

    @contextmanager
    def checkpointed(self, inputs: Iterable[Value]) -> Iterator[None]:
        """Record a block that saves only its inputs, and is computed again in the backward pass."""
        inputs = tuple(inputs)
        self.save(*inputs)
        self._segment = Segment()
        yield
        for value in inputs:
            self._segment.saved.pop(value.storage, None)
        self.segments.append(self._segment)
        self._segment = None

    def _record(
        self, inputs: Sequence[Value], output: Value, saved: Sequence[Value] = (), macs: int = 0, parameters: int = 0,
        back: Sequence[int] = (),
    ) -> Value:  # fmt: skip
        if output.grad:
            self.save(*saved)
        operation = Operation(
            tuple(inputs), output, self.label, macs, parameters if self.trained else 0, tuple(back),
            output.grad and bool(saved), output.grad and output in saved, self._segment,
        )  # fmt: skip
        self.operations.append(operation)
        if self._segment is not None:
            self._segment.operations.append(operation)
        return output

    # --- precision

    def lower(self, x: Value) -> Value:
        """Return a tensor in the precision of products: a copy under autocast."""
        if not self.half or x.half:
            return x
        return self._record([x], self.value(x.elements, half=True, grad=x.grad))

    def full(self, x: Value) -> Value:
        """Return a tensor in float32: a copy of one in low precision."""
        return self._record([x], self.value(x.elements, grad=x.grad)) if x.half else x

    def _weights(self, number: int, saved: bool) -> None:
        """Count the copies of weights in low precision."""
        if not self.half or not number:
            return
        size = HALF * number
        if self.trained:
            self.copies += size
        if saved and self._segment is not None:
            self._segment.copies += size
        elif saved:
            self.kept_copies += size

    # --- operations

    def product(
        self, x: Value, elements: int, macs: int, weights: int, *, biases: int = 0, joint: bool = True
    ) -> Value:
        """Multiply by weights: a convolution, or a linear layer.

        Args:
            x: Input.
            elements: Elements of the result.
            macs: Multiply-adds.
            weights: Number of weights.
            biases: Number of biases.
            joint: Whether autograd saves the input also if the weights are not trained, as for convolutions.
        """
        x = self.lower(x)
        grad = x.grad or self.trained
        self._weights(weights, grad and (joint or x.grad))
        if self.trained and self.half:
            self.copies += HALF * biases
        saved = [x] if joint or self.trained else []
        result = self.value(elements, half=self.half, grad=grad)
        made = self._record([x], result, saved, macs, macs, [macs if x.grad else 0])
        self.operations[-1].saves = grad  # the weights, if not the input
        return made

    def linear(self, x: Value, elements: int, inputs: int, outputs: int, *, bias: bool = True) -> Value:
        """Apply a linear layer to vectors of ``inputs`` elements; the result has ``elements``."""
        macs = elements * inputs
        return self.product(x, elements, macs, inputs * outputs, biases=outputs if bias else 0, joint=False)

    def norm(self, x: Value, statistics: int) -> Value:
        """Normalize, with a scale and shift per channel.

        Args:
            x: Input.
            statistics: Elements of mean and deviation together.
        """
        if self.gpu and self.half:
            x = self.full(x)
        numbers = self.value(statistics)
        return self._record([x], self.value(x.elements, half=x.half, grad=x.grad or self.trained), [x, numbers])

    def activation(self, x: Value) -> Value:
        """Apply SiLU or GELU, whose gradient reads the input."""
        return self._record([x], self.value(x.elements, half=x.half, grad=x.grad), [x])

    def scale_and_shift(self, x: Value, scale: Value, shift: Value) -> Value:
        """Return shift + x * (1 + scale), with one scale and shift for many elements of ``x``."""
        factor = self._record([scale], self.value(scale.elements, half=scale.half, grad=scale.grad))
        if not x.half:
            factor = self.full(factor)
        saved = [x] * factor.grad + [factor] * x.grad
        grad = x.grad or scale.grad or shift.grad
        return self._record([x, factor, shift], self.value(x.elements, half=x.half, grad=grad), saved)

    def dropout(self, x: Value) -> Value:
        """Drop elements: the mask is saved, one byte per element on a GPU, elsewhere in the precision of ``x``."""
        mask = self.value(x.elements, half=x.half, bytes_each=1 if self.gpu else None)
        return self._record([x], self.value(x.elements, half=x.half, grad=x.grad), [mask])

    def add(self, *values: Value) -> Value:
        """Add tensors of the same size; nothing is saved."""
        half = all(value.half for value in values)
        grad = any(value.grad for value in values)
        return self._record(values, self.value(values[0].elements, half=half, grad=grad))

    def join(self, *values: Value) -> Value:
        """Concatenate tensors; nothing is saved."""
        half = all(value.half for value in values)
        grad = any(value.grad for value in values)
        return self._record(values, self.value(sum(value.elements for value in values), half=half, grad=grad))

    def copy(self, x: Value, elements: int | None = None) -> Value:
        """Copy, repeat, pad or average a tensor; nothing is saved."""
        return self._record([x], self.value(elements or x.elements, half=x.half, grad=x.grad))

    def view(self, x: Value, elements: int) -> Value:
        """Return a part of a tensor in the same memory."""
        return self._record([x], Value(elements, x.half, x.grad, x.storage))

    def attend(self, queries: Value, keys: Value, values: Value, *, items: int, heads: int, tokens: int) -> Value:
        """Attend (scaled dot products): queries, keys, values, the result and the log-sum-exp of the scores are saved.

        Args:
            queries: Queries.
            keys: Keys.
            values: Values.
            items: Number of queries of a row.
            heads: Number of heads.
            tokens: Number of keys that each query attends to.
        """
        queries, keys, values = self.lower(queries), self.lower(keys), self.lower(values)
        grad = queries.grad or keys.grad or values.grad
        result = self.value(queries.elements, half=queries.half, grad=grad)
        each = queries.elements * tokens  # of the scores, and of the weighted sums
        scores = 2 * each if queries.grad or keys.grad else each
        back = [scores * queries.grad, each * keys.grad if queries.grad else scores * keys.grad, each * values.grad]
        saved = [queries, keys, values, result, self.value(items * heads)]
        return self._record([queries, keys, values], result, saved, 2 * each, 0, back)

    def opaque(self, x: Value, elements: int, saved: int, macs: int, parameters: int, *, keeps_input: bool) -> Value:
        """Apply a block of which only the totals are known; what it saves counts as float32."""
        result = self.value(elements, half=self.half, grad=x.grad or self.trained)
        self._weights(parameters, True)
        kept = [self.value(saved), *([x] if keeps_input else [])]
        return self._record([x], result, kept, macs, macs, [macs * x.grad])
