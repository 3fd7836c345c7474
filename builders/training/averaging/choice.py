"""Weights of a finished run as an average of another length, and the losses by which a length is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from builders.checkpoints.tensor_file import CheckpointError, read_tensors
from builders.checkpoints.weights import save_weights, saved_graph
from builders.data.errors import EmptySplitError
from builders.data.open import open_dataset
from builders.diffusion.process import DiffusionProcess
from builders.files import read_regular
from builders.networks.nested_unet import build_model
from builders.networks.parameters import level_of
from builders.training.averaging.files import SavedAverages, saved_averages
from builders.training.averaging.power import Combination, Profile, combine
from builders.training.reading.sources import Sources
from builders.training.settings import phase_settings
from builders.training.validation import validation_losses
from specs.graph import EntryGraph
from specs.recipe import recipe_graph
from specs.recipe_identity import saved_recipe
from specs.schemas.averages import check_length

__all__ = ["Average", "LengthChooser", "average_of_length"]


@dataclass(frozen=True)
class Average:
    """Averaged weights of a run.

    Attributes:
        length: Length of the average.
        graph: Graph of the network.
        tensors: Weights by name.
        facts: Metadata of the weights.
        errors: How far the average is from one of that length, by label of the level; see
            :class:`builders.training.averaging.power.Combination`. 0 for levels that were not trained at the end.
    """

    length: float
    graph: EntryGraph
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, str]
    errors: Mapping[str, float]

    def write(self, path: Path) -> None:
        """Write a weights file, as ``ema.safetensors`` of the run with ``average``, the length, among its metadata.

        Raises:
            CheckpointError: It cannot be written; an existing file is unchanged.
        """
        save_weights(path, self.graph, self.tensors, {**self.facts, "average": f"{self.length:g}"})


#: Metadata of saved averages that are those of the weights, too.
_FACTS = ("recipe", "phase", "step", "total_steps", "data", "classes")


def average_of_length(run: Path, length: float) -> Average:
    """Make the average of a length of the weights at the last step at which a run saved its averages.

    Each level is an average of its own training, also where that began in an earlier phase. Levels that were frozen in
    the last phase keep the weights that the others were trained with.

    Args:
        run: Folder of the run.
        length: Length of the average, relative to the training of a level.

    Raises:
        CheckpointError: The run has saved no averages, or a file is damaged.
        ValueError: The length is out of range.
    """
    check_length(length)
    saved = saved_averages(run)
    last = saved[-1]
    graph = saved_graph(last.path, last.facts)
    plans = {label: _plan(saved, label, length) for label in graph.labels}
    sums: dict[str, Tensor] = {}
    types: dict[str, torch.dtype] = {}
    for each in saved:
        shares = {label: plan.shares[each.path] for label, plan in plans.items() if each.path in plan.shares}
        if not shares:
            continue
        tensors, _ = read_tensors(each.path)
        for name, value in tensors.items():
            text, _, weight = name.partition("/")
            share = shares.get(level_of(weight, graph.labels), {}).get(text, 0.0)
            if share:
                # In double precision: shares may be large numbers of either sign.
                sums[weight] = sums.get(weight, 0.0) + share * value.double()
            types[weight] = value.dtype
    facts = {key: last.facts[key] for key in _FACTS if key in last.facts}
    made = {name: value.to(types[name]) for name, value in sums.items()}
    return Average(length, graph, made, facts, {label: plan.error for label, plan in plans.items()})


@dataclass(frozen=True)
class _Plan:
    """Shares of a level's averages, by file and length as it is written there, and the error of their sum."""

    shares: Mapping[Path, Mapping[str, float]]
    error: float


def _plan(saved: Sequence[SavedAverages], label: str, length: float) -> _Plan:
    """Return how the average of a level is made of those that were saved since its training began."""
    last = saved[-1]
    age = last.ages[label]
    if not age:
        return _Plan({last.path: {f"{last.lengths[0]:g}": 1.0}}, 0.0)
    same = [each for each in saved if each.ages.get(label) and each.starts.get(label) == last.starts[label]]
    used = [(each.path, own, Profile(own, each.ages[label])) for each in same for own in each.lengths]
    found: Combination = combine([profile for *_, profile in used], Profile(length, age))
    shares: dict[Path, dict[str, float]] = {}
    for (path, own, _), share in zip(used, found.shares, strict=True):
        shares.setdefault(path, {})[f"{own:g}"] = share
    return _Plan(shares, found.error)


class LengthChooser:
    """Measures averages of a run on its validation split, as during training.

    Args:
        run: Folder of the run.
        device: Device to compute on.

    Raises:
        CheckpointError: The folder has no recipe.
        DataError: The data of the recipe cannot be read.
    """

    def __init__(self, run: Path, device: torch.device | str = "cpu") -> None:
        path = run / "recipe.json"
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; the folder of a run has one")
        try:
            self.recipe = saved_recipe(read_regular(path).decode("utf-8", "replace"))
        except ValueError as error:
            raise CheckpointError(f"{path}: cannot be read ({str(error).partition(chr(10))[0]})") from None
        self.device, self._run = device, run
        self._data: Any = None

    def losses(self, average: Average) -> dict[str, float]:
        """Return the v loss of each level on the validation split, by label.

        Raises:
            CheckpointError: The data has no validation split.
        """
        graph = recipe_graph(self.recipe)
        if self._data is None:
            needs = phase_settings(self.recipe, graph, average.facts["phase"]).needs
            images = None if self.recipe.images is None else open_dataset(self.recipe.images)
            try:
                self._data = Sources(open_dataset(self.recipe.data), images).val(needs)
            except EmptySplitError as error:
                raise CheckpointError(f"{self._run}: {error}, so no length can be chosen; give one --length") from None
        encoder = None
        if average.graph.text is not None:
            from builders.text.open import open_text_encoder

            encoder = open_text_encoder(self.recipe.text_encoder, average.graph.text, torch.device(self.device))
        model = build_model(average.graph, self.device, initialize=False)
        model.load_state_dict(dict(average.tensors))
        process = DiffusionProcess(average.graph, self.device)
        return validation_losses(
            model.eval(), process, self._data, encoder=encoder, spec=self.recipe.validation, precision="float32"
        )
