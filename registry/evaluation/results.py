"""Results of evaluations: measured here, each with its protocol, or reported by others.

A measured result is a JSON file of its own, so that none is overwritten; a reported one is an item of
``reported.yaml`` with its source. The two are never mixed, and numbers of different protocols never share a column.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from builders.file_names import file_name
from builders.files import read_regular, write_text
from registry.evaluation.features import metric_features
from registry.evaluation.reported import Reported, reported
from specs.blocks.size import Size
from specs.html_table import html_table
from specs.printable import printable
from specs.schemas.evaluation import EvaluationSpec, split_name

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = [
    "MEASURED",
    "MOTION_SHARE",
    "Measurement",
    "Metric",
    "MotionCount",
    "Protocol",
    "Reported",
    "best_value",
    "find",
    "grid_path",
    "how_drawn",
    "is_distance",
    "measurements",
    "reported",
    "save",
]

#: Folder that ``zoo evaluate`` writes to, and the results that the package includes.
MEASURED = Path("results") / "measured"
_PACKAGED = Path(__file__).parent / "measured"
#: Share of samples that move as their class says; the same of the reference is ``motion_share_reference``.
MOTION_SHARE = "motion_share"
#: Prefixes of the names of distances; of every other metric, such as an inception score, higher is better.
_DISTANCES = ("fid", "fd_", "kid")


def is_distance(name: str) -> bool:
    """Return whether a metric is a distance, of which lower is better."""
    return name.startswith(_DISTANCES)


def best_value(name: str, values: Iterable[float]) -> float | None:
    """Return the lowest value of a distance or the highest value of a score; None if there are no values."""
    return (min if is_distance(name) else max)(values, default=None)


def _key(facts: Any) -> str:
    """Return a short hash of plain data."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Frozen):
    """A value, with its 95 % bootstrap interval if one was computed.

    Attributes:
        value: The value.
        low: Lower end of the interval.
        high: Upper end of the interval.
        spread: Standard deviation over splits of the samples, of an inception score, which has no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None

    def uncertainty(self, shown: Callable[[float], str] = "{:.5g}".format) -> str:
        """Return the interval, or the spread of splits, in words; empty if there is neither.

        Args:
            shown: Function from a number to text.
        """
        if self.spread is not None:
            return f"spread of splits {shown(self.spread)}"
        return "" if self.low is None or self.high is None else f"{shown(self.low)} to {shown(self.high)}"


def _spreads(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Return metrics with the spread of inception scores, which versions before 0.2 wrote as an interval."""
    result = dict(metrics)
    for name, each in metrics.items():
        if name.startswith("inception_score") and each.low is not None and each.high is not None:
            result[name] = Metric(value=each.value, spread=(each.high - each.low) / (2 * 1.96))
    return result


class Protocol(_Frozen):
    """All that a number depends on besides the samples.

    Attributes:
        features: Name of the feature network.
        features_sha256: Hash of its weights.
        resize: Resize mode to the network's resolution.
        resolution: Side of the compared images in pixels.
        samples: Number of samples.
        reference: Name of the reference set.
        reference_split: Split of the reference set.
        reference_count: Number of reference images.
        reference_sha256: Hash of the reference images.
        resizing: How images were made smaller by factors that are no whole numbers: "area" for the exact average. Empty
            if none was, or before version 0.2, which left out rows and columns then.
        frames: Frames of the compared clips; 1 for images. Samples and reference are counted in clips.
        rate: Frames a second of the reference, if known.
        projection_seed: Seed of the projection of features of clips; None for images.
    """

    features: str
    features_sha256: str
    resize: str
    resolution: int
    samples: int
    reference: str
    reference_split: Annotated[str, BeforeValidator(split_name)] = ""
    reference_count: int
    reference_sha256: str
    resizing: str = ""
    frames: int = 1
    rate: float | None = None
    projection_seed: int | None = None

    @property
    def size(self) -> Size:
        """Size of the compared images or clips."""
        return Size(self.resolution, self.frames)

    @property
    def label(self) -> str:
        """Label of a level of this size, such as ``r64`` or ``r64f16``."""
        return self.size.label

    @property
    def key(self) -> str:
        """A short hash of the whole protocol."""
        facts = self.model_dump(mode="json")
        if self.reference_split == "val":
            # The name of the split before version 0.2: equal protocols have equal keys in all versions.
            facts["reference_split"] = "held_out"
        for name in ("resizing", "frames", "rate", "projection_seed"):
            # Left out where it has its default: a protocol of images has the key it had before there were clips.
            if facts[name] == type(self).model_fields[name].default:
                del facts[name]
        return _key(facts)

    @property
    def title(self) -> str:
        """The protocol in one line."""
        split = f" {self.reference_split}" if self.reference_split else ""
        resizing = f", images resized by {self.resizing}" if self.resizing else ""
        rate = f", {self.rate:g} a second" if self.rate is not None else ""
        projection = f", projection seed {self.projection_seed}" if self.projection_seed is not None else ""
        return (
            f"{self.samples:,} {'samples' if self.frames == 1 else 'clips'} against {self.reference}{split} "
            f"({self.reference_count:,}) at {self.size.short}{rate}, {self.features}, resize {self.resize}{resizing}"
            f"{projection}"
        )


