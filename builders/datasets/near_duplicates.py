"""Near-duplicates among images: pairs that are close, and groups that must stay in one split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx
import numpy as np

__all__ = ["close_pairs", "groups_of"]

#: Distances that are computed at once; those of 100,000 images do not fit in memory.
AT_ONCE = 2**26


def close_pairs(x: np.ndarray, share: float) -> list[tuple[int, int]]:
    """Return the pairs of rows whose distance is less than a share of the norm of the fainter one.

    Args:
        x: One row per image, (N, values), as differences from a ground: from white, or from the mean of the image.
        share: Share of the norm below which two images are near-duplicates.
    """
    energy = (x * x).sum(1)
    count = max(1, AT_ONCE // max(1, len(x)))
    found = []
    for start in range(0, len(x), count):
        rows, own = x[start : start + count], energy[start : start + count, None]
        distance = np.maximum(own + energy[None] - 2 * rows @ x.T, 0)
        close = distance < share**2 * np.minimum(own, energy[None])
        found += [(start + int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(close, start + 1)), strict=True)]
    return found


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
