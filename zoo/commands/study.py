"""``zoo study``: train, measure and track several entries at one budget; the same command goes on where it stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from registry.catalogue import get
from registry.evaluation.results import MEASURED, measurements
from registry.studies import study_recipe
from specs.schemas.study import Study
from specs.study import load_study

__all__ = ["study_command"]


def study_command(
    name: str,
    *,
    overrides: Sequence[str] = (),
    out: Path | None = None,
    device: str | None = None,
    quiet: bool = False,
    track: bool = True,
) -> int:
    """Carry a study out; return the exit code.

    Entries that are trained and measured already are left as they are.

    Raises:
        LookupError, ValueError: one clear message each.
    """
    study = load_study(name, overrides)
    entries = [get(entry) for entry in study.entries]
    folder = out or Path("runs") / study.name
    again = shlex.join(["zoo", "study", name, *(word for change in overrides for word in ("--set", change))])
    for number, entry in enumerate(entries, 1):
        if not quiet:
            print(f"{entry.name} ({number} of {len(entries)})", file=sys.stderr)
        if not _train(study, entry.name, folder / entry.name, again, device, quiet, track):
            return 130
        _measure(study, entry.name, folder / entry.name, device, quiet)
    names = [entry.name for entry in entries]
    if track:
        from zoo.commands.track import track_command

        track_command(names, quiet=quiet)
    if not quiet:
        _tell(names, folder)
    return 0


def _train(study: Study, name: str, folder: Path, again: str, device: str | None, quiet: bool, track: bool) -> bool:
    from zoo.commands.train import run_recipe

    recipe = study_recipe(study, get(name).architecture)
    return run_recipe(recipe, folder, command=again, device=device, quiet=quiet, track=track) is not None


def _measure(study: Study, name: str, folder: Path, device: str | None, quiet: bool) -> None:
    from builders.checkpoints.shipped import file_facts
    from registry.evaluation.features import metric_features
    from registry.weights import find_weights
    from zoo.commands.evaluate import evaluate_command

    weights = file_facts(find_weights(str(folder))).get("content", "")[:16]
    spec = study.evaluation
    for found in measurements([MEASURED]):
        protocol = found.protocol
        same = (protocol.samples, protocol.reference_split) == (spec.samples, spec.split) and (
            protocol.features == metric_features(spec.features) and protocol.resize in (spec.resize, "internal")
        )
        drawn = {name: value for name, value in found.sampler.items() if name != "text_encoder"} == spec.drawn
        if (found.entry, found.weights) == (name, weights) and same and drawn:
            return
    evaluate_command(str(folder), spec, reference=study.data, device=device, quiet=quiet)


def _tell(names: Sequence[str], folder: Path) -> None:
    from zoo.commands.compare import compare_command, comparison_table
    from zoo.terminal.console import console

    comparison = compare_command(names, runs=folder.parent)
    console().print(comparison_table(comparison))
    if comparison.title is not None:
        print(comparison.title)
    words = " ".join(names)
    print(f"to see them side by side: zoo dashboard {words}\nas a page: zoo compare {words} -o report.html")
