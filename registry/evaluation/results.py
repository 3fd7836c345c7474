"""What is known of an entry's quality: results measured here, each with its protocol, and results reported elsewhere.

A measured result is a JSON file of its own, so that nothing is overwritten; a reported one is a line of
``reported.yaml`` with its source. The two are never mixed, and numbers of different protocols never share a column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builders.files import write_text

if TYPE_CHECKING:
    from registry.entry import Entry

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from specs.schemas.evaluation import split_name

__all__ = [
    "MEASURED",
    "Measurement",
    "Metric",
    "Protocol",
    "Reported",
    "best_value",
    "grid_path",
    "how_drawn",
    "is_distance",
    "measurements",
    "reported",
    "save",
]

#: Where ``zoo evaluate`` writes, and what the package brings.
MEASURED = Path("results") / "measured"
_PACKAGED = Path(__file__).parent / "measured"
_REPORTED = Path(__file__).parent / "reported.yaml"
#: What the names of distances begin with; of every other metric, such as an inception score, more is better.
_DISTANCES = ("fid", "fd_", "kid")


def is_distance(name: str) -> bool:
    """Whether a metric is a distance, of which less is better."""
    return name.startswith(_DISTANCES)


def best_value(name: str, values: Iterable[float]) -> float | None:
    """The best of a metric's values: the least distance, the greatest score; None without any."""
    return (min if is_distance(name) else max)(values, default=None)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Frozen):
    """A value, with its 95 % bootstrap interval where one was taken."""

    value: float
    low: float | None = None
    high: float | None = None


class Protocol(_Frozen):
    """All that a number depends on beside the samples themselves."""

    features: str
    features_sha256: str
    resize: str
    #: Side of the images that were compared, in pixels.
    resolution: int
    samples: int
    reference: str
    reference_split: Annotated[str, BeforeValidator(split_name)] = ""
    reference_count: int
    reference_sha256: str

    @property
    def key(self) -> str:
        """A short hash of the whole protocol."""
        facts = self.model_dump(mode="json")
        if self.reference_split == "val":
            # The name of the split before version 0.2: equal protocols have equal keys, whoever wrote them.
            facts["reference_split"] = "held_out"
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """The protocol in a line."""
        split = f" {self.reference_split}" if self.reference_split else ""
        return (
            f"{self.samples:,} samples against {self.reference}{split} ({self.reference_count:,}) at "
            f"{self.resolution} px, {self.features}, resize {self.resize}"
        )


class Measurement(_Frozen):
    """Distances of one set of samples under one protocol."""

    #: Name and hashes of the entry; empty for a folder of images.
    entry: str = ""
    hash: str = ""
    graph_hash: str = ""
    #: Content hash of the weights, or of the images.
    weights: str = ""
    #: Steps of training that led to the weights, where they say so.
    training_step: int | None = None
    sampler: dict[str, Any] = {}
    protocol: Protocol
    metrics: dict[str, Metric]
    warnings: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    data_licence: str = ""
    date: str = ""

    @property
    def key(self) -> str:
        """A hash of what was measured and how, so that measuring again replaces the file."""
        facts = [self.entry, self.hash, self.weights, self.sampler, self.protocol.key]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def conditions(self) -> str:
        """A short hash of the protocol and of how samples were drawn but for their seed.

        Numbers compare, and may share a column, where it is equal.
        """
        settings = {name: value for name, value in self.sampler.items() if name != "seed"}
        facts = [self.protocol.key, settings]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """The conditions in a line."""
        drawn = how_drawn(self.sampler)
        return f"{self.protocol.title}; {drawn}" if drawn else self.protocol.title


def how_drawn(settings: Mapping[str, Any]) -> str:
    """How samples were drawn, in words: ``ddim, 50 steps, guidance 1``."""
    known = {"sampler": "{}", "num_inference_steps": "{} steps", "guidance_scale": "guidance {:g}"}
    words = [pattern.format(settings[name]) for name, pattern in known.items() if name in settings]
    words += [_word(name, value) for name, value in settings.items() if name not in (*known, "seed")]
    return ", ".join(words)


