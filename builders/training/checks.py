"""Checks before the first step: that entry, data, weights and processes fit, and that resumed data is unchanged."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.checkpoints.shipped import file_facts
from builders.checkpoints.tensor_file import CheckpointError
from builders.data.classes import ClassNames, sorted_as_text
from builders.data.images import Images
from builders.data.mixture import MixtureImages
from builders.text.encoder import is_empty
from builders.training.errors import OldStateWarning, OtherClassesWarning, OtherProcessWarning, TrainingError
from builders.training.initialize import process_difference, weights_file
from builders.training.reading.sources import Needs, Streams
from builders.training.settings import PhaseSettings
from builders.training.starting.entry import check_entry as check_entry
from builders.training.state import TrainingState
from specs.graph import EntryGraph
from specs.printable import printable


def check_rows(phases: Sequence[PhaseSettings], processes: int) -> None:
    """Check that every level of every phase has at least one row per process.

    Raises:
        TrainingError: A level has fewer.
    """
    for phase in phases:
        if min(phase.rows) < processes:
            raise TrainingError(
                f"phase {printable(phase.name)} has a level with {min(phase.rows)} rows, fewer than {processes} "
                "processes; raise its batch or start fewer processes"
            )


def check_sources(phases: Sequence[PhaseSettings], classes: Sequence[str] = ()) -> None:
    """Check that the weights files from which phases start exist and fit; warn if they know other classes or
    were trained with another diffusion process.

    Args:
        phases: Settings of the phases.
        classes: Names of the classes of the data, by index; empty for an entry without classes.

    Raises:
        TrainingError: There is no such file, or it shares no level with the phase.
        CheckpointError: A file is damaged.
    """
    for phase in phases:
        if phase.source not in ("before", "fresh"):
            path = weights_file(phase.source)
            difference = process_difference(phase.graph, path)
            if difference:
                warnings.warn(difference, OtherProcessWarning, stacklevel=2)
            known = ClassNames.parse(file_facts(path).get("classes", ""), "")
            if classes and known is not None and known.classes != tuple(classes):
                text = f"{path}: its classes are {', '.join(known.classes)}, not {', '.join(classes)}"
                warnings.warn(f"{text[:400]}: each class starts from another one", OtherClassesWarning, stacklevel=2)


def check_conditions(entry: EntryGraph, data: Images, name: str, *, classes: bool = True) -> None:
    """Check that at least one image or clip of a split has the caption or the class that the entry reads.

    Those without one are trained as unconditional.

    Args:
        entry: Graph of the entry.
        data: Training split.
        name: Name of the data.
        classes: Whether at least one must have a class.

    Raises:
        TrainingError: None has one.
    """
    what = f"none of the {len(data)} training {'clips' if getattr(data, 'frames', 1) > 1 else 'images'} of {name}"
    if entry.text is not None and all(is_empty(caption) for caption in captions(data)):
        raise TrainingError(
            f"{entry.name} reads text, but {what} has a caption: add "
            "captions (zoo data pack reads NAME.txt beside an image, or a column), or train an entry without text"
        )
    if classes and entry.classes is not None and not bool((data.classes < entry.classes).any()):
        raise TrainingError(
            f"{entry.name} reads classes, but {what} has one of its "
            f"{entry.classes} classes: the labels of the samples must be names of classes in dataset.yaml"
        )


def check_states(encoder: object, splits: Sequence[Images]) -> None:
    """Check that cached text states, if the encoder reads them, cover all captions.

    Raises:
        TrainingError: A caption has no cached states.
    """
    from builders.text.cached import EncodedText

    if not isinstance(encoder, EncodedText):
        return
    for split in splits:
        missing = encoder.missing(captions(split))
        if missing is not None:
            raise TrainingError(
                f"{encoder.folder} has no states for the caption {missing[:80]!r} of {split.card.name}: "
                f"it was encoded from {encoder.facts.data}; encode this data (zoo data encode), or use the encoder "
                f"itself ({encoder.facts.encoder})"
            )


def check_same_data(
    state: TrainingState, facts: Mapping[str, Any], folder: Path, name: str, *, warn: bool = True
) -> None:
    """Check that the data and the text encoder of a resumed run have not changed.

    Args:
        state: Saved state of the run.
        facts: Facts of the data now, see :func:`stream_facts`.
        folder: Folder of the run.
        name: Name of the data.
        warn: Whether to warn if the state does not tell.

    Raises:
        CheckpointError: They have changed.
    """
    before = json.loads(state.facts.get("data", "{}"))
    if "data" not in state.facts and warn:
        text = "the state was written by an earlier version; whether the data has changed since is unknown"
        warnings.warn(f"{folder}: {text}", OldStateWarning, stacklevel=2)
    elif warn and "resizing" in facts and "samples" in before and "resizing" not in before:
        text = "images are now resized by their exact area average; before version 0.2, rows and columns were left out"
        warnings.warn(f"{folder}: {text}", OldStateWarning, stacklevel=2)
    samples = not state.progress.finished
    changes = data_changes(before, facts, samples=samples)
    changes += [
        f"images: {each}" for each in data_changes(before.get("images", {}), facts.get("images", {}), samples=samples)
    ]
    if changes:
        raise CheckpointError(
            f"{folder}: the data of this run, {name}, changed since it was stopped: {'; '.join(changes)}. Restore the "
            "data to resume, or choose another --output to start from scratch"
        )


def classes_as_trained(dataset: Any, state: TrainingState | None) -> Any:
    """Return a dataset with its classes in the order of a saved run.

    Before version 0.2, labels that are numbers were sorted as text.

    Args:
        dataset: Dataset or mixture.
        state: State to resume from, if there is one.
    """
    saved = {} if state is None else json.loads(state.facts.get("data", "{}"))
    earlier = sorted_as_text(dataset)
    return earlier if saved.get("classes") == _hash(earlier.classes) else dataset


def captions(data: Images) -> Iterator[str]:
    """Yield the captions of a split in the order stored, without decoding images where the split has its captions."""
    if isinstance(data, MixtureImages):
        for part in data.parts:
            yield from captions(part)
    elif hasattr(data, "captions"):
        yield from data.captions
    else:
        for batch in data.in_order(64):
            yield from batch["caption"]


def data_facts(data: Images, encoder: Any = None) -> dict[str, str | int]:
    """Return facts that identify a split, and the text encoder that reads its captions.

    Args:
        data: Training split.
        encoder: Text encoder, if there is one.

    Returns:
        Number of samples; hashes of their labels, of the class names, and of the names and sizes of the shards; how
        images are resized, if that differs from earlier versions; and the encoder's fingerprint.
    """
    facts: dict[str, str | int] = {
        "samples": len(data),
        "labels": hashlib.sha256(data.classes.cpu().numpy().tobytes()).hexdigest()[:16],
        "classes": _hash(data.card.classes),
        "shards": _hash([f"{path.name}:{path.stat().st_size if path.is_file() else 0}" for path in data.shards]),
    }
    if data.fractional:
        facts["resizing"] = "area"
    if encoder is not None:
        facts["text encoder"] = getattr(encoder, "fingerprint", "")
    return facts


def stream_facts(data: Streams, needs: Needs, encoder: Any = None) -> dict[str, Any]:
    """Return the facts of the data of a phase: those of ``data``, and under "images" those of ``images``.

    Args:
        data: Training data.
        needs: What of it was read.
        encoder: Text encoder, if there is one.
    """
    found = {key: data_facts(images, encoder) for key, images in data.by_key(needs).items()}
    return {**found.pop("data", {}), **found}


def data_changes(before: Mapping[str, str | int], now: Mapping[str, str | int], *, samples: bool = True) -> list[str]:
    """Describe the differences between two results of :func:`data_facts`. Facts missing in one are not compared.

    Args:
        before: Earlier facts.
        now: Present facts.
        samples: Whether to compare number and labels of the samples. They may differ between resolutions, because
            images that cannot be decoded are left out when all images are held in memory.
    """
    words = {
        "classes": "its class names changed",
        "shards": "its shards have other names or sizes",
        "text encoder": "the text encoder has other weights, another tokenizer or another precision",
    }
    if samples:
        words["samples"] = f"it has {now.get('samples')} training images, not {before.get('samples')}"
        words["labels"] = "the labels of its samples, or their order, changed"
    return [text for key, text in words.items() if key in before and key in now and before[key] != now[key]]


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]
