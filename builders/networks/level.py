"""Building a level as a torch.fx GraphModule, and splitting it into encoder and denoiser."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn

from builders.blocks import build_block
from builders.networks.embeddings import MicroEmbedding, TimeEmbedding
from builders.networks.layers import AddFeatures, CatClips, ClipStem, CutRows, Head, Nest, NormalizeInput, TokenMask
from specs.blocks import BLOCKS, Scene
from specs.graph import LevelGraph, Node, input_channels

__all__ = ["build_level", "split_level"]

#: Inputs that change at every step of sampling. All others depend only on the prompt.
DYNAMIC = ("z", "t", "features", "inner")


class LevelBuilder:
    """Writes the fx graph of one level, node by node, and collects its modules.

    The graph's inputs are ``z`` (rows, channels, height, width), or (rows, channels, frames, height, width) in a level
    of clips, ``t`` (batch,), ``features`` in the shape of the stem if the level is nested, ``condition`` (batch, E),
    ``tokens`` (batch, tokens, D) and ``text_mask`` (batch, tokens) if a block attends to text, each micro input
    (batch,), and ``inner``, a function from features to (predictions, features), if the level nests another. It returns
    (predictions, features).
    """

    def __init__(
        self, level: LevelGraph, scene: Scene, *, around: LevelGraph | None, inner: LevelGraph | None, masked: bool
    ):
        self.level, self.scene, self.around, self.inner, self.masked = level, scene, around, inner, masked
        self.nested = around is not None
        self.root = nn.Module()
        self.graph = fx.Graph()
        self.values: dict[str, fx.Node] = {}
        self.channels: dict[str, int] = {"stem": level.stem_width}

    def build(self) -> fx.GraphModule:
        """Build the level."""
        self._write_inputs()
        self._write_stem()
        predictions: fx.Node | None = None
        for node in self.level.nodes:
            if node.block == "nest":
                predictions = self._write_nest(node)
            else:
                self._write_block(node)
        feature_map = self.values[self.level.head]
        head = Head(self.level.head_groups, self.channels[self.level.head], self.level.channels)
        prediction = self._call("head", head, feature_map)
        own: Any = (prediction,)
        if predictions is not None:
            own = self._apply("predictions", operator.add, ((prediction,), predictions))
        self.graph.output((own, feature_map))
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph, class_name=f"Level_{self.level.label}")

    def _apply(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], **options: Any) -> fx.Node:
        """Add a node that calls a function; fx makes its name unique among those of the spec."""
        return self.graph.create_node("call_function", function, args, options, name=name)

    def _call(self, name: str, module: nn.Module, *args: fx.Node, at: str | None = None) -> fx.Node:
        """Add a node that calls ``module``, and register it as ``name`` unless it is registered as ``at`` already."""
        if at is None:
            self.root.add_module(name, module)
        return self.graph.create_node("call_module", at or name, tuple(args), {}, name=name)

    def _write_inputs(self) -> None:
        attends = [node for node in self.level.nodes if self._reads_text(node)]
        names = ["z", "t"]
        if self.nested:
            names.append("features")
        names.append("condition")
        if attends:
            names.append("tokens")
        if attends and self.masked:
            names.append("text_mask")
        names += [micro.name for micro in self.level.micro]
        if self.inner is not None:
            names.append("inner")
        self.inputs = {name: self.graph.placeholder(name) for name in names}
        self.cut, self.joined = CutRows(), CatClips()
        condition = self.inputs["condition"]
        for micro in self.level.micro:
            module = MicroEmbedding(micro.name, micro.default, self.scene.time_width)
            embedded = self._call(f"micro_{micro.name}", module, self.inputs[micro.name])
            condition = self._apply("add_" + micro.name, operator.add, (condition, embedded))
        z = self.inputs["z"]
        self.root.add_module("rows", self.cut)
        t = self._call("t_rows", self.cut, self.inputs["t"], z, at="rows")
        condition = self._call("condition_rows", self.cut, condition, z, at="rows")
        self.time = self._call("time", TimeEmbedding(self.scene.time_width), t, condition)
        if "text_mask" in self.inputs:
            mask = self._call("token_mask", TokenMask(), self.inputs["text_mask"])
            self.mask = self._call("token_mask_rows", self.cut, mask, z, at="rows")

    def _write_stem(self) -> None:
        level = self.level
        x = self.inputs["z"]
        larger = self.around is not None and self.around.resolution > level.resolution
        automatic = larger and self.inner is not None
        if automatic if level.normalize_input == "auto" else level.normalize_input:
            x = self._call("normalize_input", NormalizeInput(), x)
        convolution = nn.Conv2d if level.frames == 1 else ClipStem
        stem = self._call("stem", convolution(level.channels, level.stem_width, 3, padding=1), x)
        if self.nested:
            stem = self._call("stem_features", AddFeatures(), stem, self.inputs["features"])
        self.values["stem"] = stem

    def _write_merge(self, node: Node) -> fx.Node:
        inputs = [self.values[name] for name in node.inputs]
        if len(inputs) == 1:
            return inputs[0]
        name = f"{node.name}_{node.merge}"
        if node.merge == "cat":
            if self.level.frames > 1:
                self.root.cat_clips = self.joined
                return self._call(name, self.joined, *inputs, at="cat_clips")
            return self._apply(name, torch.cat, (inputs,), dim=1)
        total = inputs[0]
        for position, value in enumerate(inputs[1:], start=1):
            total = self._apply(f"{name}{position}", operator.add, (total, value))
        if node.merge == "mean":
            total = self._apply(name, operator.truediv, (total, len(inputs)))
        return total

    def _reads_text(self, node: Node) -> bool:
        if node.block == "nest" or "text" not in BLOCKS[node.block].ports:
            return False
        return BLOCKS[node.block].reads_text(BLOCKS[node.block].arguments(node.args), self.scene)

    def _write_block(self, node: Node) -> None:
        in_channels = input_channels(node, self.channels)
        args = [self._write_merge(node)]
        self.root.add_module(node.name, build_block(node, in_channels, self.scene))
        if "time" in BLOCKS[node.block].ports:
            args.append(self.time)
        if self._reads_text(node):
            target = f"{node.name}.text"
            text = self._call(f"{node.name}_text", nn.Identity(), self.inputs["tokens"], at=target)
            args.append(self._call(f"{node.name}_text_rows", self.cut, text, self.inputs["z"], at="rows"))
            if self.masked:
                args.append(self.mask)
        self.values[node.name] = self.graph.create_node("call_module", node.name, tuple(args), {}, name=node.name)
        self.channels[node.name] = node.width

    def _write_nest(self, node: Node) -> fx.Node:
        assert self.inner is not None
        x = self._write_merge(node)
        width = input_channels(node, self.channels)
        images = self.inner.frames == 1
        module = Nest(width, self.inner.stem_width, self.inner.feature_width, images=images)
        both = self._call("nest", module, x, self.inputs["inner"])
        predictions = self._apply("inner_predictions", operator.getitem, (both, 0))
        self.values["nest"] = self._apply("nest_features", operator.getitem, (both, 1))
        self.channels["nest"] = width
        return predictions


def build_level(
    level: LevelGraph, scene: Scene, *, around: LevelGraph | None, inner: LevelGraph | None, masked: bool
) -> fx.GraphModule:
    """Build a level as a GraphModule.

    Args:
        level: Graph of the level.
        scene: Widths of the time embedding and the text tokens.
        around: Graph of the outermost level around it, which has the most pixels, if any.
        inner: Graph of the level inside it, if any.
        masked: Whether attention applies the token mask.
    """
    return LevelBuilder(level, scene, around=around, inner=inner, masked=masked).build()


def split_level(level: fx.GraphModule) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Split a level into the part that depends only on the prompt, and the part that runs at every step.

    A node is dynamic if it reads an input named in ``DYNAMIC``, directly or through other nodes. All others are static.

    Returns:
        The encoder, from the level's static inputs to a tuple of values, and the denoiser, from its dynamic inputs
        followed by these values to the level's result. Both share the level's modules.
    """
    dynamic: set[fx.Node] = set()
    for node in level.graph.nodes:
        if (node.op == "placeholder" and node.target in DYNAMIC) or any(n in dynamic for n in node.all_input_nodes):
            dynamic.add(node)
    static = [node for node in level.graph.nodes if node not in dynamic]
    # Static values that dynamic nodes read: the outputs of the encoder, and inputs of the denoiser.
    shared = [node for node in static if any(user in dynamic for user in node.users)]

    encoder = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in static:
        copies[node] = encoder.node_copy(node, copies.__getitem__)
    encoder.output(tuple(copies[node] for node in shared))

    denoiser = fx.Graph()
    inputs = [node for node in level.graph.nodes if node in dynamic and node.op == "placeholder"]
    copies = {node: denoiser.node_copy(node) for node in inputs}
    copies |= {node: denoiser.placeholder(node.name) for node in shared}
    for node in level.graph.nodes:
        if node in dynamic and node not in copies:
            copies[node] = denoiser.node_copy(node, copies.__getitem__)
    name = type(level).__name__
    return fx.GraphModule(level, encoder, f"{name}_encoder"), fx.GraphModule(level, denoiser, f"{name}_denoiser")


def input_names(module: fx.GraphModule) -> tuple[str, ...]:
    """Return the names of a GraphModule's inputs, in order."""
    return tuple(str(node.target) for node in module.graph.nodes if node.op == "placeholder")
