"""Near-duplicates among images: pairs that are close, and groups that must stay in one split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx
import numpy as np

__all__ = ["close_pairs", "groups_of"]


def close_pairs(x: np.ndarray, share: float) -> list[tuple[int, int]]:
    """Return the pairs of rows whose distance is less than a share of the norm of the fainter one.

    Args:
        x: One row per image, (N, values), as differences from a ground: from white, or from the mean of the image.
        share: Share of the norm below which two images are near-duplicates.
    """
    energy = (x * x).sum(1)
    distance = np.maximum(energy[:, None] + energy[None] - 2 * x @ x.T, 0)
    close = distance < share**2 * np.minimum(energy[:, None], energy[None])
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(close, 1)), strict=True)]


def groups_of(bases: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """Return the group of each sample: the smallest base among its variants and their near-duplicates.

    Args:
        bases: Base of each sample; samples with equal bases are variants of one another.
        pairs: Indices of samples that are near-duplicates.
    """
    graph = networkx.Graph([(bases[i], bases[j]) for i, j in pairs])
    graph.add_nodes_from(bases)
    groups = {name: min(part) for part in networkx.connected_components(graph) for name in part}
    return [groups[name] for name in bases]
