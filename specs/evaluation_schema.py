"""How samples are drawn for a distance, and what they are compared to: the keys of ``evaluation``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from specs.schema import Model

__all__ = ["EvaluationSpec"]


class EvaluationSpec(Model):
    """How samples are drawn for a distance, and what they are compared to."""

    samples: int = Field(default=5000, ge=2, le=10_000_000)
    sampler: Literal["ddim", "ddpm", "dpm++"] = "ddim"
    num_inference_steps: int = Field(default=50, ge=1, le=100_000)
    guidance_scale: float = Field(default=1.0, ge=0, le=100)
    seed: int = Field(default=0, ge=0, le=2**31)
    features: str = Field(default="efficientnet_lite0", description="efficientnet_lite0, inception, or timm:MODEL")
    resize: Literal["bicubic", "bilinear", "none"] = "bicubic"
    split: Literal["train", "held_out", "all"] = Field(default="train", description="of the data compared to")
