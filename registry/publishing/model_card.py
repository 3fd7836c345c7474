"""The model card of an entry: Markdown with the YAML front matter of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from builders.files import write_text
from registry.costs.card import STEPS, Card, LevelRow
from registry.costs.units import short, short_bytes
from registry.evaluation.results import Measurement, Reported, results_of
from registry.facts import conditioning_of, kind_of
from registry.publishing.how_to_use import how_to_use
from registry.publishing.markdown import code, plain, table
from registry.publishing.subject import Subject, entry_subject
from registry.publishing.training import training_section
from registry.weights import data_of
from specs.errors import SpecError

if TYPE_CHECKING:
    from builders.data.dataset_card import DatasetCard
    from registry.entry import Entry

__all__ = ["check_card", "model_card", "weights_facts", "write_card"]

LIBRARY = "matryoshka-zoo"
#: Tasks of the Hub for models with and without text; it has no task for class-conditional images.
TASKS = {"image": ("text-to-image", "unconditional-image-generation"), "video": ("text-to-video", "other")}
CONDITIONED = {"text": "text-conditional", "classes": "class-conditional", "none": "unconditional"}
#: Names of datasets that the Hub accepts.
DATASET = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def model_card(what: Entry | Subject, picture: str | None = None, samples: str | None = None) -> str:
    """Return the card as Markdown, without loading weights.

    Args:
        what: Entry to describe, or :func:`registry.publishing.subject.weights_subject` of the weights of a run.
        picture: Address of a diagram of the entry, relative to the card.
        samples: Address of a picture of samples and the nearest training images.
    """
    subject = what if isinstance(what, Subject) else entry_subject(what)
    entry = subject.entry
    card = entry.card()
    measured, quoted = results_of(entry)
    if subject.weights is not None and not subject.packaged:
        own = subject.metadata.get("content", "")[:16]
        measured, quoted = tuple(each for each in measured if each.weights == own), ()
    parts = [
        _front_matter(subject, measured),
        f"# {plain(entry.name)}\n\n{plain(entry.summary)}\n",
        f"![The levels, stages and skips of {plain(entry.name)}]({quote(picture)})\n" if picture else "",
        _identity(entry, card),
        _costs(card),
        _results(measured, quoted),
        training_section(subject),
        _samples(subject, samples),
        _licences(subject),
        how_to_use(subject),
        _limits(subject),
    ]
    return "\n".join(part for part in parts if part)


def write_card(what: Entry | Subject, path: Path, samples: Path | None = None) -> Path:
    """Write the card, and a diagram beside it.

    Args:
        what: Entry or weights to describe; see :func:`model_card`.
        path: File to write, an .md file.
        samples: Picture of samples beside it, which the card shows.

    Returns:
        The path of the diagram.

    Raises:
        ValueError: The path is not an .md file.
        OSError: A file cannot be written and is unchanged.
    """
    from registry.publishing.diagram import draw_entry

    check_card(path)
    picture = path.with_suffix(".svg")
    subject = what if isinstance(what, Subject) else entry_subject(what)
    text = model_card(subject, picture.name, samples.name if samples else None)
    draw_entry(subject.entry.architecture, picture)
    write_text(path, text)
    return picture


def check_card(path: Path) -> None:
    """Check the name of a card.

    Raises:
        ValueError: The path is not an .md file.
    """
    if path.suffix.lower() != ".md":
        raise ValueError(f"{path}: a card is an .md file")


def weights_facts(entry: Entry) -> dict[str, Any]:
    """Return the metadata of the weights in the package: recipe, data, content hash, size.

    The result is empty if there are no weights, or if they do not fit because the entry was changed.
    """
    subject = entry_subject(entry)
    if subject.weights is None:
        return {}
    return {**subject.metadata, "recipe": dict(subject.recipe), "bytes": subject.weights.stat().st_size}


def _front_matter(subject: Subject, measured: Sequence[Measurement]) -> str:
    import yaml

    entry = subject.entry
    conditions = conditioning_of(entry.architecture).split("+")
    kind = kind_of(entry.architecture)
    front: dict[str, Any] = {
        "license": "apache-2.0" if subject.packaged else "unknown",
        "library_name": LIBRARY,
        "pipeline_tag": TASKS[kind]["text" not in conditions],
        "tags": ["diffusion", "matryoshka", "pytorch", kind, *(CONDITIONED[each] for each in conditions)],
    }
    # The data of a mixture has several names. Paths are left out.
    data = [name for names in (subject.data, subject.images) for name in names.split("+") if DATASET.fullmatch(name)]
    if data:
        front["datasets"] = data
    if measured:
        results = [_index(measurement, front["pipeline_tag"]) for measurement in measured]
        front["model-index"] = [{"name": entry.name, "results": results}]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _index(measured: Measurement, task: str) -> dict[str, Any]:
    """Return a measurement as an item of the front matter's ``model-index``."""
    protocol = measured.protocol
    return {
        "task": {"type": task},
        "dataset": {"name": f"{protocol.reference} {protocol.reference_split}".strip(), "type": protocol.reference},
        "metrics": [
            {"type": name, "name": f"{name} ({measured.title})", "value": metric.value}
            for name, metric in measured.metrics.items()
        ],
    }


