"""CSV files of all entries: costs, costs per level, measured results and reported results."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.files import write_text
from registry.catalogue import get, list_names, readable
from registry.costs.card import STEPS, Card, LevelRow
from registry.evaluation.results import Protocol, Reported, measurements, reported
from registry.facts import conditioning_of, family_of, kind_of
from specs.graph import EntryGraph
from specs.schemas.evaluation import EvaluationSpec

__all__ = ["write_tables"]

Row = Mapping[str, Any]
#: Columns of the sampler settings.
DRAWN = (
    *("sampler", "num_inference_steps", "guidance_scale", "guidance_interval"),
    *("eta", "clip", "dynamic_threshold", "precision", "spacing", "seed", "text_encoder"),
)
MEASURED_COLUMNS = (
    *("entry", "hash", "weights", "metric", "value", "low", "high", "spread", "conditions"),
    *Protocol.model_fields,
    *DRAWN,
    "date",
)


def write_tables(folder: str | Path = "results", names: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Write ``costs.csv``, ``levels.csv``, ``measured.csv`` and ``reported.csv``, without building a network.

    Args:
        folder: Folder to write to.
        names: Names of the entries of the first two files. The default is all entries.

    Returns:
        The paths of the files.
    """
    entries = list(readable(list_names()) if names is None else map(get, names))
    cards = [(entry.architecture, entry.card()) for entry in entries]
    tables: dict[str, Sequence[Row]] = {
        "costs": [_costs(graph, card) for graph, card in cards],
        "levels": [row for _, card in cards for row in _levels(card)],
        "measured": list(_measured()),
        "reported": [item.model_dump() for item in reported()],
    }
    heads = {"measured": MEASURED_COLUMNS, "reported": tuple(Reported.model_fields)}
    return tuple(_write(Path(folder) / f"{name}.csv", rows, heads.get(name)) for name, rows in tables.items())


def _costs(graph: EntryGraph, card: Card) -> Row:
    return {
        "entry": card.name,
        "kind": kind_of(graph),
        "family": family_of(card.name),
        "resolution": card.resolution,
        "frames": card.frames,
        "levels": " ".join(graph.labels),
        "conditioning": conditioning_of(graph),
        **_work(card),
        "training_flops": card.training_flops,
        f"sampling_flops_{STEPS}": card.sampling_flops(STEPS),
        f"sampling_flops_{STEPS}_guided": card.sampling_flops(STEPS, guided=True),
        **_memory(card),
        "hash": card.hash,
        "graph_hash": card.graph_hash,
    }


def _levels(card: Card) -> Iterable[Row]:
    for level in card.levels:
        yield {
            "entry": card.name,
            "level": level.label,
            "resolution": level.resolution,
            "frames": level.frames,
            **_work(level),
            "share": f"{level.share:.6f}",
            **_memory(level),
            "graph_hash": level.graph_hash,
        }


def _work(part: Card | LevelRow) -> Row:
    return {name: getattr(part, name) for name in ("parameters", "macs", "flops", "step_flops")}


def _memory(part: Card | LevelRow) -> Row:
    kinds = ("inference", "training", "checkpointed")
    return {f"activation_bytes_{kind}": getattr(part.memory, kind) for kind in kinds}


def _measured() -> Iterable[Row]:
    """Yield one row per metric. Rows can be compared if their ``conditions``, a hash, are equal."""
    for found in measurements():
        protocol = found.protocol.model_dump()
        for name, metric in found.metrics.items():
            yield {
                "entry": found.entry,
                "hash": found.hash,
                "weights": found.weights,
                "metric": name,
                "value": repr(metric.value),
                "low": "" if metric.low is None else repr(metric.low),
                "high": "" if metric.high is None else repr(metric.high),
                "spread": "" if metric.spread is None else repr(metric.spread),
                "conditions": found.conditions,
                **protocol,
                **_drawn(found.sampler),
                "date": found.date,
            }


def _drawn(settings: Mapping[str, Any]) -> Row:
    """Return the settings of the sampler; empty for a folder of images."""
    if not settings:
        return dict.fromkeys(DRAWN, "")
    every = {name: field.default for name, field in EvaluationSpec.model_fields.items()} | dict(settings)
    low, high = every["guidance_interval"]
    every["guidance_interval"] = f"{low:g} to {high:g}"
    return {name: "" if every.get(name) is None else every[name] for name in DRAWN}


def _write(path: Path, rows: Sequence[Row], head: Sequence[str] | None = None) -> Path:
    text = io.StringIO()
    # A table without rows still has its header.
    writer = csv.DictWriter(text, fieldnames=head or list(rows[0] if rows else ()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
    return path
