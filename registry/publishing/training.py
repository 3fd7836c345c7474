"""The section of a card that tells how weights were trained: recipe, FLOPs, seconds, hardware, losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from builders.training.engine.times import TIMES, RunTimes, read_times
from registry.costs.requirements import phase_costs
from registry.costs.units import short
from registry.provenance import is_own
from registry.publishing.markdown import code, plain, shell_word, table
from registry.publishing.subject import Subject
from specs import library
from specs.errors import SpecError
from specs.recipe import list_recipes, load_recipe
from specs.schemas.recipe import PhaseSpec, Recipe

__all__ = ["training_section"]

#: What a card says of an entry of the package without weights.
NO_WEIGHTS = "The package includes no weights for this entry."
#: Keys of recipes and of phases that a card states beside the optimizer and the lengths; none of them holds a path.
SETTINGS = (
    "entry_overrides", "learning_rates", "schedule", "loss", "times", "drop", "clip", "flip", "averages", "precision",
    "seed",
)  # fmt: skip
OF_PHASES = ("learning_rate", "learning_rates", "schedule", "loss", "times", "freeze", "cut")


def training_section(subject: Subject) -> str:
    """Return the section "Training": the recipe, and what the training took, as far as it is known."""
    entry, recipe = subject.entry, subject.recipe
    names = _recipes(library.folders()).get(entry.name, ()) if subject.use == entry.name else ()
    if subject.weights is None:
        in_file = subject.use not in (None, entry.name)
        lines = ["There are no weights for this entry." if in_file else NO_WEIGHTS]
        if names:
            lines.append(f"Recipes: {', '.join(code(f'zoo train {name}') for name in names)}.")
        if subject.use is not None:
            other = " on other data" if names else ""
            command = code(f"zoo train {shell_word(subject.use)} --data DATASET")
            lines.append(f"{command} trains it level by level{other}.")
        return "## Training\n\n" + "\n".join(lines) + "\n"
    if not recipe:
        return "## Training\n\nThe weights do not say how they were trained.\n"
    found = recipe.get("optimizer")
    optimizer = found if isinstance(found, dict) else {}
    encoder = f", text encoder {code(recipe.get('text_encoder', 'embedded'))}" if entry.architecture.text else ""
    data = code(subject.data or "unknown data") + (f" and images of {code(subject.images)}" if subject.images else "")
    text = f"Recipe {code(recipe.get('name'))} on {data}{encoder}: {_phases(recipe)}; "
    text += f"{plain(optimizer.get('name'))}, learning rate {plain(optimizer.get('learning_rate'))}, "
    length = subject.metadata.get("average")
    after = f"power function average of length {plain(length)}, chosen after training."
    text += after if length else f"EMA {plain(recipe.get('ema'))}."
    if subject.packaged and recipe.get("name") in names:
        text += f" Train it again with {code('zoo train ' + str(recipe.get('name')))}."
    elif not subject.packaged:
        step, phase = subject.metadata.get("step", "unknown"), subject.metadata.get("phase", "unknown")
        text += f" The weights are those of step {plain(step)} of phase {code(phase)}."
    return "\n".join([f"## Training\n\n{text}\n", *_settings(subject), *_taken(subject), *_losses(subject)])


def _phases(recipe: Mapping[str, Any]) -> str:
    """Return the lengths of the phases of a recipe, which may be of any shape."""
    lengths = []
    phases = recipe.get("phases")
    for label, phase in phases.items() if isinstance(phases, dict) else ():
        steps, hours = (phase.get(key) if isinstance(phase, dict) else None for key in ("steps", "hours"))
        if isinstance(steps, int):
            lengths.append(f"{steps:,} step{'s' * (steps != 1)} of {plain(label)}")
        else:
            lengths.append(f"{plain(hours)} hours of {plain(label)}" if hours else plain(label))
    return ", then ".join(lengths) or "phases unknown"


@lru_cache(maxsize=4)
def _recipes(folders: tuple[Path, ...]) -> dict[str, tuple[str, ...]]:
    """Return the names of the recipes of each entry; recipes that cannot be read are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for name in list_recipes():
        try:
            entry = load_recipe(name).entry
        except (SpecError, LookupError, OSError):
            continue
        found[entry] = (*found.get(entry, ()), name)
    return found


def _settings(subject: Subject) -> list[str]:
    """Return the settings that change what is learned: those of the recipe, and those of phases that differ from it."""
    recipe = subject.recipe
    taken = {key: value for key, value in subject.metadata.items() if key == "precision"}  # in place of "auto"
    known = {**recipe, **taken}
    found = {key: known[key] for key in SETTINGS if key in known and not _is_empty(known[key])}
    lines = [f"Settings: {_listed(found)}.\n"] if found else []
    parsed = _recipe(subject)
    for name, phase in parsed.phases.items() if parsed else ():
        own = phase.model_dump(mode="json", include=set(OF_PHASES), exclude_defaults=True)
        lines += [f"Phase {plain(name)}: {_listed(own)}.\n"] if own else []
    return lines


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ({}, [], "")


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {code(json.dumps(value))}" for key, value in settings.items())