def _identity(entry: Entry, card: Card) -> str:
    rows = [
        ("resolution", f"{card.resolution} x {card.resolution} pixels"),
        *([("frames", f"{card.frames}")] if card.frames > 1 else []),
        ("levels", plain(", ".join(entry.labels))),
        ("conditioning", plain(card.conditioning)),
        ("diffusion process", card.process),
        ("hash", f"`{card.hash}` (structure, inputs and process)"),
        ("graph hash", f"`{card.graph_hash}` (entries with equal graph hashes can share weights)"),
        ("source", "Matryoshka Diffusion Models, [arXiv 2310.15111](https://arxiv.org/abs/2310.15111)"),
    ]
    return table(("", ""), rows)


def _costs(card: Card) -> str:
    head = ("level", "parameters", "MACs", "FLOPs", "share", "inference", "training", "checkpointed")
    rows = [_cost_row(plain(level.label), level, level.share) for level in card.levels]
    rows.append(_cost_row("**whole**", card, 1.0))
    return (
        "## Costs\n\n"
        "Per sample, for one forward pass including the prompt; a level excludes its inner levels. One MAC is one "
        "multiply-add and two FLOPs. The last three columns are activation memory in float32: the peak at inference, "
        "what is saved for the backward pass, and the same with activation checkpointing of every block. The peak of "
        "the whole network is lower than the sum, because levels run one after the other.\n\n"
        + table(head, rows, range(1, len(head)))
        + f"\nA training sample (forward and backward): {short(card.training_flops)}FLOPs. A generated sample with "
        f"{STEPS} steps (DDIM, DDPM or DPM-Solver++): {short(card.sampling_flops(STEPS))}FLOPs; with classifier-free "
        f"guidance: {short(card.sampling_flops(STEPS, guided=True))}FLOPs.\n"
    )


def _cost_row(title: str, part: Card | LevelRow, share: float) -> list[str]:
    memory = part.memory
    numbers = [f"{part.parameters:,}", short(part.macs), short(part.flops), f"{100 * share:.1f} %"]
    return [title, *numbers, *map(short_bytes, (memory.inference, memory.training, memory.checkpointed))]


