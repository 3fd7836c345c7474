"""Recipes: how an entry is trained, written in YAML and checked like a spec."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from specs.errors import Problems, UnknownName, closest, fail, quote
from specs.library import is_path
from specs.merge import drop, merge
from specs.overrides import apply_overrides
from specs.source import Mapping, Scalar, Tree, parse
from specs.validation import validate

__all__ = ["LossSpec", "OptimizerSpec", "PhaseSpec", "Recipe", "ScheduleSpec", "list_recipes", "load_recipe"]

_FOLDER = Path(__file__).parent / "recipes"
Label = Annotated[str, Field(pattern=r"^r[0-9]+$")]
Rows = Annotated[int, Field(ge=1, le=1_000_000)]


class Model(BaseModel):
    """Closed, strict and frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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
    levels: dict[Label, Annotated[float, Field(ge=0)]] = Field(
        default={}, description="weights by level; a level not named has 1"
    )


class PhaseSpec(Model):
    """Training one level with everything inside it, from the phase before."""

    train: Label = Field(description="the outermost level that is trained")
    steps: int = Field(ge=1, le=100_000_000)
    batch: Rows | dict[Label, Rows] = Field(description="rows, or rows by level, not falling inwards")
    learning_rate: float | None = Field(default=None, gt=0, le=10, description="instead of the optimizer's")
    schedule: ScheduleSpec | None = None
    loss: LossSpec | None = None


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

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)]
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

    def fingerprint(self) -> str:
        """A hash of all that changes what is learnt, for telling whether a run may be resumed."""
        text = json.dumps(self.model_dump(mode="json", exclude={"name", "summary", "every"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def list_recipes() -> tuple[str, ...]:
    """Names of the packaged recipes."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe by name, or one in a file.

    Args:
        name_or_path: a packaged recipe's name, or a path (it has a slash or ends in .yaml).
        overrides: changes such as ``phases.p16.steps=100``.

    Raises:
        UnknownName: no recipe has this name.
        SpecError: the recipe is wrong; its text is the whole report.
    """
    tree = _resolve(_find(name_or_path), ())
    problems = Problems()
    tree = apply_overrides(tree, overrides, problems)
    problems.raise_if_any()
    recipe = validate(Recipe, tree, "a recipe")
    _check(recipe, tree)
    return recipe


def _find(name_or_path: str | Path) -> Path:
    if isinstance(name_or_path, Path) or is_path(name_or_path):
        return Path(name_or_path)
    path = _FOLDER / f"{name_or_path}.yaml"
    if not path.is_file():
        raise UnknownName(name_or_path, closest(name_or_path, list_recipes(), count=3), what="recipe")
    return path


def _resolve(path: Path, way: tuple[Path, ...]) -> Mapping:
    """The recipe's tree merged over the one that it extends."""
    tree = parse(path)
    if not isinstance(tree, Mapping):
        raise fail("wrong-type", "a recipe is a mapping of keys to values", tree.position)
    extends = tree.get("extends")
    if extends is None:
        return tree
    if not isinstance(extends, Scalar) or not isinstance(extends.value, str):
        raise fail("wrong-type", "'extends' names a recipe", extends.position)
    if path.resolve() in way:
        raise fail("cyclic-reference", "recipes extend each other in a circle", extends.position)
    base = path.parent / extends.value if is_path(extends.value) else None
    try:
        found = base or _find(extends.value)
    except UnknownName as error:
        raise fail("unknown-entry", str(error), extends.position) from None
    inherited = drop(_resolve(found, (*way, path.resolve())), "name", "summary")
    return merge(inherited, drop(tree, "extends"))


def _check(recipe: Recipe, tree: Tree) -> None:
    """What the keys' own rules do not say."""
    from specs.source import locate

    problems = Problems()
    for name, phase in recipe.phases.items():
        loss = phase.loss or recipe.loss
        if loss.space == "v" and loss.weighting != "none":
            where = locate(tree, *(("phases", name, "loss") if phase.loss else ("loss",)), "weighting")
            message = f"weighting {quote(loss.weighting)} is defined for the eps space; set 'space: eps'"
            problems.add("conflict", message, where)
        if isinstance(phase.batch, dict):
            rows = [count for _, count in sorted(phase.batch.items(), key=lambda item: -int(item[0][1:]))]
            if rows != sorted(rows):
                message = "a level inside another has at least as many rows as that one"
                problems.add("bad-value", message, locate(tree, "phases", name, "batch"))
    problems.raise_if_any()
