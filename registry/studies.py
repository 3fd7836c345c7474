"""Studies: whether their entries fit their data, and the training recipe of each entry at the study's budget."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.costs.card import make_card
from specs.graph import EntryGraph
from specs.recipe import Recipe
from specs.schemas.evaluation import EvaluationSpec
from specs.schemas.study import Study

if TYPE_CHECKING:
    from builders.data.dataset_card import DatasetCard
    from specs.arms import LoadedArmStudy

__all__ = ["StudyError", "check_arms", "check_study", "study_recipe"]


class StudyError(ValueError):
    """The entries of a study do not fit its data; the message lists all that do not."""


def check_study(study: Study, graphs: Sequence[EntryGraph]) -> None:
    """Check before any training that the data of a study exists, and that every entry fits it.

    Args:
        study: The study.
        graphs: Graphs of its entries.

    Raises:
        DataError: There is no such data, or it cannot be read.
        StudyError: It has no such split, or entries have other channels or classes, read captions that it does not
            have, text of another width than the text encoder's, or clips of other frames.
    """
    _check(study.name, study.data, study.evaluation, [(graph.name, graph) for graph in graphs])


def check_arms(loaded: LoadedArmStudy) -> None:
    """Check before any training that the data of a study of arms exists, and that the entry of every arm fits it.

    Args:
        loaded: The study.

    Raises:
        DataError, StudyError: As for :func:`check_study`.
    """
    arms = [(f"arm {arm.name}: {arm.graph.name}", arm.graph) for arm in loaded.arms]
    _check(loaded.study.name, loaded.study.data, loaded.study.evaluation, arms)


def _check(study: str, data: str, evaluation: EvaluationSpec, entries: Sequence[tuple[str, EntryGraph]]) -> None:
    """Check entries, each with its name in messages."""
    from builders.data.dataset_card import find_dataset

    card, shards = find_dataset(data)
    wrong = []
    split = evaluation.split
    if split not in (*shards, "all") and "all" not in shards:
        wrong.append(f"its data {card.name} has no split {split!r} to measure with; it has {', '.join(shards)}")
    for name, graph in entries:
        wrong += [f"{name}: {reason}" for reason in _misfits(graph, card)]
    wrong += [f"{name}: evaluation: {reason}" for name, graph in entries for reason in _step_misfits(evaluation, graph)]
    readers = [(name, graph) for name, graph in entries if graph.text is not None]
    if readers and not _has_captions([path for paths in shards.values() for path in paths]):
        names = ", ".join(name for name, _ in readers)
        wrong.append(f"{names}: reads text, but no image of {card.name} has a caption")
    wrong += [f"{name}: {reason}" for name, graph in readers for reason in _text_misfits(graph)]
    if wrong:
        raise StudyError("\n  ".join([f"the study {study} cannot be trained:", *wrong]))


def _misfits(graph: EntryGraph, card: DatasetCard) -> Iterator[str]:
    channels, data, classes = graph.levels[0].channels, card.name, len(card.classes)
    if channels != 3:
        yield f"is for images of {channels} channels; data has 3, RGB"
    for level in graph.levels:
        if level.frames > 1 and (card.frames == 1 or card.frames % level.frames):
            has = "images, not clips" if card.frames == 1 else f"clips of {card.frames} frames"
            yield f"its level {level.label} reads clips of {level.frames} frames, but the data {data} has {has}"
            break
    if graph.classes not in (None, classes):
        yield f"has {graph.classes} classes, but the data {data} has {classes or 'none'}{_class_advice(classes)}"


def _class_advice(classes: int) -> str:
    return f"; use an entry that extends it, with 'inputs: {{classes: {classes}}}' in its innermost level" * bool(
        classes
    )


def _step_misfits(evaluation: EvaluationSpec, graph: EntryGraph) -> Iterator[str]:
    try:
        evaluation.fitted(graph.process.steps)
    except ValueError as error:
        yield str(error)


def _has_captions(shards: Sequence[Path]) -> bool:
    """Return whether any sample has a caption; unreadable shards are reported when images are read."""
    from builders.data.errors import DataError
    from builders.data.shard_index import index_shard

    for shard in shards:
        with contextlib.suppress(DataError):
            if any(member.caption.strip() for member in index_shard(shard, lambda error: None)):
                return True
    return False


def _text_misfits(graph: EntryGraph) -> Iterator[str]:
    from builders.text.encoder import EMBEDDED, TextEncoderError
    from builders.text.open import open_text_encoder

    assert graph.text is not None
    try:
        open_text_encoder(EMBEDDED, graph.text)
    except TextEncoderError as error:
        yield str(error)


def study_recipe(study: Study, graph: EntryGraph, entry: str | None = None) -> Recipe:
    """Return the recipe of one entry: one phase per level, innermost first, each with the same share of the budget.

    Args:
        study: Study with its budget of training FLOPs per entry.
        graph: Graph of the entry.
        entry: Name or path of the entry. Default: its name.
    """
    labels = list(reversed(graph.labels))
    phases = {}
    for label in labels:
        cost = make_card(graph.inner(label)).training_flops * study.recipe.batch
        steps = max(1, round(study.budget.training_flops / len(labels) / cost))
        phases[f"p{label.removeprefix('r')}"] = {"train": label, "steps": steps, "batch": study.recipe.batch}
    common = study.recipe.model_dump(mode="python", exclude={"batch"}, exclude_unset=True)
    if graph.classes is None:
        common.pop("drop", None)
    facts = {
        "name": f"{study.name}-{graph.name}",
        "summary": f"{graph.name} in the study {study.name}",
        "entry": entry or graph.name,
        "data": study.data,
        "phases": phases,
    }
    return Recipe.model_validate(common | facts)
