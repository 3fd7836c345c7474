"""The folder of a training run: its state, its weights, its grids, and the lock that keeps a second run out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, read_tensors, write_tensors
from builders.checkpoints.weights import save_weights, spec_metadata
from builders.files import TEMPORARY, file_lock, write_text
from builders.pictures import save_image
from builders.training.retention import FOLDER as KEPT
from builders.training.retention import keep_best, keep_state, states
from builders.training.state import RunProgress, TrainingState
from specs.graph import EntryGraph
from specs.recipe_identity import facts as recipe_facts
from specs.recipe_identity import fingerprint, fingerprint_of_earlier_versions, written
from specs.schemas.recipe import Recipe

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["RunFolder"]


class RunFolder:
    """A run's folder, locked while it is used as a context.

    Args:
        folder: where; made if it does not exist.
        recipe: the run's recipe; a folder that holds a run of another one is refused.
        entry: the whole entry that is trained.
        main: whether this process is the one that writes; the others only read.

    Raises:
        CheckpointError: on entering, if another process trains here; on reading, if the state is damaged or of
            another recipe or entry.
    """

    def __init__(self, folder: Path, recipe: Recipe, entry: EntryGraph, *, main: bool = True) -> None:
        self.folder, self.recipe, self.entry, self.main = folder, recipe, entry, main
        self.state_path = folder / "state.safetensors"
        #: The moving average: what samples are drawn from.
        self.weights = folder / "ema.safetensors"
        self._locked = contextlib.ExitStack()

    def __enter__(self) -> RunFolder:
        if not self.main:
            return self
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = self._locked.enter_context(file_lock(self.folder / ".lock", wait=False))
        except OSError as error:
            reason = f"cannot write here ({error.strerror}); choose another --out"
            raise CheckpointError(f"{self.folder}: {reason}") from None
        if not free:
            raise CheckpointError(f"{self.folder}: another process is training here; choose another --out")
        for pattern in (TEMPORARY, f"*/{TEMPORARY}"):  # a run was killed while it wrote
            for stale in self.folder.glob(pattern):
                stale.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._locked.close()

    def read_state(self) -> TrainingState | None:
        """What an earlier call left, or None for a new run."""
        if not self.state_path.is_file():
            self._refuse_other_weights()
            return None
        try:
            tensors, facts = read_tensors(self.state_path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}\n{self._advice()}") from None
        if facts.get("kind") != "state":
            raise CheckpointError(f"{self.state_path}: not the state of a run")
        changes = self._recipe_changes(facts)
        if changes:
            raise CheckpointError(
                f"{self.folder}: holds a run of a recipe that differs in {changes}; "
                "give that recipe to go on with it, or another --out to start anew"
            )
        if facts.get("entry_graph_hash") != self.entry.graph_hash or facts.get("entry_hash") != self.entry.hash:
            raise CheckpointError(
                f"{self.folder}: holds a run of {facts.get('entry')} with hash {facts.get('entry_hash')}, but the "
                f"entry now has {self.entry.hash}: its spec changed; choose another --out"
            )
        if "standing" not in facts:
            raise CheckpointError(f"{self.folder}: holds a run of an older version of the zoo; choose another --out")
        try:
            standing = RunProgress(**json.loads(facts["standing"]))
        except TypeError:
            newer = "holds a run of a newer version of the zoo; go on with that, or choose another --out"
            raise CheckpointError(f"{self.folder}: {newer}") from None
        self._restore_tracking(facts.get("tracking"))
        return TrainingState(standing, tensors, facts)

    def _recipe_changes(self, facts: Mapping[str, str]) -> str:
        """Where the recipe differs from that of a checkpoint, in what changes what is learnt; empty if nowhere."""
        conditions, now = self.entry.conditions, self.recipe
        try:
            before = Recipe.model_validate_json(facts.get("recipe", ""))
        except ValueError:  # of a version with other keys
            return "keys that this version of the zoo does not know"
        if fingerprint(before, conditions) == fingerprint(now, conditions):
            return ""
        # Earlier versions wrote what a phase changes with defaults that nobody gave.
        earlier = facts.get("recipe_hash") == fingerprint_of_earlier_versions(now)
        if earlier and list(before.phases) == list(now.phases):
            return ""
        changes = _differences(recipe_facts(before, conditions), recipe_facts(now, conditions))
        return ", ".join(changes) or "the order of its phases"

    def _refuse_other_weights(self) -> None:
        """Raise if the folder has weights that a run which starts anew would write over, and which are not its own.

        Its own are there without a state if it was killed between writing the one and the other.
        """
        if not self.weights.is_file():
            return
        try:
            _, facts = read_tensors(self.weights)
            ours = not self._recipe_changes(facts)
        except CheckpointError:
            ours = False
        if not ours:
            raise CheckpointError(
                f"{self.weights}: weights that this recipe did not make, without the {self.state_path.name} of their "
                "run; choose another --out, or move them away"
            )

    def write_state(
        self,
        standing: RunProgress,
        graph: EntryGraph,
        ema: Mapping[str, Tensor],
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, str],
    ) -> Path:
        """Write the weights and then the state from which the run goes on; return the state's path.

        Args:
            standing: where the run stands.
            graph: the part of the entry that the phase trains.
            ema: the moving average.
            tensors: the whole state.
            facts: of it, as text.
        """
        self.write_weights(self.weights, standing, graph, ema)
        tracking = self.folder / "mlflow.json"
        metadata = {
            "kind": "state",
            "phase": standing.phase,
            "step": str(standing.step),
            "standing": json.dumps(asdict(standing)),
            "recipe": json.dumps(written(self.recipe, self.entry.conditions)),
            "recipe_hash": fingerprint(self.recipe, self.entry.conditions),
            "entry_hash": self.entry.hash,
            "entry_graph_hash": self.entry.graph_hash,
            **({"tracking": tracking.read_text()} if tracking.is_file() else {}),
            **facts,
            **spec_metadata(graph),
        }
        write_tensors(self.state_path, tensors, metadata)
        with _told(self.folder / KEPT, "the state itself is written"):
            keep_state(self.folder, self.state_path, standing.steps_done, self.recipe.checkpoints)
        return self.state_path

    def write_weights(
        self, path: Path, standing: RunProgress, graph: EntryGraph, ema: Mapping[str, Tensor], **facts: str
    ) -> None:
        """Write the moving average with all that says what it is."""
        recipe = written(self.recipe, self.entry.conditions)
        about = {"recipe": recipe, "phase": standing.phase, "step": str(standing.step), "data": self.recipe.data_name}
        save_weights(path, graph, ema, {**about, **facts})

    def keep_if_best(self, standing: RunProgress, graph: EntryGraph, ema: Mapping[str, Tensor], loss: float) -> None:
        """Keep the weights if their held-out loss is among the lowest of the phase."""

        def write(path: Path) -> None:
            self.write_weights(path, standing, graph, ema, held_out_v_loss=repr(loss))

        keep_best(self.folder, standing.phase, standing.steps_done, loss, self.recipe.checkpoints.best, write)

    def write_bad_batch(self, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Path:
        """Write the batch on which training stopped."""
        path = self.folder / "bad-batch.safetensors"
        write_tensors(path, tensors, {"kind": "batch", **facts})
        return path

    def write_grid(self, grid: Image, name: str) -> Path:
        """Write a picture of samples."""
        path = self.folder / "grids" / f"{name}.png"
        with _told(path):
            return save_image(grid, path)

    def _advice(self) -> str:
        for kept in reversed(states(self.folder)):
            if kept.samefile(self.state_path):  # another name of what is damaged
                continue
            with contextlib.suppress(CheckpointError):
                read_tensors(kept)
                return f"to go on from the one before, copy {kept} over {self.state_path.name}"
        return "nothing was loaded; to start anew, choose another --out or remove the file"

    def _restore_tracking(self, text: str | None) -> None:
        path = self.folder / "mlflow.json"
        if text and self.main and not path.is_file():
            _write_text(path, text)

    def write_recipe(self) -> None:
        """Write ``recipe.json``, the recipe with all its defaults, where it is not there as it is."""
        path = self.folder / "recipe.json"
        text = json.dumps(written(self.recipe, self.entry.conditions), indent=2) + "\n"
        if not path.is_file() or path.read_text("utf-8", "replace") != text:
            _write_text(path, text)


@contextlib.contextmanager
def _told(path: Path, stands: str = "the last checkpoint, if any, stands") -> Iterator[None]:
    """An error of the system as one of ours, with the file and what is still there."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        raise CheckpointError(f"{path}: {reason}; {stands}: make room, and the same command goes on") from error


def _write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with _told(path):
        write_text(path, text)


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Where two recipes differ, and in what: ``optimizer.learning_rate (0.001, now 0.002)``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in {**old, **new}
            for found in _differences(old.get(key), new.get(key), f"{path}.{key}".strip("."))
        ]
    return [] if old == new else [f"{path} ({_shown(old)}, now {_shown(new)})"]


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value)
