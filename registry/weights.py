"""Where the weights of an entry are: those in the package, or a checkpoint of the user's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from builders.checkpoints.shipped import shipped_weights
from registry.catalogue import get

if TYPE_CHECKING:
    import torch

    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder

__all__ = ["data_of", "find_weights", "load_weights", "text_encoder", "training_data"]


def find_weights(what: str) -> Path:
    """The file with the weights of an entry, or of a checkpoint's path.

    Raises:
        LookupError: no entry has this name.
        ValueError: the entry or folder has no weights.
    """
    path = Path(what)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
        # Beside the weights stand states to resume from, which hold them too, but not to share.
        weights = next((file for file in found if _holds_weights(file)), None)
        if weights is None:
            raise ValueError(f"{what}: no weights (.safetensors) in this folder")
        return weights
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ValueError(f"{what}: no such checkpoint")
        return path
    name = get(what).name
    shipped = shipped_weights(name)
    if shipped is None:
        raise ValueError(f"{name} comes without weights; train it (zoo train), then give the checkpoint's path")
    return shipped


def load_weights(what: str, device: torch.device | str = "cpu") -> tuple[NestedUNet, dict[str, str]]:
    """The trained network of an entry or a checkpoint, and what its file says of it.

    Raises:
        LookupError, ValueError: as :func:`find_weights`.
        CheckpointError: the file is damaged.
    """
    from builders.checkpoints.weights import load_checkpoint

    return load_checkpoint(find_weights(what), device=device)


def data_of(metadata: Mapping[str, str]) -> str | dict[str, float] | None:
    """What weights were trained on: a data set's name or path, several with weights, or None if they do not say."""
    recipe = json.loads(metadata.get("recipe", "{}"))
    # Whole paths; and the name of a mixture, which joins those of its parts, opens nothing.
    return recipe.get("data") or metadata.get("data")


def training_data(metadata: dict[str, str]) -> Dataset | Mixture | None:
    """The data that a checkpoint was trained on, if it is there."""
    from builders.data.errors import DataError
    from builders.data.open import open_dataset

    data = data_of(metadata)
    try:
        return open_dataset(data) if data else None
    except (DataError, OSError):
        return None


def text_encoder(model: NestedUNet, metadata: Mapping[str, str], name: str | None = None) -> TextEncoder | None:
    """The encoder of a network's prompts: the named one, or the one it was trained with; None if it reads no text.

    Raises:
        TextEncoderError: it is not at hand, or of another width.
    """
    if model.graph.text is None:
        return None
    from builders.text.encoder import EMBEDDED
    from builders.text.open import open_text_encoder

    recipe = json.loads(metadata.get("recipe", "{}"))
    return open_text_encoder(name or recipe.get("text_encoder") or EMBEDDED, model.graph.text, model.device)


def _holds_weights(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("kind") == "weights"
    except (SafetensorError, OSError):
        return False
