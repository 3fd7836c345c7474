"""``zoo.load``: a trained model with all that belongs to it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from specs.html_table import html_table
from specs.printable import printable
from zoo.api.drawing import Asked, draw_images

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from builders.diffusion.process import DiffusionProcess
    from builders.networks.conditioning import Context
    from builders.networks.nested_unet import NestedUNet
    from builders.text.encoder import TextEncoder
    from registry.entry import Entry

__all__ = ["Model", "load"]


@dataclass(frozen=True, repr=False, eq=False)
class Model:
    """A trained model: its network with weights, its entry, diffusion process and text encoder.

    It is called like its network: ``model(z, t, context)``.

    Attributes:
        network: Network with the weights, in evaluation mode.
        entry: Entry of the network; for a file or a run, the spec that the weights were saved with.
        metadata: Metadata of the weights: recipe, data, step, hashes, versions.
        path: File of the weights; None for a network that was built in Python.
    """

    network: NestedUNet
    entry: Entry
    metadata: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    @property
    def name(self) -> str:
        """Name of the entry."""
        return self.entry.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the levels, outermost first."""
        return self.network.labels

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return self.network.device

    @cached_property
    def process(self) -> DiffusionProcess:
        """Diffusion process: the noise schedule of every level."""
        from builders.diffusion.process import DiffusionProcess

        return DiffusionProcess(self.network.graph, self.device)

    @cached_property
    def text_encoder(self) -> TextEncoder | None:
        """Text encoder of the prompts, opened at first use; None if the network reads no text.

        Raises:
            TextEncoderError: The encoder that the network was trained with is not available.
        """
        from registry.weights import text_encoder

        return text_encoder(self.network, self.metadata)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index; empty if the network has no classes or their names are unknown."""
        from registry.weights import class_names, training_data

        count = self.network.graph.classes
        names = class_names(self.metadata, training_data(self.metadata)) if count is not None else None
        return names.classes if names is not None and len(names.classes) == count else ()

    def encode(self, **inputs: Any) -> Context:
        """Encode conditions once per prompt; arguments as :meth:`builders.networks.nested_unet.NestedUNet.encode`."""
        return self.network.encode(**inputs)

    def __call__(self, z: Sequence[Tensor], t: Any, context: Context | None = None, **inputs: Any) -> list[Tensor]:
        """Predict v at every level; arguments as :meth:`builders.networks.nested_unet.NestedUNet.forward`."""
        return self.network(z, t, context, **inputs)

    def sample(
        self,
        classes: Sequence[str | int] | str | int | None = None,
        prompts: Sequence[str] | str | None = None,
        *,
        n: int = 2,
        seed: int = 0,
        text_encoder: str | None = None,
        data: str | os.PathLike[str] | None = None,
        progress: bool = False,
        **settings: Any,
    ) -> dict[str, list[Any]]:
        """Draw images or clips at every level; arguments, result and errors as :func:`zoo.sample`."""
        asked = Asked.check(classes, prompts, n, seed, text_encoder, data, settings)
        return draw_images(asked, self.network, self.metadata, lambda: self.text_encoder, progress=progress)

    def __repr__(self) -> str:
        where = f", {self.path}" if self.path is not None else ""
        return printable(f"<Model {self.name}: levels {', '.join(self.labels)}, {self.device}{where}>")

    def _repr_html_(self) -> str:
        rows = [
            ("weights", self.path or "built in Python"),
            ("levels", ", ".join(self.labels)),
            ("device", self.device),
            ("hash", self.entry.hash),
            *((key, self.metadata[key]) for key in ("phase", "step") if key in self.metadata),
        ]
        return html_table(self.name, (), rows, self.entry.summary)


def load(what: str | os.PathLike[str] | Entry, device: torch.device | str | None = None) -> Model:
    """Load a trained model.

    Args:
        what: Name of an entry with pretrained weights, the folder of a run, a ``.safetensors`` file, or an entry.
        device: Device of the network. Default: a GPU if there is one, otherwise the CPU.

    Raises:
        LookupError: No entry has this name.
        ValueError: There are no weights or no such device, or the file is damaged (:class:`CheckpointError`).
        TypeError: This is neither a name, nor a path, nor an entry.
    """
    path = weights_path(what)

    from registry.entry import Entry
    from registry.weights import load_weights
    from specs.load import load_text
    from zoo.device import pick_device

    network, metadata = load_weights(path, pick_device(None if device is None else str(device)))
    entry = Entry(load_text(metadata["spec"], f"{path} (spec)", saved=True))
    return Model(network, entry, metadata, path)


def weights_path(what: object) -> Path:
    """Return the file of the weights that a name, a path or an entry means, without importing torch.

    Raises:
        LookupError, ValueError, TypeError: As for :func:`load`.
    """
    from registry.entry import Entry
    from registry.weights import find_weights

    if isinstance(what, Entry):
        if what.weights is None:
            raise ValueError(f"no pretrained weights fit {what.name}; train it with zoo.train")
        return what.weights
    if not isinstance(what, (str, os.PathLike)):
        raise TypeError(f"a model is loaded by the name of an entry or a path, not by {type(what).__name__}")
    return find_weights(what)
