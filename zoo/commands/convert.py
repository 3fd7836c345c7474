"""``zoo convert``: a published network becomes a spec and a safetensors file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builders.files import write_text

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["convert"]

MAX_CONFIG_BYTES = 1_000_000


def convert(
    config: Path,
    checkpoint: Path,
    output: Path,
    *,
    name: str | None = None,
    text_width: int | None = None,
    state_dict: str | None = None,
) -> None:
    """Write ``NAME.yaml`` and ``NAME.safetensors`` into a folder.

    Args:
        config: published configuration, JSON or YAML.
        checkpoint: published ``.pth``; its tensors alone are read, nothing in it is executed.
        output: the folder, made if it is not there.
        name: of the entry; by default that of the configuration file.
        text_width: width of the text tokens; by default what the weights were made for.
        state_dict: which of several state dicts in the checkpoint.

    Raises:
        ValueError: a file cannot be read, or configuration and weights do not fit; the message says how.
        OSError: the folder cannot be written.
    """
    from builders.published.torch_archive import read_state_dict

    name = name or _name(config)
    settings = _read_config(config)
    # Before a file is opened that may have gigabytes: a wrong path should not cost minutes.
    if not checkpoint.exists():
        raise ValueError(f"{checkpoint}: no such file")
    tensors = read_state_dict(checkpoint, state_dict)
    width = text_width or _text_width(tensors)
    for path in write(settings, tensors, output, name=name, text_width=width):
        print(f"wrote {path}")


def write(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], output: Path, *, name: str, text_width: int | None
) -> tuple[Path, Path]:
    """Write the spec of a published configuration, and its network filled with published tensors.

    Returns:
        The paths of the spec and of the weights.

    Raises:
        ValueError: the configuration is not one this zoo builds, or the tensors do not fit it.
    """
    import yaml

    from builders.checkpoints.weights import save_weights
    from builders.networks.nested_unet import build_model
    from builders.published.config import to_mapping
    from builders.published.state_dict import load_state_dict
    from specs.load import load_text

    mapping = to_mapping(settings, text_width=text_width, name=name)
    text = yaml.safe_dump(mapping, sort_keys=False, default_flow_style=None, width=110)
    loaded = load_text(text, f"{name}.yaml")
    model = build_model(loaded.graph, initialize=False)
    load_state_dict(model, tensors)
    spec_path, weights_path = output / f"{name}.yaml", output / f"{name}.safetensors"
    output.mkdir(parents=True, exist_ok=True)
    write_text(spec_path, text)
    save_weights(weights_path, loaded.graph, model.state_dict(), {"source": "published weights"})
    return spec_path, weights_path


def _name(config: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", config.stem).strip("-_")
    if not name:
        raise ValueError(f"{config}: no name can be made of this; give one with --name")
    return name


def _read_config(path: Path) -> Mapping[str, Any]:
    """A JSON or YAML mapping, as plain data.

    Raises:
        ValueError: it is neither.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ValueError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes, no network configuration")
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8 text") from None
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: not JSON ({error})") from None
    else:
        from specs.syntax.yaml_tree import parse_text, plain

        value = plain(parse_text(text, str(path)))
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a network configuration is a mapping")
    return value


def _text_width(tensors: Mapping[str, Tensor]) -> int | None:
    """Width of the text tokens that the weights were made for, if they tell."""
    for key, tensor in tensors.items():
        if re.fullmatch(r"(inner_unet\.)*lm_proj\.weight", key) and tensor.dim() == 2:
            return tensor.shape[1]
    for key, tensor in tensors.items():
        if key.endswith("kv_cond.weight") and tensor.dim() == 2:
            return tensor.shape[1]
    return None
