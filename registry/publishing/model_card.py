"""The model card of an entry: Markdown with the YAML front matter of the Hugging Face Hub."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.checkpoints.shipped import file_facts, shipped_weights
from builders.files import write_text
from registry.costs.card import STEPS, Card, LevelRow
from registry.costs.units import short, short_bytes
from registry.evaluation.results import Measurement, Reported, results_of
from registry.facts import conditioning_of, kind_of
from specs import library
from specs.errors import SpecError
from specs.recipe import list_recipes, load_recipe

if TYPE_CHECKING:
    from registry.entry import Entry

__all__ = ["model_card", "weights_facts", "write_card"]

LIBRARY = "matryoshka-zoo"
#: Tasks of the Hub for models with and without text; it has no task for class-conditional images.
TASKS = {"image": ("text-to-image", "unconditional-image-generation"), "video": ("text-to-video", "other")}
CONDITIONED = {"text": "text-conditional", "classes": "class-conditional", "none": "unconditional"}
#: Names of datasets that the Hub accepts.
DATASET = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

USE = """\
import zoo

entry = zoo.get("{name}")
print(entry.card().parameters)
model = entry.build(device="meta")  # or "cpu", "cuda"
"""
SAMPLE = """\
from builders.pixels import to_pil
from builders.sampling.generation import Request, SamplerSettings, draw_all
from registry.weights import {names}

model, facts = load_weights("{name}")
request = Request(seeds=(0, 1){conditions})
settings = SamplerSettings("dpm++", num_inference_steps=20, guidance_scale=2.0)
levels = draw_all(model, request, settings{options})  # one batch per level, finest first
for number, image in enumerate(levels[0]):
    to_pil(image).save(f"sample-{{number}}.png")
"""


def model_card(entry: Entry, picture: str | None = None) -> str:
    """Return the card as Markdown, without loading weights.

    Args:
        entry: Entry to describe.
        picture: Address of a diagram of the entry, relative to the card.
    """
    card = entry.card()
    facts = weights_facts(entry)
    measured, quoted = results_of(entry)
    parts = [
        _front_matter(entry, facts, measured),
        f"# {entry.name}\n\n{entry.summary}\n",
        f"![The levels, stages and skips of {entry.name}]({picture})\n" if picture else "",
        _identity(entry, card),
        _costs(card),
        _results(measured, quoted),
        _training(entry, facts),
        _licences(facts),
        _use(entry, facts),
        _limits(entry, facts),
    ]
    return "\n".join(part for part in parts if part)


def write_card(entry: Entry, path: Path) -> Path:
    """Write the card, and a diagram beside it.

    Args:
        entry: Entry to describe.
        path: File to write, an .md file.

    Returns:
        The path of the diagram.

    Raises:
        ValueError: The path is not an .md file.
        OSError: A file cannot be written and is unchanged.
    """
    from registry.publishing.diagram import draw_entry

    if path.suffix.lower() != ".md":
        raise ValueError(f"{path}: a card is an .md file")
    picture = path.with_suffix(".svg")
    text = model_card(entry, picture.name)
    draw_entry(entry.architecture, picture)
    write_text(path, text)
    return picture


def weights_facts(entry: Entry) -> dict[str, Any]:
    """Return the metadata of the weights in the package: recipe, data, content hash, size.

    The result is empty if there are no weights, or if they do not fit because the entry was changed.
    """
    path = shipped_weights(entry.name)
    metadata = file_facts(path) if path is not None else {}
    if path is None or metadata.get("graph_hash") != entry.graph_hash:
        return {}
    return {**metadata, "recipe": json.loads(metadata.get("recipe", "{}")), "bytes": path.stat().st_size}


def _front_matter(entry: Entry, facts: Mapping[str, Any], measured: Sequence[Measurement]) -> str:
    import yaml

    conditions = conditioning_of(entry.architecture).split("+")
    kind = kind_of(entry.architecture)
    front: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": LIBRARY,
        "pipeline_tag": TASKS[kind]["text" not in conditions],
        "tags": ["diffusion", "matryoshka", "pytorch", kind, *(CONDITIONED[each] for each in conditions)],
    }
    # The data of a mixture has several names. Paths are left out.
    data = [name for name in facts.get("data", "").split("+") if DATASET.fullmatch(name)]
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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return a table; the columns with the indices ``right`` are aligned to the right."""
    rule = ["---:" if index in right else "---" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)) + "\n"


def _identity(entry: Entry, card: Card) -> str:
    rows = [
        ("resolution", f"{card.resolution} x {card.resolution} pixels"),
        ("levels", ", ".join(entry.labels)),
        ("conditioning", card.conditioning),
        ("diffusion process", card.process),
        ("hash", f"`{card.hash}` (structure, inputs and process)"),
        ("graph hash", f"`{card.graph_hash}` (entries with equal graph hashes can share weights)"),
        ("source", "Matryoshka Diffusion Models, [arXiv 2310.15111](https://arxiv.org/abs/2310.15111)"),
    ]
    return _table(("", ""), rows)


