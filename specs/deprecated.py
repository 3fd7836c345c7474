"""Functions of version 0.1 that became properties or were split. To be removed in 0.3."""

from __future__ import annotations

from collections.abc import Mapping

from specs.graph import EntryGraph
from specs.schemas.optimizers import TIMM_OPTIMIZERS, TORCH_OPTIMIZERS

__all__ = ["OPTIMIZERS", "entry_hash", "graph_hashes"]

#: Optimizers of torch, and of timm.
OPTIMIZERS = (TORCH_OPTIMIZERS, TIMM_OPTIMIZERS)


def entry_hash(graph: EntryGraph) -> str:
    """Return ``graph.hash``."""
    return graph.hash


def graph_hashes(graph: EntryGraph) -> Mapping[str, str]:
    """Return ``graph.graph_hashes``."""
    return graph.graph_hashes
