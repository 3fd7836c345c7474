"""Names of the optimizers that recipes may ask for, so that a recipe is checked without importing any of them."""

from __future__ import annotations

__all__ = ["OPTIMIZERS"]

_TORCH = "adadelta adafactor adagrad adam adamax adamw asgd nadam radam rmsprop rprop sgd"
#: Of timm 1.0, but those that need second derivatives, other packages or matrices, or that draw random numbers.
_TIMM = """
adabelief adadelta adafactor adafactorbv adagrad adam adamax adamp adamw adan adanw adopt adoptw laprop lamb lambw larc
lars lion madgrad madgradw mars momentum nadam nadamw nesterov nesterovw nlarc nlars novograd novogradw radabelief radam
radamw rmsprop rmsproptf rmsproptfw sgd sgdp sgdw
"""

#: Those of torch, and those of timm.
OPTIMIZERS: tuple[tuple[str, ...], tuple[str, ...]] = (tuple(_TORCH.split()), tuple(_TIMM.split()))
