"""What a training draws from: whether it has what the entry reads, and whether it is still what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builders.data.images import Images
from builders.data.lazy import LazyImages
from builders.data.mixture import MixtureImages
from builders.text.encoder import is_empty
from builders.training.errors import TrainingError
from specs.graph import EntryGraph

__all__ = ["captions", "check_classes", "check_conditions", "check_states", "data_changes", "data_facts"]


def check_classes(entry: EntryGraph, classes: int, name: str) -> None:
    """Raise unless a data set has as many classes as the entry.

    Raises:
        TrainingError: with both numbers, and what to train instead.
    """
    if entry.classes is None or entry.classes == classes:
        return
    if not classes:
        raise TrainingError(
            f"{entry.name} has {entry.classes} classes, but the data {name} names none: give its samples labels (zoo "
            "data pack takes folders for labels), or train an entry that reads text or none of both"
        )
    raise TrainingError(
        f"{entry.name} has {entry.classes} classes, the data {name} has {classes}; train an entry that "
        f"extends it with 'inputs: {{classes: {classes}}}' in its innermost level, or one that reads text"
    )


def check_conditions(entry: EntryGraph, data: Images, name: str) -> None:
    """Raise if no image of a split has the caption or the class that the entry reads.

    Some may be without: these train the model to do without.

    Raises:
        TrainingError: with what is missing.
    """
    if entry.text is not None and all(is_empty(caption) for caption in captions(data)):
        raise TrainingError(
            f"{entry.name} reads text, but none of the {len(data)} training images of {name} has a caption: give them "
            "captions (zoo data pack takes NAME.txt beside an image, or a column), or train an entry without text"
        )
    if entry.classes is not None and not bool((data.classes < entry.classes).any()):
        raise TrainingError(
            f"{entry.name} reads classes, but none of the {len(data)} training images of {name} has one of its "
            f"{entry.classes} classes: the labels of the samples must be names of classes in dataset.yaml"
        )


def check_states(encoder: object, splits: Sequence[Images]) -> None:
    """Raise if captions are read from kept states, and those of one are not among them.

    Raises:
        TrainingError: with the caption.
    """
    from builders.text.cached import EncodedText

    if not isinstance(encoder, EncodedText):
        return
    for split in splits:
        missing = encoder.missing(captions(split))
        if missing is not None:
            raise TrainingError(
                f"{encoder.folder} has no states for the caption {missing[:80]!r} of {split.card.name}: "
                f"they are of {encoder.facts.data}; encode this data (zoo data encode), or give the encoder itself "
                f"({encoder.facts.encoder})"
            )


def captions(data: Images) -> Iterator[str]:
    """The captions of a split in the order stored; no image is decoded where the split knows them."""
    if isinstance(data, MixtureImages):
        for part in data.parts:
            yield from captions(part)
    elif isinstance(data, LazyImages):
        yield from (member.caption for member in data.members)
    elif hasattr(data, "captions"):
        yield from data.captions
    else:
        for batch in data.in_order(64):
            yield from batch["caption"]


def data_facts(data: Images, encoder: Any = None) -> dict[str, str | int]:
    """What tells a split, and the text encoder that reads its captions, from another.

    Args:
        data: the training split.
        encoder: of captions, if there is one.

    Returns:
        The number of samples, hashes of their labels, of the names of the classes and of the shards' names and sizes,
        and the encoder's fingerprint.
    """
    facts: dict[str, str | int] = {
        "samples": len(data),
        "labels": hashlib.sha256(data.classes.cpu().numpy().tobytes()).hexdigest()[:16],
        "classes": _hash(data.card.classes),
        "shards": _hash([f"{path.name}:{path.stat().st_size if path.is_file() else 0}" for path in data.shards]),
    }
    if encoder is not None:
        facts["text encoder"] = getattr(encoder, "fingerprint", "")
    return facts


def data_changes(before: Mapping[str, str | int], now: Mapping[str, str | int], *, samples: bool = True) -> list[str]:
    """What differs between two of :func:`data_facts`, in words; a fact that one of them lacks is not compared.

    Args:
        before: what was.
        now: what is.
        samples: compare what was read of the samples too, which may differ with the resolution: images that cannot be
            decoded are left out where all are held in memory.
    """
    told = {
        "classes": "its classes are others",
        "shards": "its shards have other names or sizes",
        "text encoder": "the text encoder has other weights, another tokenizer or another precision",
    }
    if samples:
        told["samples"] = f"it has {now.get('samples')} training images, not {before.get('samples')}"
        told["labels"] = "the labels of its samples, or their order, are others"
    return [words for key, words in told.items() if key in before and key in now and before[key] != now[key]]


def _hash(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]
