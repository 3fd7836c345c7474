"""Convert a published network to a spec and a safetensors file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from torch import Tensor

from builders.checkpoints.tensor_file import first_not_finite
from builders.checkpoints.weights import save_weights
from builders.files import write_text
from builders.networks.nested_unet import build_model
from builders.published.config import PublishedConfigError, to_mapping
from builders.published.config_file import read_config
from builders.published.state_dict import load_state_dict
from builders.published.torch_archive import read_state_dict
from specs.load import load_text

__all__ = ["convert"]


def convert(
    config: Path,
    checkpoint: Path,
    output: Path,
    *,
    name: str | None = None,
    text_width: int | None = None,
    state_dict: str | None = None,
) -> tuple[Path, Path]:
    """Write ``NAME.yaml`` and ``NAME.safetensors`` to a folder.

    Args:
        config: Published configuration of a network, JSON or YAML, or a training configuration with one in it.
        checkpoint: Published ``.pth``; only its tensors are read, nothing in it is executed.
        output: Folder, created if it does not exist.
        name: Name of the entry; by default that of the configuration file.
        text_width: Width of the text tokens; by default the width that the weights expect.
        state_dict: State dict to read, if the checkpoint has several.

    Returns:
        The paths of the spec and of the weights.

    Raises:
        ValueError: A file cannot be read, or configuration and weights do not fit; the message says how.
        OSError: The folder cannot be written.
    """
    name = name or _name(config)
    settings = read_config(config)
    # Check before reading: the configuration may be fine and the checkpoint gigabytes large.
    if not checkpoint.exists():
        raise ValueError(f"{checkpoint}: no such file")
    tensors = read_state_dict(checkpoint, state_dict)
    try:
        mapping = to_mapping(settings, text_width=text_width or _text_width(tensors), name=name)
    except PublishedConfigError as error:
        raise PublishedConfigError(f"{config}: {error}") from None
    text = yaml.safe_dump(mapping, sort_keys=False, default_flow_style=None, width=110)
    loaded = load_text(text, f"{name}.yaml")
    model = build_model(loaded.graph, initialize=False)
    load_state_dict(model, tensors)
    bad = first_not_finite(tensors)
    if bad is not None:
        raise ValueError(
            f"{checkpoint}: {bad} holds NaN or infinity; look for an earlier checkpoint, or the EMA weights"
        )
    spec_path, weights_path = output / f"{name}.yaml", output / f"{name}.safetensors"
    output.mkdir(parents=True, exist_ok=True)
    write_text(spec_path, text)
    save_weights(weights_path, loaded.graph, model.state_dict(), {"source": "published weights"})
    return spec_path, weights_path


def _name(config: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", config.stem).strip("-_")
    if not name:
        raise ValueError(f"{config}: no entry name can be derived from this file name; set one with --name")
    return name


def _text_width(tensors: Mapping[str, Tensor]) -> int | None:
    """Return the width of the text tokens that the weights expect, or None if no weight depends on it."""
    for pattern in (r"(inner_unet\.)*lm_proj\.weight", r".*kv_cond\.weight"):
        for key, tensor in tensors.items():
            if re.fullmatch(pattern, key) and tensor.dim() == 2:
                return tensor.shape[1]
    return None
