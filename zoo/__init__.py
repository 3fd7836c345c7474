"""A zoo of Matryoshka diffusion models, each a few lines of YAML.

    import zoo

    zoo.list("mdm-*")                      # names
    entry = zoo.get("mdm-s1024")           # or a path to a YAML file
    entry.card()                           # parameters, MACs, FLOPs by level
    network = entry.build(device="meta")   # a torch.nn.Module

    model = zoo.load("mdm-nano")           # with weights; also the folder of a run, or a file
    zoo.sample(model, classes=["flags"])   # PIL images by level
    zoo.plan("micro-test")                 # memory, FLOPs and time of a training
    zoo.train("micro-test")                # the weights' path
    zoo.evaluate(model, samples=100)       # FID, KID and similar metrics

The names are defined in ``registry`` and ``zoo.api`` and imported at their first use; torch is imported by the first
function that computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.catalogue import build, get
    from registry.catalogue import list_names as list
    from registry.entry import Entry
    from zoo.api.evaluate import evaluate
    from zoo.api.model import Model, load
    from zoo.api.plan import plan
    from zoo.api.sample import sample
    from zoo.api.train import train

__all__ = ["Entry", "Model", "__version__", "build", "evaluate", "get", "list", "load", "plan", "sample", "train"]

__version__ = "0.2.0"

#: Modules and names that the public names stand for.
_DEFINED = {
    "Entry": ("registry.entry", "Entry"),
    "Model": ("zoo.api.model", "Model"),
    "build": ("registry.catalogue", "build"),
    "evaluate": ("zoo.api.evaluate", "evaluate"),
    "get": ("registry.catalogue", "get"),
    "list": ("registry.catalogue", "list_names"),
    "load": ("zoo.api.model", "load"),
    "plan": ("zoo.api.plan", "plan"),
    "sample": ("zoo.api.sample", "sample"),
    "train": ("zoo.api.train", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _DEFINED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, defined = _DEFINED[name]
    return globals().setdefault(name, getattr(import_module(module), defined))


def __dir__() -> list[str]:  # type: ignore[valid-type]
    return sorted(__all__)
