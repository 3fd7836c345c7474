"""Schema of ``evaluation``: how samples are drawn for a distance, and what they are compared to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from specs.schemas.sampling import SamplerSpec

__all__ = ["EvaluationSpec", "split_name"]


def split_name(name: str) -> str:
    """Return the name of a split; ``val`` was called ``held_out`` before version 0.2."""
    return "val" if name in ("held_out", "held-out") else name


class EvaluationSpec(SamplerSpec):
    """How samples are drawn for a distance, and what they are compared to."""

    samples: int = Field(default=5000, ge=2, le=10_000_000, description="number of samples")
    seed: int = Field(default=0, ge=0, le=2**31, description="seed of the first sample")
    features: str = Field(default="efficientnet_lite0", description="efficientnet_lite0, inception, or timm:MODEL")
    resize: Literal["bicubic", "bilinear", "none"] = Field(
        default="bicubic", description="interpolation to the resolution of the features"
    )
    split: Annotated[Literal["train", "val", "all"], BeforeValidator(split_name)] = Field(
        default="train", description="split of the reference data"
    )

    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="dtype of activations; not auto, because measurements are compared"
    )

    @property
    def drawn(self) -> dict[str, Any]:
        """How samples are drawn, as stored with a measurement."""
        return super().drawn | {"seed": self.seed}
