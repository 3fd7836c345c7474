"""How samples are drawn for a distance, and what they are compared to: the keys of ``evaluation``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from specs.schemas.base import Model

__all__ = ["EvaluationSpec", "split_name"]


def split_name(name: str) -> str:
    """Return the name of a split; ``val`` was called ``held_out`` before version 0.2."""
    return "val" if name in ("held_out", "held-out") else name


Share = Annotated[float, Field(ge=0, le=1)]
#: Of every measurement; the other settings of a sampler are written down where they are not the usual ones.
_ALWAYS = ("sampler", "num_inference_steps", "guidance_scale", "seed")
_ELSE = ("guidance_interval", "eta", "clip", "dynamic_threshold")


class EvaluationSpec(Model):
    """How samples are drawn for a distance, and what they are compared to."""

    samples: int = Field(default=5000, ge=2, le=10_000_000)
    sampler: Literal["ddim", "ddpm", "dpm++"] = "ddim"
    num_inference_steps: int = Field(default=50, ge=1, le=100_000)
    guidance_scale: float = Field(default=1.0, ge=0, le=100)
    guidance_interval: Annotated[tuple[Share, Share], Field(strict=False)] = Field(
        default=(0.0, 1.0), description="times with guidance, as shares from 0, clean, to 1, noise"
    )
    eta: float = Field(default=0.0, ge=0, le=1, description="noise of ddim")
    clip: bool = Field(default=True, description="limit predicted images to the range of pixels")
    dynamic_threshold: float | None = Field(
        default=None, gt=0, le=1, description="quantile by which they are limited instead, such as 0.995"
    )
    seed: int = Field(default=0, ge=0, le=2**31)
    features: str = Field(default="efficientnet_lite0", description="efficientnet_lite0, inception, or timm:MODEL")
    resize: Literal["bicubic", "bilinear", "none"] = "bicubic"
    split: Annotated[Literal["train", "val", "all"], BeforeValidator(split_name)] = Field(
        default="train", description="of the data compared to"
    )

    @model_validator(mode="after")
    def _goes_together(self) -> EvaluationSpec:
        low, high = self.guidance_interval
        if low > high:
            raise PydanticCustomError("out-of-range", f"'guidance_interval' goes from {low:g} down to {high:g}")
        if self.eta and self.sampler != "ddim":
            raise PydanticCustomError("conflict", f"'eta' is the noise of ddim; {self.sampler} has none to choose")
        if self.dynamic_threshold is not None and not self.clip:
            raise PydanticCustomError("conflict", "'dynamic_threshold' is a way to clip, which is turned off")
        return self

    @property
    def drawn(self) -> dict[str, Any]:
        """How samples are drawn, as it is written beside a number."""
        settings = self.model_dump(mode="json", include={*_ALWAYS, *_ELSE})
        # Left out at their defaults: numbers that were measured before there were these settings stay comparable.
        usual = {name: EvaluationSpec.model_fields[name].default for name in _ELSE}
        return {
            name: value for name, value in settings.items() if name in _ALWAYS or getattr(self, name) != usual[name]
        }
