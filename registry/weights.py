"""Weights by the name of an entry or the path of a checkpoint, and the data and text encoder they were trained with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.checkpoints.file_kinds import OTHERS, SAFETENSORS, describe_weights, kind_of
from builders.checkpoints.header import read_header
from builders.checkpoints.shipped import file_facts, shipped_weights
from builders.files import open_regular
from registry.catalogue import get
from registry.provenance import OwnMetadata, marked, open_named
from specs.errors import quote

if TYPE_CHECKING:
    import torch

    from builders.data.classes import ClassNames
    from builders.data.dataset import Dataset
    from builders.data.mixture import Mixture
    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder

__all__ = [
    "class_names",
    "data_of",
    "file_facts",
    "find_weights",
    "load_weights",
    "recipe_of",
    "shipped_weights",
    "text_encoder",
    "trained_steps",
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
            found = [*found, *(file for suffix in OTHERS for file in sorted(path.glob(f"*{suffix}")))]
            why = f"; {found[0].name} is {describe_weights(found[0]) or 'damaged'}" if found else ""
            if (path / "state.safetensors").is_file():  # weights are written again, also for a finished run
                why = "; it holds the state of a run: run its 'zoo train' command again, which writes the weights"
            raise ValueError(f"{what}: no weights (.safetensors) in this folder{why}")
        return weights
    if path.suffix == ".safetensors" or path.suffix.lower() in OTHERS or _is_safetensors(path):
        if not os.path.isfile(path):
            raise ValueError(f"{what}: no such checkpoint")
        if not _is_safetensors(path):
            read_header(path)  # says what it is
        return path
    entry = get(what)
    if entry.weights is not None:
        return entry.weights
    train = "train it with 'zoo train' and pass the checkpoint's path, or choose one of 'zoo list --weights'"
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

    path = find_weights(what)
    _check_memory(path, device)
    model, metadata = load_checkpoint(path, device=device)
    return model, marked(path, metadata)


def _check_memory(path: Path, device: torch.device | str) -> None:
    """Check that a device can hold a network and one sample, by the spec in the header of its weights."""
    from registry.costs.machine import check_sampling
    from specs.errors import SpecError
    from specs.load import load_text

    try:
        graph = load_text(str(file_facts(path)["spec"]), str(path), saved=True).graph
    except (OSError, LookupError, ValueError, TypeError, AttributeError, SpecError):  # reported when the file is read
        return
    check_sampling(graph, device)


def recipe_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the recipe in the metadata of weights as plain data; empty if there is none that can be read."""
    try:
        found = json.loads(metadata.get("recipe", "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def trained_steps(metadata: Mapping[str, str]) -> int | None:
    """Return the training steps of weights over all phases; None if unknown.

    Version 0.1 stored only those of the last phase, under ``step``. The recipe has those of the phases before it,
    unless they were limited by hours.
    """
    total, step = _count(metadata.get("total_steps")), _count(metadata.get("step"))
    phases, last = recipe_of(metadata).get("phases"), metadata.get("phase")
    if total is not None or step is None or not isinstance(phases, dict) or last not in phases:
        return step if total is None else total
    before = list(phases.values())[: list(phases).index(last)]
    steps = [phase.get("steps") if isinstance(phase, dict) else None for phase in before]
    known = [each for each in steps if type(each) is int]
    return step + sum(known) if len(known) == len(steps) else None


def _count(text: object) -> int | None:
    """Return a whole number that is written as text, or None."""
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 19 else None


def data_of(metadata: Mapping[str, str], key: str = "data") -> str | dict[str, float] | None:
    """Return the training data of weights: name or path of a dataset, several with weights, or None if unknown.

    Args:
        metadata: Metadata of the weights.
        key: Key of the recipe: "data", or "images" for those that only image levels were trained on.
    """
    # The recipe has absolute paths and the parts of a mixture, whose own name cannot be opened.
    found = recipe_of(metadata).get(key) or metadata.get(key)
    if isinstance(found, dict):
        numbers = all(isinstance(weight, (int, float)) for weight in found.values())
        return {str(name): float(weight) for name, weight in found.items()} if numbers else None
    return found if isinstance(found, str) and found else None


def training_data(metadata: Mapping[str, str]) -> Dataset | Mixture | None:
    """Open the dataset that weights were trained on; return None if it is unknown or not available.

    Its classes have the order in which the weights know them. Nothing is downloaded. Data that is not packaged is
    opened only if the weights are in the folder of their run, see :mod:`registry.provenance`.
    """
    from builders.data.classes import ClassNames, sorted_as_text, with_classes

    what = data_of(metadata)
    data = open_named(metadata, what) if what else None
    if data is None:
        return None
    names = ClassNames.parse(metadata.get("classes", ""), "")
    return sorted_as_text(data) if names is None else with_classes(data, names.classes)


def class_names(metadata: Mapping[str, str], data: Dataset | Mixture | None) -> Dataset | Mixture | ClassNames | None:
    """Return what knows the names of the classes of weights, for :class:`builders.sampling.plan.Plan`.

    Args:
        metadata: Metadata of the weights; its names come first.
        data: Training data, if it is available.
    """
    from builders.data.classes import ClassNames

    return ClassNames.parse(metadata.get("classes", ""), metadata.get("entry", "the model")) or data


def text_encoder(model: NestedUNet, metadata: Mapping[str, str], name: str | None = None) -> TextEncoder | None:
    """Open the encoder of a network's prompts; return None if the network reads no text.

    Args:
        model: Trained network.
        metadata: Metadata of its checkpoint.
        name: Name of the encoder. Default: the one that the network was trained with. It is not downloaded, and if it
            is not packaged, it is opened only if the weights are in the folder of their run.

    Raises:
        TextEncoderError: The encoder is not available, may not be opened, or has another width.
    """
    if model.graph.text is None:
        return None
    from builders.text.encoder import EMBEDDED, TextEncoderError
    from builders.text.open import open_text_encoder

    trained = str(recipe_of(metadata).get("text_encoder") or EMBEDDED)
    if name is None and trained != EMBEDDED and not isinstance(metadata, OwnMetadata):
        raise TextEncoderError(
            f"the weights name the text encoder {quote(trained)}, which is not opened unless you name it: "
            f"--text-encoder (text_encoder= in Python), if you trust it"
        )
    return open_text_encoder(name or trained, model.graph.text, model.device, fetch=name is not None)


def _is_safetensors(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return kind_of(file.read(9)) == SAFETENSORS
    except (OSError, ValueError):
        return False


def _holds_weights(path: Path) -> bool:
    try:
        return file_facts(path).get("kind") == "weights"
    except (OSError, ValueError, TypeError, AttributeError):
        return False
