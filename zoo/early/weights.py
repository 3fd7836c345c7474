"""The weights of a request: whether they exist, and whether their network takes the classes and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specs.user_paths import expanded as expand_home

if TYPE_CHECKING:
    from builders.data.classes import ClassNames
    from specs.graph import EntryGraph
    from specs.schemas.recipe import Recipe
    from specs.schemas.sampling import SamplerSpec

__all__ = ["check_sampled", "check_sources", "check_text_encoder", "facts_of"]


def check_sampled(
    what: str,
    classes: Sequence[str | int] = (),
    prompts: Sequence[str] = (),
    text_encoder: str | None = None,
    settings: SamplerSpec | None = None,
) -> EntryGraph | None:
    """Check that weights exist, and that their network takes classes and prompts; return its graph.

    Whatever needs more than the header of the weights and a packaged dataset is checked when they are loaded.

    Args:
        what: Entry, file or folder, as for :func:`registry.weights.find_weights`.
        classes: Names or numbers of classes.
        prompts: Prompts.
        text_encoder: Name or path of a text encoder.
        settings: Sampler settings.

    Returns:
        Graph of the network; None if the file cannot be read, which is reported when it is loaded.

    Raises:
        LookupError: No entry has this name.
        ValueError: There are no weights, the network does not take a class or prompt, or its process has fewer steps.
    """
    from builders.sampling.plan import Plan
    from registry.weights import find_weights

    path = find_weights(what)
    check_text_encoder(text_encoder)
    graph, known = facts_of(path)
    if graph is None:
        return None
    if settings is not None:
        settings.fitted(graph.process.steps)
    if known is None and graph.classes is not None:
        classes = ()
    Plan.make(graph, known, classes, prompts, 1, 0)
    check_text_encoder(text_encoder, graph)
    return graph


def check_text_encoder(text_encoder: str | None, graph: EntryGraph | None = None) -> None:
    """Check that a text encoder is not a folder that does not exist, and that a network reads text.

    Args:
        text_encoder: Name or path of a text encoder; None for that of the weights.
        graph: Graph of the network; None if it is unknown.

    Raises:
        ValueError: There is no such folder, or the network reads no text.
    """
    if text_encoder is None:
        return
    if _is_missing(text_encoder, text_encoder.startswith((".", "/", "~"))):
        raise ValueError(f"--text-encoder {text_encoder}: no such folder")
    if graph is not None and graph.text is None:
        raise ValueError(f"{graph.name} does not read text: remove --text-encoder")


def check_sources(recipe: Recipe, graph: EntryGraph | None = None) -> None:
    """Check that the weights from which the phases of a recipe start exist, and that they have a level of the phase.

    Args:
        recipe: Recipe.
        graph: Graph of its entry. None if the weights need only exist, because a run is resumed.

    Raises:
        ValueError: A file does not exist, is damaged or does not fit.
    """
    from builders.checkpoints.header import read_header
    from builders.training.starting.weights import shared_levels, weights_file
    from specs.library import is_path

    for name, phase in recipe.phases.items():
        source = recipe.source_of(name)
        if _is_missing(source, is_path(source) or source.endswith(".safetensors")):
            raise ValueError(f"initialise: {source}: no such weights file")
        if graph is None or source in ("before", "fresh"):
            continue
        path = weights_file(source)
        read_header(path)
        theirs, _ = facts_of(path)
        if theirs is not None:
            shared_levels(graph.inner(phase.train), theirs, path)


def _is_missing(text: str, path: bool) -> bool:
    return path and not expand_home(text).exists()


def facts_of(path: Path) -> tuple[EntryGraph | None, ClassNames | None]:
    """Return the graph of a weights file, and the names of its classes; None if unknown."""
    from builders.data.classes import ClassNames
    from builders.data.dataset_card import list_datasets
    from registry.weights import data_of, file_facts
    from specs.errors import SpecError
    from specs.load import load_text
    from zoo.early.data import known_card

    try:
        facts = file_facts(path)
        graph = load_text(facts["spec"], str(path), saved=True).graph
        names, data = ClassNames.parse(facts.get("classes", ""), graph.name), data_of(facts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SpecError):
        return None, None  # reported when the weights are loaded
    card = known_card(data) if isinstance(data, str) and data in list_datasets() else None
    return graph, names or (None if card is None else ClassNames(card.name, card.classes))
