"""Results that others published, with their sources: the items of ``reported.yaml``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Reported", "reported"]

_REPORTED = Path(__file__).parent / "reported.yaml"


class Reported(BaseModel):
    """A number that others published, with its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: str
    metric: str
    value: float
    data: str
    source: str
    note: str = ""


class _ReportedFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    results: tuple[Reported, ...] = Field(strict=False)


@lru_cache(maxsize=1)
def reported() -> tuple[Reported, ...]:
    """Return published numbers with their sources; their protocols are those of their authors."""
    from specs.syntax.validation import validate
    from specs.syntax.yaml_tree import parse

    return validate(_ReportedFile, parse(_REPORTED), "reported results").results
