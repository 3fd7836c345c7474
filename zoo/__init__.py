"""A zoo of Matryoshka diffusion models, each a few lines of YAML.

    import zoo

    zoo.list("mdm-*")                      # names
    entry = zoo.get("mdm-s1024")           # or a path to a YAML file
    entry.card()                           # parameters, MACs, FLOPs by level
    model = entry.build(device="meta")     # a torch.nn.Module

Importing this imports nothing else; torch comes with the first ``build``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import builtins
    import os

    import torch

    from builders.networks.nested_unet import NestedUNet
    from registry.entry import Entry
    from specs.graph import EntryGraph
    from specs.load import Loaded
    from specs.schemas.entry import EntrySpec

__all__ = ["Entry", "__version__", "build", "get", "list"]

__version__ = "0.1.0"


def list(
    pattern: str | None = None,
    *,
    kind: str | None = None,
    resolution: int | None = None,
    depth: int | None = None,
    parameters_below: int | None = None,
    conditioning: str | None = None,
    tag: str | None = None,
) -> builtins.list[str]:
    """Names of all entries in natural order, or of those that match all filters.

    Args:
        pattern: a glob such as ``mdm-*`` or ``*.in1k``, upper and lower case alike.
        kind: "image" or "video".
        resolution: side of the outermost level in pixels.
        depth: number of nested levels; 1 for a flat network.
        parameters_below: the number of parameters, inner levels included, is smaller than this.
        conditioning: "text", "classes" or "none".
        tag: what follows the dot in ``mdm-s256.in1k``.

    Raises:
        ValueError: a filter has no such value.
    """
    from registry.catalogue import list_names

    return list_names(
        pattern,
        kind=kind,
        resolution=resolution,
        depth=depth,
        parameters_below=parameters_below,
        conditioning=conditioning,
        tag=tag,
    )


def get(name_or_path: str | os.PathLike[str], overrides: builtins.list[str] | tuple[str, ...] = ()) -> Entry:
    """Look up an entry by name, or read one from a YAML file.

    Args:
        name_or_path: a name that :func:`list` gives, an alias, or a path to a YAML file. A name that an entry had
            before it was renamed is followed with a ``FutureWarning``.
        overrides: changes such as ``stages.r64.width=96``.

    Raises:
        LookupError: no entry has the name, or several may be meant; the message suggests those that come close.
        specs.errors.SpecError: the file is wrong (a ValueError whose text is the whole report).
    """
    from registry.catalogue import get

    return get(name_or_path, overrides)


def build(
    what: Entry | Loaded | EntrySpec | EntryGraph | str | os.PathLike[str],
    device: torch.device | str = "cpu",
    *,
    overrides: builtins.list[str] | tuple[str, ...] = (),
    initialize: bool = True,
) -> NestedUNet:
    """Build the network of an entry, with fresh weights.

    Args:
        what: an entry, a spec, a graph, a name or a path to a YAML file.
        device: where to put it; "meta" allocates nothing.
        overrides: changes such as ``stages.r64.width=96``, for a name or a path.
        initialize: False leaves weights uninitialised, for when they are about to be loaded.

    Raises:
        LookupError, specs.errors.SpecError: as :func:`get`.
    """
    from registry.catalogue import architecture

    graph = architecture(what, overrides)

    from builders.networks.nested_unet import build_model

    return build_model(graph, device=device, initialize=initialize)


def __getattr__(name: str) -> Any:
    if name == "Entry":
        from registry.entry import Entry

        return Entry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> builtins.list[str]:
    return sorted(__all__)
