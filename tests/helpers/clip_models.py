"""A small entry of clips with random weights: an image level inside 4 frames of 8 pixels inside 4 frames of 16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from builders.checkpoints.weights import save_weights
from builders.networks.nested_unet import NestedUNet, build_model
from specs.graph import EntryGraph
from specs.load import load_text
from tests.helpers import clip_runs
from tests.helpers.networks import randomise

__all__ = ["clip_checkpoint", "clip_graph", "clip_model"]

ENTRY = clip_runs.ENTRY.replace("classes: 2", "classes: 9")


def clip_graph() -> EntryGraph:
    """The graph of the entry: levels r16f4, r8f4 and r8, nine classes."""
    return load_text(ENTRY, "micro-v.yaml").graph


def clip_model() -> NestedUNet:
    """The network with random weights."""
    model: NestedUNet = randomise(build_model(clip_graph(), initialize=False))
    return model


def clip_checkpoint(path: Path, **metadata: Any) -> Path:
    """Write the weights of the network, which say that it was trained on moving emoji."""
    model = clip_model()
    save_weights(path, model.graph, model.state_dict(), {"data": "moving-emoji", **metadata})
    return path
