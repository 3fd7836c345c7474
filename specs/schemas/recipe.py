"""How an entry is trained: the keys of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from specs.errors import did_you_mean, quote
from specs.schemas.base import EntryName, Model
from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.optimizers import TIMM_OPTIMIZERS, TORCH_OPTIMIZERS

__all__ = [
    "CadenceSpec",
    "CarrySpec",
    "CheckpointSpec",
    "DropSpec",
    "LossSpec",
    "OptimizerSpec",
    "PhaseSpec",
    "Recipe",
    "ScheduleSpec",
]

MAX_ROWS = 1_000_000
MAX_STEPS = 100_000_000


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


#: The settings of the paper, for the optimizer it was trained with and its sibling; others keep their own.
_ADAM = {"betas": (0.9, 0.99), "weight_decay": 0.01, "epsilon": 1e-8}
Option = float | int | bool | str | Annotated[tuple[float, ...], Field(strict=False)]


def _optimizer(value: Any) -> Any:
    names = sorted({*TORCH_OPTIMIZERS, *TIMM_OPTIMIZERS})
    if isinstance(value, str) and value.startswith("timm:"):
        names = [f"timm:{name}" for name in TIMM_OPTIMIZERS]
    if isinstance(value, str) and value not in names:
        hint = did_you_mean(value, names) or f"; there are {', '.join(TORCH_OPTIMIZERS)} and timm's"
        raise PydanticCustomError("bad-value", f"no optimizer is called {quote(value)}{hint}")
    return value


def _data(value: Any) -> Any:
    if isinstance(value, str):
        return value
    weights = list(value.values()) if isinstance(value, dict) else [value]
    if not weights or any(isinstance(w, bool) or not isinstance(w, (int, float)) or not 0 < w < 1e9 for w in weights):
        raise PydanticCustomError("wrong-type", "'data' is the name or path of a data set, or {data set: weight}")
    return {name: float(weight) for name, weight in value.items()}


# Checked before the union, as above.
Data = Annotated[str | dict[str, float], BeforeValidator(_data, json_schema_input_type=str | dict[str, float])]


class OptimizerSpec(Model):
    """An optimizer of torch or timm by name; AdamW and Adam have the betas of the paper unless others are given."""

    name: Annotated[str, BeforeValidator(_optimizer)] = Field(
        default="adamw", description="of torch or of timm; 'timm:NAME' for timm's where torch has one of that name"
    )
    learning_rate: float = Field(default=1e-4, gt=0, le=10)
    betas: Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)] | None = Field(
        default=None, description="default (0.9, 0.99) for adamw and adam, the optimizer's own for any other"
    )
    weight_decay: float | None = Field(default=None, ge=0, le=10, description="default 0.01 for adamw and adam")
    epsilon: float | None = Field(default=None, gt=0, le=1, description="default 1e-8 for adamw and adam")
    options: dict[str, Option] = Field(default={}, description="further arguments, such as momentum")

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name", "adamw") in ("adamw", "adam"):
            return {**_ADAM, **data}
        return data


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
    levels: dict[str, Weight | None] = Field(
        default={}, description="weights by level; a level not named has 1, one with 0 or null has no loss"
    )

    def weight(self, label: str) -> float:
        """The weight of a level; 0 for none."""
        return self.levels.get(label, 1.0) or 0.0


class CarrySpec(Model):
    """What goes from a phase to the next beside the weights."""

    optimizer: bool = Field(default=False, description="the optimizer's state of the levels that were trained before")
    ema: bool = Field(default=True, description="the moving average; else it starts anew from the weights")


class PhaseSpec(Model):
    """Training one level with everything inside it, from the phase before."""

    train: str = Field(description="label of the outermost level that is trained, such as r64")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    hours: float | None = Field(default=None, gt=0, le=100_000, description="of training, instead of steps")
    batch: Batch = Field(description="rows, or rows by level, not falling inwards")
    learning_rate: float | None = Field(default=None, gt=0, le=10, description="instead of the optimizer's")
    schedule: ScheduleSpec | None = Field(default=None, description="what differs from the recipe's")
    loss: LossSpec | None = Field(default=None, description="what differs from the recipe's")
    initialise: str | None = Field(
        default=None,
        description="'before' (the phase before; the default), 'fresh', a weights file, or an entry with weights",
    )
    freeze: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="labels of levels that stay"
    )
    carry: CarrySpec | None = Field(default=None, description="what differs from the recipe's")

    @model_validator(mode="after")
    def _has_one_length(self) -> PhaseSpec:
        if (self.steps is None) == (self.hours is None):
            code, message = ("missing-key", "needs") if self.steps is None else ("conflict", "takes one of")
            raise PydanticCustomError(code, f"a phase {message} 'steps' or 'hours'")
        return self

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
    text: float = Field(default=0.1, ge=0, le=1)


class CadenceSpec(Model):
    """How often something is done, in steps; 0 for the ends of phases alone."""

    checkpoint: int = Field(default=200, ge=0)
    evaluate: int = Field(default=200, ge=0)
    samples: int = Field(default=0, ge=0)
    monitor: int = Field(default=50, ge=0, description="loss by noise, gradients by level; 0 for never")
    distance: int = Field(
        default=0, ge=0, description="distance of samples from the data, at the next checkpoint; 0 for never"
    )


class CheckpointSpec(Model):
    """Which checkpoints are kept."""

    last: int = Field(default=1, ge=1, le=1000, description="states, the newest ones")
    best: int = Field(default=1, ge=0, le=1000, description="weights of each phase with the lowest held-out loss")
    every: int = Field(default=0, ge=0, description="states at multiples of so many steps, for good; 0 for none")


class Recipe(Model):
    """How an entry is trained."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    entry: str = Field(description="name of an entry, or path to one")
    data: Data = Field(description="name of a packaged data set, path to shards, or several with weights")
    crop: Literal["center", "random"] = Field(default="center", description="which square of an image is taken")
    licence: str = Field(default="", max_length=1000, description="of the data, where its card does not say")
    flip: bool = Field(default=False, description="mirror half of the images; not for images with writing")
    text_encoder: str = Field(default="embedded", description="for entries with text: embedded, a T5, or a folder")
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    ema: float = Field(default=0.9999, ge=0, lt=1, description="decay of the moving average of weights")
    loss: LossSpec = LossSpec()
    drop: DropSpec = DropSpec()
    clip: float = Field(default=2.0, gt=0, description="largest norm of the gradient")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="of activations; auto: bfloat16 on a GPU that has it, else float32"
    )
    initialise: str | None = Field(
        default=None, description="of the first phase: a weights file, or an entry with weights"
    )
    carry: CarrySpec = CarrySpec()
    max_bad_steps: int = Field(
        default=3, ge=1, le=1_000_000, description="steps in a row that are not finite, then stop"
    )
    seed: int = Field(default=0, ge=0, le=2**31)
    workers: int = Field(default=0, ge=0, le=256, description="processes that read ahead")
    every: CadenceSpec = CadenceSpec()
    checkpoints: CheckpointSpec = CheckpointSpec()
    evaluation: EvaluationSpec = EvaluationSpec(samples=1000)
    phases: Annotated[dict[str, PhaseSpec], Field(min_length=1, max_length=100)]

    @property
    def data_name(self) -> str:
        """The data in a word: its name or path, or several joined by plus signs."""
        return self.data if isinstance(self.data, str) else "+".join(self.data)

    def schedule_of(self, phase: PhaseSpec) -> ScheduleSpec:
        """The recipe's schedule with the phase's changes."""
        return _changed(self.schedule, phase.schedule)

    def loss_of(self, phase: PhaseSpec) -> LossSpec:
        """The recipe's loss with the phase's changes."""
        return _changed(self.loss, phase.loss)

    def carry_of(self, phase: PhaseSpec) -> CarrySpec:
        """What the phase takes from the one before, with the phase's changes."""
        return _changed(self.carry, phase.carry)

    def parts_of(self, phase: PhaseSpec) -> dict[str, BaseModel]:
        """Return the parts of the recipe that a phase may change, with its changes."""
        return {"schedule": self.schedule_of(phase), "loss": self.loss_of(phase), "carry": self.carry_of(phase)}

    def source_of(self, name: str) -> str:
        """Where a phase's weights come from: "before", "fresh", a path, or the name of an entry."""
        own = self.phases[name].initialise
        if name == next(iter(self.phases)):
            return own or self.initialise or "fresh"
        return own or "before"

    def map_paths(self, change: Callable[[str, tuple[str, ...]], str]) -> Recipe:
        """Return the recipe with every name or path replaced: of the entry, data, text encoder and initial weights.

        Args:
            change: Function of the text and of the keys that lead to it, such as ``("phases", "p64", "initialise")``.
        """

        def start(text: str | None, *keys: str) -> str | None:
            return None if text is None else change(text, (*keys, "initialise"))

        def data(text: str) -> str:
            return change(text, ("data",))

        phases = {
            name: phase.model_copy(update={"initialise": start(phase.initialise, "phases", name)})
            for name, phase in self.phases.items()
        }
        return self.model_copy(
            update={
                "entry": change(self.entry, ("entry",)),
                "data": data(self.data) if isinstance(self.data, str) else {data(d): w for d, w in self.data.items()},
                "text_encoder": change(self.text_encoder, ("text_encoder",)),
                "initialise": start(self.initialise),
                "phases": phases,
            }
        )


Part = TypeVar("Part", bound=BaseModel)


def _changed(base: Part, change: Part | None) -> Part:
    """``base`` with what was written in ``change``."""
    if change is None:
        return base
    return base.model_copy(update={field: getattr(change, field) for field in change.model_fields_set})
