"""Schema of a recipe's ``validation``: how held-out losses are measured."""

from __future__ import annotations

from pydantic import Field

from specs.schemas.base import Model

__all__ = ["LOG_SNRS", "ValidationSpec"]

#: Log signal-to-noise ratios at which the error of the clean prediction is measured.
LOG_SNRS = tuple(float(value) for value in range(-5, 7))


class ValidationSpec(Model):
    """How the losses of the validation split are measured. Noise and times of a sample depend on its key alone."""

    samples: int = Field(
        default=5000, ge=1, le=100_000_000, description="most images, or frames of clips, evenly spread over the split"
    )
    draws: int = Field(default=2, ge=1, le=1000, description="times and noises of each sample")
    log_snr_draws: int = Field(
        default=1,
        ge=0,
        le=len(LOG_SNRS),
        description="of 12 fixed log-SNRs of each level, those at which each sample is measured at the end of a phase",
    )

    @property
    def protocol(self) -> str:
        """What tells losses that may be compared, such as ``keyed, 2 draws, 5000 samples``."""
        return f"keyed, {self.draws} draws, {self.samples} samples"
