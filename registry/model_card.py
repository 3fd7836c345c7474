"""The model card of an entry: Markdown with the YAML front matter of Hugging Face's hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from registry.card import STEPS, Card, short, short_bytes
from registry.catalogue import conditioning_of, kind_of
from registry.results import Measurement, Reported, measurements, reported
from registry.weights import file_facts, shipped_weights

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = ["model_card", "results_of", "weights_facts"]

LIBRARY = "matryoshka-zoo"
TASKS = {"text": "text-to-image", "classes": "unconditional-image-generation", "none": "unconditional-image-generation"}


def model_card(entry: Entry, picture: str | None = None) -> str:
    """The card as Markdown; no weight is loaded.

    Args:
        entry: of the zoo.
        picture: address of a picture to show, relative to where the card will stand.
    """
    card = entry.card()
    facts = weights_facts(entry.name)
    measured, quoted = results_of(entry)
    parts = [
        _front_matter(entry, facts, measured),
        f"# {entry.name}\n\n{entry.summary}\n",
        f"![The levels, stages and skips of {entry.name}]({picture})\n" if picture else "",
        _what(entry, card),
        _costs(card),
        _results(measured, quoted),
        _training(facts),
        _licences(facts),
        _use(entry, facts),
        _limits(entry, facts),
    ]
    return "\n".join(part for part in parts if part)


def results_of(entry: Entry) -> tuple[tuple[Measurement, ...], tuple[Reported, ...]]:
    """Measured results of this very architecture and process (equal hashes), and reported ones of this name."""
    own = tuple(m for m in measurements() if m.entry == entry.name and m.hash == entry.hash)
    return own, tuple(r for r in reported() if r.entry == entry.name)


def weights_facts(name: str) -> dict[str, Any]:
    """What the weights in the package say of themselves: recipe, data, content hash; empty without weights."""
    path = shipped_weights(name)
    if path is None:
        return {}
    metadata = file_facts(path)
    facts: dict[str, Any] = dict(metadata)
    facts["recipe"] = json.loads(metadata["recipe"]) if "recipe" in metadata else {}
    facts["bytes"] = path.stat().st_size
    return facts


def _front_matter(entry: Entry, facts: dict[str, Any], measured: Sequence[Measurement]) -> str:
    import yaml

    conditioning = conditioning_of(entry.architecture)
    data = facts.get("data")
    front: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": LIBRARY,
        "pipeline_tag": TASKS.get(conditioning, "text-to-image"),
        "tags": ["diffusion", "matryoshka", "pytorch", kind_of(entry.architecture), conditioning],
    }
    if data:
        front["datasets"] = [data]
    if measured:
        front["model-index"] = [{"name": entry.name, "results": [_index(m, front) for m in measured]}]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _index(measured: Measurement, front: dict[str, Any]) -> dict[str, Any]:
    protocol = measured.protocol
    return {
        "task": {"type": front["pipeline_tag"]},
        "dataset": {"name": f"{protocol.reference} {protocol.reference_split}".strip(), "type": protocol.reference},
        "metrics": [
            {"type": name, "name": f"{name} ({protocol.title})", "value": metric.value}
            for name, metric in measured.metrics.items()
        ],
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    rule = ["---:" if index in right else "---" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)) + "\n"


def _what(entry: Entry, card: Card) -> str:
    rows = [
        ("resolution", f"{card.resolution} x {card.resolution} pixels"),
        ("levels", ", ".join(entry.labels)),
        ("conditioning", card.conditioning),
        ("diffusion process", card.process),
        ("hash", f"`{card.hash}` (structure, inputs and process)"),
        ("graph hash", f"`{card.graph_hash}` (weights fit where it is equal)"),
        ("source", "Matryoshka Diffusion Models, [arXiv 2310.15111](https://arxiv.org/abs/2310.15111)"),
    ]
    return _table(("", ""), rows)


def _costs(card: Card) -> str:
    rows = [
        (
            level.label,
            f"{level.parameters:,}",
            short(level.macs),
            short(level.flops),
            f"{100 * level.share:.1f} %",
            short_bytes(level.memory.inference),
            short_bytes(level.memory.training),
            short_bytes(level.memory.checkpointed),
        )
        for level in card.levels
    ]
    memory = card.memory
    rows.append(
        (
            "**whole**",
            f"**{card.parameters:,}**",
            short(card.macs),
            short(card.flops),
            "100.0 %",
            short_bytes(memory.inference),
            short_bytes(memory.training),
            short_bytes(memory.checkpointed),
        )
    )
    head = ("level", "parameters", "MACs", "FLOPs", "share", "inference", "training", "checkpointed")
    return (
        "## Costs\n\n"
        "Of one sample and one forward pass with its prompt; a level without those inside it. One MAC is one "
        "multiply-add, FLOPs are two per MAC. The last three columns are bytes of activations in float32: the most "
        "held at once in inference, kept for the backward pass, and kept if every block is computed again. The "
        "whole network's inference is less than the sum, for levels take turns.\n\n"
        + _table(head, rows, range(1, len(head)))
        + f"\nA training sample (forward and backward): {short(card.training_flops)}FLOPs. A generated sample of "
        f"{STEPS} steps (DDIM, DDPM or DPM-Solver++): {short(card.sampling_flops(STEPS))}FLOPs, with classifier-free "
        f"guidance {short(card.sampling_flops(STEPS, guided=True))}FLOPs.\n"
    )


def _results(measured: Sequence[Measurement], quoted: Sequence[Reported]) -> str:
    lines = ["## Results\n"]
    for m in measured:
        settings = ", ".join(f"{name} {value}" for name, value in m.sampler.items())
        lines.append(f"Measured, {m.protocol.title}; {settings}; weights `{m.weights}`:\n")
        rows = [
            (name, f"{x.value:.5g}", "" if x.low is None else f"{x.low:.5g} to {x.high:.5g}")
            for name, x in m.metrics.items()
        ]
        lines.append(_table(("metric", "value", "95 % interval"), rows, (1, 2)))
        lines += [f"- {warning}" for warning in m.warnings]
        lines.append("")
    if quoted:
        lines.append("Reported by others, under protocols of theirs:\n")
        published = [(r.metric, f"{r.value:g}", r.data, f"{r.source}; {r.note}".rstrip("; ")) for r in quoted]
        lines.append(_table(("metric", "value", "data", "source"), published, (1,)))
    if len(lines) == 1:
        lines.append("None measured or reported.\n")
    return "\n".join(lines)


def _training(facts: dict[str, Any]) -> str:
    if not facts:
        return "## Training\n\nNo weights come with the package; `zoo train` makes some from a recipe.\n"
    recipe = facts["recipe"]
    steps = {name: phase.get("steps") for name, phase in recipe.get("phases", {}).items()}
    phases = ", then ".join(f"{count:,} steps of {name}" for name, count in steps.items() if count)
    optimizer = recipe.get("optimizer", {})
    return (
        f"## Training\n\nRecipe `{recipe.get('name')}` on `{facts.get('data')}`: {phases}; "
        f"{optimizer.get('name')} at {optimizer.get('learning_rate')}, moving average {recipe.get('ema')}. "
        f"`zoo train {recipe.get('name')}` trains it again.\n"
    )


def _licences(facts: dict[str, Any]) -> str:
    text = "## Licences\n\nCode and spec: Apache-2.0."
    if facts:
        text += f" Weights ({facts['bytes'] / 1e6:.2f} MB, content hash `{facts.get('content', '')[:16]}`): Apache-2.0."
        text += f" Data: {_data_licence(facts.get('data'))}"
    return text + "\n"


def _data_licence(name: str | None) -> str:
    from builders.dataset_card import find_dataset

    try:
        card, _ = find_dataset(name or "")
    except ValueError:
        return f"`{name}`, licence not at hand."
    return f"`{card.name}`, {card.licence}. {card.attribution}".strip()


def _use(entry: Entry, facts: dict[str, Any]) -> str:
    if facts:
        line = f"zoo sample {entry.name} -o samples.png"
        return f'## How to use\n\n    {line}\n\nor in Python:\n\n    zoo.get("{entry.name}")\n'
    return f'## How to use\n\n    import zoo\n\n    entry = zoo.get("{entry.name}")\n    model = entry.build()\n'


def _limits(entry: Entry, facts: dict[str, Any]) -> str:
    lines = ["## Limits\n"]
    if facts:
        lines.append(
            "- The weights show that the architecture and its training work. They know the images of their data set "
            "alone, and draw nothing else."
        )
    lines.append("- Costs are counted by rules and tested against torch's counters; time depends on the machine.")
    lines.append("- Distances compare only under equal protocols: features, sample count, reference, resize mode.")
    return "\n".join(lines) + "\n"