class MotionCount(_Frozen):
    """Clips of one class whose motion is that of their class.

    Attributes:
        samples: Number of samples of the class.
        right: Number of those that move so.
        reference: Number of clips of the reference of the class.
        reference_right: Number of those that move so.
    """

    samples: int
    right: int
    reference: int
    reference_right: int


class Measurement(_Frozen):
    """Distances of one set of samples under one protocol.

    Attributes:
        entry: Name of the entry; empty for a folder of images.
        hash: Hash of the entry.
        graph_hash: Graph hash of the entry.
        weights: Content hash of the weights, or of the images.
        training_step: Training steps of the weights over all phases, if their file records them.
        sampler: Sampler settings.
        protocol: Features and reference set.
        metrics: Values by name of the metric.
        motions: Clips that move as their class says, by class; empty if the classes are no motions.
        warnings: Notes on how to read the values.
        environment: Versions and hardware.
        data_licence: Licence of the reference set.
        date: Time of the measurement, ISO 8601.
    """

    entry: str = ""
    hash: str = ""
    graph_hash: str = ""
    weights: str = ""
    training_step: int | None = None
    sampler: dict[str, Any] = {}
    protocol: Protocol
    metrics: Annotated[dict[str, Metric], AfterValidator(_spreads)]
    motions: dict[str, MotionCount] = {}
    warnings: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    data_licence: str = ""
    date: str = ""

    @property
    def key(self) -> str:
        """A short hash of what was measured and how: measuring again replaces the file."""
        return _key([self.entry, self.hash, self.weights, self.sampler, self.protocol.key])

    @property
    def conditions(self) -> str:
        """A short hash of the protocol and of the sampler settings without the seed.

        Numbers are comparable, and may share a column, only if their conditions are equal.
        """
        return _key([self.protocol.key, {name: value for name, value in self.sampler.items() if name != "seed"}])

    @property
    def title(self) -> str:
        """The conditions in one line."""
        return "; ".join(filter(None, (self.protocol.title, how_drawn(self.sampler))))

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {metric.value:.5g}" for name, metric in self.metrics.items())
        return printable(f"<Measurement {self.entry or 'of images'}: {values}, {self.protocol.samples} samples>")

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [(name, f"{metric.value:.5g}", metric.uncertainty()) for name, metric in self.metrics.items()]
        note = " ".join((f"{self.title}.", *self.warnings))
        return html_table(self.entry or "images", ("metric", "value", "95 % interval"), rows, note)


def how_drawn(settings: Mapping[str, Any]) -> str:
    """Return sampler settings in words: ``ddim, 50 steps, guidance 1``."""
    known = {"sampler": "{}", "num_inference_steps": "{} steps", "guidance_scale": "guidance {:g}"}
    words = [pattern.format(settings[name]) for name, pattern in known.items() if name in settings]
    words += [_word(name, value) for name, value in settings.items() if name not in (*known, "seed")]
    return ", ".join(words)


def _word(name: str, value: Any) -> str:
    if name == "clip":
        return "clipped" if value else "not clipped"
    if isinstance(value, (list, tuple)):
        value = " to ".join(f"{part:g}" for part in value)
    return f"{name.replace('_', ' ')} {value}"


