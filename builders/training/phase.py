"""A phase while it runs: the network, its moving average, its optimizer, and one step of training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from builders.diffusion.losses import sample_losses, snr_weights, total_loss
from builders.diffusion.process import DiffusionProcess
from builders.networks.nested_unet import NestedUNet, build_model
from builders.networks.parameters import load_inner, parameters_by_level
from builders.seeds import derived_seed
from builders.text.encoder import TextEncoder
from builders.training.batches import Batch, BatchPlan
from builders.training.distributed import Processes
from builders.training.ema import EMA
from builders.training.errors import TrainingError
from builders.training.initialise import load_shared, weights_file
from builders.training.learning_rate import learning_rate
from builders.training.monitor import bin_names
from builders.training.optimizers import build_optimizer, optimizer_state, restore_optimizer
from builders.training.state import RunProgress, TrainingState
from specs.graph import EntryGraph
from specs.schemas.recipe import PhaseSpec, Recipe

__all__ = ["Phase", "StepResult", "rows_by_level"]


def rows_by_level(phase: PhaseSpec, graph: EntryGraph) -> list[int]:
    """How many rows each level of a phase's batch has, outermost first.

    Raises:
        TrainingError: the phase names other levels, or rows that fall inwards.
    """
    if not isinstance(phase.batch, int) and not set(phase.batch) <= set(graph.labels):
        wanted = ", ".join(graph.labels)
        raise TrainingError(f"'batch' of a phase that trains {graph.labels[0]} names the levels {wanted}")
    return list(phase.rows(graph.labels).values())


@dataclass(frozen=True)
class StepResult:
    """What a step of all processes together gave."""

    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    #: Whether the weights were moved; not where a loss or the gradient is not finite.
    updated: bool
    #: Whether any process was asked to stop.
    stop: bool
    #: Seconds of the phase so far, by the clock of the first process.
    seconds: float
    #: Whether the gradient alone was not finite, and the scaler of float16 answered by a smaller scale.
    rescaled: bool = False


class Phase:
    """A phase with fresh weights.

    Args:
        recipe: the recipe.
        entry: the whole entry.
        name: of the phase.
        processes: that train together.
        standing: where the run stands; its phase is this one.

    Raises:
        OptimizerError: the optimizer is not to be had as asked.
    """

    def __init__(
        self, recipe: Recipe, entry: EntryGraph, name: str, processes: Processes, standing: RunProgress | None = None
    ) -> None:
        self.recipe, self.name, self.processes = recipe, name, processes
        self.standing = standing or RunProgress(name)
        self.spec = recipe.phases[name]
        self.graph = entry.inner(self.spec.train)
        self.rows = rows_by_level(self.spec, self.graph)
        self.loss = recipe.loss_of(self.spec)
        device = processes.device
        torch.manual_seed(derived_seed(recipe.seed, "weights", name))
        self.model: NestedUNet = build_model(self.graph).to(device)
        for label in self.spec.freeze:
            self._freeze(label)
        self.ema = EMA(self.model, recipe.ema)
        self.by_level = parameters_by_level(self.model)
        self.trained = [(key, value) for key, value in self.model.named_parameters() if value.requires_grad]
        rate = self.spec.learning_rate or recipe.optimizer.learning_rate
        self.optimizer = build_optimizer(recipe.optimizer, [value for _, value in self.trained], rate)
        self.process = DiffusionProcess(self.graph, device)
        self.weights = snr_weights(self.process, self.loss.weighting)
        self.plan = BatchPlan(
            self.graph, name, recipe.seed, tuple(self.rows), self.process.steps, self.standing.samples_before,
            recipe.drop, recipe.flip, (processes.index, processes.count),
        )  # fmt: skip
        self.prepared, self.stepper = processes.prepare(self.model, self.optimizer)

    def _freeze(self, label: str) -> None:
        self.model.levels[label].requires_grad_(False)
        if label == self.graph.labels[-1]:
            self.model.inputs.requires_grad_(False)

    def initialise(self, source: str, before: Phase | None) -> None:
        """Start from "before" (what the phase before left), a weights file, an entry's weights, or as it is ("fresh").

        Raises:
            TrainingError: the weights do not fit.
            CheckpointError: their file is damaged.
        """
        if source == "before" and before is not None:
            load_inner(self.model, before.model.state_dict())
            # New levels are averaged from their own start.
            self.ema.restart()
            carry = self.recipe.carry_of(self.spec)
            if carry.ema:
                self.ema.carry(before.ema, before.standing.step)
            if carry.optimizer:
                restore_optimizer(
                    self.optimizer, self.trained, *optimizer_state(before.optimizer, before.trained), groups=False
                )
        elif source not in ("before", "fresh"):
            load_shared(self.model, weights_file(source))
            self.ema.restart()

    def restore(self, state: TrainingState) -> None:
        """Put everything back where it was."""
        self.model.load_state_dict(state.part("model"))
        self.ema.model.load_state_dict(state.part("ema"))
        self.ema.ages |= json.loads(state.facts.get("ema_ages", "{}"))
        restore_optimizer(self.optimizer, self.trained, state.part("optimizer"), state.facts["optimizer"])
        if self.processes.scaler is not None and state.facts.get("scaler"):
            self.processes.scaler.load_state_dict(json.loads(state.facts["scaler"]))

    def step(
        self, step: int, batch: Batch, seconds: float = 0.0, stop: bool = False, encoder: TextEncoder | None = None
    ) -> StepResult:
        """One step, with an update unless a loss or the gradient is not finite.

        Args:
            step: of the phase, from 0.
            batch: this process's part of it, on the CPU.
            seconds: that the phase has taken; that of the first process counts.
            stop: whether this process was asked to stop.
            encoder: of captions.
        """
        rate = learning_rate(
            self.spec.learning_rate or self.recipe.optimizer.learning_rate, self.recipe.schedule_of(self.spec), step,
            steps=self.spec.steps, hours=self.spec.hours, seconds=self.standing.seconds,
        )  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        count, index = self.processes.count, self.processes.index
        # Dropout draws from the global generator.
        torch.manual_seed(derived_seed(self.recipe.seed, "dropout", self.name, step, *([index] if index else [])))
        self.model.train()
        batch = batch.to(self.processes.device)
        z = self.process.add_noise(batch.images, batch.eps, batch.t)
        predictions = self.prepared(z, batch.t, **batch.conditions(encoder))
        each = sample_losses(predictions, batch.images, batch.eps, batch.t, self.process, self.loss, self.weights)
        # Over the rows of all processes; their gradients are averaged, so that of the sum is their number times that.
        losses = {label: each[label].sum() / rows for label, rows in zip(each, self.rows, strict=True)}
        self.processes.backward(total_loss(losses, self.loss) * count, self.stepper)
        norms = self.gradient_norms()
        norm = torch.stack(list(norms.values())).norm()
        told = torch.tensor([float(stop), seconds if index == 0 else 0.0], device=norm.device)
        numbers = torch.cat([torch.stack([*losses.values(), norm / count]).detach().float(), told])
        *values, norm_value, stops, clock = self.processes.sum(numbers.double()).tolist()
        self.last = (batch, each, norms)
        updated = all(math.isfinite(value) for value in (*values, norm_value))
        if updated:
            self._update(norm, step)
        rescaled = False
        if not updated and (scaler := self.processes.scaler) is not None:
            rescaled = scaler.get_scale() > 1 and all(math.isfinite(value) for value in values)
            self.stepper.step()  # which moves nothing, and lowers the scale
        self.optimizer.zero_grad(set_to_none=True)
        told_losses = dict(zip(losses, values, strict=True))
        return StepResult(told_losses, rate, norm_value, updated, stops > 0, clock, rescaled)

    def gradient_norms(self) -> dict[str, Tensor]:
        """Norms of the gradient by level, before it is clipped; without levels that have none."""
        norms = {}
        for label, parameters in self.by_level.items():
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            if gradients:
                norms[label] = torch.stack(torch._foreach_norm(gradients)).norm().float()
        return norms

    @torch.no_grad()
    def _update(self, norm: Tensor, step: int) -> None:
        gradients = [value.grad for _, value in self.trained if value.grad is not None]
        torch._foreach_mul_(gradients, (self.recipe.clip / (norm + 1e-6)).clamp(max=1.0))
        self.stepper.step()
        self.ema.update(step)

    def what_was_bad(self) -> list[str]:
        """Of the step just taken, what was not finite, at which level and times; of all processes together."""
        batch, each, norms = self.last
        names = bin_names(self.process.steps)
        found = []
        for label, losses in each.items():
            bad = batch.t[: len(losses)][~torch.isfinite(losses)]
            for index in sorted({int(t) * len(names) // self.process.steps for t in bad}):
                found.append(f"the loss of level {label} at times t = {names[index]}")
        if not found:
            largest = {label: int(batch.t[losses.argmax()]) for label, losses in each.items() if len(losses)}
            for label in [label for label, norm in norms.items() if not torch.isfinite(norm)]:
                name = names[largest.get(label, 0) * len(names) // self.process.steps]
                found.append(f"the gradient of level {label} (its largest loss at times t = {name})")
        return list(dict.fromkeys(text for part in self.processes.gather(found) for text in part))

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Everything that :meth:`restore` needs: tensors, and facts as text."""
        named, plain = optimizer_state(self.optimizer, self.trained)
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": value for name, value in self.ema.model.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in named.items()}
        facts = {"optimizer": plain, "ema_ages": json.dumps(self.ema.ages)}
        if self.processes.scaler is not None:
            facts["scaler"] = json.dumps(self.processes.scaler.state_dict())
        return tensors, facts
