"""An entry of the zoo: one model, looked up by name or read from a file, described without building it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs.graph import EntryGraph, LevelGraph, shapes

if TYPE_CHECKING:
    import networkx
    import torch

    from builders.networks.nested_unet import NestedUNet
    from registry.costs.card import Card
    from specs.load import Loaded
    from specs.schemas.entry import EntrySpec

__all__ = ["Entry"]


class Entry:
    """A model of the zoo: its spec, its graph, its costs, and the network on demand.

    Entries are cheap: nothing here imports torch except :meth:`build`. Two entries are equal if their hashes are.

    Args:
        loaded: what :func:`specs.load.load_entry` gives.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def name(self) -> str:
        """Its name in the zoo."""
        return self.architecture.name

    @property
    def summary(self) -> str:
        """One line on what it is."""
        return self.architecture.summary

    @property
    def resolution(self) -> int:
        """Side of the images it makes, in pixels."""
        return self.architecture.resolution

    @property
    def spec(self) -> EntrySpec:
        """The frozen spec, references resolved and overrides applied."""
        return self._loaded.spec

    @property
    def architecture(self) -> EntryGraph:
        """The explicit graph as the frozen value that builders and costs read."""
        return self._loaded.graph

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files it was read from, its own first."""
        return self._loaded.sources

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how it came about, such as widths that were rounded."""
        return self._loaded.notes

    @property
    def hash(self) -> str:
        """Hash of structure, inputs and diffusion process (16 hex digits)."""
        return self.architecture.hash

    @property
    def graph_hash(self) -> str:
        """Hash of structure and inputs: where it is equal, weights fit."""
        return self.architecture.graph_hash

    @property
    def graph_hashes(self) -> Mapping[str, str]:
        """By level, the hash of that level with all inside it: that of the inner entry on its own."""
        return self.architecture.graph_hashes

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the levels, outermost first."""
        return self.architecture.labels

    @cached_property
    def graph(self) -> networkx.DiGraph:
        """The graph of all levels, acyclic; nodes are called ``r64/r64_down0_resnet``.

        Every node carries ``block``, ``width``, ``resolution``, ``args`` and ``level``. A nested level hangs between
        the node that its outer level nests on and the outer level's ``nest`` node.
        """
        import networkx

        graph = networkx.DiGraph(name=self.name)
        for level in self.architecture.levels:
            _add_level(graph, level)
        for outer, inner in zip(self.architecture.levels, self.architecture.levels[1:], strict=False):
            nest = f"{outer.label}/nest"
            for outside in list(graph.predecessors(nest)):
                graph.add_edge(outside, f"{inner.label}/stem")
            graph.add_edge(f"{inner.label}/{inner.head}", nest)
        return networkx.freeze(graph)

    def card(self, **sampling: Any) -> Card:
        """Identity and costs by level; counted by the blocks' rules, no weights allocated.

        Args:
            sampling: settings of :func:`registry.costs.sampling.sampling_cost`, such as ``sampler="dpm++"`` and
                ``num_inference_steps=20``; with any of them the card also has the cost of a sample drawn so.

        Raises:
            ValueError: a setting out of range.
        """
        from registry.costs.card import make_card
        from registry.costs.sampling import sampling_cost

        return make_card(self.architecture, sampling_cost(self.architecture, **sampling) if sampling else None)

    def expanded_yaml(self) -> str:
        """The spec with every short form written out; it loads again to the same hash."""
        from specs.load import expanded_yaml

        return expanded_yaml(self._loaded)

    def build(self, device: torch.device | str = "cpu", *, initialize: bool = True) -> NestedUNet:
        """The network with fresh weights.

        Args:
            device: where to put it; "meta" allocates nothing.
            initialize: False leaves weights uninitialised, for when they are about to be loaded.
        """
        from builders.networks.nested_unet import build_model

        return build_model(self.architecture, device=device, initialize=initialize)

    @property
    def weights(self) -> Path | None:
        """The weights that come with the package, if there are any and they fit."""
        from builders.checkpoints.shipped import file_facts, shipped_weights

        path = shipped_weights(self.name)
        return path if path is not None and file_facts(path).get("graph_hash") == self.graph_hash else None

    def load(self, device: torch.device | str = "cpu") -> NestedUNet:
        """The network with the weights that come with the package, in evaluation mode.

        Weights of one's own: :func:`builders.checkpoints.weights.load_checkpoint`.

        Raises:
            ValueError: there are none, or the entry was changed so that they do not fit.
        """
        path = self.weights
        if path is None:
            raise ValueError(f"{self.name} comes without weights that fit it; train it (zoo train)")
        from builders.checkpoints.weights import load_checkpoint

        return load_checkpoint(path, self.architecture, device)[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.name, self.hash) == (other.name, other.hash)

    def __hash__(self) -> int:
        return hash((self.name, self.hash))

    def __repr__(self) -> str:
        return f"<Entry {self.name}: {self.resolution} px, levels {', '.join(self.labels)}, hash {self.hash}>"


def _add_level(graph: networkx.DiGraph, level: LevelGraph) -> None:
    sizes = shapes(level)

    def add(name: str, block: str, width: int, resolution: int, args: Mapping[str, Any]) -> None:
        attributes = {"block": block, "width": width, "resolution": resolution, "args": args, "level": level.label}
        graph.add_node(f"{level.label}/{name}", **attributes)

    add("stem", "stem", *sizes["stem"], {})
    for node in level.nodes:
        add(node.name, node.block, *sizes[node.name], dict(node.args))
        for name in node.inputs:
            graph.add_edge(f"{level.label}/{name}", f"{level.label}/{node.name}")
    add("head", "head", level.channels, level.resolution, {"groups": level.head_groups})
    graph.add_edge(f"{level.label}/{level.head}", f"{level.label}/head")
