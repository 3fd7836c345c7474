"""Studies: several entries trained at one budget and measured under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from specs import library
from specs.errors import Problems, UnknownName, closest, fail
from specs.evaluation_schema import EvaluationSpec
from specs.overrides import apply_overrides
from specs.recipe_schema import CadenceSpec, DropSpec, LossSpec, OptimizerSpec, ScheduleSpec
from specs.schema import EntryName, Model
from specs.source import Mapping, parse
from specs.validation import validate_into

__all__ = ["BudgetSpec", "EvaluationSpec", "Study", "StudyRecipe", "list_studies", "load_study"]

_PACKAGED = Path(__file__).parent / "studies"


class BudgetSpec(Model):
    """What every entry may spend on training."""

    training_flops: float = Field(
        gt=0, le=1e30, description="of each entry: three times the forward FLOPs of every row, two FLOPs a MAC"
    )


class StudyRecipe(Model):
    """How every entry of a study is trained; the phases follow from its levels and the budget."""

    batch: int = Field(default=16, ge=1, le=1_000_000, description="rows of every level")
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    ema: float = Field(default=0.999, ge=0, lt=1)
    loss: LossSpec = LossSpec()
    drop: DropSpec = DropSpec()
    seed: int = Field(default=0, ge=0, le=2**31)
    every: CadenceSpec = CadenceSpec()


class Study(Model):
    """Entries to be compared: one budget, one recipe, one protocol."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    data: str = Field(description="name of a packaged data set, or path to shards")
    entries: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000, strict=False)]
    budget: BudgetSpec
    recipe: StudyRecipe = StudyRecipe()
    evaluation: EvaluationSpec = EvaluationSpec()


def list_studies() -> tuple[str, ...]:
    """Names of all studies in natural order: those in ``studies/`` of each folder of ``ZOO_PATH``, and the packaged."""
    return tuple(sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")}, key=library.natural))


def load_study(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Load a study by name, or one in a file.

    Args:
        name_or_path: a name that :func:`list_studies` gives, or a path (it has a slash or ends in .yaml).
        overrides: changes such as ``budget.training_flops=1e12``.

    Raises:
        UnknownName: no study has this name.
        SpecError: the file is wrong; the text is the whole report.
    """
    tree = parse(_find(name_or_path))
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a study is a mapping of keys to values", tree.position)
    problems = Problems()
    tree = apply_overrides(tree, overrides, problems)
    problems.raise_if_any()
    study = validate_into(Study, tree, problems, "a study")
    problems.raise_if_any()
    assert study is not None
    return study


def _folders() -> tuple[Path, ...]:
    return (*(folder / "studies" for folder in library.folders()), _PACKAGED)


def _find(name_or_path: str | Path) -> Path:
    if isinstance(name_or_path, Path) or library.is_path(name_or_path):
        return Path(name_or_path).expanduser()
    for folder in _folders() if library.NAME.fullmatch(name_or_path) else ():
        path = folder / f"{name_or_path}.yaml"
        if path.is_file():
            return path
    raise UnknownName(name_or_path, closest(name_or_path, list_studies(), count=3), what="study")