def _word(name: str, value: Any) -> str:
    if name == "clip":
        return "clipped" if value else "not clipped"
    if isinstance(value, (list, tuple)):
        return f"{name.replace('_', ' ')} {' to '.join(f'{part:g}' for part in value)}"
    return f"{name.replace('_', ' ')} {value}"


class Reported(_Frozen):
    """A number that others published."""

    entry: str
    metric: str
    value: float
    data: str
    source: str
    note: str = ""


def save(measurement: Measurement, folder: str | Path = MEASURED) -> Path:
    """Write a measurement under a name that its entry and protocol decide; whole or not at all.

    Raises:
        ValueError: a value is not finite; such a number is never stored.
    """
    name = _not_finite(measurement)
    if name is not None:
        raise ValueError(f"{name} is not finite and is not stored")
    path = Path(folder) / f"{measurement.entry or 'images'}-{measurement.key}.json"
    write_text(path, measurement.model_dump_json(indent=1) + "\n")
    return path


def grid_path(measurement: Measurement) -> Path | None:
    """The picture of some of the samples, beside the measurement's file, where one was written."""
    name = f"{measurement.entry or 'images'}-{measurement.key}.png"
    found = (folder / name for folder in (MEASURED, _PACKAGED))
    return next((path for path in found if path.is_file()), None)


def measurements(folders: Iterable[str | Path] | None = None) -> tuple[Measurement, ...]:
    """All measurements of some folders, oldest first; by default those here and those of the package.

    Raises:
        ValueError: a file is none.
    """
    found = []
    for folder in (_PACKAGED, MEASURED) if folders is None else map(Path, folders):
        for path in sorted(Path(folder).glob("*.json")):
            try:
                found.append(_read(path))
            except ValueError as error:
                hint = "mend it, or move it away and measure again"
                raise ValueError(f"{path}: not a measurement: {error}; {hint}") from None
    return tuple(sorted({m.key: m for m in found}.values(), key=lambda m: m.date))


def _read(path: Path) -> Measurement:
    try:
        found = Measurement.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join([*(str(part) for part in first["loc"]), first["msg"]])) from None
    name = _not_finite(found)
    if name is not None:
        raise ValueError(f"{name} is not finite")
    return found


def _not_finite(measurement: Measurement) -> str | None:
    """The first metric that has a value which is not finite."""
    for name, metric in measurement.metrics.items():
        if not all(math.isfinite(x) for x in (metric.value, metric.low, metric.high) if x is not None):
            return name
    return None


class _ReportedFile(_Frozen):
    results: tuple[Reported, ...] = Field(strict=False)


@lru_cache(maxsize=1)
def reported() -> tuple[Reported, ...]:
    """Published numbers with their sources; measured by others, under protocols of theirs."""
    from specs.syntax.validation import validate
    from specs.syntax.yaml_tree import parse

    return validate(_ReportedFile, parse(_REPORTED), "reported results").results


_KEYED = re.compile(r"(?P<metric>\w+)-(?P<key>[0-9a-f]{12})(?P<label>/[^/]+?)?(?P<best>_best)?")


def keyed(metric: str, conditions: str, label: str = "") -> str:
    """The name of a metric that says its conditions: ``kid_efficientnet_lite0-KEY/r64``."""
    return f"{metric}-{conditions}" + (f"/{label}" if label else "")


def results_of(entry: Entry) -> tuple[tuple[Measurement, ...], tuple[Reported, ...]]:
    """Measured results of this very architecture and process (equal hashes), and reported ones of this name."""
    own = tuple(m for m in measurements() if m.entry == entry.name and m.hash == entry.hash)
    return own, tuple(r for r in reported() if r.entry == entry.name)
