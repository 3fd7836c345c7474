"""The plain network: one eager module per level, which walks through the nodes of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.baseline.layers import Attend, Attention, Embedding, Resnet, TextLayer, Up, einsum_attention
from specs.blocks import BLOCKS
from specs.graph import EntryGraph, Node, TextInput, input_channels

__all__ = ["PlainUNet", "load_from"]


class PlainText(nn.Module):
    """The text input: projection, self-attention and the pooled embedding."""

    def __init__(self, text: TextInput, time_width: int, attend: Attend) -> None:
        super().__init__()
        self.masked = text.mask_attention
        width = text.inner_width
        self.project = nn.Linear(text.width, width) if text.project else nn.Identity()
        self.layers = nn.ModuleList(TextLayer(width, attend) for _ in range(text.self_attention))
        self.pool = nn.Linear(width, time_width, bias=False) if text.pool else None

    def forward(self, text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | float]:
        """Map states (batch, tokens, width) and their mask to tokens (batch, tokens, D) and an embedding (batch, E)."""
        tokens = self.project(text)
        for layer in self.layers:
            tokens = layer(tokens, mask if self.masked else None)
        if self.pool is None:
            return tokens, 0.0
        weights = torch.ones_like(mask) if len(self.layers) and not self.masked else mask
        total = (weights[:, :, None] * tokens).sum(1)
        return tokens, self.pool(total / weights.sum(1, keepdim=True).clamp(min=1e-6))


class PlainLevel(nn.Module):
    """One level."""

    def __init__(self, graph: EntryGraph, index: int, attend: Attend) -> None:
        super().__init__()
        level = graph.levels[index]
        self.level, self.time_width, self.attend = level, graph.time_width, attend
        self.scene = graph.scene
        self.inner = graph.levels[index + 1] if index + 1 < len(graph.levels) else None
        larger = index > 0 and graph.levels[0].resolution > level.resolution
        automatic = larger and self.inner is not None
        self.normalize = automatic if level.normalize_input == "auto" else level.normalize_input
        self.masked = graph.text is not None and graph.text.mask_attention
        self.time = Embedding(graph.time_width)
        for micro in level.micro:
            self.add_module(f"micro_{micro.name}", Embedding(graph.time_width))
        self.stem = nn.Conv2d(level.channels, level.stem_width, 3, padding=1)
        self.reads_text = set[str]()
        channels = {"stem": level.stem_width}
        for node in level.nodes:
            in_channels = input_channels(node, channels)
            channels[node.name] = in_channels if node.block == "nest" else node.width
            self.add_module(node.name, self._module(node, in_channels))
        width = channels[level.head]
        self.head = nn.Module()
        self.head.norm = nn.GroupNorm(level.head_groups, width)
        self.head.conv = nn.Conv2d(width, level.channels, 3, padding=1)

    def _module(self, node: Node, in_channels: int) -> nn.Module:
        if node.block == "nest":
            nest = nn.Module()
            assert self.inner is not None
            nest.enter = nn.Conv2d(in_channels, self.inner.stem_width, 3, padding=1)
            nest.leave = nn.Conv2d(self.inner.feature_width, in_channels, 3, padding=1)
            return nest
        block = BLOCKS[node.block]
        args: Any = block.arguments(node.args)
        if node.block == "resnet":
            return Resnet(in_channels, node.width, self.time_width, args.groups, args.dropout)
        if node.block == "attention":
            reads = block.reads_text(args, self.scene)
            if reads:
                self.reads_text.add(node.name)
            text_width = self.scene.text_width if reads else None
            return Attention(node.width, args.heads, args.groups, text_width, args.feed_forward, self.attend)
        if node.block == "up":
            return Up(in_channels, node.width, args.factor)
        if node.block not in ("down", "conv"):
            raise ValueError(f"the baseline has no block {node.block}: it generates images only")
        convolution = nn.Module()
        kernel, stride = (3, args.factor) if node.block == "down" else (args.kernel, 1)
        convolution.conv = nn.Conv2d(in_channels, node.width, kernel, stride=stride, padding=kernel // 2)
        return convolution

    def embed(self, t: Tensor, condition: Tensor, micros: Mapping[str, Tensor]) -> Tensor:
        """Return the time embedding (batch, E) with conditions and micro inputs added."""
        time = self.time(t) + condition
        for micro in self.level.micro:
            value = torch.nan_to_num(micros[micro.name], nan=micro.default)
            scaled = value.clamp(max=micro.default) if micro.name == "scale" else 1000 * value
            time = time + self.get_submodule(f"micro_{micro.name}")(scaled)
        return time

    def merge(self, node: Node, values: Mapping[str, Tensor]) -> Tensor:
        """Return the input of a node."""
        inputs = [values[name] for name in node.inputs]
        if len(inputs) == 1:
            return inputs[0]
        if node.merge == "cat":
            return torch.cat(inputs, dim=1)
        return sum(inputs[1:], start=inputs[0]) / (len(inputs) if node.merge == "mean" else 1)


class PlainUNet(nn.Module):
    """A network of images, called as ``model(z, t, classes=..., text=..., text_mask=...)``.

    Args:
        graph: Checked graph of the entry.
        attend: Function that computes attention.

    Raises:
        ValueError: The entry generates clips.
    """

    def __init__(self, graph: EntryGraph, attend: Attend = einsum_attention) -> None:
        super().__init__()
        self.graph = graph
        self.inputs = nn.ModuleDict()
        if graph.text is not None:
            self.inputs["text"] = PlainText(graph.text, graph.time_width, attend)
        if graph.classes is not None:
            self.inputs["classes"] = nn.Module()
            self.inputs["classes"].embedding = nn.Embedding(graph.classes + 1, graph.time_width)
        self.levels = nn.ModuleDict(
            {level.label: PlainLevel(graph, index, attend) for index, level in enumerate(graph.levels)}
        )

    def forward(self, z: Sequence[Tensor], t: Tensor, **conditions: Tensor) -> list[Tensor]:
        """Predict v at every level.

        Args:
            z: Noisy images (rows, channels, height, width) of each level, outermost first; an outer level may have
                fewer rows.
            t: Time indices (rows of the innermost level,).
            **conditions: ``classes`` (rows,), ``text`` (rows, tokens, width), ``text_mask`` (rows, tokens), and micro
                inputs (rows,).
        """
        rows, device = len(z[-1]), z[0].device
        condition = torch.zeros(rows, self.graph.time_width, device=device)
        tokens = mask = None
        if self.graph.text is not None:
            mask = conditions["text_mask"].float()
            tokens, pooled = self.inputs["text"](conditions["text"], mask)
            condition = condition + pooled
        if self.graph.classes is not None:
            none = torch.full((rows,), self.graph.classes, device=device)
            condition = condition + self.inputs["classes"].embedding(conditions.get("classes", none))
        default = torch.full((rows,), float("nan"), device=device)
        names = {micro.name for level in self.graph.levels for micro in level.micro}
        micros = {name: conditions.get(name, default) for name in names}
        return self._run(0, z, t, None, condition, tokens, mask, micros)[0]

    def _run(
        self,
        index: int,
        z: Sequence[Tensor],
        t: Tensor,
        features: Tensor | None,
        condition: Tensor,
        tokens: Tensor | None,
        mask: Tensor | None,
        micros: Mapping[str, Tensor],
    ) -> tuple[list[Tensor], Tensor]:
        """Return the predictions of a level and those inside it, and the level's feature map."""
        x, level = z[index], self.graph.levels[index]
        part: Any = self.levels[level.label]
        rows = len(x)
        cut = {name: value[:rows] for name, value in micros.items()}
        time = part.embed(t[:rows], condition[:rows], cut)
        if part.normalize:
            x = x / x.std((1, 2, 3), keepdim=True)
        values = {"stem": part.stem(x) if features is None else part.stem(x) + features}
        inner: list[Tensor] = []
        for node in level.nodes:
            module, x = part.get_submodule(node.name), part.merge(node, values)
            if node.block == "nest":
                entering = functional.pad(module.enter(x), (0, 0, 0, 0, 0, 0, 0, len(z[index + 1]) - rows))
                inner, below = self._run(index + 1, z, t, entering, condition, tokens, mask, micros)
                values[node.name] = x + module.leave(below[:rows])
            elif node.block == "resnet":
                values[node.name] = module(x, time)
            elif node.block == "attention":
                text = tokens[:rows] if tokens is not None and node.name in part.reads_text else None
                values[node.name] = module(x, text, mask[:rows] if mask is not None and part.masked else None)
            else:
                values[node.name] = module.conv(x) if node.block in ("down", "conv") else module(x)
        found = values[level.head]
        prediction = part.head.conv(functional.silu(part.head.norm(found)))
        return [prediction, *inner], found


def load_from(plain: PlainUNet, weights: Mapping[str, Tensor]) -> PlainUNet:
    """Load weights of the zoo. The names are the same; 1x1 convolutions take the matrices of Linear layers.

    Args:
        plain: Network to load into.
        weights: State dict of a :class:`builders.networks.nested_unet.NestedUNet` of the same graph.
    """
    shapes = {name: value.shape for name, value in plain.state_dict().items()}
    plain.load_state_dict({name: value.reshape(shapes.get(name, value.shape)) for name, value in weights.items()})
    return plain