def _recipe(subject: Subject) -> Recipe | None:
    """Return the recipe of weights; None if it has keys of another version, or any other shape."""
    try:
        return Recipe.model_validate(dict(subject.recipe))
    except (ValidationError, TypeError, ValueError):
        return None


def _taken(subject: Subject) -> list[str]:
    """Return a table of the phases with steps, batch, FLOPs and seconds, and the hardware."""
    recipe = _recipe(subject)
    if recipe is None:
        return []
    times = _times(subject)
    rows = [_row(subject, recipe, times, name) for name in recipe.phases]
    shown = [
        [plain(name), plain(phase.train), _number(steps), plain(_batch(phase)), _flops(flops), _seconds(seconds)]
        for (name, phase), (steps, flops, seconds) in zip(recipe.phases.items(), rows, strict=True)
    ]
    if len(rows) > 1:
        totals = [None if None in column else sum(filter(None, column)) for column in zip(*rows, strict=True)]
        shown.append(["**whole**", "", _number(totals[0]), "", _flops(totals[1]), _seconds(totals[2])])
    head = ("phase", "level", "steps", "batch", "FLOPs", "seconds")
    about = "FLOPs of forward and backward passes; seconds of the steps alone, without validation and samples."
    if times is not None and times.hardware:
        count = f"{times.processes} processes" if times.processes > 1 else "one process"
        about += f" Hardware: {plain(', then '.join(times.hardware))}; {count}."
    return [table(head, shown, (2, 3, 4, 5)), f"{about}\n"]


def _row(
    subject: Subject, recipe: Recipe, times: RunTimes | None, name: str
) -> tuple[int | None, int | None, float | None]:
    """Return steps, FLOPs and seconds of a phase; None for what is unknown."""
    phase, graph = recipe.phases[name], subject.entry.architecture
    steps = _steps(subject, recipe, times, name)
    seconds = None if times is None else times.seconds.get(name)
    if phase.train not in graph.labels or not set(phase.freeze) < set(graph.labels) or steps is None:
        return steps, None, seconds
    each = phase_costs(recipe, graph, phase).flops(phase.rows(graph.inner(phase.train).labels), again=False)
    return steps, steps * each, seconds


def _steps(subject: Subject, recipe: Recipe, times: RunTimes | None, name: str) -> int | None:
    """Return the steps of a phase that these weights have seen; None if they are unknown."""
    names, last = list(recipe.phases), subject.metadata.get("phase")
    here, step = names.index(name), subject.metadata.get("step", "")
    if last in names and here > names.index(last):
        return 0
    if last == name and step.isdecimal() and len(step) < 19:
        return int(step)
    steps = recipe.phases[name].steps
    return steps if steps is not None or times is None else times.steps.get(name)


def _times(subject: Subject) -> RunTimes | None:
    """Return the times of the run of weights: beside those of the package, or in the folder of the run."""
    if subject.weights is None or not is_own(subject.weights):
        return None
    folder = subject.weights.absolute().parent
    places = [subject.weights.with_suffix(f".{TIMES}"), folder / TIMES, folder.parent / TIMES]
    return next((found for place in places if (found := read_times(place)) is not None), None)


def _batch(phase: PhaseSpec) -> str:
    if isinstance(phase.batch, int):
        return str(phase.batch)
    return ", ".join(f"{label} {rows}" for label, rows in phase.batch.items())


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _flops(value: float | None) -> str:
    return "unknown" if value is None else short(int(value)).strip()


def _seconds(value: float | None) -> str:
    return "not recorded" if value is None else f"{value:,.0f}"


def _losses(subject: Subject) -> Sequence[str]:
    """Return the validation losses that the metadata of weights states."""
    for key in ("val_v_loss", "held_out_v_loss"):
        try:
            found = json.loads(subject.metadata.get(key, ""))
        except (ValueError, RecursionError):
            continue
        numbers = found if isinstance(found, dict) else {"": found}
        shown = [f"{plain(label)} {x:.4f}".strip() for label, x in numbers.items() if isinstance(x, int | float)]
        if shown:
            return [f"Validation v loss: {', '.join(shown)}{_overshoot(subject)}.\n"]
    return []


def _overshoot(subject: Subject) -> str:
    """Return what the validation losses count although the training, up to the phase of the weights, ignored it."""
    recipe, last = _recipe(subject), subject.metadata.get("phase")
    names = list(recipe.phases) if recipe is not None else []
    done = names[: names.index(last) + 1] if last in names else names
    clipped = recipe is not None and any(recipe.loss_of(recipe.phases[name]).clip_x0 for name in done)
    return ", with the predictions beyond [-1, 1] that `clip_x0` ignores" if clipped else ""
