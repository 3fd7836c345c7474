"""Schema of studies of arms: changes of one recipe and entry, trained with the same seeds at the same cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from specs.addresses import shown_address
from specs.html_table import html_table
from specs.printable import printable
from specs.schemas.base import EntryName, Model
from specs.schemas.evaluation import EvaluationSpec

__all__ = ["ArmSpec", "ArmStudy", "ContrastSpec", "CostSpec", "SearchSpec"]

MAX_SEEDS = 1000
Seed = Annotated[int, Field(ge=0, le=2**31)]
#: Name of an arm, contrast or measure. It is part of file names and of MLflow's names.
ShortName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]


def _seeds(value: Any) -> Any:
    """Return seeds as a list: a number N stands for 0 to N - 1."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return list(range(value))
    if not isinstance(value, (list, tuple)):
        raise PydanticCustomError("wrong-type", f"seeds are a number from 1 to {MAX_SEEDS}, or a list of numbers")
    if len(set(map(str, value))) < len(value):
        raise PydanticCustomError("conflict", "seeds are different numbers; one is there twice")
    return value


def _measures(value: Any) -> Any:
    """Return measures by name with their arguments; a list has none."""
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if arguments is None else arguments for name, arguments in value.items()}
    raise PydanticCustomError("wrong-type", "'measures' is a list of names, or names with arguments: {p1: {draws: 8}}")


_SeedList = Annotated[tuple[Seed, ...], Field(strict=False, min_length=1, max_length=MAX_SEEDS)]
Seeds = Annotated[_SeedList, BeforeValidator(_seeds, json_schema_input_type=int | list[int])]
_Written = list[str] | dict[ShortName, dict[str, Any] | None]
Measures = Annotated[dict[ShortName, dict[str, Any]], BeforeValidator(_measures, json_schema_input_type=_Written)]


class ArmSpec(Model):
    """What an arm changes of the base."""

    summary: str = Field(default="", max_length=1000)
    recipe: dict[str, Any] = Field(default={}, description="changes to the base recipe; null removes a key")
    entry: dict[str, Any] = Field(
        default={}, description="changes to the entry of the recipe, such as {process: {shift: 2}}; null removes a key"
    )
    cost: float = Field(
        default=1,
        gt=0,
        le=1,
        description="part of the budget's FLOPs that a run takes, such as 0.8 where steps take longer: equal seconds",
    )


class CostSpec(Model):
    """Cost of every run of a study."""

    training_flops: float = Field(gt=0, le=1e30, description="FLOPs of every run, forward and backward, as in plans")
    tolerance: float = Field(default=0.02, ge=0, lt=1, description="largest relative difference of a run's FLOPs")
    threads: int = Field(default=1, ge=1, le=1024, description="threads of a run on the CPU; results depend on it")


class ContrastSpec(Model):
    """The difference of two arms in one measure: the first arm minus the second one, paired by seed."""

    arms: Annotated[tuple[ShortName, ShortName], Field(strict=False)]
    measure: str = Field(min_length=1, max_length=200, description="name of a value in the results, such as p1")
    primary: bool = Field(default=False, description="whether it is one of those that Holm's correction counts")
    test: Literal["sign_flip", "none"] = Field(
        default="sign_flip", description="exact permutation of the signs of the differences, or none"
    )
    alternative: Literal["two-sided", "less", "greater"] = Field(
        default="two-sided", description="less: the first arm has the lower value"
    )
    scale: Literal["linear", "log"] = Field(
        default="linear", description="log: differences of logarithms, for values above 0 such as learning rates"
    )
    effect: float | None = Field(
        default=None, gt=0, lt=100, description="smallest difference worth finding, relative to the second arm"
    )
    spread: float | None = Field(
        default=None, gt=0, lt=100, description="expected standard deviation of the relative paired difference"
    )
    question: str = Field(default="", max_length=2000, description="question that it answers, and the expectation")


class SearchSpec(Model):
    """Values of a setting of which every arm takes its best, found on seeds of their own before the other runs."""

    set: str = Field(min_length=1, max_length=200, description="setting of the recipe: optimizer.learning_rate")
    values: Annotated[tuple[float | int | str | bool, ...], Field(strict=False, min_length=1, max_length=100)]
    seeds: Seeds
    by: str = Field(min_length=1, max_length=200, description="value of the results whose mean is compared")
    best: Literal["lowest", "highest"] = "lowest"


class ArmStudy(Model):
    """Arms, which change one recipe and entry, and what is compared between them."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    hypotheses: str = Field(default="", max_length=50_000, description="what is asked, and what is expected")
    stopping: str = Field(
        default="All seeds are run; there is no interim test.", max_length=2000, description="stopping rule"
    )
    exploratory: bool = Field(default=False, description="whether it may run without registration")
    data: str = Field(description="name of a packaged dataset, or path to shards")
    base: dict[str, Any] = Field(
        description="a recipe without name, data, seed and evaluation; phases have steps, or a share of the budget"
    )
    arms: Annotated[dict[ShortName, ArmSpec], Field(min_length=1, max_length=1000)]
    seeds: Seeds
    budget: CostSpec
    evaluation: EvaluationSpec = EvaluationSpec()
    measures: Measures = Field(default={}, description="measures of every run, by name, with their arguments")
    contrasts: dict[ShortName, ContrastSpec] = Field(default={}, description="what is compared, by name")
    search: SearchSpec | None = None
    reuse: Annotated[tuple[str, ...], Field(strict=False, max_length=100)] = Field(
        default=(), description="studies whose results are taken where a run of theirs is equal to one of this study"
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="level of the family of primary contrasts")

    def training_flops(self, arm: str) -> float:
        """Return the FLOPs that every run of an arm should take."""
        return self.budget.training_flops * self.arms[arm].cost

    def measures_of(self, searched: bool) -> dict[str, dict[str, Any]]:
        """Return the measures of a run with their arguments.

        Args:
            searched: Whether it is a run of the search, of which only the measure that is compared is taken.
        """
        if not searched or self.search is None:
            return dict(self.measures)
        wanted = self.search.by.partition("/")[0]
        return {name: arguments for name, arguments in self.measures.items() if name == wanted}

    @property
    def primary(self) -> dict[str, ContrastSpec]:
        """The primary contrasts, by name."""
        return {name: contrast for name, contrast in self.contrasts.items() if contrast.primary}

    @property
    def tested(self) -> dict[str, ContrastSpec]:
        """The primary contrasts with a test, by name: the family of Holm's correction."""
        return {name: contrast for name, contrast in self.primary.items() if contrast.test != "none"}

    def __repr__(self) -> str:
        return printable(f"<ArmStudy {self.name}: {', '.join(self.arms)} on {shown_address(self.data)}>")

    __str__ = __repr__

    def _repr_html_(self) -> str:
        cost = f"{self.budget.training_flops:g} training FLOPs each"
        note = f"{self.summary} On {shown_address(self.data)}, {len(self.seeds)} seeds, {cost}.".strip()
        return html_table(self.name, ("arm", "summary"), [(name, arm.summary) for name, arm in self.arms.items()], note)
