"""The folder of a training run: its state, its weights, its grids, and the lock that keeps a second run out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from builders.checkpoint import CheckpointError, read_tensors, save_weights, spec_metadata, write_tensors
from builders.images import save_image
from specs.graph import EntryGraph
from specs.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["RunFolder", "State"]


@dataclass(frozen=True)
class State:
    """Where a run stood: the phase, its steps done, and every tensor of it."""

    phase: str
    step: int
    tensors: Mapping[str, Tensor]

    def steps_done(self, recipe: Recipe) -> int:
        """Steps over all phases."""
        names = list(recipe.phases)
        return sum(recipe.phases[name].steps for name in names[: names.index(self.phase)]) + self.step

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``prefix/``, without it."""
        start = f"{prefix}/"
        return {name[len(start) :]: value for name, value in self.tensors.items() if name.startswith(start)}

    def restore(self, model: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put everything back where it was."""
        model.load_state_dict(self.part("model"))
        ema.load_state_dict(self.part("ema"))
        parts = {kind: self.part(f"optimizer/{kind}") for kind in ("step", "exp_avg", "exp_avg_sq")}
        for name, parameter in model.named_parameters():
            if name in parts["step"]:
                optimizer.state[parameter] = {
                    kind: part[name].clone().to(parameter.device) for kind, part in parts.items()
                }


class RunFolder:
    """A run's folder, locked while it is used as a context.

    Args:
        folder: where; made if it does not exist.
        recipe: the run's recipe; a folder that holds a run of another one is refused.
        entry: the whole entry that is trained.

    Raises:
        CheckpointError: on entering, if another process trains here; on reading, if the state is damaged or of
            another recipe or entry.
    """

    def __init__(self, folder: Path, recipe: Recipe, entry: EntryGraph) -> None:
        self.folder, self.recipe, self.entry = folder, recipe, entry
        self.state_path = folder / "state.safetensors"
        #: The moving average: what samples are drawn from.
        self.weights = folder / "ema.safetensors"
        self._lock: Any = None

    def __enter__(self) -> RunFolder:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.folder / ".lock", "w")
        except OSError as error:
            reason = f"cannot write here ({error.strerror}); choose another --out"
            raise CheckpointError(f"{self.folder}: {reason}") from None
        if not _lock(self._lock):
            self._lock.close()
            raise CheckpointError(f"{self.folder}: another process is training here; choose another --out")
        for stale in self.folder.glob(".*.tmp"):  # a run was killed while it wrote
            stale.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def read_state(self) -> State | None:
        """What an earlier call left, or None for a new run."""
        if not self.state_path.is_file():
            self._write_recipe()
            return None
        tensors, facts = read_tensors(self.state_path)
        if facts.get("kind") != "state":
            raise CheckpointError(f"{self.state_path}: not the state of a run")
        if facts.get("recipe_hash") != self.recipe.fingerprint():
            changes = _differences(json.loads(facts.get("recipe", "{}")), self.recipe.model_dump(mode="json"))
            raise CheckpointError(
                f"{self.folder}: holds a run of a recipe that differs in {', '.join(changes) or 'its values'}; "
                "give that recipe to go on with it, or another --out to start anew"
            )
        if facts.get("entry_graph_hash") != self.entry.graph_hash or facts.get("entry_hash") != self.entry.hash:
            raise CheckpointError(
                f"{self.folder}: holds a run of {facts.get('entry')} with hash {facts.get('entry_hash')}, but the "
                f"entry now has {self.entry.hash}: its spec changed; choose another --out"
            )
        return State(facts["phase"], int(facts["step"]), tensors)

    def write_state(
        self,
        phase: str,
        step: int,
        graph: EntryGraph,
        model: nn.Module,
        ema: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> Path:
        """Write the weights and then the state from which the run goes on; return the state's path."""
        tensors = {f"model/{name}": value for name, value in model.state_dict().items()}
        tensors |= {f"ema/{name}": value for name, value in ema.state_dict().items()}
        for name, parameter in model.named_parameters():
            for kind, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{kind}/{name}"] = torch.as_tensor(value)
        facts = {"recipe": self.recipe.model_dump(mode="json"), "phase": phase, "step": str(step)}
        save_weights(self.weights, graph, ema.state_dict(), {**facts, "data": self.recipe.data})
        metadata = {
            "kind": "state",
            "phase": phase,
            "step": str(step),
            "recipe": json.dumps(facts["recipe"]),
            "recipe_hash": self.recipe.fingerprint(),
            "entry_hash": self.entry.hash,
            "entry_graph_hash": self.entry.graph_hash,
            **spec_metadata(graph),
        }
        write_tensors(self.state_path, tensors, metadata)
        return self.state_path

    def write_grid(self, grid: Image, name: str) -> Path:
        """Write a picture of samples."""
        return save_image(grid, self.folder / "grids" / f"{name}.png")

    def _write_recipe(self) -> None:
        path = self.folder / "recipe.json"
        temporary = path.with_name(".recipe.json.tmp")
        temporary.write_text(json.dumps(self.recipe.model_dump(mode="json"), indent=2) + "\n")
        os.replace(temporary, path)


def _lock(file: Any) -> bool:
    """Take the lock of an open file, which falls with the process; True where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two recipes differ, and in what: ``optimizer.learning_rate (0.001, now 0.002)``."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if path or key not in ("name", "summary", "every")]
        return [found for key in keys for found in _differences(old.get(key), new.get(key), f"{path}.{key}".strip("."))]
    return [] if old == new else [f"{path} ({_shown(old)}, now {_shown(new)})"]


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)
