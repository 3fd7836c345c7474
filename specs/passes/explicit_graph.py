"""Expand ``graph``: write out repeated nodes and inputs with resampling."""

from __future__ import annotations

from specs.errors import Problems
from specs.passes.draft import Draft, LevelDraft, LevelWriter, Use
from specs.schemas.entry import GraphSpec, LevelSpec, NodeSpec, SourceSpec
from specs.syntax.merge import drop, put
from specs.syntax.yaml_tree import Mapping, Scalar, value_at

__all__ = ["expand_graph"]


class _Graph(LevelWriter):
    """Writes the nodes of a level from its ``graph``."""

    def expand(self, graph: GraphSpec) -> LevelDraft | None:
        """Return the draft of the level, or None if there are errors."""
        before = len(self.problems)
        if not self.check_size(sum(node.repeat for node in graph.others.values()), "graph"):
            return None
        for name, node in graph.others.items():
            self.add(name, node)
        if graph.nest is not None:
            inputs = self.read("nest", graph.nest.sources)
            self.nodes.append(Draft("nest", "nest", None, (), inputs, None, self.position("graph", "nest", key=True)))
            self.check_single("nest", inputs)
        inputs = self.read("head", graph.head.sources)
        self.check_single("head", inputs)
        if len(self.problems) > before:
            return None
        return LevelDraft(
            self.level.size,
            graph.stem.width,
            tuple(self.nodes),
            inputs[0],
            graph.head.groups or self.level.head.groups,
            self.position("graph", key=True),
            self.position("graph", "head", key=True),
        )

    def check_single(self, name: str, inputs: tuple[str, ...]) -> None:
        """Check that a node, which is nest or head, reads one node."""
        if len(inputs) != 1:
            self.error("bad-value", f"node '{name}' reads one node, not {len(inputs)}", "graph", name, "from")

    def add(self, name: str, node: NodeSpec) -> None:
        """Add a node with its repetitions, after the nodes that resample its inputs."""
        use = self.use(value_at(self.tree, "graph", name))
        inputs = self.read(name, node.sources)
        if len(inputs) > 1 and node.merge is None:
            message = f"node '{name}' reads {len(inputs)} nodes and needs 'merge': cat, add or mean"
            self.error("missing-key", message, "graph", name, key=True)
        if len(inputs) == 1 and node.merge is not None:
            message = f"node '{name}' reads one node and has nothing to merge"
            self.error("conflict", message, "graph", name, "merge", key=True)
        if use is None:
            return
        merge = node.merge if len(inputs) > 1 else None
        for number in range(1, node.repeat + 1):
            own = name if number == node.repeat else f"{name}_{number}"
            position = self.position("graph", name, key=True)
            self.nodes.append(Draft(own, use.block, node.width, use.args, inputs, merge, position, name))
            inputs, merge = (own,), None

    def read(self, name: str, sources: tuple[SourceSpec, ...]) -> tuple[str, ...]:
        """Return the names of a node's inputs; an input with resampling becomes a node such as ``{name}_down``."""
        ways = [source.way for source in sources]
        inputs = []
        for index, source in enumerate(sources):
            use = self.resampling(name, index, source)
            if use is None:
                inputs.append(source.node)
                continue
            number = str(ways[:index].count(source.way)) if ways.count(source.way) > 1 else ""
            inputs.append(f"{name}_{source.way}{number}")
            self.nodes.append(Draft(inputs[-1], use.block, None, use.args, (source.node,), None, use.position, name))
        return tuple(inputs)

    def resampling(self, name: str, index: int, source: SourceSpec) -> Use | None:
        """Return the block that ``{down: NAME, args...}`` or ``{up: NAME, args...}`` stands for."""
        if source.way is None:
            return None
        tree = value_at(self.tree, "graph", name, "from")
        tree = value_at(tree, index) or tree  # a list, or a single source
        assert isinstance(tree, Mapping)
        return self.use(put(drop(tree, source.way), "block", Scalar(source.way, tree.position)))


def expand_graph(level: LevelSpec, tree: Mapping, problems: Problems) -> LevelDraft | None:
    """Return the nodes of a level's ``graph``, or None if there are errors."""
    assert level.graph is not None
    return _Graph(level, tree, problems).expand(level.graph)
