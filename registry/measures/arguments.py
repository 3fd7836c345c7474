"""Arguments of the measures of a run. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from specs.errors import did_you_mean, quote
from specs.schemas.base import Model
from specs.schemas.held_out import LOG_SNRS

__all__ = ["ARGUMENTS", "ErrorArguments", "GradientArguments", "NoArguments", "RateArguments", "SampleArguments",
           "parse_measures"]  # fmt: skip

Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=100)]


class ErrorArguments(Model):
    """Arguments of ``p1``."""

    draws: int = Field(default=8, ge=1, le=1000, description="draws of noise of each sample at each ratio")
    samples: int = Field(default=5000, ge=1, le=10_000_000, description="most held-out samples")
    log_snrs: Numbers = Field(default=LOG_SNRS, description="of the 12 log-SNRs from -5 to 6, those that count")


class SampleArguments(Model):
    """Arguments of ``p2``."""

    samples: int | None = Field(default=None, ge=2, le=10_000_000, description="default: those of the evaluation")


class NoArguments(Model):
    """Arguments of a measure that has none."""


class GradientArguments(Model):
    """Arguments of ``gradients``."""

    checkpoints: int = Field(default=5, ge=1, le=1000, description="states, evenly spread over the steps of the run")
    batches: int = Field(default=32, ge=2, le=100_000, description="batches at each state")


class RateArguments(Model):
    """Arguments of ``stable_rate``."""

    rates: Numbers = Field(description="learning rates that are tried by bisection, in ascending order")
    steps: int = Field(default=150, ge=4, le=1_000_000, description="steps of a run")
    warmup: int = Field(default=10, ge=0, le=1_000_000, description="steps of linear warm-up")


ARGUMENTS: dict[str, type[Model]] = {
    "p1": ErrorArguments,
    "p2": SampleArguments,
    "nearest": NoArguments,
    "gradients": GradientArguments,
    "stable_rate": RateArguments,
}


def parse_measures(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the checked arguments of measures, by name.

    Raises:
        ValueError: There is no such measure, or it has no such argument or value.
    """
    found: dict[str, Any] = {}
    for name, given in measures.items():
        if name not in ARGUMENTS:
            hint = did_you_mean(name, list(ARGUMENTS)) or f"; there are {', '.join(ARGUMENTS)}"
            raise ValueError(f"no measure is called {quote(name)}{hint}")
        try:
            found[name] = ARGUMENTS[name].model_validate(dict(given))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, (name, *first["loc"])))
            raise ValueError(f"measures.{where}: {first['msg']}") from None
        if name == "p1":
            _check_ratios(found[name].log_snrs)
        if name == "stable_rate" and list(found[name].rates) != sorted(set(found[name].rates)):
            raise ValueError("measures.stable_rate.rates: rates must ascend")
    return found


def _check_ratios(ratios: tuple[float, ...]) -> None:
    unknown = [f"{ratio:g}" for ratio in ratios if ratio not in LOG_SNRS]
    if unknown:
        raise ValueError(f"measures.p1.log_snrs: {', '.join(unknown)} is none of the whole numbers from -5 to 6")
