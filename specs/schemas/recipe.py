"""Schema of recipes: how an entry is trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from specs.addresses import shown_address
from specs.errors import quote
from specs.html_table import html_table
from specs.printable import printable
from specs.public_names import moved_method
from specs.schemas.averages import AveragesSpec
from specs.schemas.base import EntryName, Model
from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.held_out import ValidationSpec
from specs.schemas.memory import MAX_ROWS, MemorySpec
from specs.schemas.optimizers import OptimizerSpec
from specs.schemas.rates import LevelRates, rate_factors
from specs.schemas.times import UNIFORM, Times, TimesSpec
from specs.schemas.weighting import Weighting, WeightingSpec

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

MAX_STEPS = 100_000_000


def _batch(value: Any) -> Any:
    rows = list(value.values()) if isinstance(value, dict) else [value]
    if not rows or any(isinstance(row, bool) or not isinstance(row, int) for row in rows):
        raise PydanticCustomError("wrong-type", "'batch' is a number of rows, or {level: rows}")
    if not all(1 <= row <= MAX_ROWS for row in rows):
        raise PydanticCustomError("out-of-range", f"'batch' must be from 1 to {MAX_ROWS:,} rows per level")
    return value


# Validated before the union, which would report every error twice.
Batch = Annotated[int | dict[str, int], BeforeValidator(_batch, json_schema_input_type=int | dict[str, int])]
Weight = Annotated[float, Field(ge=0, le=1e6)]


def _entry_override(value: Any) -> Any:
    if not isinstance(value, str) or not re.match(r"[^\s=]+=", value):
        raise PydanticCustomError("wrong-type", "a change to the entry is written PATH=VALUE: stages.r64.width=24")
    if re.search(r"\b(nest|extends)\s*[=:]", value):
        raise PydanticCustomError(
            "bad-value", "'entry_overrides' changes values of the entry; another 'nest' or 'extends' needs an entry"
        )
    return value


EntryOverride = Annotated[str, BeforeValidator(_entry_override, json_schema_input_type=str)]


def _data(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str):
        return value
    weights = list(value.values()) if isinstance(value, dict) else []
    if not weights or any(isinstance(w, bool) or not isinstance(w, (int, float)) or not 0 < w < 1e9 for w in weights):
        message = f"{quote(info.field_name or 'data')} is the name or path of a dataset, or {{dataset: weight}}"
        raise PydanticCustomError("wrong-type", message)
    return {name: float(weight) for name, weight in value.items()}


def _images(value: Any, info: ValidationInfo) -> Any:
    return None if value is None else _data(value, info)


# Validated before the union, as above.
_Sets = str | dict[str, float]
Data = Annotated[_Sets, BeforeValidator(_data, json_schema_input_type=_Sets)]
Images = Annotated[_Sets | None, BeforeValidator(_images, json_schema_input_type=_Sets | None)]


class ScheduleSpec(Model):
    """Learning rate over a phase: linear warmup, then constant or cosine decay to zero."""

    warmup: int = Field(default=0, ge=0, description="steps of linear warmup")
    decay: Literal["constant", "cosine"] = "constant"
    restart: float = Field(
        default=1.0, ge=0.001, le=1, description="factor of the rate of levels that an earlier phase has trained"
    )


class LossSpec(Model):
    """Mean squared error of the prediction, averaged over the rows of each level and summed over levels."""

    space: Literal["v", "eps", "flow"] = Field(
        default="eps", description="space of the error; the published networks use eps"
    )
    weighting: Weighting = Field(
        default=WeightingSpec(name="none"),
        description="weighting by signal-to-noise ratio, for the eps space: a name, or {name: sigmoid, bias: 2}",
    )
    clip_x0: bool = Field(
        default=False,
        description="no error where a pixel is -1 or 1 and the clean prediction beyond it, where samplers clip it",
    )
    levels: dict[str, Weight | None] = Field(
        default={}, description="weight per level, default 1; a level with 0 or null has no loss"
    )

    def weight(self, label: str) -> float:
        """Return the weight of a level, 0 if it has no loss."""
        return self.levels.get(label, 1.0) or 0.0


class CarrySpec(Model):
    """What a phase takes over from the phase before, besides the weights."""

    optimizer: bool = Field(default=False, description="optimizer state of the levels trained before")
    ema: bool = Field(default=True, description="EMA weights; if false, the EMA restarts from the weights")


class PhaseSpec(Model):
    """A phase of training: one level with all levels inside it."""

    train: str = Field(description="label of the outermost level to train, such as r64")
    steps: int | None = Field(default=None, ge=1, le=MAX_STEPS)
    hours: float | None = Field(default=None, gt=0, le=100_000, description="hours of training, instead of steps")
    batch: Batch = Field(description="rows, or rows per level; no level has more than the level inside it")
    learning_rate: float | None = Field(default=None, gt=0, le=10, description="instead of the optimizer's")
    learning_rates: LevelRates | None = Field(default=None, description="changes to the recipe's rates by level")
    schedule: ScheduleSpec | None = Field(default=None, description="changes to the recipe's schedule")
    loss: LossSpec | None = Field(default=None, description="changes to the recipe's loss")
    times: Times | None = Field(default=None, description="instead of the recipe's times")
    initialise: str | None = Field(
        default=None,
        description="'before' (the phase before, the default), 'fresh', a weights file, or an entry with weights",
    )
    freeze: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="labels of levels that are not trained"
    )
    cut: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        default=(), description="labels of levels that share no features with the level around them"
    )
    carry: CarrySpec | None = Field(default=None, description="changes to the recipe's carry")
    memory: MemorySpec | None = Field(default=None, description="changes to the recipe's memory")

    @model_validator(mode="after")
    def _has_one_length(self) -> PhaseSpec:
        if (self.steps is None) == (self.hours is None):
            code, message = ("missing-key", "needs") if self.steps is None else ("conflict", "takes one of")
            raise PydanticCustomError(code, f"a phase {message} 'steps' or 'hours'")
        return self

    def rows(self, labels: Sequence[str]) -> dict[str, int]:
        """Return the rows per level, outermost first. The default is the rows of the level around it."""
        if isinstance(self.batch, int):
            return dict.fromkeys(labels, self.batch)
        result: dict[str, int] = {}
        last = 1
        for label in labels:
            last = result[label] = self.batch.get(label, last)
        return result


class DropSpec(Model):
    """Probabilities of dropping a condition, for classifier-free guidance."""

    classes: float = Field(default=0.1, ge=0, le=1)
    text: float = Field(default=0.1, ge=0, le=1)


class CadenceSpec(Model):
    """Intervals in steps; 0 for the end of each phase only."""

    checkpoint: int = Field(default=200, ge=0)
    evaluate: int = Field(default=200, ge=0)
    samples: int = Field(default=0, ge=0)
    monitor: int = Field(default=50, ge=0, description="loss by noise level and gradient norm per level; 0 for never")
    distance: int = Field(
        default=0, ge=0, description="distance of samples from the data (KID, FID), at the next checkpoint; 0 for never"
    )


class CheckpointSpec(Model):
    """Checkpoint retention."""

    last: int = Field(default=1, ge=1, le=1000, description="number of newest states")
    best: int = Field(default=1, ge=0, le=1000, description="number of weights per phase, by lowest validation loss")
    every: int = Field(default=0, ge=0, description="interval in steps of states that are never deleted; 0 for none")


class Recipe(Model):
    """How an entry is trained: data, optimizer, loss and phases."""

    name: EntryName
    summary: str = Field(default="", max_length=1000)
    entry: str = Field(description="name of an entry, or path to one")
    classes: int | None = Field(
        default=None, ge=0, le=1_000_000, description="number of classes of the entry in place of its own; 0 for none"
    )
    entry_overrides: Annotated[tuple[EntryOverride, ...], Field(strict=False, max_length=100)] = Field(
        default=(), description="changes to the entry, such as process.prediction=flow or stages.r64.width=24"
    )
    data: Data = Field(description="name of a packaged dataset, path to shards, or {dataset: weight}")
    images: Images = Field(
        default=None,
        description="data of the rows that only image levels have; default: first frames of further clips of data",
    )
    crop: Literal["center", "random"] = Field(default="center", description="square that is cropped from an image")
    licence: str = Field(default="", max_length=1000, description="license of the data, if its card has none")
    flip: bool = Field(default=False, description="random horizontal flip; not for images with text")
    text_encoder: str = Field(default="embedded", description="text encoder: embedded, a T5 model, or a folder")
    optimizer: OptimizerSpec = OptimizerSpec()
    learning_rates: LevelRates = Field(default={}, description="rate by level: a number, or a multiple such as 0.1x")
    schedule: ScheduleSpec = ScheduleSpec()
    ema: float = Field(default=0.9999, ge=0, lt=1, description="decay of the EMA of the weights")
    averages: AveragesSpec | None = Field(
        default=None, description="averages of which 'zoo average' makes one of any length after training"
    )
    loss: LossSpec = LossSpec()
    times: Times = Field(
        default=UNIFORM,
        description="noise times of training: uniform, stratified, logit_normal, logsnr, or with mean and std",
    )
    drop: DropSpec = DropSpec()
    clip: float = Field(default=2.0, gt=0, description="maximum gradient norm")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="dtype of activations; auto: bfloat16 on a GPU that supports it, and on a CPU that computes in it "
        "if at least half of the steps train 64 pixels or more; else float32",
    )
    compile: bool = Field(default=False, description="compile blocks with torch.compile, for GPUs")
    channels_last: bool = Field(default=False, description="lay out convolutions with channels last, for GPUs")
    memory: MemorySpec = MemorySpec()
    initialise: str | None = Field(
        default=None, description="initial weights of the first phase: a weights file, or an entry with weights"
    )
    carry: CarrySpec = CarrySpec()
    max_bad_steps: int = Field(
        default=3, ge=1, le=1_000_000, description="consecutive steps with a non-finite loss after which to stop"
    )
    seed: int = Field(default=0, ge=0, le=2**31)
    paired: bool = Field(
        default=False,
        description="random numbers of a level that do not depend on the levels around it, to compare entries by seed",
    )
    workers: int = Field(default=0, ge=0, le=256, description="data-loading processes")
    every: CadenceSpec = CadenceSpec()
    checkpoints: CheckpointSpec = CheckpointSpec()
    validation: ValidationSpec = ValidationSpec()
    evaluation: EvaluationSpec = EvaluationSpec(samples=1000)
    phases: Annotated[dict[str, PhaseSpec], Field(min_length=1, max_length=100)]

    written = moved_method("specs.recipe_identity", "written")
    facts = moved_method("specs.recipe_identity", "facts")
    fingerprint = moved_method("specs.recipe_identity", "fingerprint")

    def __repr__(self) -> str:
        return printable(f"<Recipe {self.name}: {self.entry} on {self._sets}, phases {', '.join(self.phases)}>")

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [
            (name, phase.train, f"{phase.hours:g} h" if phase.steps is None else f"{phase.steps:,} steps", phase.batch)
            for name, phase in self.phases.items()
        ]
        note = f"{self.summary} {self.entry} on {self._sets}, {self.optimizer.name}, EMA {self.ema}.".strip()
        return html_table(self.name, ("phase", "level", "length", "batch"), rows, note)

    @property
    def data_name(self) -> str:
        """Name, path or address (without secrets) of the data; several are joined by plus signs."""
        return _joined(self.data)

    @property
    def images_name(self) -> str:
        """Name of ``images``, written like :attr:`data_name`; empty if there is none."""
        return "" if self.images is None else _joined(self.images)

    @property
    def _sets(self) -> str:
        return self.data_name + (f" and images of {self.images_name}" if self.images else "")

    def schedule_of(self, phase: PhaseSpec) -> ScheduleSpec:
        """Return the recipe's schedule with the changes of a phase."""
        return _changed(self.schedule, phase.schedule)

    def loss_of(self, phase: PhaseSpec) -> LossSpec:
        """Return the recipe's loss with the changes of a phase."""
        return _changed(self.loss, phase.loss)

    def rates_of(self, phase: PhaseSpec) -> dict[str, float]:
        """Return the factors of the learning rate by level, with the changes of a phase."""
        rates = self.learning_rates | (phase.learning_rates or {})
        return rate_factors(rates, phase.learning_rate or self.optimizer.learning_rate)

    def times_of(self, phase: PhaseSpec) -> TimesSpec:
        """Return the distribution of the times of a phase."""
        return phase.times or self.times

    def carry_of(self, phase: PhaseSpec) -> CarrySpec:
        """Return the recipe's ``carry`` with the changes of a phase."""
        return _changed(self.carry, phase.carry)

    def memory_of(self, phase: PhaseSpec) -> MemorySpec:
        """Return the recipe's memory settings with the changes of a phase."""
        return _changed(self.memory, phase.memory)

    def parts_of(self, phase: PhaseSpec) -> dict[str, BaseModel]:
        """Return the parts that affect the weights and that a phase may change, with the changes of a phase."""
        return {"schedule": self.schedule_of(phase), "loss": self.loss_of(phase), "carry": self.carry_of(phase)}

    def source_of(self, name: str) -> str:
        """Return the source of a phase's initial weights: "before", "fresh", a path, or the name of an entry."""
        own = self.phases[name].initialise
        if name == next(iter(self.phases)):
            return own or self.initialise or "fresh"
        return own or "before"

    def map_paths(self, change: Callable[[str, tuple[str, ...]], str]) -> Recipe:
        """Return the recipe with every name or path replaced: of the entry, data, images, text encoder and initial
        weights.

        Args:
            change: Function of the text and of the keys that lead to it, such as ``("phases", "p64", "initialise")``.
        """

        def start(text: str | None, *keys: str) -> str | None:
            return None if text is None else change(text, (*keys, "initialise"))

        def sets(value: str | dict[str, float], key: str) -> str | dict[str, float]:
            if isinstance(value, str):
                return change(value, (key,))
            return {change(name, (key,)): weight for name, weight in value.items()}

        phases = {
            name: phase.model_copy(update={"initialise": start(phase.initialise, "phases", name)})
            for name, phase in self.phases.items()
        }
        return self.model_copy(
            update={
                "entry": change(self.entry, ("entry",)),
                "data": sets(self.data, "data"),
                "images": None if self.images is None else sets(self.images, "images"),
                "text_encoder": change(self.text_encoder, ("text_encoder",)),
                "initialise": start(self.initialise),
                "phases": phases,
            }
        )


def _joined(sets: str | dict[str, float]) -> str:
    return "+".join(map(shown_address, [sets] if isinstance(sets, str) else sets))


Part = TypeVar("Part", bound=BaseModel)


def _changed(base: Part, change: Part | None) -> Part:
    """Return ``base`` with the fields that are set in ``change``."""
    if change is None:
        return base
    return base.model_copy(update={field: getattr(change, field) for field in change.model_fields_set})
