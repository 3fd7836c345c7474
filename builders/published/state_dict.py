"""State dicts of the published networks, loaded under the names of this zoo; ``docs/published.md`` lists both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from builders.published.config import from_config
from specs.graph import LevelGraph

if TYPE_CHECKING:
    from builders.networks.nested_unet import NestedUNet

__all__ = ["PublishedWeightsError", "from_config", "load_state_dict", "parameter_names"]

#: Modules inside a block: published name to name here.
RESNET = {"time_layer": "time", "conv3": "shortcut"}
ATTENTION = {
    "qkv": "queries_keys_values",
    "norm_cond": "text.norm",
    "kv_cond": "text.keys_values",
    "proj_out": "out",
    "ffn.0": "feed_forward.norm",
    "ffn.1": "feed_forward.widen",
    "ffn.3": "feed_forward.narrow",
}
TEMPORAL_ATTENTION = {
    "attn.norm": "norm",
    "attn.qkv": "qkv",
    "attn.proj_out": "out",
    "mlp.main.0": "norm2",
    "mlp.main.1": "widen",
    "mlp.main.3": "narrow",
    "down_conv": "down",
    "up_conv": "up",
}
#: Blocks of a unit: published list to block and the names inside it.
BLOCKS = {
    "resnets": ("resnet", RESNET),
    "attn": ("attention", ATTENTION),
    "t_attn": ("temporal_attention", TEMPORAL_ATTENTION),
}
TOKEN_ATTENTION = {
    "attn.norm": "norm1",
    "attn.qkv": "queries_keys_values",
    "attn.proj_out": "out",
    "mlp.main.0": "norm2",
    "mlp.main.1": "widen",
    "mlp.main.3": "narrow",
}
LEVEL = {
    "temb_layer1": "time.linear1",
    "temb_layer2": "time.linear2",
    "conv_in": "stem",
    "norm_out": "head.norm",
    "conv_out": "head.conv",
    "in_adapter": "nest.enter",
    "out_adapter": "nest.leave",
}
INPUTS = {"lm_proj": "inputs.text.project", "cond_emb": "inputs.text.pool"}
MIDDLE = {("0", "resnets"): "middle0_resnet", ("0", "attn"): "middle1_attention", ("1", "resnets"): "middle2_resnet"}

BLOCK = re.compile(r"(down_blocks|up_blocks|mid_blocks)\.([0-9]{1,6})\.(resnets|attn|t_attn|resample)\.?(.*)")
UNIT = re.compile(r"(r\d+(?:f\d+)?)_(down|up)\d+_(resnet|attention|temporal_attention)(\d*)")
#: A constant of rotary positions, which some checkpoints hold.
CONSTANT = re.compile(r"(inner_unet\.)*(down|up)_blocks\.[0-9]+\.t_attn\.[0-9]+\.attn\.pos_emb\.freqs")


class PublishedWeightsError(ValueError):
    """A published state dict does not fit the model; the message lists the differences."""


class _Level:
    """Names within one level: its stages, finest first, and the number of blocks of a kind in a unit of each."""

    def __init__(self, level: LevelGraph) -> None:
        self.nodes = {node.name for node in level.nodes}
        units = [match for match in map(UNIT.fullmatch, (node.name for node in level.nodes)) if match]
        # Every stage has a unit on the way up, which goes from the coarsest to the finest.
        self.stages = list(dict.fromkeys(match[1] for match in reversed(units) if match[2] == "up"))
        self.counts: dict[tuple[str, str], int] = {}
        for match in units:
            unit = (match[1], match[3])
            self.counts[unit] = max(self.counts.get(unit, 0), int(match[4] or 0) + 1)

    def block(self, path: str, index: str, kind: str, rest: str) -> str | None:
        """Return the name here of the published ``{path}.{index}.{kind}.{rest}``, or None if there is none."""
        number, _, inside = rest.partition(".")
        if path == "mid_blocks":
            node = MIDDLE.get((index, kind)) if number == "0" else None
            return node and f"{node}.{_inside(inside, kind)}"
        position = int(index) if path == "down_blocks" else len(self.stages) - 1 - int(index)
        if not 0 <= position < len(self.stages):
            return None
        stage, way = self.stages[position], "down" if path == "down_blocks" else "up"
        if kind == "resample":
            in_time = f"{stage}_time_{way}sample"
            return f"{in_time if in_time in self.nodes else f'{stage}_{way}sample'}.conv.{rest}"
        if not re.fullmatch(r"[0-9]{1,6}", number):
            return None
        block = BLOCKS[kind][0]
        each = self.counts.get((stage, block), 0)
        if not each:
            return None
        unit, which = divmod(int(number), each)
        return f"{stage}_{way}{unit}_{block}{which if each > 1 else ''}.{_inside(inside, kind)}"


def _inside(name: str, kind: str) -> str:
    module, _, parameter = name.rpartition(".")
    return f"{BLOCKS[kind][1].get(module, module)}.{parameter}"


def parameter_names(model: NestedUNet, published: Mapping[str, object]) -> Iterator[tuple[str, str | None]]:
    """Yield each published name with the name of the same parameter here, except for constants.

    Args:
        model: Network to load.
        published: Published state dict.

    Yields:
        The published name, and the name here or None if the model has no such parameter.
    """
    labels = model.labels
    levels = [_Level(level) for level in model.graph.levels]
    for key in published:
        if CONSTANT.fullmatch(str(key)):
            continue
        name, depth = str(key), 0
        while name.startswith("inner_unet."):
            name, depth = name.removeprefix("inner_unet."), depth + 1
        ours = _translate(name, levels[depth]) if depth < len(levels) else None
        if ours is None or ours.startswith("inputs."):
            # Only the innermost network has the text and its projection.
            yield key, ours if depth == len(levels) - 1 else None
        else:
            yield key, f"levels.{labels[depth]}.{ours}"


def _translate(name: str, level: _Level) -> str | None:
    block = BLOCK.fullmatch(name)
    if block:
        return level.block(*block.groups())
    module, _, parameter = name.rpartition(".")
    if module in LEVEL:
        return f"{LEVEL[module]}.{parameter}"
    if module in INPUTS:
        return f"{INPUTS[module]}.{parameter}"
    micro = re.fullmatch(r"cond_layers\.(\w+)\.([01])", module)
    if micro:
        return f"micro_{micro[1]}.linear{int(micro[2]) + 1}.{parameter}"
    token = re.fullmatch(r"lm_head\.(\d+)\.(.+)", module)
    if token and token[2] in TOKEN_ATTENTION:
        return f"inputs.text.layers.{token[1]}.{TOKEN_ATTENTION[token[2]]}.{parameter}"
    return None


def load_state_dict(model: NestedUNet, state_dict: Mapping[str, Any]) -> None:
    """Load a state dict with the published names, which must have exactly the model's tensors.

    The weight of a 1x1 convolution (out, in, 1, 1) is loaded into the Linear layer (out, in) used here instead. The
    frequencies of rotary positions (``pos_emb.freqs``), constants that some checkpoints hold, are ignored.

    Args:
        model: Network to load.
        state_dict: Published state dict.

    Raises:
        PublishedWeightsError: Tensors are unknown, missing or have another shape; nothing is loaded.
    """
    own = model.state_dict()
    translated: dict[str, Tensor] = {}
    problems = []
    for key, name in parameter_names(model, state_dict):
        tensor = state_dict[key]
        if not isinstance(tensor, Tensor):
            problems.append(f"not a tensor: {key} is a {type(tensor).__name__}")
            continue
        if name is None or name not in own:
            problems.append(f"unknown: {key} {tuple(tensor.shape)} has no place in {model.graph.name}")
            continue
        shape = own[name].shape
        if tensor.dim() == 4 and len(shape) == 2 and tensor.shape[2:] == (1, 1):
            tensor = tensor[:, :, 0, 0]
        if tensor.shape != shape:
            problems.append(f"shape: {key} is {tuple(tensor.shape)}, {name} is {tuple(shape)}")
        translated[name] = tensor
    problems += [f"missing: nothing fills {name} {tuple(own[name].shape)}" for name in own if name not in translated]
    if problems:
        shown = problems[:40] + [f"... and {len(problems) - 40} more"] * (len(problems) > 40)
        raise PublishedWeightsError(
            f"the published weights do not fit {model.graph.name} ({len(problems)} differences):\n  "
            + "\n  ".join(shown)
        )
    model.load_state_dict(translated)
