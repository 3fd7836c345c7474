"""Sampler settings: names, defaults, ranges and descriptions, declared once.

Recipes, evaluation, costs, the command line and :func:`builders.sampling.sampler.sample` all read them from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from specs.schemas.base import Model
from specs.syntax.validation import explain

__all__ = ["SAMPLERS", "SamplerSettings", "SamplerSpec", "time_indices"]

Sampler = Literal["ddim", "ddpm", "dpm++"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
Spec = TypeVar("Spec", bound="SamplerSpec")
Share = Annotated[float, Field(ge=0, le=1)]


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
        return self.model_dump(exclude={"precision"} if self.precision != "bfloat16" else None)

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
