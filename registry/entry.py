"""An entry of the zoo: one model with its spec, graph, costs and weights, described without building it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """A model of the zoo: its spec, graph and costs, and the network on demand.

    Entries are cheap: only :meth:`build` and :meth:`load` import torch. Entries with equal names and hashes are equal.

    Args:
        loaded: Result of :func:`specs.load.load_entry`.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def name(self) -> str:
        """Name in the zoo."""
        return self.architecture.name

    @property
    def summary(self) -> str:
        """One line about the entry."""
        return self.architecture.summary

    @property
    def resolution(self) -> int:
        """Side of the generated images in pixels."""
        return self.architecture.resolution

    @property
    def frames(self) -> int:
        """Frames of the generated clips; 1 for images."""
        return self.architecture.frames

    @property
    def spec(self) -> EntrySpec:
        """The frozen spec, with references resolved and overrides applied."""
        return self._loaded.spec

    @property
    def architecture(self) -> EntryGraph:
        """The explicit, frozen graph that builders and costs read."""
        return self._loaded.graph

    @property
    def sources(self) -> tuple[Path, ...]:
        """Files that the entry was read from, its own first."""
        return self._loaded.sources

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on how the spec was expanded, such as rounded widths."""
        return self._loaded.notes

    @property
    def hash(self) -> str:
        """Hash of structure, inputs and diffusion process, 16 hex digits."""
        return self.architecture.hash

    @property
    def graph_hash(self) -> str:
        """Hash of structure and inputs: weights fit if it is equal."""
        return self.architecture.graph_hash

    @property
    def graph_hashes(self) -> Mapping[str, str]:
        """For each level, the hash of that level and its inner levels, equal to the graph hash of that entry alone."""
        return self.architecture.graph_hashes

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the levels, outermost first."""
        return self.architecture.labels

    @cached_property
    def graph(self) -> networkx.DiGraph:
        """The acyclic graph of all levels, for networkx; nodes have names such as ``r64/r64_down0_resnet``.

        Nodes have the attributes ``block``, ``width``, ``resolution``, ``frames``, ``args`` and ``level``. A nested
        level runs from the inputs of the outer level's ``nest`` node to that node.
        """
        import networkx

        graph = networkx.DiGraph(name=self.name)
        for level in self.architecture.levels:
            _add_level(graph, level)
        for outer, inner in zip(self.architecture.levels, self.architecture.levels[1:], strict=False):
            nest = f"{outer.label}/nest"
            graph.add_edges_from([(outside, f"{inner.label}/stem") for outside in graph.predecessors(nest)])
            graph.add_edge(f"{inner.label}/{inner.head}", nest)
        return networkx.freeze(graph)

    def card(self, **sampling: Any) -> Card:
        """Return identity and costs by level, from the blocks' rules; no weights are allocated.

        Args:
            sampling: Sampler settings, such as ``sampler="dpm++"`` and ``num_inference_steps=20``
                (:class:`specs.schemas.sampling.SamplerSettings`). With any of them, the card also has the cost of a
                sample drawn this way.

        Raises:
            ValueError: A setting is out of range.
        """
        from registry.costs.card import make_card
        from registry.costs.sampling import sampling_cost

        return make_card(self.architecture, sampling_cost(self.architecture, **sampling) if sampling else None)

    def expanded_yaml(self) -> str:
        """Return the spec with all short forms written out, as YAML; it loads to the same hash."""
        from specs.load import expanded_yaml

        return expanded_yaml(self._loaded)

    def build(self, device: torch.device | str = "cpu", *, initialize: bool = True) -> NestedUNet:
        """Build the network with fresh weights.

        Args:
            device: Device of the network; ``"meta"`` allocates nothing.
            initialize: Whether to initialize the weights; False if they are about to be loaded.

        Raises:
            ValueError: There is no such device.
        """
        from builders.networks.nested_unet import build_model

        return build_model(self.architecture, device=device, initialize=initialize)

    @property
    def weights(self) -> Path | None:
        """File of the pretrained weights in the package; None if there are none that fit."""
        from builders.checkpoints.shipped import file_facts, shipped_weights

        path = shipped_weights(self.name)
        return path if path is not None and file_facts(path).get("graph_hash") == self.graph_hash else None

    def load(self, device: torch.device | str = "cpu") -> NestedUNet:
        """Build the network with the pretrained weights in the package, in evaluation mode.

        Other weights are loaded by :func:`builders.checkpoints.weights.load_checkpoint`.

        Args:
            device: Device of the network.

        Raises:
            ValueError: There are no pretrained weights, or the entry was changed and they do not fit.
        """
        path = self.weights
        if path is None:
            raise ValueError(f"no pretrained weights fit {self.name}; train it with 'zoo train'")
        from builders.checkpoints.weights import load_checkpoint

        return load_checkpoint(path, self.architecture, device)[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.name, self.hash) == (other.name, other.hash)

    def __hash__(self) -> int:
        return hash((self.name, self.hash))

    def __repr__(self) -> str:
        return f"<Entry {self.name}: {self.architecture.size.short}, levels {', '.join(self.labels)}, hash {self.hash}>"

    def _repr_html_(self) -> str:
        return self.card()._repr_html_()


def _add_level(graph: networkx.DiGraph, level: LevelGraph) -> None:
    sizes = shapes(level) | {"head": (level.channels, level.size)}
    nodes: list[tuple[str, str, dict[str, Any], Sequence[str]]] = [("stem", "stem", {}, ())]
    nodes += [(node.name, node.block, dict(node.args), node.inputs) for node in level.nodes]
    nodes.append(("head", "head", {"groups": level.head_groups}, (level.head,)))
    for name, block, args, inputs in nodes:
        width, size = sizes[name]
        path = f"{level.label}/{name}"
        facts = {"resolution": size.side, "frames": size.frames, "args": args, "level": level.label}
        graph.add_node(path, block=block, width=width, **facts)
        graph.add_edges_from((f"{level.label}/{each}", path) for each in inputs)
