"""The folder of a training run: state, weights and sample grids, with a lock that keeps out a second process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, first_not_finite, read_tensors, write_tensors
from builders.checkpoints.weights import save_weights, spec_metadata
from builders.file_names import file_name
from builders.files import file_lock, read_regular, remove_temporaries, write_text
from builders.sampling.grid import Grid
from builders.training.averaging.files import FOLDER as AVERAGES
from builders.training.averaging.files import write_averages
from builders.training.retention import FOLDER as CHECKPOINTS
from builders.training.retention import keep_best, keep_state, retain_state, states
from builders.training.sharding.states import FACT as SHARDS
from builders.training.sharding.states import ShardFolder, remove_unused_shards, write_shards
from builders.training.sharding.tensors import local
from builders.training.starting.changes import (
    extension_problem,
    is_extended,
    only_lengths_differ,
    recipe_changes,
    weighting_advice,
)
from builders.training.state import RunProgress, TrainingState
from specs.graph import EntryGraph
from specs.printable import printable
from specs.recipe_identity import fingerprint, fingerprint_of_earlier_versions, saved_recipe, written
from specs.schemas.recipe import Recipe
from specs.syntax.overrides import set_option

if TYPE_CHECKING:
    from builders.training.phase import Phase

__all__ = ["RunFolder"]

#: Start of the names of tensors that are divided among the processes of a sharded training.
_SHARDED = ("model/", "ema/", "power/", "optimizer/")
#: Temporary names of versions before 0.2.
_EARLIER = re.compile(r"\.(state|ema)\.safetensors\.\d+\.tmp")


class RunFolder:
    """The folder of a run, locked while it is used as a context.

    Args:
        folder: Path of the folder. It is created if it does not exist.
        recipe: Recipe of the run.
        entry: Graph of the whole entry.
        main: Whether this is the process that writes. The others only read, and write their shards.
        part: Index of this process, and number of processes.

    Attributes:
        state_path: Path of the newest state.
        weights: Path of the EMA weights, from which samples are drawn.
        classes: Names of the classes, written with the weights; empty for an entry without classes.

    Raises:
        CheckpointError: On entering, the folder is locked by another process or cannot be written.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, entry: EntryGraph, *, main: bool = True, part: tuple[int, int] = (0, 1)
    ) -> None:
        self.folder, self.recipe, self.entry, self.main, self.part = folder, recipe, entry, main, part
        self.state_path = folder / "state.safetensors"
        self.weights = folder / "ema.safetensors"
        self.classes: tuple[str, ...] = ()
        self._locked = contextlib.ExitStack()

    def __enter__(self) -> RunFolder:
        if not self.main:
            return self
        try:
            if os.path.lexists(self.folder) and not self.folder.is_dir():
                raise CheckpointError(f"{self.folder}: this is no folder; choose another --output")
            self.folder.mkdir(parents=True, exist_ok=True)
            free = self._locked.enter_context(file_lock(self.folder / ".lock", wait=False))
        except OSError as error:
            where = f": {error.filename}" if error.filename not in (None, str(self.folder), self.folder) else ""
            reason = f"cannot be written to ({error.strerror}{where}); choose another --output"
            raise CheckpointError(f"{self.folder}: {reason}") from None
        if not free:
            raise CheckpointError(f"{self.folder}: another process is training here; choose another --output")
        self._check_places()
        for place in (self.folder, *(self.folder / name for name in ("grids", CHECKPOINTS, AVERAGES))):
            remove_temporaries(place)  # left by a run that was killed while writing
        for stale in self.folder.glob(".*.safetensors.*.tmp"):
            if _EARLIER.fullmatch(stale.name):
                stale.unlink(missing_ok=True)
        remove_unused_shards(self.folder)
        return self

    def _check_places(self) -> None:
        """Check, before hours of training, that nothing else is where files and folders of the run will be written."""
        for name in ("state.safetensors", "ema.safetensors", "recipe.json", "log.jsonl"):
            if (self.folder / name).exists() and not (self.folder / name).is_file():
                raise CheckpointError(f"{self.folder / name}: this is no file; remove it, or choose another --output")
        for name in ("grids", CHECKPOINTS, AVERAGES):
            if os.path.lexists(self.folder / name) and not (self.folder / name).is_dir():
                raise CheckpointError(f"{self.folder / name}: this is no folder; remove it, or choose another --output")

    def __exit__(self, *_: object) -> None:
        self._locked.close()

    def read_state(self) -> TrainingState | None:
        """Read the state to resume from, or return None for a new run.

        Raises:
            CheckpointError: The state is damaged, or is of another recipe, entry or version.
        """
        if not self.state_path.is_file():
            self._refuse_other_weights()
            return None
        try:
            tensors, facts = read_tensors(self.state_path)
            shards = ShardFolder.of_state(self.state_path, facts)
            if shards is not None:
                shards.check(self.part)
        except CheckpointError as error:
            raise CheckpointError(f"{error}\n{self._advice()}") from None
        if facts.get("kind") != "state":
            raise CheckpointError(f"{self.state_path}: not the state of a run")
        progress = self._check_same_run(facts)
        bad = _bad_weights(tensors)
        if bad is not None:
            raise CheckpointError(f"{self.state_path}: {bad} holds NaN or infinity\n{self._advice()}")
        tracking = self.folder / "mlflow.json"
        if "tracking" in facts and self.main and not tracking.is_file():
            with _clear_errors(tracking):
                write_text(tracking, facts["tracking"])
        if self.main:  # it may be missing if the run was killed after writing the state
            with contextlib.suppress(OSError):
                retain_state(self.folder, self.state_path, progress.steps_done, self.recipe.checkpoints)
        return TrainingState(progress, tensors, facts, shards)

    def _check_same_run(self, facts: Mapping[str, str]) -> RunProgress:
        """Return the progress to resume at; raise if a state is of another recipe or entry.

        A phase that was finished and is longer now continues.
        """
        before = self._recipe_of(facts)
        progress = self._progress_of(facts) if before is not None else None
        changes = self._recipe_changes(before, facts, progress)
        if changes:
            longer, written_recipe = "", self.folder / "recipe.json"
            command = shlex.join(["zoo", "train", str(written_recipe), "-o", str(self.folder)])
            again = f" ({command})" if written_recipe.is_file() else ""
            if before is not None and only_lengths_differ(before, self.recipe, self.entry.conditions):
                last = list(before.phases)[-1]
                longer = f"; to train longer, change the last phase only: {set_option('phases', last, 'steps')}"
            longer += weighting_advice(facts.get("recipe", ""), self.recipe)
            raise CheckpointError(
                f"{self.folder}: holds a run of a recipe that differs in {changes}; "
                f"use that recipe to resume{again}, or choose another --output to start from scratch{longer}"
            )
        if facts.get("entry_graph_hash") != self.entry.graph_hash or facts.get("entry_hash") != self.entry.hash:
            raise CheckpointError(
                f"{self.folder}: holds a run of {facts.get('entry')} with hash {facts.get('entry_hash')}, but the "
                f"entry now has {self.entry.hash}: its spec changed; choose another --output"
            )
        assert before is not None
        progress = progress or self._progress_of(facts)
        if not is_extended(before, self.recipe, progress):
            return progress
        problem = extension_problem(before, self.recipe, progress)
        if problem:
            raise CheckpointError(f"{self.folder}: the run cannot continue at another length ({problem})")
        return replace(progress, finished=False)

    def _progress_of(self, facts: Mapping[str, str]) -> RunProgress:
        if "standing" not in facts:
            raise CheckpointError(f"{self.folder}: holds a run of an older version of the zoo; choose another --output")
        try:
            return RunProgress.from_facts(json.loads(facts["standing"]))
        except TypeError:
            newer = "holds a run of a newer version of the zoo; resume it with that, or choose another --output"
            raise CheckpointError(f"{self.folder}: {newer}") from None

    @staticmethod
    def _recipe_of(facts: Mapping[str, str]) -> Recipe | None:
        """Return the recipe of a checkpoint, or None if it has keys of another version."""
        try:
            return saved_recipe(facts.get("recipe", ""))
        except ValueError:
            return None

    def _recipe_changes(self, before: Recipe | None, facts: Mapping[str, str], progress: RunProgress | None) -> str:
        """Describe how the recipe differs from that of a checkpoint in what affects training; empty if it does not.

        Args:
            before: Recipe of the checkpoint.
            facts: Metadata of the checkpoint.
            progress: Progress of the run, if it may be extended.
        """
        conditions, now = self.entry.conditions, self.recipe
        if before is None:
            return "keys that this version of the zoo does not know"
        if fingerprint(before, conditions) == fingerprint(now, conditions):
            return ""
        # Earlier versions wrote the changes of a phase with all defaults filled in.
        earlier = facts.get("recipe_hash") == fingerprint_of_earlier_versions(now)
        if earlier and list(before.phases) == list(now.phases):
            return ""
        return recipe_changes(before, now, conditions, progress)

    def _refuse_other_weights(self) -> None:
        """Raise if a new run would overwrite weights of another one.

        Its own weights are there without a state if it was killed between writing the two.
        """
        if not self.weights.is_file():
            return
        try:
            _, facts = read_tensors(self.weights)
            ours = not self._recipe_changes(self._recipe_of(facts), facts, None)
        except CheckpointError:
            ours = False
        if not ours:
            raise CheckpointError(
                f"{self.weights}: weights of another recipe, without the {self.state_path.name} of their run; choose "
                "another --output, or move them away"
            )

    def write_state(self, phase: Phase, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Path:
        """Write the EMA weights and then the state, and return the path of the state.

        Under sharding all processes must call this. Each writes its shards, and the state names them.

        Args:
            phase: Phase to save.
            tensors: Tensors of the state.
            facts: Facts of the state, as text.

        Raises:
            CheckpointError: A weight is not finite, or a file cannot be written; earlier files are unchanged.
        """
        processes = phase.processes
        if not processes.sharded:
            self._check_finite(phase, _bad_weights(tensors))
            return self._write_whole(phase, tensors, facts, phase.averages())
        bad = processes.gather(_bad_weights({name: local(value) for name, value in tensors.items()}))
        self._check_finite(phase, next((name for name in bad if name is not None), None))
        averages = phase.averages()
        apart = {name: value for name, value in tensors.items() if name.startswith(_SHARDED)}
        shards = write_shards(self.folder, phase.progress.steps_done, apart, processes)
        rest = {name: value for name, value in tensors.items() if name not in apart}
        facts = {**facts, SHARDS: shards.facts()}
        return processes.on_main(lambda: self._write_whole(phase, rest, facts, averages))

    def _check_finite(self, phase: Phase, bad: str | None) -> None:
        """Refuse to save a weight that is not finite, which would replace a good one."""
        if bad is not None:
            raise CheckpointError(
                f"{self.folder}: nothing is saved: {bad} holds NaN or infinity after step {phase.progress.step} of "
                f"phase {printable(phase.progress.phase)}; the last checkpoint, if any, is intact. A lower "
                "learning_rate or a longer warmup may help, in another --output"
            )

    def _write_whole(
        self, phase: Phase, tensors: Mapping[str, Tensor], facts: Mapping[str, str], averages: Mapping[str, Tensor]
    ) -> Path:
        """Write the weights and the file of the state, and delete what the policy no longer keeps."""
        self.write_weights(self.weights, phase, averages)
        progress, tracking = phase.progress, self.folder / "mlflow.json"
        metadata = {
            "kind": "state",
            "phase": progress.phase,
            "step": str(progress.step),
            "standing": json.dumps(progress.facts()),
            "recipe": json.dumps(written(self.recipe, self.entry.conditions)),
            "recipe_hash": fingerprint(self.recipe, self.entry.conditions),
            "entry_hash": self.entry.hash,
            "entry_graph_hash": self.entry.graph_hash,
            **({"tracking": read_regular(tracking).decode("utf-8", "replace")} if tracking.is_file() else {}),
            **facts,
            **spec_metadata(phase.settings.graph),
        }
        write_tensors(self.state_path, tensors, metadata)
        with _clear_errors(self.folder / CHECKPOINTS, "the state itself is written"):
            keep_state(self.folder, self.state_path, progress.steps_done, self.recipe.checkpoints)
            remove_unused_shards(self.folder)
        return self.state_path

    def write_weights(self, path: Path, phase: Phase, averages: Mapping[str, Tensor], **facts: str) -> None:
        """Write EMA weights with recipe, phase, steps of the phase and of all phases, and data as metadata.

        Args:
            path: Path of the file.
            phase: Phase of the weights.
            averages: Weights, see :meth:`builders.training.phase.Phase.averages`.
            facts: Further metadata.
        """
        save_weights(path, phase.settings.graph, averages, {**self._about(phase), **facts})

    def _about(self, phase: Phase) -> dict[str, Any]:
        """Return the metadata of weights: recipe, phase, steps, data, names of the classes, and another precision."""
        recipe, progress = written(self.recipe, self.entry.conditions, portable=True), phase.progress
        steps = {"phase": progress.phase, "step": str(progress.step), "total_steps": str(progress.steps_done)}
        data = recipe["data"]
        about = {"recipe": recipe, **steps, "data": data if isinstance(data, str) else "+".join(data)}
        about |= {"classes": list(self.classes)} if self.classes else {}
        precision = phase.processes.precision
        return about if precision == "float32" else about | {"precision": precision}

    def write_averages(self, phase: Phase) -> None:
        """Save the averages of ``recipe.averages``. All processes must call this.

        Raises:
            CheckpointError: They cannot be written.
        """
        averages, processes = phase.power_averages(), phase.processes
        processes.on_main(lambda: write_averages(self.folder, phase, averages, self._about(phase)))

    def keep_if_best(self, phase: Phase, loss: float, averages: Mapping[str, Tensor]) -> None:
        """Keep the EMA weights if their validation loss is among the lowest of the phase."""
        protocol = self.recipe.validation.protocol
        write = partial(self.write_weights, phase=phase, averages=averages, val_v_loss=repr(loss), validation=protocol)
        progress, count = phase.progress, self.recipe.checkpoints.best
        keep_best(self.folder, self._file_name(progress.phase), progress.steps_done, loss, count, write, protocol)

    def write_bad_batch(self, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Path:
        """Write the batch at which training stopped."""
        path = self.folder / "bad-batch.safetensors"
        write_tensors(path, tensors, {"kind": "batch", **facts})
        return path

    def _file_name(self, phase: str) -> str:
        """Return what the names of a phase's files begin with."""
        return file_name(phase, self.recipe.phases)

    def grid_path(self, progress: RunProgress) -> Path:
        """Return the path of a grid of samples, named after the phase and its step."""
        return self.folder / "grids" / f"{self._file_name(progress.phase)}-{progress.step:06d}.png"

    def write_grid(self, grid: Grid, progress: RunProgress) -> list[Path]:
        """Write a grid of samples, and its animation if they are clips."""
        return grid.save(self.grid_path(progress))

    def write_recipe(self) -> None:
        """Write ``recipe.json``, the recipe with all its defaults, unless it is there and equal."""
        path = self.folder / "recipe.json"
        text = json.dumps(written(self.recipe, self.entry.conditions), indent=2) + "\n"
        if not path.is_file() or read_regular(path).decode("utf-8", "replace") != text:
            with _clear_errors(path):
                write_text(path, text)

    def _advice(self) -> str:
        """Say how to resume from an older state, if one is intact."""
        for older in reversed(states(self.folder)):
            if older.samefile(self.state_path):  # another name of the damaged file
                continue
            with contextlib.suppress(CheckpointError):
                tensors, facts = read_tensors(older)
                if _bad_weights(tensors) is not None:
                    continue
                shards = ShardFolder.of_state(older, facts)
                if shards is not None:
                    shards.check()
                return f"to resume from the state before it, copy {older} over {self.state_path.name}"
        return "nothing was loaded; to start from scratch, choose another --output or remove the file"


def _bad_weights(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first weight of a state, or of their moving average, that is not finite."""
    return first_not_finite({name: each for name, each in tensors.items() if name.startswith(("model/", "ema/"))})


@contextlib.contextmanager
def _clear_errors(path: Path, intact: str = "the last checkpoint, if any, is intact") -> Iterator[None]:
    """Turn an error of the system into a CheckpointError that names the file and what is still there."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error})"
        advice = f"{intact}; free some space and run the same command again to resume"
        raise CheckpointError(f"{path}: {reason}; {advice}") from error
