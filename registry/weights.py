"""Weights by the name of an entry or the path of a checkpoint, and the data and text encoder they were trained with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from builders.checkpoints.shipped import file_facts, shipped_weights
from registry.catalogue import get

if TYPE_CHECKING:
    import torch

    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder

__all__ = [
    "data_of",
    "file_facts",
    "find_weights",
    "load_weights",
    "shipped_weights",
    "text_encoder",
    "training_data",
]


def find_weights(what: str | os.PathLike[str]) -> Path:
    """Return the file of some weights.

    Args:
        what: Name of an entry with pretrained weights, a ``.safetensors`` file, or a folder of them, of which the
            newest is taken.

    Raises:
        LookupError: No entry has this name.
        ValueError: The entry or folder has no weights, or those in the package do not fit the entry.
        TypeError: This is neither a name nor a path.
    """
    path = Path(what)
    if what and os.path.isdir(path):
        found = sorted(path.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
        # Training states, to resume from, are in the same folder.
        weights = next((file for file in found if _holds_weights(file)), None)
        if weights is None:
            raise ValueError(f"{what}: no weights (.safetensors) in this folder")
        return weights
    if path.suffix == ".safetensors":
        if not os.path.isfile(path):
            raise ValueError(f"{what}: no such checkpoint")
        return path
    entry = get(what)
    if entry.weights is not None:
        return entry.weights
    train = "train it with 'zoo train' and pass the checkpoint's path"
    if shipped_weights(entry.name) is None:
        raise ValueError(f"{entry.name} has no pretrained weights; {train}")
    raise ValueError(f"the pretrained weights of {entry.name} do not fit {what}, which has another structure; {train}")


def load_weights(what: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[NestedUNet, dict[str, str]]:
    """Return the trained network of an entry or a checkpoint, and the metadata of its file.

    Args:
        what: Entry, file or folder, as for :func:`find_weights`.
        device: Device of the network.

    Raises:
        LookupError, ValueError: As for :func:`find_weights`.
        CheckpointError: The file is damaged.
    """
    from builders.checkpoints.weights import load_checkpoint

    return load_checkpoint(find_weights(what), device=device)


def data_of(metadata: Mapping[str, str]) -> str | dict[str, float] | None:
    """Return the training data of weights: name or path of a dataset, several with weights, or None if unknown."""
    recipe = json.loads(metadata.get("recipe", "{}"))
    # The recipe has absolute paths and the parts of a mixture, whose own name cannot be opened.
    return recipe.get("data") or metadata.get("data")


def training_data(metadata: dict[str, str]) -> Dataset | Mixture | None:
    """Open the dataset that weights were trained on; return None if it is unknown or not available."""
    from builders.data.errors import DataError
    from builders.data.open import open_dataset

    data = data_of(metadata)
    try:
        return open_dataset(data) if data else None
    except (DataError, OSError):
        return None


def text_encoder(model: NestedUNet, metadata: Mapping[str, str], name: str | None = None) -> TextEncoder | None:
    """Open the encoder of a network's prompts; return None if the network reads no text.

    Args:
        model: Trained network.
        metadata: Metadata of its checkpoint.
        name: Name of the encoder. Default: the one that the network was trained with.

    Raises:
        TextEncoderError: The encoder is not available or has another width.
    """
    if model.graph.text is None:
        return None
    from builders.text.encoder import EMBEDDED
    from builders.text.open import open_text_encoder

    recipe = json.loads(metadata.get("recipe", "{}"))
    return open_text_encoder(name or recipe.get("text_encoder") or EMBEDDED, model.graph.text, model.device)


def _holds_weights(path: Path) -> bool:
    try:
        return file_facts(path).get("kind") == "weights"
    except (OSError, ValueError, TypeError, AttributeError):
        return False
