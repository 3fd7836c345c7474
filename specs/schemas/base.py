"""Base classes of the schemas."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

EntryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$", max_length=100)]


class Model(BaseModel):
    """Closed, strict and frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Open(BaseModel):
    """Frozen and strict, with further keys whose names the author chooses."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    @property
    def others(self) -> dict[str, Any]:
        """The keys that are no fields, as written."""
        return dict(self.__pydantic_extra__ or {})
