"""A training step of a network on a tape: what :class:`builders.networks.nested_unet.NestedUNet` computes, by sizes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from registry.costs.totals import node_inputs
from specs.blocks import BLOCKS, Size
from specs.blocks.base import Use, record_convolution, record_feed_forward
from specs.blocks.tape import Tape, Value
from specs.graph import EntryGraph, LevelGraph, Node

__all__ = ["record_step"]


def record_step(
    graph: EntryGraph, tape: Tape, *, frozen: Collection[str] = (), checkpointed: Collection[str] = ()
) -> Mapping[str, Value]:
    """Record a forward pass with its losses on a tape, and return the loss of each level by its label.

    Args:
        graph: Levels that are trained.
        tape: Empty tape.
        frozen: Labels of the levels that are not trained.
        checkpointed: Labels of the levels whose blocks are checkpointed.
    """
    recorder = _Recorder(graph, tape, frozen, checkpointed)
    recorder.run()
    return recorder.losses


class _Recorder:
    def __init__(self, graph: EntryGraph, tape: Tape, frozen: Collection[str], checkpointed: Collection[str]) -> None:
        self.graph, self.tape, self.frozen, self.checkpointed = graph, tape, frozen, checkpointed
        self.losses: dict[str, Value] = {}
        self.condition: Value | None = None
        self.tokens: Value | None = None

    def run(self) -> None:
        """Record the inputs, then all levels."""
        self._enter(self.graph.levels[-1])
        self._record_inputs()
        self._record_level(0, None)

    def _enter(self, level: LevelGraph, rows: str | None = None) -> None:
        """Record operations of a level, for the rows of another one if they run once per prompt."""
        self.tape.label, self.tape.trained = rows or level.label, level.label not in self.frozen

    # --- inputs

    def _record_inputs(self) -> None:
        tape, graph = self.tape, self.graph
        self.condition = tape.value(graph.time_width)
        text = graph.text
        if text is not None:
            width, count = text.inner_width, text.tokens
            tokens = tape.value(text.width * count)
            if text.project:
                tokens = tape.linear(tokens, width * count, text.width, width)
            for _ in range(text.self_attention):
                tokens = self._record_token_attention(tokens, width, count)
            self.tokens = tokens
            if text.pool:
                mean = tape.copy(tape.full(tokens), width)
                if tokens.half:
                    mean = tape.lower(mean)
                pooled = tape.linear(mean, graph.time_width, width, graph.time_width, bias=False)
                self.condition = tape.add(self.condition, pooled)
        if graph.classes is not None:
            embedded = tape.value(graph.time_width, grad=tape.trained)
            self.condition = tape.add(self.condition, embedded)

    def _record_token_attention(self, x: Value, width: int, count: int, heads: int = 8) -> Value:
        tape = self.tape
        joined = tape.copy(tape.linear(tape.norm(x, 2 * count), 3 * width * count, width, 3 * width))
        queries, keys, values = (tape.view(joined, width * count) for _ in range(3))
        h = tape.copy(tape.attend(queries, keys, values, items=count, heads=heads, tokens=count))
        x = tape.add(x, tape.linear(h, width * count, width, width))
        return record_feed_forward(tape, x, width, count, 2 * count)

    def _record_embedding(self) -> Value:
        """Record sinusoids, a linear layer, SiLU and a linear layer."""
        tape, width = self.tape, self.graph.time_width
        hidden = tape.linear(tape.value(width // 4), width, width // 4, width)
        return tape.linear(tape.activation(hidden), width, width, width)

    # --- levels

    def _record_level(self, index: int, features: Value | None) -> Value:
        """Record a level with those inside it, and return its feature map."""
        level, tape = self.graph.levels[index], self.tape
        innermost = self.graph.labels[-1]
        self._enter(level, innermost)
        condition = self.condition
        assert condition is not None
        for _ in level.micro:
            condition = tape.add(condition, self._record_embedding())
        texts = self._record_texts(level)
        self._enter(level)
        time = tape.activation(tape.add(self._record_embedding(), condition))
        z = tape.value(level.channels * level.size.positions)
        stem = record_convolution(tape, z, level.channels, level.stem_width, 9, level.size.positions)
        maps = {"stem": stem if features is None else tape.add(stem, features)}
        for node, in_channels, size in node_inputs(level):
            x = self._merged(node, maps)
            if node.block == "nest":
                maps[node.name] = self._record_nest(index, x, in_channels, size)
                self._enter(level)
                continue
            block = BLOCKS[node.block]
            use = Use(
                block.arguments(node.args), in_channels, node.width, size, self.graph.scene,
                time if "time" in block.ports else None, texts.get(node.name),
            )  # fmt: skip
            if level.label in self.checkpointed:
                with tape.checkpointed([each for each in (x, use.time, use.text) if each is not None]):
                    maps[node.name] = block.record(tape, x, use)
            else:
                maps[node.name] = block.record(tape, x, use)
        self._record_head(level, maps[level.head])
        return maps[level.head]

    def _record_texts(self, level: LevelGraph) -> dict[str, Value]:
        """Record what blocks compute of the text, by the name of their node."""
        texts = {}
        for node, in_channels, size in node_inputs(level):
            if node.block == "nest" or "text" not in BLOCKS[node.block].ports or self.tokens is None:
                continue
            block = BLOCKS[node.block]
            args = block.arguments(node.args)
            if block.reads_text(args, self.graph.scene):
                use = Use(args, in_channels, node.width, size, self.graph.scene)
                texts[node.name] = block.record_text(self.tape, self.tokens, use)
        return texts

    def _merged(self, node: Node, maps: Mapping[str, Value]) -> Value:
        inputs = [maps[name] for name in node.inputs]
        if len(inputs) == 1:
            return inputs[0]
        if node.merge == "cat":
            return self.tape.join(*inputs)
        total = self.tape.add(*inputs)
        return self.tape.copy(total) if node.merge == "mean" else total

    def _record_nest(self, index: int, x: Value, width: int, size: Size) -> Value:
        tape, inner = self.tape, self.graph.levels[index + 1]
        entering = record_convolution(tape, x, width, inner.stem_width, 9, size.positions)
        tape.label = inner.label
        padded = tape.copy(entering)  # rows of zeros are added
        features = self._record_level(index + 1, padded)
        self._enter(self.graph.levels[index])
        leaving = record_convolution(tape, features, inner.feature_width, width, 9, size.positions)
        return tape.add(x, leaving)

    def _record_head(self, level: LevelGraph, x: Value) -> None:
        """Record the head, and the squared error of its prediction in float32."""
        tape = self.tape
        if level.label in self.checkpointed:
            with tape.checkpointed([x]):
                prediction = self._head(level, x)
        else:
            prediction = self._head(level, x)
        self.losses[level.label] = tape.activation(tape.copy(tape.full(prediction)))

    def _head(self, level: LevelGraph, x: Value) -> Value:
        normed = self.tape.norm(x, 2 * level.head_groups * level.frames)
        h = self.tape.activation(normed)
        return record_convolution(self.tape, h, level.feature_width, level.channels, 9, level.size.positions)
