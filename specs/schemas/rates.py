"""Schema of learning rates by level: a number, or a multiple of the phase's rate such as ``0.1x``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

__all__ = ["LevelRates", "rate_factors"]

_MULTIPLE = re.compile(r"(\d+(?:\.\d+)?(?:e-?\d+)?)x")
#: Largest multiple of a rate, and its inverse.
MOST = 1000.0


def _rate(value: Any) -> Any:
    """Return a rate of a level if it is written as one."""
    multiple = _MULTIPLE.fullmatch(value) if isinstance(value, str) else None
    if multiple is None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise PydanticCustomError("wrong-type", "a learning rate of a level is a number, or a multiple such as 0.1x")
    if multiple is not None and not 1 / MOST <= float(multiple[1]) <= MOST:
        raise PydanticCustomError("out-of-range", "a multiple of a learning rate is from 0.001x to 1000x; see 'freeze'")
    if multiple is None and not 0 < value <= 10:
        raise PydanticCustomError("out-of-range", "a learning rate is above 0 and at most 10; see 'freeze'")
    return value


#: Rates by label of the level.
LevelRates = dict[str, Annotated[float | str, BeforeValidator(_rate, json_schema_input_type=float | str)]]


def rate_factors(rates: Mapping[str, float | str], rate: float) -> dict[str, float]:
    """Return the factor of each level's rate, by label, of the learning rate of a phase.

    Args:
        rates: Rates by label, as numbers or multiples.
        rate: Learning rate of the phase.
    """
    return {label: float(value[:-1]) if isinstance(value, str) else value / rate for label, value in rates.items()}
