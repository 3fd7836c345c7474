"""Schema of a recipe's ``times``: how the noise times of training are drawn."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from specs.errors import did_you_mean, quote
from specs.schemas.base import Model

__all__ = ["UNIFORM", "Times", "TimesSpec"]

Distribution = Literal["uniform", "stratified", "logit_normal", "logsnr"]
#: Mean and deviation of the distributions that have them: those of arXiv 2403.03206 (section 3.1) and 2206.00364 (table
#: 1, where the logarithm of the noise level, -1/2 log SNR, has the mean -1.2 and the deviation 1.2).
_NORMAL = {"logit_normal": {"mean": 0.0, "std": 1.0}, "logsnr": {"mean": 2.4, "std": 2.4}}


def _known(value: Any) -> Any:
    names = get_args(Distribution)
    if isinstance(value, str) and value not in names:
        hint = did_you_mean(value, names) or f"; there are {', '.join(names)}"
        raise PydanticCustomError("bad-value", f"no distribution of times is called {quote(value)}{hint}")
    return value


class TimesSpec(Model):
    """A distribution of the noise times of training."""

    distribution: Annotated[Distribution, BeforeValidator(_known, json_schema_input_type=Distribution)] = "uniform"
    mean: float | None = Field(default=None, ge=-20, le=20, description="for logit_normal (0) and logsnr (2.4)")
    std: float | None = Field(default=None, ge=0.01, le=20, description="for logit_normal (1) and logsnr (2.4)")

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        name = data.get("distribution") if isinstance(data, dict) else None
        return {**_NORMAL.get(name, {}), **data} if isinstance(name, str) else data

    @model_validator(mode="after")
    def _takes_its_arguments(self) -> TimesSpec:
        given = next((name for name in ("mean", "std") if getattr(self, name) is not None), None)
        if given is not None and self.distribution not in _NORMAL:
            raise PydanticCustomError("conflict", f"times {quote(self.distribution)} have no {quote(given)}")
        return self

    @model_serializer
    def _written(self) -> dict[str, Any]:
        normal = {"mean": self.mean, "std": self.std} if self.distribution in _NORMAL else {}
        return {"distribution": self.distribution, **normal}


#: Uniform times, each row for itself.
UNIFORM = TimesSpec()


def _spelled(value: Any) -> Any:
    if isinstance(value, str):
        return {"distribution": value}
    if not isinstance(value, (dict, TimesSpec)):
        raise PydanticCustomError("wrong-type", "'times' is a name, or {distribution: logsnr, mean: 2.4, std: 2.4}")
    return value


#: A name, or ``{distribution: logsnr, mean: 2.4, std: 2.4}``.
Times = Annotated[TimesSpec, BeforeValidator(_spelled, json_schema_input_type=Distribution | TimesSpec)]
