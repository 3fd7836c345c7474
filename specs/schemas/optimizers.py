"""Schema of a recipe's ``optimizer``, with the names of those of torch and timm, so that neither is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from specs.errors import did_you_mean, quote
from specs.schemas.base import Model

__all__ = ["TIMM_OPTIMIZERS", "TORCH_OPTIMIZERS", "OptimizerSpec", "state_copies"]

TORCH_OPTIMIZERS = tuple("adadelta adafactor adagrad adam adamax adamw asgd muon nadam radam rmsprop rprop sgd".split())
#: Those of timm 1.0, except those that need second derivatives or other packages, or draw random numbers. Names with a
#: leading "c" are the cautious variants (arXiv 2411.16085).
TIMM_OPTIMIZERS = tuple(
    """adabelief adadelta adafactor adafactorbv adagrad adam adamax adamc adamp adamuon adamw adan adanw adopt adoptw
    cadafactor cadafactorbv cadamp cadamw cadan cadanw cadopt cadoptw clamb clambw claprop clion cmars cnadamw
    crmsproptf csgdp csgdw laprop lamb lambw larc lars lion madgrad madgradw mars momentum muon nadam nadamuon nadamw
    nesterov nesterovw nlarc nlars nmuon novograd novogradw radabelief radam radamw rmsprop rmsproptf rmsproptfw sgd
    sgdp sgdw""".split()
)

#: Numbers that an optimizer keeps for each weight; others keep two, as Adam. Those of factored ones are far fewer.
_COPIES = dict.fromkeys("sgd adafactor timm:adafactor".split(), 0)
_COPIES |= dict.fromkeys("adan adanw cadan cadanw".split(), 4)
_COPIES |= dict.fromkeys("cmars madgrad madgradw mars".split(), 3)
_COPIES |= dict.fromkeys(
    """adafactorbv adagrad timm:adagrad asgd cadafactor cadafactorbv clion csgdp csgdw larc lars lion momentum muon
    timm:muon nesterov nesterovw nlarc nlars nmuon novograd novogradw rmsprop sgdp sgdw timm:sgd""".split(),
    1,
)


def state_copies(name: str, options: Mapping[str, Any]) -> int:
    """Return how many numbers an optimizer keeps for each weight.

    Args:
        name: Name of the optimizer in a recipe.
        options: Further arguments of the optimizer.
    """
    copies = _COPIES.get(name, 2)
    if name in ("sgd", "rmsprop") and options.get("momentum"):
        copies += 1
    return copies + bool(options.get("amsgrad")) + bool(name == "rmsprop" and options.get("centered"))


#: Settings of the paper, arXiv 2310.15111, for AdamW (also beside Muon) and Adam. Other optimizers have their own.
_ADAM = {"betas": (0.9, 0.99), "weight_decay": 0.01, "epsilon": 1e-8}
Option = float | int | bool | str | Annotated[tuple[float, ...], Field(strict=False)]


def _optimizer(value: Any) -> Any:
    names = sorted({*TORCH_OPTIMIZERS, *TIMM_OPTIMIZERS})
    if isinstance(value, str) and value.startswith("timm:"):
        names = [f"timm:{name}" for name in TIMM_OPTIMIZERS]
    if isinstance(value, str) and value not in names:
        hint = did_you_mean(value, names) or f"; there are {', '.join(TORCH_OPTIMIZERS)} and timm's"
        raise PydanticCustomError("bad-value", f"no optimizer is called {quote(value)}{hint}")
    return value


class OptimizerSpec(Model):
    """An optimizer of torch or timm. AdamW, Adam and Muon have the settings of the paper as defaults."""

    name: Annotated[str, BeforeValidator(_optimizer)] = Field(
        default="adamw", description="name in torch or timm; 'timm:NAME' for timm's if torch has the same name"
    )
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    betas: Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)] | None = Field(
        default=None, description="default (0.9, 0.99) for adamw, adam and muon, else the optimizer's own"
    )
    weight_decay: float | None = Field(default=None, ge=0, le=10, description="default 0.01 for adamw, adam and muon")
    epsilon: float | None = Field(default=None, gt=0, le=1, description="default 1e-8 for adamw, adam and muon")
    options: dict[str, Option] = Field(default={}, description="further arguments, such as momentum")

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name", "adamw") in ("adamw", "adam", "muon"):
            return {**_ADAM, **data}
        return data
