"""Power function averages of the network of a phase."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from torch import Tensor

from builders.networks.nested_unet import NestedUNet
from builders.networks.parameters import level_of
from builders.training.averaging.power import exponent_of, power_decay
from builders.training.ema import EMA

__all__ = ["PowerAverages"]


class PowerAverage(EMA):
    """Power function average of a network's weights.

    Args:
        model: Network that is trained.
        length: Length of the average.
        average: Network for the averages, with the same weights.
    """

    def __init__(self, model: NestedUNet, length: float, average: NestedUNet | None = None) -> None:
        super().__init__(model, 0.0, average)
        self.exponent = exponent_of(length)

    def decay_at(self, age: int) -> float:
        """Return the decay of the update after ``age`` others."""
        return power_decay(self.exponent, age)


class PowerAverages:
    """Averages of several lengths. A level is averaged from the step on at which its training began.

    A level that is frozen in a phase, or whose EMA is not carried over, begins with the weights that it has then.

    Args:
        model: Network that is trained.
        networks: Networks for the averages, with the weights of ``model``, by length.
        start: Steps of all phases before this one.

    Attributes:
        starts: Steps of all phases before the averages of a level began, by label.
    """

    def __init__(self, model: NestedUNet, networks: Mapping[float, NestedUNet], start: int) -> None:
        self.averages = {length: PowerAverage(model, length, network) for length, network in networks.items()}
        self.starts = dict.fromkeys(model.labels, start)
        self._labels = model.labels

    def update(self, step: int, good: Tensor | None = None) -> None:
        """Move the averages; the arguments are those of :meth:`builders.training.ema.EMA.update`."""
        for average in self.averages.values():
            average.update(step, good)

    def restart(self) -> None:
        """Set the averages to the current weights."""
        for average in self.averages.values():
            average.restart()

    def carry(self, before: PowerAverages, steps: int) -> None:
        """Continue the averages of the levels that were trained in the previous phase and are trained in this one.

        Args:
            before: Averages of the previous phase, of the same lengths.
            steps: Steps of that phase.
        """
        for length, average in self.averages.items():
            ages = before.averages[length].ages_after(steps)
            carried = {label: age for label, age in ages.items() if age and average.moves(label)}
            found = before.averages[length].model.state_dict()
            chosen = {name: value for name, value in found.items() if level_of(name, self._labels) in carried}
            average.model.load_state_dict(chosen, strict=False)
            average.ages |= carried
            self.starts |= {label: before.starts[label] for label in carried}

    def ages_after(self, steps: int) -> dict[str, int]:
        """Return the number of updates of each level after some steps of this phase, by label."""
        return next(iter(self.averages.values())).ages_after(steps) if self.averages else {}

    def tensors(self) -> dict[str, Tensor]:
        """Return the averaged weights as ``LENGTH/NAME``."""
        return {
            f"{length:g}/{name}": value
            for length, average in self.averages.items()
            for name, value in average.model.state_dict().items()
        }

    def facts(self) -> dict[str, str]:
        """Return what :meth:`restore` needs beside the tensors, as text; nothing without averages."""
        ages = next((average.ages for average in self.averages.values()), None)
        return {} if ages is None else {"power": json.dumps({"ages": ages, "starts": self.starts})}

    def restore(self, part: Callable[..., Mapping[str, Tensor]], facts: Mapping[str, str]) -> None:
        """Load the averages of a state.

        Args:
            part: Function that returns the tensors under a prefix, placed like others, see
                :meth:`builders.training.state.TrainingState.part`.
            facts: Facts of the state.
        """
        for length, average in self.averages.items():
            average.model.load_state_dict(part(f"power/{length:g}", average.model.state_dict()))
            average.ages |= json.loads(facts["power"])["ages"]
        if self.averages:
            self.starts |= json.loads(facts["power"])["starts"]
