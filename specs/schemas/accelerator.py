"""Schema of accelerators: peak rates and memory, for plans of trainings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from specs.schemas.base import Model

__all__ = ["AcceleratorSpec"]

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
Rate = Annotated[float, Field(gt=0, le=1e21)]


class AcceleratorSpec(Model):
    """An accelerator as its data sheet describes it."""

    title: str = Field(default="", max_length=200, description="name of the product")
    memory: float = Field(ge=1e6, le=1e15, description="bytes of memory")
    bandwidth: float | None = Field(default=None, gt=0, le=1e18, description="bytes per second of the memory")
    peak: dict[Precision, Rate] = Field(min_length=1, description="dense FLOP/s by precision")
    price: float | None = Field(default=None, ge=0, le=1e6, description="price of an hour of one device")
    devices: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="parts of the names that its driver gives it"
    )
    source: str = Field(default="", max_length=500, description="address of the data sheet")

    @field_validator("peak")
    @classmethod
    def _has_full_precision(cls, value: dict[str, float]) -> dict[str, float]:
        if "float32" not in value and "tf32" not in value:
            raise PydanticCustomError("missing-key", "'peak' needs the rate of float32 or tf32")
        return value

    def rate(self, precision: str) -> float | None:
        """Return the peak rate of products in a precision in FLOP/s, or None if it has none.

        Products of float32 are computed in TF32 where the accelerator has it.
        """
        if precision == "float32":
            return self.peak.get("tf32") or self.peak.get("float32")
        return self.peak.get(precision)  # type: ignore[call-overload]
