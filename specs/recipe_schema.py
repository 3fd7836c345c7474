"""How an entry is trained: the keys of a recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from specs.schema import EntryName, Model

__all__ = ["CadenceSpec", "DropSpec", "LossSpec", "OptimizerSpec", "PhaseSpec", "Recipe", "ScheduleSpec"]

MAX_ROWS = 1_000_000
MAX_STEPS = 100_000_000
#: What may change in the middle of a run, for it leaves the weights alone.
FREE = frozenset({"name", "summary", "every"})


def _batch(value: Any) -> Any:
    rows = list(value.values()) if isinstance(value, dict) else [value]
    if not rows or any(isinstance(row, bool) or not isinstance(row, int) for row in rows):
        raise PydanticCustomError("wrong-type", "'batch' is a number of rows, or {level: rows}")
    if not all(1 <= row <= MAX_ROWS for row in rows):
        raise PydanticCustomError("out-of-range", f"'batch' has from 1 to {MAX_ROWS:,} rows a level")
    return value


# Checked before the union, whose own errors would come double.
Batch = Annotated[int | dict[str, int], BeforeValidator(_batch, json_schema_input_type=int | dict[str, int])]
Weight = Annotated[float, Field(ge=0, le=1e6)]


class OptimizerSpec(Model):
    """AdamW; the betas are the paper's."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    betas: Annotated[tuple[float, float], Field(strict=False)] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    epsilon: float = Field(default=1e-8, gt=0, le=1)


class ScheduleSpec(Model):
    """The learning rate over a phase: a linear warm-up, then constant or a cosine down to zero."""

    warmup: int = Field(default=0, ge=0, description="steps")
    decay: Literal["constant", "cosine"] = "constant"


class LossSpec(Model):
    """Mean squared error of the prediction, averaged over each level's rows and summed over levels."""

    space: Literal["v", "eps"] = Field(default="eps", description="the published networks were trained in eps space")
    weighting: Literal["none", "vdm", "min_snr", "sigmoid"] = Field(
        default="none", description="weight by signal-to-noise ratio; defined for the eps space"
    )
    levels: dict[str, Weight] = Field(default={}, description="weights by level; a level not named has 1")


class PhaseSpec(Model):
    """Training one level with everything inside it, from the phase before."""

    train: str = Field(description="label of the outermost level that is trained, such as r64")
    steps: int = Field(ge=1, le=MAX_STEPS)
    batch: Batch = Field(description="rows, or rows by level, not falling inwards")
    learning_rate: float | None = Field(default=None, gt=0, le=10, description="instead of the optimizer's")
    schedule: ScheduleSpec | None = Field(default=None, description="what differs from the recipe's")
    loss: LossSpec | None = Field(default=None, description="what differs from the recipe's")

    def rows(self, labels: Sequence[str]) -> dict[str, int]:
        """Rows by level, outermost first; a level that is not named has as many as the one around it."""
        if isinstance(self.batch, int):
            return dict.fromkeys(labels, self.batch)
        result: dict[str, int] = {}
        last = 1
        for label in labels:
            last = result[label] = self.batch.get(label, last)
        return result


class DropSpec(Model):
    """How often a condition is left out, so that the model also learns to do without (for guidance)."""

    classes: float = Field(default=0.1, ge=0, le=1)


class CadenceSpec(Model):
    """How often something is done, in steps; 0 for the ends of phases alone."""

    checkpoint: int = Field(default=200, ge=0)
    evaluate: int = Field(default=200, ge=0)
    samples: int = Field(default=0, ge=0)


class Recipe(Model):
    """How an entry is trained."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    entry: str = Field(description="name of an entry, or path to one")
    data: str = Field(description="name of a packaged data set, or path to shards")
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    ema: float = Field(default=0.9999, ge=0, lt=1, description="decay of the moving average of weights")
    loss: LossSpec = LossSpec()
    drop: DropSpec = DropSpec()
    clip: float = Field(default=2.0, gt=0, description="largest norm of the gradient")
    seed: int = Field(default=0, ge=0, le=2**31)
    every: CadenceSpec = CadenceSpec()
    phases: Annotated[dict[str, PhaseSpec], Field(min_length=1, max_length=100)]

    def schedule_of(self, phase: PhaseSpec) -> ScheduleSpec:
        """The recipe's schedule with the phase's changes."""
        return _changed(self.schedule, phase.schedule)

    def loss_of(self, phase: PhaseSpec) -> LossSpec:
        """The recipe's loss with the phase's changes."""
        return _changed(self.loss, phase.loss)

    def fingerprint(self) -> str:
        """A hash of all that changes what is learnt, for telling whether a run may be resumed."""
        text = json.dumps(self.model_dump(mode="json", exclude=set(FREE)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


Part = TypeVar("Part", bound=BaseModel)


def _changed(base: Part, change: Part | None) -> Part:
    """``base`` with what was written in ``change``."""
    if change is None:
        return base
    return base.model_copy(update={field: getattr(change, field) for field in change.model_fields_set})