def save(measurement: Measurement, folder: str | Path = MEASURED) -> Path:
    """Write a measurement to a file named after its entry and key, atomically; return the file.

    Raises:
        ValueError: A value is not finite; such values are never stored.
    """
    name = _not_finite(measurement)
    if name is not None:
        raise ValueError(f"{name} is not finite and is not stored")
    path = Path(folder) / f"{file_name(measurement.entry or 'images')}-{measurement.key}.json"
    write_text(path, measurement.model_dump_json(indent=1) + "\n")
    return path


def grid_path(measurement: Measurement) -> Path | None:
    """Return the picture of samples beside the file of a measurement, if there is one."""
    name = f"{file_name(measurement.entry or 'images')}-{measurement.key}.png"
    found = (folder / name for folder in (MEASURED, _PACKAGED))
    return next((path for path in found if path.is_file()), None)


def measurements(folders: Iterable[str | Path] | None = None) -> tuple[Measurement, ...]:
    """Return all measurements in some folders, oldest first.

    Args:
        folders: Folders of JSON files. Default: :data:`MEASURED` and the results that the package includes.

    Raises:
        ValueError: A file is not a measurement.
    """
    found = []
    for folder in (_PACKAGED, MEASURED) if folders is None else map(Path, folders):
        for path in sorted(Path(folder).glob("*.json")):
            try:
                found.append(_read(path))
            except ValueError as error:
                hint = "correct it, or move it away and measure again"
                raise ValueError(f"{path}: not a measurement: {error}; {hint}") from None
    return tuple(sorted({m.key: m for m in found}.values(), key=lambda m: (m.date, m.training_step or 0)))


def find(
    entry: str, weights: str, spec: EvaluationSpec, folder: str | Path = MEASURED, *, label: str = ""
) -> Measurement | None:
    """Return the measurement of some weights under a protocol, or None if it has not been made.

    Args:
        entry: Name of the entry.
        weights: Content hash of the weights, 16 hex digits.
        spec: Samples, sampler settings, features and split.
        folder: Folder of results.
        label: Label of the measured level, such as ``r64f16``. Default: any.

    Raises:
        ValueError: A file of the folder is not a measurement.
    """
    wanted = (entry, weights, spec.samples, spec.split, metric_features(spec.features), spec.drawn)
    for found in measurements([folder]):
        protocol = found.protocol
        # The weights determine the text encoder, and Inception resizes internally whatever the mode.
        drawn = {name: value for name, value in found.sampler.items() if name != "text_encoder"}
        facts = (found.entry, found.weights, protocol.samples, protocol.reference_split, protocol.features, drawn)
        same = label in ("", protocol.label) and protocol.resize in (spec.resize, "internal")
        if facts == wanted and same:
            return found
    return None


#: Largest size of a measurement in bytes.
MAX_BYTES = 10_000_000


def _read(path: Path) -> Measurement:
    try:
        found = Measurement.model_validate_json(read_regular(path, MAX_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(": ".join([*(str(part) for part in first["loc"]), first["msg"]])) from None
    name = _not_finite(found)
    if name is not None:
        raise ValueError(f"{name} is not finite")
    return found


def _not_finite(measurement: Measurement) -> str | None:
    """Return the name of the first metric with a value that is not finite."""
    values = {name: (each.value, each.low, each.high, each.spread) for name, each in measurement.metrics.items()}
    return next((name for name, each in values.items() if not all(math.isfinite(x or 0) for x in each)), None)


KEYED = re.compile(r"(?P<metric>\w+)-(?P<key>[0-9a-f]{12})(?P<label>/[^/]+?)?(?P<best>_best)?")


def keyed(metric: str, conditions: str, label: str = "") -> str:
    """Return the name of a metric with its conditions: ``kid_efficientnet_lite0-KEY/r64``."""
    return f"{metric}-{conditions}" + (f"/{label}" if label else "")


def results_of(entry: Entry) -> tuple[tuple[Measurement, ...], tuple[Reported, ...]]:
    """Return the results measured for an entry's exact hash, and those reported under its name."""
    own = tuple(m for m in measurements() if m.entry == entry.name and m.hash == entry.hash)
    return own, tuple(r for r in reported() if r.entry == entry.name)