def _costs(card: Card) -> str:
    head = ("level", "parameters", "MACs", "FLOPs", "share", "inference", "training", "checkpointed")
    rows = [_cost_row(level.label, level, level.share) for level in card.levels]
    rows.append(_cost_row("**whole**", card, 1.0))
    return (
        "## Costs\n\n"
        "Per sample, for one forward pass including the prompt; a level excludes its inner levels. One MAC is one "
        "multiply-add and two FLOPs. The last three columns are activation memory in float32: the peak at inference, "
        "what is saved for the backward pass, and the same with activation checkpointing of every block. The peak of "
        "the whole network is lower than the sum, because levels run one after the other.\n\n"
        + _table(head, rows, range(1, len(head)))
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
        lines.append(f"Measured, {m.title}{seed}; weights `{m.weights}`:\n")
        rows = [
            (name, f"{x.value:.5g}", "" if x.low is None else f"{x.low:.5g} to {x.high:.5g}")
            for name, x in m.metrics.items()
        ]
        lines.append(_table(("metric", "value", "95 % interval"), rows, (1, 2)))
        lines += [f"- {warning}" for warning in m.warnings]
        lines.append("")
    if quoted:
        lines.append("Reported by others, under other protocols:\n")
        published = [(r.metric, f"{r.value:g}", r.data, f"{r.source}; {r.note}".rstrip("; ")) for r in quoted]
        lines.append(_table(("metric", "value", "data", "source"), published, (1,)))
    if len(lines) == 1:
        lines.append("None measured or reported.\n")
    return "\n".join(lines)


def _training(entry: Entry, facts: Mapping[str, Any]) -> str:
    names = _recipes(library.folders()).get(entry.name, ())
    if not facts:
        lines = ["The package includes no weights for this entry."]
        if names:
            lines.append(f"Recipes: {', '.join(f'`zoo train {name}`' for name in names)}.")
        other = " on other data" if names else ""
        lines.append(f"`zoo train {entry.name} --data DATASET` trains it level by level{other}.")
        return "## Training\n\n" + "\n".join(lines) + "\n"
    recipe = facts["recipe"]
    name, optimizer = recipe.get("name"), recipe.get("optimizer", {})
    encoder = f", text encoder `{recipe.get('text_encoder', 'embedded')}`" if entry.architecture.text else ""
    phases = ", then ".join(
        f"{phase['steps']:,} steps of {label}" if phase.get("steps") else f"{phase.get('hours'):g} hours of {label}"
        for label, phase in recipe.get("phases", {}).items()
    )
    return (
        f"## Training\n\nRecipe `{name}` on `{facts.get('data')}`{encoder}: {phases}; {optimizer.get('name')}, "
        f"learning rate {optimizer.get('learning_rate')}, EMA {recipe.get('ema')}."
        + (f" Train it again with `zoo train {name}`.\n" if name in names else "\n")
    )


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


def _licences(facts: Mapping[str, Any]) -> str:
    text = "## Licences\n\nCode and spec: Apache-2.0."
    if facts:
        text += f" Weights ({facts['bytes'] / 1e6:.2f} MB, content hash `{facts.get('content', '')[:16]}`): Apache-2.0."
        text += f" Data: {_data_licence(facts.get('data'))}"
    return text + "\n"


def _data_licence(name: str | None) -> str:
    from builders.data.dataset_card import find_dataset

    try:
        card, _ = find_dataset(name or "")
    except ValueError:
        return f"`{name}`, licence unknown."
    return f"`{card.name}`, {card.licence}. {card.attribution}".strip()


def _use(entry: Entry, facts: Mapping[str, Any]) -> str:
    if not facts:
        python = USE.format(name=entry.name)
        return f"## How to use\n\n```python\n{python}```\n\nIts weights are random until you train it: see Training.\n"
    graph = entry.architecture
    names, conditions, options, command = "load_weights", "", "", ""
    if graph.text is not None:
        conditions, command = ', prompts=("a red heart", "a smiling cat")', ' --prompt "a red heart"'
        names, options = "load_weights, text_encoder", ", encoder=text_encoder(model, facts)"
    elif graph.classes is not None:
        conditions = ", classes=(0, 1)"
    python = SAMPLE.format(name=entry.name, conditions=conditions, options=options, names=names)
    return (
        f"## How to use\n\n```sh\nzoo sample {entry.name}{command} -o samples.png\n```\n\n"
        f"or in Python:\n\n```python\n{python}```\n"
    )


def _limits(entry: Entry, facts: Mapping[str, Any]) -> str:
    lines = ["## Limits\n"]
    if facts:
        lines.append(
            "- The weights show that the architecture and its training work. They draw only images like those of their "
            "dataset."
        )
        if entry.architecture.text is not None:
            lines.append("- Prompts are limited to the words of the captions in the dataset.")
    lines.append("- Costs are counted by rules and tested against torch's counters; time depends on the machine.")
    lines.append("- Distances compare only under equal protocols: features, sample count, reference, resize mode.")
    return "\n".join(lines) + "\n"
