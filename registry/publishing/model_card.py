"""The model card of an entry: Markdown with the YAML front matter of Hugging Face's hub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.checkpoints.shipped import file_facts, shipped_weights
from builders.files import write_text
from registry.costs.card import STEPS, Card
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
#: Tasks as the hub calls them; it has none of its own for images by class.
TASKS = {"image": ("text-to-image", "unconditional-image-generation"), "video": ("text-to-video", "other")}
STEERED = {"text": "text-conditional", "classes": "class-conditional", "none": "unconditional"}
#: What the hub takes for the name of a data set.
DATASET = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")

USE = """\
import zoo

entry = zoo.get("{name}")
print(entry.card().parameters)
model = entry.build(device="meta")  # or "cpu", "cuda"
"""
SAMPLE = """\
from builders.sampling.generation import Request, SamplerSettings, draw_all
from builders.pictures import to_pil
from registry.weights import {names}

model, facts = load_weights("{name}")
request = Request(seeds=(0, 1){given})
settings = SamplerSettings("dpm++", num_inference_steps=20, guidance_scale=2.0)
levels = draw_all(model, request, settings{options})  # by level, finest first
for number, image in enumerate(levels[0]):
    to_pil(image).save(f"sample-{{number}}.png")
"""


def model_card(entry: Entry, picture: str | None = None) -> str:
    """The card as Markdown; no weight is loaded.

    Args:
        entry: of the zoo.
        picture: address of a picture to show, relative to where the card will stand.
    """
    card = entry.card()
    facts = weights_facts(entry)
    measured, quoted = results_of(entry)
    parts = [
        _front_matter(entry, facts, measured),
        f"# {entry.name}\n\n{entry.summary}\n",
        f"![The levels, stages and skips of {entry.name}]({picture})\n" if picture else "",
        _what(entry, card),
        _costs(card),
        _results(measured, quoted),
        _training(entry, facts),
        _licences(facts),
        _use(entry, facts),
        _limits(entry, facts),
    ]
    return "\n".join(part for part in parts if part)


def write_card(entry: Entry, path: Path) -> Path:
    """Write the card, and a picture beside it whose path is returned; whole or not at all.

    Raises:
        ValueError: the path is no .md file.
        OSError: it cannot be written.
    """
    from registry.publishing.diagram import draw_entry

    if path.suffix.lower() != ".md":
        raise ValueError(f"{path}: a card is an .md file")
    picture = path.with_suffix(".svg")
    text = model_card(entry, picture.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_entry(entry.architecture, picture)
    write_text(path, text)
    return picture


def weights_facts(entry: Entry) -> dict[str, Any]:
    """What the weights in the package say of themselves: recipe, data, content hash.

    Empty without weights, and where they do not fit: an entry that was changed keeps its name.
    """
    path = shipped_weights(entry.name)
    if path is None:
        return {}
    metadata = file_facts(path)
    if metadata.get("graph_hash") != entry.graph_hash:
        return {}
    facts: dict[str, Any] = dict(metadata)
    facts["recipe"] = json.loads(metadata["recipe"]) if "recipe" in metadata else {}
    facts["bytes"] = path.stat().st_size
    return facts


def _front_matter(entry: Entry, facts: dict[str, Any], measured: Sequence[Measurement]) -> str:
    import yaml

    steered = conditioning_of(entry.architecture).split("+")
    kind = kind_of(entry.architecture)
    front: dict[str, Any] = {
        "license": "apache-2.0",
        "library_name": LIBRARY,
        "pipeline_tag": TASKS[kind]["text" not in steered],
        "tags": ["diffusion", "matryoshka", "pytorch", kind, *(STEERED[each] for each in steered)],
    }
    # A mixture is several names; a path is none.
    data = [name for name in facts.get("data", "").split("+") if DATASET.fullmatch(name)]
    if data:
        front["datasets"] = data
    if measured:
        front["model-index"] = [{"name": entry.name, "results": [_index(m, front) for m in measured]}]
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _index(measured: Measurement, front: dict[str, Any]) -> dict[str, Any]:
    protocol = measured.protocol
    return {
        "task": {"type": front["pipeline_tag"]},
        "dataset": {"name": f"{protocol.reference} {protocol.reference_split}".strip(), "type": protocol.reference},
        "metrics": [
            {"type": name, "name": f"{name} ({measured.title})", "value": metric.value}
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
        lines.append("Reported by others, under protocols of theirs:\n")
        published = [(r.metric, f"{r.value:g}", r.data, f"{r.source}; {r.note}".rstrip("; ")) for r in quoted]
        lines.append(_table(("metric", "value", "data", "source"), published, (1,)))
    if len(lines) == 1:
        lines.append("None measured or reported.\n")
    return "\n".join(lines)


def _training(entry: Entry, facts: dict[str, Any]) -> str:
    others = _recipes(library.folders()).get(entry.name, ())
    if not facts:
        lines = ["## Training\n", "No weights come with the package."]
        lines += [f"Recipes of it: {', '.join(f'`zoo train {name}`' for name in others)}."] * bool(others)
        anywhere = f"`zoo train {entry.name} --data DATASET` trains it level by level on other data"
        lines.append(f"{anywhere if others else anywhere.removesuffix(' on other data')}.")
        return "\n".join(lines) + "\n"
    recipe = facts["recipe"]
    name, optimizer, encoder = recipe.get("name"), recipe.get("optimizer", {}), ""
    if entry.architecture.text is not None:
        encoder = f", prompts by the text encoder `{recipe.get('text_encoder', 'embedded')}`"
    phases = ", then ".join(
        f"{phase['steps']:,} steps of {label}" if phase.get("steps") else f"{phase.get('hours'):g} hours of {label}"
        for label, phase in recipe.get("phases", {}).items()
    )
    return (
        f"## Training\n\nRecipe `{name}` on `{facts.get('data')}`{encoder}: {phases}; "
        f"{optimizer.get('name')} at {optimizer.get('learning_rate')}, moving average {recipe.get('ema')}."
        + (f" `zoo train {name}` trains it again." if name in others else "")
        + "\n"
    )


@lru_cache(maxsize=4)
def _recipes(folders: tuple[Path, ...]) -> dict[str, tuple[str, ...]]:
    """Names of recipes by the entry that they train; those that cannot be read are not named."""
    found: dict[str, tuple[str, ...]] = {}
    for name in list_recipes():
        try:
            entry = load_recipe(name).entry
        except (SpecError, LookupError, OSError):
            continue
        found[entry] = (*found.get(entry, ()), name)
    return found


def _licences(facts: dict[str, Any]) -> str:
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
        return f"`{name}`, licence not at hand."
    return f"`{card.name}`, {card.licence}. {card.attribution}".strip()


def _use(entry: Entry, facts: dict[str, Any]) -> str:
    if not facts:
        python = USE.format(name=entry.name)
        return f"## How to use\n\n```python\n{python}```\n\nIts weights are fresh: see Training.\n"
    graph = entry.architecture
    given = options = command = ""
    if graph.text is not None:
        given, command = ', prompts=("a red heart", "a smiling cat")', ' --prompt "a red heart"'
        options = ", encoder=text_encoder(model, facts)"
    elif graph.classes is not None:
        given = ", classes=(0, 1)"
    names = "load_weights, text_encoder" if options else "load_weights"
    python = SAMPLE.format(name=entry.name, given=given, options=options, names=names)
    return (
        f"## How to use\n\n```sh\nzoo sample {entry.name}{command} -o samples.png\n```\n\n"
        f"or in Python:\n\n```python\n{python}```\n"
    )


def _limits(entry: Entry, facts: dict[str, Any]) -> str:
    lines = ["## Limits\n"]
    if facts:
        lines.append(
            "- The weights show that the architecture and its training work. They know the images of their data set "
            "alone, and draw nothing else."
        )
        if entry.architecture.text is not None:
            lines.append("- Prompts work in the words of its captions; of other words it knows nothing.")
    lines.append("- Costs are counted by rules and tested against torch's counters; time depends on the machine.")
    lines.append("- Distances compare only under equal protocols: features, sample count, reference, resize mode.")
    return "\n".join(lines) + "\n"
