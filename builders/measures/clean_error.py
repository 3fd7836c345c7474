"""The error of the clean prediction over all noise levels, as one number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from specs.schemas.held_out import LOG_SNRS

__all__ = ["mean_error"]


def mean_error(errors: Mapping[float, float], ratios: Sequence[float] = LOG_SNRS) -> float:
    """Return the geometric mean of the errors at fixed log-SNRs.

    The errors at the cleanest ratio are a hundredth of those at the noisiest. The geometric mean gives every ratio the
    same weight: an error that is 1 % lower at all ratios lowers it by 1 %.

    Args:
        errors: Mean squared error by log-SNR.
        ratios: Log-SNRs that count. Default: all.

    Raises:
        ValueError: A ratio was not measured, because the schedule of the level does not have it.
    """
    lacking = [f"{ratio:g}" for ratio in ratios if ratio not in errors]
    if lacking:
        raise ValueError(f"no error at log-SNR {', '.join(lacking)}: the schedule does not have it")
    return math.exp(sum(math.log(errors[ratio]) for ratio in ratios) / len(ratios))
