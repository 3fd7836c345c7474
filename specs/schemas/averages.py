"""Schema of a recipe's ``averages``: averages of the weights whose length is chosen after training."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from specs.schemas.base import Model

__all__ = ["LONGEST", "SHORTEST", "AveragesSpec", "check_length"]

#: Bounds of a length. The longest average is the plain mean of all steps, whose length is 1 / sqrt(12) = 0.289.
SHORTEST, LONGEST = 0.005, 0.288


def check_length(length: float) -> float:
    """Return the length of an average.

    Raises:
        ValueError: It is out of range.
    """
    if not SHORTEST <= length <= LONGEST:
        raise ValueError(f"the length of an average is from {SHORTEST} to {LONGEST}, not {length:g}")
    return length


def _lengths(value: Any) -> Any:
    found = value if isinstance(value, (list, tuple)) else []
    if not found or any(isinstance(each, bool) or not isinstance(each, (int, float)) for each in found):
        raise PydanticCustomError("wrong-type", "'lengths' is a list of numbers, such as [0.05, 0.1]")
    for each in found:
        try:
            check_length(each)
        except ValueError as error:
            raise PydanticCustomError("out-of-range", "{reason}", {"reason": str(error)}) from None
    if any(math.isclose(one, other, rel_tol=0.01) for i, one in enumerate(found) for other in found[:i]):
        raise PydanticCustomError("bad-value", "'lengths' must differ")
    return tuple(float(each) for each in found)


class AveragesSpec(Model):
    """Averages of the weights, beside the EMA, of which ``zoo average`` makes one of any length after training.

    A length is the width of the average as a part of the training so far: its relative standard deviation (arXiv
    2312.02696, section 3.1).
    """

    lengths: Annotated[
        tuple[float, ...],
        BeforeValidator(_lengths, json_schema_input_type=list[float]),
        Field(strict=False, min_length=1, max_length=8),
    ] = Field(default=(0.05, 0.1), description="lengths of the averages, as parts of the training so far")
    every: int = Field(default=100, ge=1, description="interval in steps at which they are saved, and at each end")
