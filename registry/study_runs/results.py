"""Results of a study of arms: one small JSON file per run. docs/studying.md describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from builders.files import read_regular, write_text

__all__ = [
    "FOLDER",
    "Curve",
    "RunKey",
    "RunResult",
    "picture_path",
    "read_picture",
    "read_result",
    "read_results",
    "result_path",
    "save_result",
]

#: Folder of the results of a study, by its name, in the current folder.
FOLDER = Path("results") / "studies"
#: Largest file of a result, and largest picture of its samples, in bytes.
MAX_BYTES, MAX_PICTURE = 10_000_000, 20_000_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RunKey(_Frozen):
    """What tells a run of a study from its other runs.

    Attributes:
        arm: Name of the arm.
        seed: Seed.
        searched: Position of the value that is tried, from 0, in a run of the search; None in any other run.
    """

    arm: str
    seed: int
    searched: int | None = None

    @property
    def name(self) -> str:
        """Name of the run, and of its file and folder: ``flat-s0``, or ``flat-v2-s100`` in the search."""
        return f"{self.arm}-s{self.seed}" if self.searched is None else f"{self.arm}-v{self.searched}-s{self.seed}"


class Curve(_Frozen):
    """A value over training.

    Attributes:
        steps: Steps over all phases.
        flops: Training FLOPs until then.
        seconds: Seconds of training until then.
        values: The values.
    """

    steps: tuple[int, ...] = ()
    flops: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Curve:
        if len({len(self.steps), len(self.flops), len(self.seconds), len(self.values)}) > 1:
            raise ValueError("steps, flops, seconds and values of a curve have one length")
        return self


class RunResult(_Frozen):
    """One run of a study.

    Attributes:
        study: Name of the study.
        arm: Name of the arm.
        seed: Seed.
        searched: As in :class:`RunKey`.
        setting: Value of the searched setting that the run had; None without a search.
        status: ``finished``, or ``failed`` if training or a measure failed.
        failure: Why it failed, in one message.
        exploratory: Whether the study was not registered, or differed from what was registered.
        registered: SHA-256 of the study's file as registered; empty if exploratory.
        commit: Commit of the registration.
        entry: Name of the entry.
        hash: Hash of the entry.
        recipe: Fingerprint of the recipe.
        steps: Steps by phase.
        training_flops: FLOPs of training, forward and backward.
        seconds: Seconds of training on ``threads`` threads, without measuring.
        cpu_seconds: Processor seconds of the same.
        measuring_seconds: Seconds of all measures.
        threads: Threads of the run.
        measures: Scalar values by name.
        series: Further values of measures by name, as JSON.
        curves: Values over training by name, such as ``val_v_loss/r32``.
        samples: Name of the picture of samples beside the file; empty without one.
        taken_from: Study and run that this result was taken from, such as ``A/flat-s0``; empty if it was made here.
        environment: Versions, commit and hardware.
        date: End of the run, ISO 8601.
    """

    study: str
    arm: str
    seed: int
    searched: int | None = None
    setting: float | int | str | bool | None = None
    status: Literal["finished", "failed"] = "finished"
    failure: str = ""
    exploratory: bool = False
    registered: str = ""
    commit: str = ""
    entry: str = ""
    hash: str = ""
    recipe: str = ""
    steps: dict[str, int] = {}
    training_flops: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    measuring_seconds: float = 0.0
    threads: int = 1
    measures: dict[str, float] = {}
    series: dict[str, Any] = {}
    curves: dict[str, Curve] = {}
    samples: str = ""
    taken_from: str = ""
    environment: dict[str, str] = {}
    date: str = ""

    @property
    def key(self) -> RunKey:
        """Arm, seed and place in the search."""
        return RunKey(arm=self.arm, seed=self.seed, searched=self.searched)


def result_path(key: RunKey, folder: Path) -> Path:
    """Return the file of the result of a run in the folder of its study."""
    return folder / f"{key.name}.json"


def picture_path(result: RunResult, folder: Path) -> Path | None:
    """Return the file of the samples of a run; None without one, or if its name leads out of the folder."""
    name = result.samples
    inside = bool(name) and Path(name).name == name and name != ".." and "\0" not in name
    return folder / name if inside else None


def read_picture(path: Path) -> bytes:
    """Return the content of a picture of samples.

    Raises:
        OSError: It cannot be read, is too large, or is not a regular file.
    """
    return read_regular(path, MAX_PICTURE)


def save_result(result: RunResult, folder: Path) -> Path:
    """Write a result to its file, atomically; return the file.

    Raises:
        ValueError: A value is not finite.
        OSError: The file cannot be written.
    """
    for name, value in result.measures.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} is not finite and is not stored")
    path = result_path(result.key, folder)
    write_text(path, _text(result.model_dump(mode="json", exclude_defaults=True)))
    return path


def _text(facts: dict[str, Any]) -> str:
    """Return JSON with a line for each key, and for each key of the mappings inside."""
    lines = []
    for key, value in facts.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, dict) and value:
            inner = ",\n".join(
                f"  {json.dumps(name)}: {json.dumps(each, allow_nan=False)}" for name, each in value.items()
            )
            text = "{\n" + inner + "\n }"
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_results(folder: Path, keys: Iterable[RunKey] | None = None) -> tuple[RunResult, ...]:
    """Return the results of a study, of the runs ``keys`` in their order, or all in the order of their names.

    Runs without a result are left out.

    Raises:
        ValueError: A file is not the result of a run.
    """
    paths = sorted(folder.glob("*.json")) if keys is None else [result_path(key, folder) for key in keys]
    return tuple(read_result(path) for path in _results(paths) if path.is_file())


def _results(paths: Sequence[Path]) -> list[Path]:
    """Return files without the registration, which is beside them in some folders."""
    return [path for path in paths if not path.name.endswith(".registered.json")]


def read_result(path: Path) -> RunResult:
    """Return the result in a file.

    Raises:
        ValueError: It is not the result of a run.
    """
    try:
        return RunResult.model_validate_json(read_regular(path, MAX_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        what = ": ".join([*(str(part) for part in first["loc"]), first["msg"]])
        raise ValueError(f"{path}: not the result of a run: {what}; move it away, and run the study again") from None
