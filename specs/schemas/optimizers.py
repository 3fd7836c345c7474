"""Names of the optimizers of torch and timm, so that a recipe is checked without importing either."""

from __future__ import annotations

__all__ = ["TIMM_OPTIMIZERS", "TORCH_OPTIMIZERS"]

TORCH_OPTIMIZERS = tuple("adadelta adafactor adagrad adam adamax adamw asgd nadam radam rmsprop rprop sgd".split())
#: Those of timm 1.0, except those that need second derivatives, other packages or matrices, or draw random numbers.
TIMM_OPTIMIZERS = tuple(
    """adabelief adadelta adafactor adafactorbv adagrad adam adamax adamp adamw adan adanw adopt adoptw laprop lamb
    lambw larc lars lion madgrad madgradw mars momentum nadam nadamw nesterov nesterovw nlarc nlars novograd novogradw
    radabelief radam radamw rmsprop rmsproptf rmsproptfw sgd sgdp sgdw""".split()
)
