"""Power function averages: their decay, their length, and combining averages to one of another length.

The average at step t gives the weights of step s the share s^g - (s - 1)^g over t^g, with g = gamma + 1: a power
function of the step (arXiv 2312.02696, section 3.1). Its width relative to t, the length, does not change during
training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch

from specs.schemas.averages import check_length

__all__ = ["Combination", "Profile", "combine", "exponent_of", "length_of", "power_decay"]

#: Singular values below this part of the largest one are left out.
_SMALLEST = 1e-13


def length_of(exponent: float) -> float:
    """Return the length of the average with an exponent gamma: the relative deviation of its power function."""
    return math.sqrt((exponent + 1) / ((exponent + 2) ** 2 * (exponent + 3)))


@cache
def exponent_of(length: float) -> float:
    """Return the exponent gamma of the average of a length, the inverse of :func:`length_of`.

    Raises:
        ValueError: The length is out of range.
    """
    check_length(length)
    low, high = 0.0, 2 / length
    for _ in range(100):  # the length falls as the exponent grows
        middle = (low + high) / 2
        low, high = (middle, high) if length_of(middle) > length else (low, middle)
    return (low + high) / 2


def power_decay(exponent: float, age: int) -> float:
    """Return the decay of one update of an average; that of the first one is 0, so that no initial weights remain.

    Args:
        exponent: Exponent gamma of the average.
        age: Number of updates before this one.
    """
    return (1 - 1 / (age + 1)) ** (exponent + 1)


@dataclass(frozen=True)
class Profile:
    """Which steps an average consists of.

    Attributes:
        length: Length of the average.
        age: Number of updates since it was started.
    """

    length: float
    age: int

    def product(self, other: Profile) -> float:
        """Return the inner product of two power functions: the integral of their product over all steps."""
        first, last = (self, other) if self.age <= other.age else (other, self)
        one, two = exponent_of(first.length), exponent_of(last.length)
        return (one + 1) * (two + 1) / (one + two + 1) * (first.age / last.age) ** two / last.age


@dataclass(frozen=True)
class Combination:
    """How averages are combined to another one.

    Attributes:
        shares: Share of each average. Their sum is 1, so that weights that never changed stay as they are.
        error: Distance of the combined function of the steps from the wanted one, relative to the size of that one.
    """

    shares: tuple[float, ...]
    error: float


def combine(averages: Sequence[Profile], wanted: Profile) -> Combination:
    """Return the combination of averages that is closest to a wanted average (arXiv 2312.02696, section 3.2).

    Args:
        averages: Averages that were saved, of the same weights.
        wanted: Average to approximate by least squares.
    """
    number = len(averages)
    system = torch.zeros(number + 1, number + 1, dtype=torch.float64)
    right = torch.ones(number + 1, 1, dtype=torch.float64)
    scales = [math.sqrt(each.product(each)) for each in averages]  # for the condition of the system
    for i, one in enumerate(averages):
        for j, other in enumerate(averages):
            system[i, j] = one.product(other) / scales[i] / scales[j]
        system[i, number] = system[number, i] = 1 / scales[i]
        right[i] = one.product(wanted) / scales[i]
    found = torch.linalg.lstsq(system, right, rcond=_SMALLEST, driver="gelsd").solution[:number, 0]
    size = wanted.product(wanted)
    rest = size - 2 * found @ right[:number, 0] + found @ system[:number, :number] @ found
    shares = [float(share) / scale for share, scale in zip(found, scales, strict=True)]
    return Combination(tuple(shares), math.sqrt(max(0.0, float(rest)) / size))
