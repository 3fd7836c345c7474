"""Sampler settings that fit a trained network: at most the steps of its process, and guidance only where it is trained.

Imports no torch: the command line checks a request with it before anything is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, TypeVar

from specs.graph import EntryGraph
from specs.schemas.sampling import SamplerSpec

__all__ = ["GUIDANCE", "UntrainedGuidanceWarning", "fit_settings", "guidance_note"]

#: Guidance scale of samples and previews by default.
GUIDANCE = 2.0
Settings = TypeVar("Settings", bound=SamplerSpec)


class UntrainedGuidanceWarning(UserWarning):
    """Guidance is asked for, but the network was not trained for it."""


def guidance_note(scale: float, graph: EntryGraph, drop: Any = None) -> str | None:
    """Describe why guidance makes no sense for a network; return None if it does, or if there is none.

    Args:
        scale: Guidance scale; 1 for none.
        graph: Graph of the entry.
        drop: Probabilities with which the conditions were dropped in training, by name, as in a recipe. Anything else,
            such as None, if they are unknown.
    """
    if scale == 1:
        return None
    if not graph.conditions:
        return f"guidance {scale:g} has no effect: {graph.name} has no classes and reads no text"
    shares = drop if isinstance(drop, Mapping) else {}
    for condition in graph.conditions:
        if condition not in shares or shares[condition] not in (0, 1):
            continue
        if shares[condition]:
            trained = f"{graph.name} was trained without its {condition} alone (drop: 1)"
        else:
            trained = f"{graph.name} was never trained without its {condition} (drop: 0)"
        return f"guidance {scale:g} uses a prediction that is not trained: {trained}; use guidance 1"
    return None


def fit_settings(
    settings: Settings, graph: EntryGraph, drop: Any = None, *, guidance: float = 1.0, warn: bool = True
) -> Settings:
    """Return sampler settings for a network, with defaults that fit it.

    If they are not set, the number of steps is 50 or that of the process if it has fewer, and the guidance scale is
    ``guidance``, or 1 if the network was not trained for guidance.

    Args:
        settings: Sampler settings. Their ``model_fields_set`` tells what is set.
        graph: Graph of the entry.
        drop: Probabilities with which the conditions were dropped in training; see :func:`guidance_note`.
        guidance: Default of the guidance scale.
        warn: Whether to warn about guidance that is set and not trained.

    Raises:
        ValueError: More steps are set than the process has.
    """
    settings = settings.fitted(graph.process.steps)
    if "guidance_scale" not in settings.model_fields_set:
        scale = 1.0 if guidance_note(guidance, graph, drop) else guidance
        return settings.model_copy(update={"guidance_scale": scale})
    note = guidance_note(settings.guidance_scale, graph, drop)
    if note is not None and warn:
        warnings.warn(note, UntrainedGuidanceWarning, stacklevel=2)
    return settings
