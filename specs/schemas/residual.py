"""Schema of ``process.residual``: a standard deviation, or one by label of the level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

__all__ = ["Residual"]

#: Smallest and largest standard deviation of a residual, for pixels in [-1, 1].
LEAST, MOST = 0.001, 1.0


def _deviation(value: Any, whose: str) -> None:
    """Check one standard deviation."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = "{whose} is a standard deviation such as 0.15"
        raise PydanticCustomError("wrong-type", message, {"whose": whose})
    if not LEAST <= value <= MOST:
        raise PydanticCustomError("out-of-range", "{whose} is from 0.001 to 1", {"whose": whose})


def _residual(value: Any) -> Any:
    if isinstance(value, Mapping):
        if not value:
            raise PydanticCustomError("wrong-type", "a residual by level names at least one level; or leave it out")
        for label, deviation in value.items():
            _deviation(deviation, f"the residual of {label}")
    elif value is not None:
        _deviation(value, "the residual")
    return value


_Deviations = float | dict[str, float] | None
#: A standard deviation, or deviations by label, or None.
Residual = Annotated[_Deviations, BeforeValidator(_residual, json_schema_input_type=_Deviations)]