def _results(measured: Sequence[Measurement], quoted: Sequence[Reported]) -> str:
    lines = ["## Results\n"]
    for m in measured:
        seed = f"; seeds from {m.sampler['seed']}" if "seed" in m.sampler else ""
        lines.append(f"Measured, {plain(m.title)}{seed}; weights {code(m.weights)}:\n")
        rows = [(plain(name), f"{x.value:.5g}", x.uncertainty()) for name, x in m.metrics.items()]
        lines.append(table(("metric", "value", "95 % interval"), rows, (1, 2)))
        if m.motions:
            counts = [
                (plain(name), f"{each.right} of {each.samples}", f"{each.reference_right} of {each.reference}")
                for name, each in m.motions.items()
            ]
            lines.append(table(("class", "samples that move so", "of the reference"), counts, (1, 2)))
        lines += [f"- {plain(warning)}" for warning in m.warnings]
        lines.append("")
    if quoted:
        lines.append("Reported by others, under other protocols:\n")
        published = [(r.metric, f"{r.value:g}", r.data, f"{r.source}; {r.note}".rstrip("; ")) for r in quoted]
        lines.append(table(("metric", "value", "data", "source"), published, (1,)))
    if len(lines) == 1:
        lines.append("None measured or reported.\n")
    return "\n".join(lines)


def _samples(subject: Subject, picture: str | None) -> str:
    if picture is None:
        return ""
    clips = subject.entry.frames > 1
    text = (
        f"Samples at every level, not selected, and beside each the training {'clip' if clips else 'image'} whose "
        "pixels are nearest to it. A model that repeats its training data draws these."
    )
    return f"## Samples\n\n{text}\n\n![Samples of {plain(subject.entry.name)}]({quote(picture)})\n"


def _licences(subject: Subject) -> str:
    text = "## Licences\n\nCode and spec: Apache-2.0." if subject.packaged else "## Licences\n\nCode: Apache-2.0."
    if subject.weights is not None:
        size = subject.weights.stat().st_size / 1e6
        granted = "Apache-2.0" if subject.packaged else "not stated"
        text += f" Weights ({size:.2f} MB, content hash {code(subject.metadata.get('content', '')[:16])}): {granted}."
        text += f" Data: {_data_licence(subject, 'data', subject.data)}"
        if subject.images:
            text += f" Images: {_data_licence(subject, 'images', subject.images)}"
    return text + "\n"


def _data_licence(subject: Subject, key: str, shown: str) -> str:
    """Return name, licence and attribution of the data under a key of the recipe, which is shown under this name."""
    from builders.data.dataset_card import list_datasets

    stated, found = subject.recipe.get("licence"), _dataset(subject, key)
    if found is None:
        return f"{code(shown or 'unknown')}, licence {plain(stated) if stated else 'unknown'}."
    if shown not in list_datasets():
        return f"{code(found.name)}, licence {plain(stated or found.licence)}. {plain(found.attribution)}".strip()
    return f"{code(found.name)}, {plain(found.licence)}. {plain(found.attribution)}".strip()


def _dataset(subject: Subject, key: str = "data") -> DatasetCard | None:
    """Return the card of the data under a key of the recipe; None if it may not be opened or is not there."""
    from builders.data.dataset_card import find_dataset
    from builders.data.errors import DataError

    named = data_of(subject.metadata, key)
    try:
        # Data that the metadata of others names is not opened.
        return find_dataset(named, fetch=False)[0] if isinstance(named, str) and subject.may_open else None
    except (DataError, SpecError, OSError):
        return None


def _limits(subject: Subject) -> str:
    lines = ["## Limits\n"]
    if subject.weights is not None and subject.packaged:
        lines.append(
            "- The weights show that the architecture and its training work. They draw only images like those of their "
            "dataset."
        )
        data = _dataset(subject)
        if data is not None and (train := data.splits.get("train")) is not None and train.samples:
            kind = "clips" if subject.entry.frames > 1 else "images"
            lines.append(
                f"- They have seen {train.samples:,} {kind}, and may repeat them: the grid of `zoo sample` shows the "
                "nearest ones."
            )
        if subject.entry.architecture.text is not None:
            lines.append("- Prompts are limited to the words of the captions in the dataset.")
    lines.append("- Costs are counted by rules and tested against torch's counters; time depends on the machine.")
    lines.append("- Distances compare only under equal protocols: features, sample count, reference, resize mode.")
    return "\n".join(lines) + "\n"
