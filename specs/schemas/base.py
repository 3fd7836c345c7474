"""Base classes of the schemas."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

EntryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$", max_length=100)]


class Model(BaseModel):
    """Frozen and strict model; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Open(BaseModel):
    """Frozen and strict model with further keys of any name."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @property
    def others(self) -> dict[str, Any]:
        """Keys that are not fields."""
        return dict(self.__pydantic_extra__ or {})
