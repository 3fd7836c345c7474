"""A training phase: the network, its moving average, its optimizer, and one training step."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping

import torch
from torch import Tensor

from builders.diffusion.losses import sample_losses, snr_weights, total_loss
from builders.diffusion.process import DiffusionProcess
from builders.networks.compiling import compile_blocks, compile_failure, run_uncompiled
from builders.networks.memory_format import put_channels_last
from builders.networks.nested_unet import NestedUNet, build_model
from builders.networks.parameters import adapters, draw_by_name, level_of, load_inner, parameters_by_level
from builders.seeds import derived_seed
from builders.text.encoder import TextEncoder
from builders.training.averaging.averages import PowerAverages
from builders.training.batches import Batch, BatchPlan, joined
from builders.training.distributed import Processes
from builders.training.ema import EMA
from builders.training.engine.muon import hidden_matrices
from builders.training.engine.results import Numbers, Reduced, StartedStep, StepResult, late_steps
from builders.training.errors import warn
from builders.training.initialize import load_shared, weights_file
from builders.training.optimizers import build_optimizer, flags_skip, optimizer_state, restore_optimizer, updating_if
from builders.training.settings import PhaseSettings
from builders.training.sharding.tensors import local, whole
from builders.training.state import RunProgress, TrainingState

__all__ = ["Phase", "Reduced", "StepResult"]


class Phase:
    """A phase with fresh weights.

    Args:
        settings: Settings of the phase.
        processes: Processes that train together.
        progress: Progress of the run. Default: the start of the phase.

    Raises:
        OptimizerError: The optimizer cannot be built as asked.
    """

    def __init__(self, settings: PhaseSettings, processes: Processes, progress: RunProgress | None = None) -> None:
        self.settings, self.processes = settings, processes
        recipe, graph, device = settings.recipe, settings.graph, processes.device
        self.progress = progress or RunProgress.first(settings.name, paired=recipe.paired)
        torch.manual_seed(derived_seed(recipe.seed, "weights", settings.name))
        self.model: NestedUNet = build_model(graph)
        if recipe.paired:
            draw_by_name(self.model, recipe.seed)
        for label in settings.freeze:
            self.model.levels[label].requires_grad_(False)
        if graph.labels[-1] in settings.freeze:
            self.model.inputs.requires_grad_(False)
        for adapter in adapters(self.model, settings.cut):
            adapter.requires_grad_(False)
        lengths = recipe.averages.lengths if recipe.averages else ()
        average, *others = [copy.deepcopy(self.model).requires_grad_(False) for _ in (None, *lengths)]
        for network in (self.model, average, *others):
            processes.place(network)
            if settings.channels_last:
                put_channels_last(network)
        self.ema = EMA(self.model, recipe.ema, average)
        self.power = PowerAverages(self.model, dict(zip(lengths, others, strict=True)), self.progress.steps_before)
        self.model.checkpoint(settings.checkpointed)
        #: Whether blocks were compiled, which the first step does.
        self.compiled = False
        self.passes = settings.passes(processes.count)
        self.by_level = parameters_by_level(self.model)
        self.trained = [(name, value) for name, value in self.model.named_parameters() if value.requires_grad]
        parameters = [value for _, value in self.trained]
        factors = [settings.rate_factors.get(level_of(name, graph.labels), 1.0) for name, _ in self.trained]
        matrices = hidden_matrices([name for name, _ in self.trained], parameters)
        self.optimizer = build_optimizer(recipe.optimizer, parameters, settings.learning_rate, factors, matrices)
        self.process = DiffusionProcess(graph, device)
        self.weights = snr_weights(self.process, settings.loss.weighting)
        self.plan = BatchPlan(
            graph, settings.name, recipe.seed, settings.rows, self.process.steps, self.progress.samples_before,
            recipe.drop, recipe.flip, part=(processes.index, processes.count),
            first_image=self.progress.images_before if settings.apart else None, noise=self.progress.noise,
            spread=settings.times,
        )  # fmt: skip
        self.prepared, self.stepper = processes.prepare(self.model, self.optimizer)
        late = processes.scaler is None and flags_skip(self.optimizer)
        #: Steps that may start before the numbers of a step are read.
        self.lag = late_steps(processes.device) if late else 0

    def initialize(self, before: Phase | None) -> None:
        """Set the initial weights, from the source that the settings name.

        Args:
            before: Previous phase, if there is one.

        Raises:
            TrainingError: The weights do not fit.
            CheckpointError: Their file is damaged.
        """
        source, carry = self.settings.source, self.settings.carry
        if source == "before" and before is not None:
            load_inner(self.model, before.model.state_dict())
            # New levels are averaged from their own start.
            self.ema.restart()
            if carry.ema:
                self.ema.carry(before.ema, before.progress.step)
            self.power.restart()
            if carry.ema:
                self.power.carry(before.power, before.progress.step)
            if carry.optimizer:
                tensors, facts = optimizer_state(before.optimizer, before.trained)
                restore_optimizer(self.optimizer, self.trained, tensors, facts, groups=False)
        elif source not in ("before", "fresh"):
            load_shared(self.model, weights_file(source))
            self.ema.restart()
            self.power.restart()
        for network in (self.model, self.ema.model, *(each.model for each in self.power.averages.values())):
            for adapter in adapters(network, self.settings.cut):
                torch._foreach_zero_([local(value.detach()) for value in adapter.parameters()])

    def restore(self, state: TrainingState) -> None:
        """Load a saved state of this phase."""
        self.model.load_state_dict(state.part("model", self.model.state_dict()))
        self.ema.model.load_state_dict(state.part("ema", self.ema.model.state_dict()))
        self.ema.ages |= json.loads(state.facts.get("ema_ages", "{}"))
        self.power.restore(state.part, state.facts)
        tensors = state.part("optimizer", dict(self.trained))
        restore_optimizer(self.optimizer, self.trained, tensors, state.facts["optimizer"])
        if self.processes.scaler is not None and state.facts.get("scaler"):
            self.processes.scaler.load_state_dict(json.loads(state.facts["scaler"]))

    def step(
        self, step: int, batch: Batch, seconds: float = 0.0, stop: bool = False, encoder: TextEncoder | None = None
    ) -> StepResult:
        """Take one training step, and wait for its result; arguments as those of :meth:`start`."""
        return self.start(step, batch, seconds, stop, encoder).result()

    def start(
        self, step: int, batch: Batch, seconds: float = 0.0, stop: bool = False, encoder: TextEncoder | None = None
    ) -> StartedStep:
        """Start one training step. The weights are updated only if the losses and the gradient are finite.

        Args:
            step: Step of the phase, from 0.
            batch: This process's part of the batch.
            seconds: Training time of the phase so far. That of the main process counts.
            stop: Whether this process was asked to stop.
            encoder: Text encoder, if the entry reads text.
        """
        rate = self.settings.learning_rate_at(step, self.progress.seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        batch = batch.to(self.processes.device)
        if not self.compiled and self.settings.compile:
            self.compile(step, batch, encoder)
        row_losses = self.accumulate(step, batch, encoder)
        self.processes.unscale(self.stepper)
        norms = self.gradient_norms()
        norm = torch.stack(list(norms.values())).norm()
        values = self.reduce(self.means(row_losses), norm, stop, seconds)
        numbers, rescaled = Numbers(tuple(row_losses), values), False
        if self.lag:
            # The device decides, because the numbers are read later.
            self.update(step, norm, torch.isfinite(values).all())
        elif numbers.read.are_finite:
            self.update(step, norm)
        elif (scaler := self.processes.scaler) is not None:
            rescaled = scaler.get_scale() > 1 and numbers.read.losses_are_finite
            self.stepper.step()  # updates no weight and lowers the scale
        self.optimizer.zero_grad(set_to_none=True)
        return StartedStep(numbers, rate, rescaled, batch.t, row_losses, norms)

    def compile(self, step: int, batch: Batch, encoder: TextEncoder | None) -> None:
        """Compile the blocks in a trial of a step, whose gradients are dropped. If that fails, they run as they are."""
        compile_blocks(self.model)
        self.compiled, problem = True, None
        try:
            self.accumulate(step, batch, encoder, trial=True)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever compilers raise, and files of a damaged cache
            problem = compile_failure(error)
        self.optimizer.zero_grad(set_to_none=True)
        found = [each for each in self.processes.gather(problem) if each is not None]
        if found:
            run_uncompiled(self.model)
            if self.processes.main:
                warn(f"compile: true has no effect: a block could not be compiled ({found[0]})")

    def accumulate(
        self, step: int, batch: Batch, encoder: TextEncoder | None, *, trial: bool = False
    ) -> dict[str, Tensor]:
        """Compute the gradients in one pass or several, and return the loss of every row of this process, by level.

        Gradients are averaged over the processes, unless it is a trial.
        """
        index = self.processes.index
        # Dropout draws from the global generator.
        seed, name = self.settings.recipe.seed, self.settings.name
        torch.manual_seed(derived_seed(seed, "dropout", name, step, *([index] if index else [])))
        self.model.train()
        found = []
        for number in range(self.passes):
            part = batch if self.passes == 1 else batch.part(number, self.passes)
            with self.processes.accumulate(self.prepared, last=not trial and number == self.passes - 1):
                row_losses = self.forward(part, encoder)
                total = total_loss(self.means(row_losses), self.settings.loss)
                # Gradients are averaged over processes, so the loss is multiplied by their number.
                self.processes.backward(total * self.processes.count)
            found.append({label: each.detach() for label, each in row_losses.items()})
        return found[0] if self.passes == 1 else {label: joined([each[label] for each in found]) for label in found[0]}

    def means(self, row_losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what rows add to the mean loss of each level over the whole batch."""
        return {
            label: row_losses[label].sum() / rows for label, rows in zip(row_losses, self.settings.rows, strict=True)
        }

    def forward(self, batch: Batch, encoder: TextEncoder | None) -> dict[str, Tensor]:
        """Return the loss of every row of a pass, (rows,), by level."""
        z = self.process.add_noise(batch.images, batch.eps, batch.t)
        predictions = self.prepared(z, batch.t, **batch.conditions(encoder))
        loss = self.settings.loss
        return sample_losses(predictions, batch.images, batch.eps, batch.t, self.process, loss, self.weights)

    def gradient_norms(self) -> dict[str, Tensor]:
        """Return the norm of the gradient by level, before clipping, without levels that have no gradient."""
        norms = {}
        for label, parameters in self.by_level.items():
            gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
            if gradients:
                norms[label] = torch.stack(torch._foreach_norm(gradients)).norm().float()
        return self.processes.norms(norms)

    def reduce(self, losses: Mapping[str, Tensor], norm: Tensor, stop: bool, seconds: float) -> Tensor:
        """Return the numbers of a step over all processes, as one vector on the device, see :class:`Numbers`."""
        main, count = self.processes.main, self.processes.count
        values = torch.stack([*losses.values(), norm / count]).detach().float().double()
        # Filled on the device: a copy from the host would wait for it.
        flags = [values.new_full((1,), flag) for flag in (float(stop), seconds if main else 0.0)]
        return self.processes.sum(torch.cat([values, *flags]))

    @torch.no_grad()
    def update(self, step: int, norm: Tensor, good: Tensor | None = None) -> None:
        """Clip the gradient, and update the weights and their moving average.

        Args:
            step: Step of the phase, from 0.
            norm: Norm of the gradient.
            good: Whether to update anything, as a boolean on the device. Default: yes.
        """
        gradients = [local(value.grad) for _, value in self.trained if value.grad is not None]
        torch._foreach_mul_(gradients, (self.settings.recipe.clip / (norm + 1e-6)).clamp(max=1.0))
        with updating_if(self.optimizer, good):
            self.stepper.step()
        self.ema.update(step, good)
        self.power.update(step, good)

    def averages(self) -> dict[str, Tensor]:
        """Return the averaged weights by name, in the main process; in others nothing. All processes must call this."""
        return whole(self.ema.model.state_dict(), keep=self.processes.main)

    def power_averages(self) -> dict[str, Tensor]:
        """Return the averages of ``recipe.averages`` as ``LENGTH/NAME``, in the main process; in others nothing.

        All processes must call this.
        """
        return whole(self.power.tensors(), keep=self.processes.main)

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Return everything that :meth:`restore` needs: tensors, and facts as text."""
        kept, plain = optimizer_state(self.optimizer, self.trained)
        tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": value for name, value in self.ema.model.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in kept.items()}
        tensors |= {f"power/{name}": value for name, value in self.power.tensors().items()}
        facts = {"optimizer": plain, "ema_ages": json.dumps(self.ema.ages), "precision": self.processes.precision}
        facts |= self.power.facts()
        if self.processes.scaler is not None:
            facts["scaler"] = json.dumps(self.processes.scaler.state_dict())
        return tensors, facts
