"""The temporal fields of a published config, read into a spec.

A network in time halves the frames from stage to stage, a network in space the pixels. Both treat every frame as an
image; only attention over frames and the steps in time mix them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builders.published.fields import PublishedConfigError, integers, shown
from specs.blocks import Size

__all__ = ["check_temporal", "in_time", "outer_size", "stage_sizes", "temporal_blocks", "temporal_defaults"]

#: Channels of a head of attention over frames, and how much smaller the grid is that it works on.
HEAD_WIDTH, FACTOR = 32, 2


def in_time(config: Mapping[str, Any]) -> bool:
    """Return whether the stages of a network halve the frames and not the pixels."""
    return _flag(config, "temporal_mode") and not _flag(config, "temporal_spatial_ds")


def outer_size(config: Mapping[str, Any], inner: Size) -> Size:
    """Return the size of a network from that of the network inside it."""
    steps = 2 ** (_stages(config) - 1)
    if in_time(config):
        return Size(inner.side, inner.frames * steps)
    return Size(inner.side * steps, inner.frames)


def stage_sizes(config: Mapping[str, Any], size: Size) -> dict[str, Size]:
    """Return the size of each stage by its name, finest first: rN, and rNfM in a network of clips.

    Raises:
        PublishedConfigError: The pixels cannot be halved as often.
    """
    result = {}
    for index in range(_stages(config)):
        if in_time(config):
            stage = Size(size.side, size.frames // 2**index)
        elif size.side % 2**index:
            raise PublishedConfigError(f"{size.side} pixels cannot be halved {index} times")
        else:
            stage = Size(size.side // 2**index, size.frames)
        result[f"r{stage.side}" if size.frames == 1 else f"r{stage.side}f{stage.frames}"] = stage
    return result


def temporal_blocks(config: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the temporal attention blocks of a unit of each stage, as in the list ``blocks`` of a stage.

    Raises:
        PublishedConfigError: Their number is malformed, or heads of 32 channels do not fit.
    """
    field = "num_temporal_attention_layers"
    widths = integers(config, "resolution_channels")
    if config.get(field) is None:
        return [[] for _ in widths]
    result = []
    for width, count in zip(widths, integers(config, field, len(widths)), strict=True):
        if count and width % HEAD_WIDTH:
            message = f"{width} channels cannot be divided into heads of {HEAD_WIDTH}, as attention over frames does"
            raise PublishedConfigError(f"resolution_channels: {message}")
        result.append([{"block": "temporal_attention", "heads": width // HEAD_WIDTH} for _ in range(count)])
    return result


def temporal_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that all temporal attention blocks of a network share; none if it has no such block."""
    if not any(temporal_blocks(config)):
        return {}
    positions = {} if _flag(config, "temporal_positional_encoding") else {"positions": "none"}
    return {"factor": FACTOR, **positions}


def check_temporal(config: Mapping[str, Any], size: Size, *, innermost: bool) -> None:
    """Check that a network's temporal fields describe one that this zoo builds.

    Args:
        config: Fields of the network.
        size: Its pixels and frames.
        innermost: Whether it has no network inside.

    Raises:
        PublishedConfigError: They do not; the message names the field.
    """
    clips = _flag(config, "temporal_mode")
    if clips and innermost:
        raise PublishedConfigError("temporal_mode: true is not supported in the innermost network")
    if not clips and size.frames > 1:
        raise PublishedConfigError(f"temporal_mode: false is not supported around a network of {size.frames} frames")
    if in_time(config) and _stages(config) % 2 == 0:
        message = f"a network in time has an odd number of stages, not {_stages(config)}"
        raise PublishedConfigError(f"resolution_channels: {message}")
    if any(temporal_blocks(config)) and not in_time(config):
        message = "attention over frames is supported only in a network in time"
        raise PublishedConfigError(f"num_temporal_attention_layers: {message}")


def _stages(config: Mapping[str, Any]) -> int:
    return len(integers(config, "resolution_channels"))


def _flag(config: Mapping[str, Any], field: str) -> bool:
    value = config.get(field)
    if value is not None and not isinstance(value, bool):
        raise PublishedConfigError(f"{field}: expected true or false, got {shown(value)}")
    return bool(value)
