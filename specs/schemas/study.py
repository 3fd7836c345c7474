"""Schema of studies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specs.addresses import shown_address
from specs.html_table import html_table
from specs.printable import printable
from specs.schemas.base import EntryName, Model
from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.recipe import CadenceSpec, DropSpec, LossSpec, OptimizerSpec, ScheduleSpec


class BudgetSpec(Model):
    """Training budget of every entry."""

    training_flops: float = Field(
        gt=0,
        le=1e30,
        description="FLOPs per entry: three times the forward FLOPs of every row; two FLOPs per MAC",
    )


class StudyRecipe(Model):
    """How every entry is trained. Its phases follow from its levels and the budget."""

    batch: int = Field(default=16, ge=1, le=1_000_000, description="rows per level")
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    ema: float = Field(default=0.999, ge=0, lt=1)
    loss: LossSpec = LossSpec()
    drop: DropSpec = DropSpec()
    seed: int = Field(default=0, ge=0, le=2**31)
    every: CadenceSpec = CadenceSpec()


class Study(Model):
    """Entries to compare with the same budget, recipe and evaluation."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    data: str = Field(description="name of a packaged dataset, or path to shards")
    entries: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000, strict=False)]
    budget: BudgetSpec
    recipe: StudyRecipe = StudyRecipe()
    evaluation: EvaluationSpec = EvaluationSpec()

    def __repr__(self) -> str:
        return printable(f"<Study {self.name}: {', '.join(self.entries)} on {shown_address(self.data)}>")

    __str__ = __repr__

    def _repr_html_(self) -> str:
        note = (
            f"{self.summary} On {shown_address(self.data)}, {self.budget.training_flops:g} training FLOPs each.".strip()
        )
        return html_table(self.name, ("entries",), [(entry,) for entry in self.entries], note)
