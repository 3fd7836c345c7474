"""Schema of the weighting of a loss by the signal-to-noise ratio: a name, or a name with its argument."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from specs.errors import did_you_mean, quote
from specs.schemas.base import Model

__all__ = ["Weighting", "WeightingName", "WeightingSpec"]

WeightingName = Literal["none", "vdm", "min_snr", "soft_min_snr", "sigmoid"]
#: Argument of each weighting that has one, with its default. Before version 0.2, "sigmoid" was soft_min_snr of e^2.
_ARGUMENTS: dict[str, dict[str, float]] = {
    "min_snr": {"gamma": 5.0},
    "soft_min_snr": {"gamma": math.exp(2)},
    "sigmoid": {"bias": 2.0},
}


def _known(value: Any) -> Any:
    names = get_args(WeightingName)
    if isinstance(value, str) and value not in names:
        hint = did_you_mean(value, names) or f"; there are {', '.join(names)}"
        raise PydanticCustomError("bad-value", f"no weighting is called {quote(value)}{hint}")
    return value


class WeightingSpec(Model):
    """A weighting of the squared error in eps by the signal-to-noise ratio."""

    name: Annotated[WeightingName, BeforeValidator(_known, json_schema_input_type=WeightingName)]
    gamma: float | None = Field(default=None, gt=0, le=1e6, description="for min_snr (5) and soft_min_snr (e^2)")
    bias: float | None = Field(default=None, ge=-20, le=20, description="for sigmoid (2): log-SNR of half the weight")

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        name = data.get("name") if isinstance(data, dict) else None
        return {**_ARGUMENTS.get(name, {}), **data} if isinstance(name, str) else data

    @model_validator(mode="after")
    def _takes_its_arguments(self) -> WeightingSpec:
        for argument in ("gamma", "bias"):
            if getattr(self, argument) is not None and argument not in _ARGUMENTS.get(self.name, {}):
                known = "".join(f"; it takes {each}" for each in self.arguments if each in _ARGUMENTS[self.name])
                message = f"weighting {quote(self.name)} has no argument {quote(argument)}{known}"
                raise PydanticCustomError("conflict", message)
        return self

    @property
    def arguments(self) -> dict[str, float]:
        """Arguments by name."""
        return {name: value for name in _ARGUMENTS.get(self.name, {}) if (value := getattr(self, name)) is not None}

    @model_serializer
    def _written(self) -> str | dict[str, Any]:
        # "sigmoid" always with its bias: without one, it is the one of a version before 0.2.
        if self.name != "sigmoid" and self.arguments == _ARGUMENTS.get(self.name, {}):
            return self.name
        return {"name": self.name, **self.arguments}

    def __str__(self) -> str:
        arguments = "".join(f", {name}: {value:g}" for name, value in self.arguments.items())
        return "{name: " + self.name + arguments + "}" if arguments else self.name


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, (dict, WeightingSpec)):
        raise PydanticCustomError("wrong-type", "'weighting' is a name, or {name: sigmoid, bias: 2}")
    return value


#: A name, or ``{name: sigmoid, bias: 2}``.
Weighting = Annotated[WeightingSpec, BeforeValidator(_spelled, json_schema_input_type=WeightingName | WeightingSpec)]
