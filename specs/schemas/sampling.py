"""Sampler settings: names, defaults, ranges and descriptions, declared once.

Recipes, evaluation, costs, the command line and :func:`builders.sampling.sampler.sample` all read them from here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from specs.schemas.base import Model
from specs.syntax.validation import explain

__all__ = ["SAMPLERS", "SamplerSettings", "SamplerSpec", "spaced_indices", "time_indices"]

Sampler = Literal["ddim", "ddpm", "dpm++"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
Spacing = Literal["index", "logsnr"]
Spec = TypeVar("Spec", bound="SamplerSpec")
Share = Annotated[float, Field(ge=0, le=1)]
#: Least half log-SNR that counts for the spacing of times; there is hardly a signal below it.
FLOOR = -5.0


class SamplerSpec(Model):
    """How samples are drawn: sampler, steps, guidance and limits of the predicted images."""

    sampler: Sampler = Field(default="ddim", description="sampler: ddim, ddpm, or dpm++ for DPM-Solver++ (2M)")
    num_inference_steps: int = Field(
        default=50,
        ge=1,
        le=100_000,
        description="number of denoising steps; by default at most those of the process",
    )
    guidance_scale: float = Field(
        default=1.0, allow_inf_nan=False, description="scale of classifier-free guidance; 1 for none"
    )
    guidance_interval: Annotated[tuple[Share, Share], Field(strict=False)] = Field(
        default=(0.0, 1.0), description="times with guidance, as fractions from 0 (clean) to 1 (noise)"
    )
    eta: float = Field(default=0.0, ge=0, le=1, description="noise of ddim, from 0 (none) to 1 (that of ddpm)")
    clip: bool = Field(default=True, description="limit predicted images to the range of pixels")
    dynamic_threshold: float | None = Field(
        default=None, gt=0, le=1, description="quantile for dynamic thresholding, such as 0.995; off by default"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="dtype of activations; auto: bfloat16 on a GPU that supports it, else float32"
    )
    spacing: Spacing = Field(
        default="index",
        description="times of the steps: index for even in the index of the schedule, logsnr for even in log-SNR",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> SamplerSpec:
        low, high = self.guidance_interval
        if low > high:
            raise PydanticCustomError(
                "out-of-range", f"'guidance_interval' goes from {low:g} down to {high:g}; the first is the smaller one"
            )
        if self.eta and self.sampler != "ddim":
            raise PydanticCustomError("conflict", f"'eta' is the noise of ddim; {self.sampler} does not take it")
        if self.dynamic_threshold is not None and not self.clip:
            raise PydanticCustomError("conflict", "'dynamic_threshold' is a way to clip, but 'clip' is off")
        return self

    @property
    def drawn(self) -> dict[str, Any]:
        """How samples are drawn, as stored with them."""
        settings = self.model_dump(mode="json", include=set(SamplerSpec.model_fields))
        # The others are omitted at their defaults: results from before these settings existed stay comparable.
        always, usual = ("sampler", "num_inference_steps", "guidance_scale"), SamplerSpec().model_dump(mode="json")
        usual["precision"] = settings["precision"] if settings["precision"] != "bfloat16" else "float32"
        return {name: value for name, value in settings.items() if name in always or value != usual[name]}

    @property
    def facts(self) -> dict[str, Any]:
        """All settings, as a folder of samples has them; those that earlier versions lack only if they are set."""
        usual = {"precision": self.precision != "bfloat16", "spacing": self.spacing == "index"}
        return self.model_dump(exclude={name for name, unset in usual.items() if unset})

    def fitted(self: Spec, steps: int) -> Spec:
        """Return the settings with at most ``steps`` denoising steps, those of the process.

        Raises:
            ValueError: A larger number is set, and not the default.
        """
        if self.num_inference_steps <= steps:
            return self
        if "num_inference_steps" in self.model_fields_set:
            raise ValueError(_too_many(steps, self.num_inference_steps))
        return self.model_copy(update={"num_inference_steps": steps})

    def times(self, half_log_snr: Sequence[float]) -> list[int]:
        """Return the indices of the schedule that the sampler visits, from the noisiest down to 0.

        Args:
            half_log_snr: Half the log signal-to-noise ratio at the indices 0..steps of the schedule.

        Raises:
            ValueError: There are more denoising steps than the schedule has.
        """
        if self.spacing == "logsnr":
            return spaced_indices(half_log_snr, self.num_inference_steps)
        return time_indices(len(half_log_snr) - 1, self.num_inference_steps)

    def guides_at(self, time: float) -> bool:
        """Return whether a step at ``time``, from 0 (clean) to 1 (noise), is guided."""
        return self.guidance_interval[0] <= time <= self.guidance_interval[1]


class SamplerSettings(SamplerSpec):
    """Sampler settings for Python: ``SamplerSettings("dpm++", 20, guidance_scale=2.0)``.

    Args:
        *args: Values of the fields in their order.
        **values: Values of the fields by name.

    Raises:
        ValueError: There is no such field, or a value is out of range or does not go with another one.
    """

    # Python's numbers, and numpy's: 20.0 steps are 20.
    model_config = ConfigDict(strict=False)

    def __init__(self, *args: Any, **values: Any) -> None:
        names = list(SamplerSpec.model_fields)[: len(args)]
        if len(args) > len(names):
            raise ValueError(f"SamplerSettings has {len(names)} fields, but {len(args)} values were given")
        try:
            super().__init__(**dict(zip(names, args, strict=True)), **values)
        except ValidationError as error:
            details = error.errors(include_url=False)
            raise ValueError("; ".join(explain(each, type(self), "SamplerSettings")[1] for each in details)) from None


def _too_many(steps: int, count: int) -> str:
    limits = f"from 1 to {steps:,}, not {count:,}: the process has {steps:,} step{'s' * (steps != 1)}"
    return f"num_inference_steps must be {limits} (option --steps)"


def time_indices(steps: int, count: int) -> list[int]:
    """Return the indices of the schedule that a sampler visits, evenly spaced from ``steps`` down to 0.

    Args:
        steps: Number of steps of the schedule.
        count: Number of denoising steps; there is one more index.

    Raises:
        ValueError: ``count`` is not from 1 to ``steps``.
    """
    if not 1 <= count <= steps:
        raise ValueError(_too_many(steps, count))
    return [round(steps * (count - number) / count) for number in range(count + 1)]


def spaced_indices(half_log_snr: Sequence[float], count: int, floor: float = FLOOR) -> list[int]:
    """Return indices of the schedule from the last one down to 0, evenly spaced in half log-SNR.

    DPM-Solver++ is of second order in this variable (arXiv 2211.01095, section 4). At both ends, the steps are those of
    twice as many steps that are even in the index: of n steps, the first counts as at ``steps - steps / 2n``, and the
    last one starts at ``steps / 2n``. Values below ``floor`` count as ``floor``. Otherwise, most steps would be spent
    where there is only noise, or where there is hardly any. Where the nearest indices are not distinct, the next ones
    are taken.

    Args:
        half_log_snr: Half the log signal-to-noise ratio at the indices 0..steps, falling; that at 0 is not read.
        count: Number of denoising steps; there is one more index.
        floor: Least half log-SNR that counts.

    Raises:
        ValueError: ``count`` is not from 1 to ``steps``.
    """
    steps = len(half_log_snr) - 1
    if not 1 <= count <= steps:
        raise ValueError(_too_many(steps, count))
    rising = [max(value, floor) for value in reversed(half_log_snr[1:])]
    end = max(1, round(steps / (2 * count)))
    first, last = rising[min(end, steps - end)], rising[steps - end]
    if first == last:  # all is noise, or there are one or two indices
        return time_indices(steps, count)
    times = [steps]
    for number in range(1, count):
        nearest = steps - _nearest(rising, first + (last - first) * number / (count - 1))
        # Lower than the one before, with enough indices left below.
        times.append(min(max(nearest, count - number), times[-1] - 1))
    return [*times, 0]


def _nearest(rising: Sequence[float], value: float) -> int:
    """Return the place of the number in a rising sequence that is nearest to a value."""
    place = min(bisect_left(rising, value), len(rising) - 1)
    return place - (place > 0 and value - rising[place - 1] < rising[place] - value)
