"""The published config format, a network's fields nested by ``inner_config``, read into a spec."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builders.published.fields import PublishedConfigError, integer, integers, shown
from builders.published.temporal import (
    check_temporal,
    in_time,
    outer_size,
    stage_sizes,
    temporal_blocks,
    temporal_defaults,
)
from specs.blocks import Size
from specs.schemas.entry import MAX_PIXELS

if TYPE_CHECKING:
    from specs.load import Loaded

__all__ = ["PublishedConfigError", "from_config", "to_mapping"]

#: Fields with their supported values. Other values give networks that this zoo does not build.
FIXED = {
    "skip_inner_unet_input": (False, None),
    "interp_conditioning": (False, None),
}


def from_config(
    config: Mapping[str, Any],
    text_width: int | None = None,
    *,
    tokens: int = 128,
    name: str = "published",
    resolution: int | None = None,
) -> Loaded:
    """Read a network in the published config format.

    Args:
        config: Fields, as in the published JSON.
        text_width: Width of the text encoder's states, which the format leaves open (-1). None for no text.
        tokens: Number of tokens of a prompt. Used for costs only.
        name: Name of the entry.
        resolution: Resolution of the innermost level in pixels. Default: the ``scale`` input of that level.

    Returns:
        The spec and its graph, for ``zoo.build``.

    Raises:
        PublishedConfigError: A field is missing, malformed or not supported; the message names it.
        SpecError: The network cannot be built.
    """
    from specs.load import load_mapping

    mapping = to_mapping(config, text_width, tokens=tokens, name=name, resolution=resolution)
    return load_mapping(mapping, f"{name} (published config)")


def to_mapping(
    config: Mapping[str, Any],
    text_width: int | None = None,
    *,
    tokens: int = 128,
    name: str = "published",
    resolution: int | None = None,
) -> dict[str, Any]:
    """Return the spec of a published network as plain data, as in YAML; arguments as :func:`from_config`."""
    configs = list(_chain(config))
    if resolution is None:
        resolution = _innermost_resolution(configs)
    sizes = [Size(resolution)]
    for outer in reversed(configs[:-1]):
        sizes.insert(0, outer_size(outer, sizes[0]))
    level: dict[str, Any] | None = None
    for depth in reversed(range(len(configs))):
        level = _level(configs, depth, sizes, level, text_width, tokens)
    assert level is not None
    return {"name": name, **level}


def _innermost_resolution(configs: list[Mapping[str, Any]]) -> int:
    """Return the default of the innermost ``scale``, or the smallest side that all stages divide if it does not fit.

    The format does not store the resolution, and the network, being convolutional, does not depend on it.
    """
    halvings = [0 if in_time(config) else len(integers(config, "resolution_channels")) - 1 for config in configs]
    attends = any(any(temporal_blocks(config)) for config in configs)
    # Attention over frames works on a grid of half the side.
    smallest = max(2 ** halvings[-1], 2 if attends else 1)
    scale = _micro(configs[-1]).get("scale", 64.0)
    fits = scale.is_integer() and scale >= 1 and int(scale) % smallest == 0
    return int(scale) if fits and scale * 2 ** sum(halvings[:-1]) <= MAX_PIXELS else smallest


def _chain(config: Any) -> list[Mapping[str, Any]]:
    configs = []
    while config is not None:
        if not isinstance(config, Mapping):
            raise PublishedConfigError(f"a published config is a mapping of fields, not {type(config).__name__}")
        configs.append(config)
        if len(configs) > 32:
            raise PublishedConfigError("inner_config nests more than 32 networks")
        config = config.get("inner_config")
    return configs


def _level(
    configs: list[Mapping[str, Any]],
    depth: int,
    sizes: list[Size],
    inner: dict[str, Any] | None,
    text_width: int | None,
    tokens: int,
) -> dict[str, Any]:
    """Return the spec of a network, without its name.

    Args:
        configs: All configs, outermost first.
        depth: Index of the network in ``configs``.
        sizes: Pixels and frames of all networks.
        inner: Spec of the network inside it, or None for the innermost one.
        text_width: Width of the text encoder's states, or None for no text.
        tokens: Number of tokens of a prompt.
    """
    config, size = configs[depth], sizes[depth]
    _refuse_unsupported(config, innermost=inner is None)
    check_temporal(config, size, innermost=inner is None)
    own = _innermost(config, text_width, tokens) if inner is None else _outer(configs, depth, sizes, inner)
    frames = {"frames": size.frames} if size.frames > 1 else {}
    result = {"resolution": size.side, **frames, **own, "defaults": _defaults(config)}
    groups = result["defaults"].get("resnet", {}).get("groups", 32)
    if groups != 32:
        result["head"] = {"groups": groups}
    result["stages"] = _stages(config, size)
    return {key: value for key, value in result.items() if value != {}}


def _innermost(config: Mapping[str, Any], text_width: int | None, tokens: int) -> dict[str, Any]:
    """Return what only the innermost level declares: inputs, time width and middle blocks."""
    inputs: dict[str, Any] = {}
    if text_width is not None and text_width > 0:
        inputs["text"] = _text(config, text_width, tokens)
    inputs |= {key: {"default": value} for key, value in _micro(config).items()}
    result: dict[str, Any] = {"inputs": inputs}
    if config.get("temporal_dim"):
        result["time"] = {"width": integer(config, "temporal_dim")}
    if config.get("skip_mid_blocks"):
        result["middle"] = []
    return result


def _outer(configs: list[Mapping[str, Any]], depth: int, sizes: list[Size], inner: dict[str, Any]) -> dict[str, Any]:
    """Return what only an outer level declares: defaults of micro inputs, normalization, and the level inside it."""
    config, innermost = configs[depth], configs[-1]
    micro = _micro(config)
    if set(micro) != set(_micro(innermost)):
        raise PublishedConfigError("micro_conditioning of an outer network has other inputs than the innermost one")
    if _time_width(config) != _time_width(innermost):
        raise PublishedConfigError("temporal_dim differs between levels; all share one time width")
    result: dict[str, Any] = {"inputs": {key: {"default": value} for key, value in micro.items()}}
    normalize, automatic = not config.get("skip_normalization", False), sizes[0].side > sizes[depth].side
    if normalize != automatic:
        result["normalize_input"] = normalize
    return result | {"nest": inner}


def _time_width(config: Mapping[str, Any]) -> Any:
    return config.get("temporal_dim") or 4 * integers(config, "resolution_channels")[0]


def _text(config: Mapping[str, Any], text_width: int, tokens: int) -> dict[str, Any]:
    text: dict[str, Any] = {"width": text_width, "tokens": tokens}
    project = -1
    if config.get("conditioning_feature_proj_dim") is not None:
        project = integer(config, "conditioning_feature_proj_dim")
    if project > 0:
        text["project"] = project
    if config.get("num_lm_head_layers"):
        text["self_attention"] = integer(config, "num_lm_head_layers")
    # By default, published networks apply the mask.
    if config.get("masked_cross_attention", 1):
        text["mask_attention"] = True
    return text


def _defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    resnet_config = config.get("resnet_config") or {}
    if not isinstance(resnet_config, Mapping):
        raise PublishedConfigError(f"resnet_config: expected a mapping, got {shown(resnet_config)}")
    resnet: dict[str, Any] = {}
    if resnet_config.get("num_groups_norm", 32) != 32:
        resnet["groups"] = integer(resnet_config, "num_groups_norm")
    dropout = resnet_config.get("dropout") or 0.0
    if not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        raise PublishedConfigError(f"dropout: expected a number from 0 to 1, got {shown(dropout)}")
    if dropout:
        resnet["dropout"] = float(dropout)
    attention = {"feed_forward": True} if resnet_config.get("use_attention_ffn") else {}
    named = {"resnet": resnet, "attention": attention, "temporal_attention": temporal_defaults(config)}
    return {name: args for name, args in named.items() if args}


def _stages(config: Mapping[str, Any], size: Size) -> dict[str, Any]:
    widths = integers(config, "resolution_channels")
    depths = integers(config, "num_resnets_per_resolution", len(widths))
    counts = integers(config, "num_attention_layers", len(widths))
    attending = [] if config.get("attention_levels") in (None, "") else integers(config, "attention_levels")
    outside = [index for index in attending if not 0 <= index < len(widths)]
    if outside:
        raise PublishedConfigError(f"attention_levels: {outside[0]} is not one of the {len(widths)} stages, from 0")
    stages = {}
    sizes, temporal = stage_sizes(config, size), temporal_blocks(config)
    for index, name in enumerate(sizes):
        stage: dict[str, Any] = {"width": widths[index], "depth": depths[index]}
        count = counts[index] if index in attending else 0
        if temporal[index]:
            stage["blocks"] = ["resnet"] + ["attention"] * count + temporal[index]
        elif count:
            stage["attention"] = count
        stages[name] = stage
    return stages


def _refuse_unsupported(config: Mapping[str, Any], *, innermost: bool) -> None:
    for field, allowed in FIXED.items():
        if config.get(field) not in allowed:
            raise PublishedConfigError(f"{field}: {shown(config[field])} is not supported; supported: {allowed[0]!r}")
    if innermost and config.get("skip_cond_emb"):
        raise PublishedConfigError("skip_cond_emb: true is not supported in the innermost network")
    if not innermost and not config.get("skip_mid_blocks", True):
        raise PublishedConfigError("skip_mid_blocks: false is not supported in an outer network")


def _micro(config: Mapping[str, Any]) -> dict[str, float]:
    """Return the micro inputs with their defaults, written as ``scale:64,aspect:1`` in the config."""
    text = config.get("micro_conditioning")
    if text is not None and not isinstance(text, str):
        raise PublishedConfigError(f"micro_conditioning: expected text such as 'scale:64', got {shown(text)}")
    result: dict[str, float] = {}
    for part in filter(None, (text or "").split(",")):
        key, colon, value = part.partition(":")
        try:
            result[key.strip()] = float(value)
        except ValueError:
            raise PublishedConfigError(f"micro_conditioning: {shown(part)} is not NAME:NUMBER") from None
        if not colon or not math.isfinite(result[key.strip()]):
            raise PublishedConfigError(f"micro_conditioning: {shown(part)} is not NAME:NUMBER")
    return result
