"""Names of the optimizers of torch and timm, so that a recipe is checked without importing either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["TIMM_OPTIMIZERS", "TORCH_OPTIMIZERS", "state_copies"]

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
