"""What the language knows of a block: arguments, ports, shape rule and cost rule, all without torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Activations", "Arguments", "Block", "Complaint", "Costs", "Scene"]

#: Groups of group norms, where a spec names none.
DEFAULT_GROUPS = 32
#: An error code and a message.
Complaint = tuple[str, str]


class Arguments(BaseModel):
    """Arguments of a block; every one has a default, so that a bare block name is a complete use."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True)
class Scene:
    """What surrounds a block: width of the time embedding, and of the text tokens if the entry has text."""

    time_width: int
    text_width: int | None = None
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one sample: parameters, multiply-adds of each forward, multiply-adds done once per prompt."""

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
    """Values of one sample that a block holds, in numbers of elements (four bytes each in float32).

    ``saved`` are those it makes and keeps for the backward pass; ``keeps_input`` says whether it keeps its input
    too, which others may share. ``workspace`` is the most it holds at once in inference beside input and output.
    """

    saved: int
    workspace: int
    keeps_input: bool = True


@lru_cache(maxsize=4096)
def _validated(model: type[Arguments], args: tuple[tuple[str, Any], ...]) -> Any:
    return model(**dict(args))


class Block:
    """One row of the closed table of blocks. Subclasses are never instantiated with state: they are rules."""

    name: ClassVar[str]
    summary: ClassVar[str]
    #: What it computes, and where that comes from.
    equation: ClassVar[str]
    source: ClassVar[str]
    Args: ClassVar[type[Arguments]]
    #: Of "time" and "text": what the level hands to the block beside its input.
    ports: ClassVar[frozenset[str]] = frozenset()
    #: Whether the output must be as wide as the (merged) input, and is so when no width is written.
    keeps_width: ClassVar[bool] = False

    @classmethod
    def arguments(cls, args: Iterable[tuple[str, Any]]) -> Any:
        """The validated arguments of a node (an instance of ``Args``)."""
        return _validated(cls.Args, tuple(args))

    @classmethod
    def reads_text(cls, args: Any, scene: Scene) -> bool:
        """Whether the block attends to text where the entry has some."""
        return False

    @classmethod
    def output_resolution(cls, args: Any, resolution: int) -> int:
        """Side of the output in pixels for an input of ``resolution`` pixels."""
        return resolution

    @classmethod
    def check(cls, args: Any, in_channels: int, width: int, resolution: int) -> list[Complaint]:
        """What is wrong with this use of the block: pairs of an error code and a message; empty if nothing is."""
        return []

    @classmethod
    def costs(cls, args: Any, in_channels: int, width: int, resolution: int, scene: Scene) -> Costs:
        """Parameters and multiply-adds for one sample of ``(in_channels, resolution, resolution)``."""
        raise NotImplementedError

    @classmethod
    def activations(cls, args: Any, in_channels: int, width: int, resolution: int, scene: Scene) -> Activations:
        """What it keeps for the backward pass and what it needs at once, for one sample."""
        raise NotImplementedError


def convolution(in_channels: int, width: int, kernel: int, pixels: int) -> Costs:
    """Costs of a square convolution with bias that gives ``pixels`` output positions."""
    weights = in_channels * width * kernel * kernel
    return Costs(parameters=weights + width, macs=weights * pixels)


def linear(in_features: int, out_features: int, rows: int = 1, bias: bool = True) -> Costs:
    """Costs of a Linear layer applied to ``rows`` vectors a sample."""
    weights = in_features * out_features
    return Costs(parameters=weights + (out_features if bias else 0), macs=weights * rows)


def norm(channels: int) -> Costs:
    """Costs of a normalisation with gain and bias; its arithmetic is not counted, as in torch's counter."""
    return Costs(parameters=2 * channels)


def divisible(what: str, channels: int, by: str, number: int) -> list[Complaint]:
    """The complaint that ``channels`` do not divide, with the nearest width that does, if they do not."""
    if channels % number == 0:
        return []
    near = max(1, round(channels / number)) * number
    return [("bad-width", f"{what} {channels} is not divisible by {number} {by}; the nearest that is: {near}")]
