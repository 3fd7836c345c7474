"""What the language knows of a block: arguments, ports, shape rule and cost rule, all without torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from specs.blocks.size import Size
from specs.blocks.tape import Tape, Value

__all__ = ["Activations", "Arguments", "Block", "Complaint", "Costs", "Scene", "Use"]

#: Groups of group norms, where a spec names none.
DEFAULT_GROUPS = 32
#: Code and message of an error.
Complaint = tuple[str, str]


class Arguments(BaseModel):
    """Arguments of a block. All have defaults, so that a block may be used by its name alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """Inputs that blocks share: width of the time embedding, and width and number of text tokens if there is text."""

    time_width: int
    text_width: int | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Costs:
    """Parameters, and multiply-adds of one sample: per forward pass, and once per prompt."""

    parameters: int = 0
    macs: int = 0
    encode_macs: int = 0

    def __add__(self, other: Costs) -> Costs:
        return Costs(self.parameters + other.parameters, self.macs + other.macs, self.encode_macs + other.encode_macs)

    @property
    def total_macs(self) -> int:
        """Multiply-adds of one forward pass, the encoding of its prompt included."""
        return self.macs + self.encode_macs

    @property
    def flops(self) -> int:
        """FLOPs of one forward pass, the encoding of its prompt included: two per multiply-add."""
        return 2 * self.total_macs


@dataclass(frozen=True, slots=True)
class Activations:
    """Activations of one sample in a block, in elements (4 bytes each in float32).

    Attributes:
        saved: Elements that the block creates and that autograd saves for the backward pass.
        workspace: Peak of elements in inference, beside input and output.
        keeps_input: Whether autograd also saves the input, which other blocks may share.
    """

    saved: int = 0
    workspace: int = 0
    keeps_input: bool = True


@dataclass(frozen=True, slots=True)
class Use:
    """A use of a block: its arguments, widths and inputs.

    Attributes:
        args: Validated arguments.
        in_channels: Channels of the input.
        width: Channels of the output.
        size: Size of the input.
        scene: Inputs that blocks share.
        time: Time embedding, if the block reads it.
        text: What :meth:`Block.record_text` returned, if the block reads text.
    """

    args: Any
    in_channels: int
    width: int
    size: Size
    scene: Scene
    time: Value | None = None
    text: Value | None = None


@lru_cache(maxsize=4096)
def _validated(model: type[Arguments], args: tuple[tuple[str, Any], ...]) -> Any:
    return model(**dict(args))


class Block:
    """Rules of one type of block. Subclasses are not instantiated."""

    name: ClassVar[str]
    summary: ClassVar[str]
    #: What the block computes, and the paper that defines it.
    equation: ClassVar[str]
    source: ClassVar[str]
    Args: ClassVar[type[Arguments]]
    #: Further inputs of the block, of "time" and "text".
    ports: ClassVar[frozenset[str]] = frozenset()
    #: Whether the block computes across the frames of a clip. Others treat each frame as an image.
    temporal: ClassVar[bool] = False

    @classmethod
    def arguments(cls, args: Iterable[tuple[str, Any]]) -> Any:
        """Return the validated arguments of a node, an instance of ``Args``."""
        return _validated(cls.Args, tuple(args))

    @classmethod
    def reads_text(cls, args: Any, scene: Scene) -> bool:
        """Return whether the block attends to text."""
        return False

    @classmethod
    def output_size(cls, args: Any, size: Size) -> Size:
        """Return the size of the output for an input of ``size``."""
        return size

    @classmethod
    def check(cls, args: Any, in_channels: int, width: int, size: Size) -> list[Complaint]:
        """Return the errors of this use of the block."""
        return []

    @classmethod
    def costs(cls, args: Any, in_channels: int, width: int, size: Size, scene: Scene) -> Costs:
        """Return parameters and multiply-adds for one sample of ``in_channels`` and ``size``."""
        raise NotImplementedError

    @classmethod
    def activations(cls, args: Any, in_channels: int, width: int, size: Size, scene: Scene) -> Activations:
        """Return the activations of one sample of ``in_channels`` and ``size``."""
        return Activations()

    @classmethod
    def record(cls, tape: Tape, x: Value, use: Use) -> Value:
        """Record the block's operations in a training step on a tape, and return its output.

        The default counts what :meth:`activations` and :meth:`costs` say, in float32. The blocks of this package record
        every operation, so that precision and frozen weights are counted exactly.

        Args:
            tape: Tape.
            x: Input.
            use: Arguments and widths.
        """
        arguments = (use.args, use.in_channels, use.width, use.size, use.scene)
        costs, rule = cls.costs(*arguments), cls.activations(*arguments)
        elements = use.width * cls.output_size(use.args, use.size).positions
        macs, saved = costs.total_macs, rule.saved
        return tape.opaque(x, elements, saved, macs, costs.parameters, keeps_input=rule.keeps_input)

    @classmethod
    def record_text(cls, tape: Tape, tokens: Value, use: Use) -> Value:
        """Record what the block computes of the text once per prompt; the default reads the tokens themselves."""
        return tokens


def convolution(in_channels: int, width: int, kernel: int, positions: int) -> Costs:
    """Return the costs of a square convolution with bias and ``positions`` output pixels, of all frames."""
    weights = in_channels * width * kernel * kernel
    return Costs(parameters=weights + width, macs=weights * positions)


def convolution_over_time(in_channels: int, width: int, kernel: int, positions: int) -> Costs:
    """Return the costs of a convolution over frames with bias and ``positions`` output pixels, of all frames."""
    weights = in_channels * width * kernel
    return Costs(parameters=weights + width, macs=weights * positions)


def linear(in_features: int, out_features: int, rows: int = 1, bias: bool = True) -> Costs:
    """Return the costs of a linear layer applied to ``rows`` vectors per sample."""
    weights = in_features * out_features
    return Costs(parameters=weights + (out_features if bias else 0), macs=weights * rows)


def norm(channels: int) -> Costs:
    """Return the costs of a norm with scale and bias: its arithmetic is not counted, as in torch's FLOP counter."""
    return Costs(parameters=2 * channels)


def divisible(what: str, channels: int, by: str, number: int) -> list[Complaint]:
    """Return an error with the nearest valid width if ``channels`` is not divisible by ``number``."""
    if channels % number == 0:
        return []
    near = max(1, round(channels / number)) * number
    return [("bad-width", f"{what} {channels} is not divisible by {number} {by}; the nearest valid width is {near}")]


def same_width(block: str, in_channels: int, width: int) -> list[Complaint]:
    """Return an error if a block that does not change the width is given another one."""
    if in_channels == width:
        return []
    message = f"{block} does not change the width, but it reads {in_channels} channels and has width {width}"
    return [("bad-width", message)]


def record_convolution(tape: Tape, x: Value, in_channels: int, width: int, kernel: int, positions: int) -> Value:
    """Record a convolution with bias and a kernel of ``kernel`` elements, with ``positions`` output pixels."""
    weights = in_channels * width * kernel
    return tape.product(x, width * positions, weights * positions, weights, biases=width)


def record_feed_forward(tape: Tape, x: Value, width: int, items: int, statistics: int) -> Value:
    """Record a norm, a linear layer to four times the width, GELU and a linear layer back, plus the input."""
    wide = tape.activation(tape.linear(tape.norm(x, statistics), 4 * width * items, width, 4 * width))
    return tape.add(x, tape.linear(wide, width * items, 4 * width, width))
