"""Schema of a recipe's memory settings, which change what a training needs and not what it learns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from specs.schemas.base import Model

__all__ = ["MAX_ROWS", "MemorySpec"]

#: Largest number of rows of a batch.
MAX_ROWS = 1_000_000


def _checkpoint(value: Any) -> Any:
    if value == "auto":
        return value
    if not isinstance(value, (list, tuple)) or not all(isinstance(label, str) for label in value):
        raise PydanticCustomError("wrong-type", "'checkpoint' is a list of labels of levels, such as [r64], or auto")
    return tuple(value)


# Validated before the union, which would report every error twice.
_Levels = tuple[str, ...] | Literal["auto"]
Levels = Annotated[_Levels, BeforeValidator(_checkpoint, json_schema_input_type=_Levels)]


class MemorySpec(Model):
    """Ways to train with less memory."""

    checkpoint: Levels = Field(
        default=(),
        description="levels whose blocks save only their inputs, and run again in the backward pass; "
        "auto: as many as the device needs",
    )
    rows_per_pass: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ROWS,
        description="rows of the innermost level that a process computes at once; default: all its rows of the batch",
    )
    shard: bool = Field(
        default=False,
        description="whether processes divide weights, gradients, averages and optimizer state among them (FSDP2), as "
        "under accelerate launch --use_fsdp; no effect with one process",
    )

    def passes(self, rows: int, processes: int = 1) -> int:
        """Return the number of passes in which each process computes its rows; none has a pass without rows.

        Args:
            rows: Rows of the innermost level, of all processes.
            processes: Number of processes that share them.
        """
        own = -(-rows // processes)
        return max(1, min(-(-own // (self.rows_per_pass or own)), rows // processes))
