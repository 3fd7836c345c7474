"""The explicit form: named nodes, with the sugar of ``from`` and ``repeat`` written out."""

from __future__ import annotations

from specs.errors import Problems
from specs.passes.draft import Draft, LevelDraft, Use, read_use
from specs.passes.stages import MAX_NODES
from specs.schemas.entry import GraphSpec, LevelSpec, NodeSpec, SourceSpec
from specs.syntax.yaml_tree import Entry, Mapping, Scalar, Tree, locate

__all__ = ["expand_graph"]


class _Graph:
    """Writes one level's nodes from its ``graph``."""

    def __init__(self, level: LevelSpec, tree: Mapping, problems: Problems) -> None:
        assert level.graph is not None
        self.level, self.tree, self.problems = level, tree, problems
        self.graph: GraphSpec = level.graph
        defaults = tree.get("defaults")
        self.defaults = defaults if isinstance(defaults, Mapping) else None
        self.nodes: list[Draft] = []

    def tree_of(self, name: str) -> Mapping:
        """What was written for a node."""
        tree = self.tree.get("graph").get(name)  # type: ignore[union-attr]
        assert isinstance(tree, Mapping)
        return tree

    def expand(self) -> LevelDraft | None:
        """Write the level; None where something is wrong."""
        before = len(self.problems)
        total = sum(node.repeat for node in self.graph.others.values())
        if total > MAX_NODES:
            message = f"this graph holds {total:,} blocks, where a level has at most {MAX_NODES:,}"
            self.problems.add("too-large", message, locate(self.tree, "graph", key=True))
            return None
        for name, node in self.graph.others.items():
            self.add(name, node)
        if self.graph.nest is not None:
            inputs = self.read("nest", self.graph.nest.sources)
            position = locate(self.tree, "graph", "nest", key=True)
            self.nodes.append(Draft("nest", "nest", None, (), inputs, None, position))
            self.single("nest", inputs)
        inputs = self.read("head", self.graph.head.sources)
        self.single("head", inputs)
        if len(self.problems) > before:
            return None
        groups = self.graph.head.groups or self.level.head.groups
        return LevelDraft(
            self.level.resolution,
            self.graph.stem.width,
            tuple(self.nodes),
            inputs[0],
            groups,
            locate(self.tree, "graph", key=True),
            locate(self.tree, "graph", "head", key=True),
        )

    def single(self, name: str, inputs: tuple[str, ...]) -> None:
        """Nest and head read one node."""
        if len(inputs) != 1:
            where = locate(self.tree, "graph", name, "from")
            self.problems.add("bad-value", f"node '{name}' reads one node, not {len(inputs)}", where)

    def add(self, name: str, node: NodeSpec) -> None:
        """Write a node, its resampled inputs before it and its repetitions."""
        tree = self.tree_of(name)
        position = locate(self.tree, "graph", name, key=True)
        use = read_use(tree, self.defaults, self.problems)
        inputs = self.read(name, node.sources)
        self.check_merge(name, node, inputs)
        if use is None:
            return
        merge = node.merge if len(inputs) > 1 else None
        for number in range(1, node.repeat + 1):
            own = name if number == node.repeat else f"{name}_{number}"
            self.nodes.append(Draft(own, use.block, node.width, use.args, inputs, merge, position))
            inputs, merge = (own,), None

    def check_merge(self, name: str, node: NodeSpec, inputs: tuple[str, ...]) -> None:
        """Several inputs and ``merge`` go together."""
        if len(inputs) > 1 and node.merge is None:
            message = f"node '{name}' reads {len(inputs)} nodes and needs 'merge': cat, add or mean"
            self.problems.add("missing-key", message, locate(self.tree, "graph", name, key=True))
        if len(inputs) == 1 and node.merge is not None:
            message = f"node '{name}' reads one node and has nothing to merge"
            self.problems.add("conflict", message, locate(self.tree, "graph", name, "merge", key=True))

    def read(self, name: str, sources: tuple[SourceSpec, ...]) -> tuple[str, ...]:
        """Names of what a node reads; resampling on the way becomes a node ``{name}_{way}``."""
        ways = [source.way for source in sources]
        seen: dict[str, int] = {}
        inputs = []
        for index, source in enumerate(sources):
            if source.way is None:
                inputs.append(source.node)
                continue
            number = str(seen.get(source.way, 0)) if ways.count(source.way) > 1 else ""
            seen[source.way] = seen.get(source.way, 0) + 1
            use = self.resampling(name, index, source, len(sources) > 1)
            if use is not None:
                own = f"{name}_{source.way}{number}"
                self.nodes.append(Draft(own, use.block, None, use.args, (source.node,), None, use.position))
                inputs.append(own)
            else:
                inputs.append(source.node)
        return tuple(inputs)

    def resampling(self, name: str, index: int, source: SourceSpec, listed: bool) -> Use | None:
        """The block that ``{down: NAME, args...}`` or ``{up: NAME, args...}`` stands for."""
        tree: Tree | None = self.tree_of(name).get("from")
        if listed or not isinstance(tree, Mapping):
            tree = tree.items[index]  # type: ignore[union-attr]
        assert isinstance(tree, Mapping) and source.way is not None
        entries = {key: entry for key, entry in tree.entries.items() if key != source.way}
        entries["block"] = Entry(tree.position, Scalar(source.way, tree.position))
        return read_use(Mapping(entries, tree.position), self.defaults, self.problems)


def expand_graph(level: LevelSpec, tree: Mapping, problems: Problems) -> LevelDraft | None:
    """The nodes of a level's ``graph``; None where something is wrong."""
    return _Graph(level, tree, problems).expand()
