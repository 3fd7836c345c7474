"""The value of nesting: validation v loss of a nested model, relative to the same model without its inner features.

Both are trained by the same recipe from the same inner level, with equal initial weights, data, noise and steps. In the
second model, the feature maps of the inner levels are multiplied by zero, so that each level sees only its own input;
all else, inner losses included, is equal. A ratio below one means that the inner features help.

    python benchmarks/inner_features.py
    python benchmarks/inner_features.py --set phases.p16.steps=100 --set phases.p32.steps=30 --set phases.p64.steps=20
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from builders.data.dataset import Dataset
from builders.data.open import open_dataset
from builders.networks.layers import Nest
from builders.training.batches import read_batches
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from builders.training.validation import validation_losses
from specs.load import load_entry
from specs.recipe import Recipe, load_recipe


def cut_features(phase: Phase) -> None:
    """Make the inner levels of a phase return zeros, in the network and in its EMA."""
    for model in (phase.model, phase.ema.model):
        for module in model.modules():
            if isinstance(module, Nest):
                module.leave.register_forward_hook(lambda _module, _inputs, output: output * 0)


def run_phase(phase: Phase, dataset: Dataset, draws: int) -> dict[str, float]:
    """Train a phase to its end; return the validation v loss of each level with the EMA weights."""
    data = dataset.load(phase.settings.graph.resolution, "train", seed=phase.settings.recipe.seed)
    started = time.perf_counter()
    steps = phase.settings.steps or 0
    for step, batch in enumerate(read_batches(phase.plan, data, 0, steps)):
        phase.step(step, batch)
    seconds = (time.perf_counter() - started) / steps
    print(f"  {phase.settings.name}: {steps} steps of {seconds:.3f} s", flush=True)
    return validation_losses(
        phase.ema.model, phase.process, dataset.load(phase.settings.graph.resolution, "val"), draws=draws
    )


def compare(recipe: Recipe, device: str, draws: int) -> dict[str, dict[str, float]]:
    """Return the losses of both models by level: for each phase that nests, the loss of the level that it adds."""
    entry, dataset = load_entry(recipe.entry).graph, open_dataset(recipe.data)
    alone = [name for name, phase in recipe.phases.items() if phase.train == entry.labels[-1]]
    processes = Processes(device, recipe.precision)
    shared: Phase | None = None
    result: dict[str, dict[str, float]] = {}
    print("shared inner level", flush=True)
    for name in alone:
        phase = Phase(phase_settings(recipe, entry, name), processes)
        phase.initialize(shared)
        run_phase(phase, dataset, draws)
        shared = phase
    for arm in ("nested", "cut"):
        print("with inner features" if arm == "nested" else "without inner features", flush=True)
        before = shared
        for name in [name for name in recipe.phases if name not in alone]:
            phase = Phase(phase_settings(recipe, entry, name), processes)
            if arm == "cut":
                cut_features(phase)
            phase.initialize(before)
            losses = run_phase(phase, dataset, draws)
            label = phase.settings.graph.labels[0]
            result.setdefault(label, {})[arm] = losses[label]
            before = phase
    return result


def main() -> None:
    """Print a table of losses and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="nano-progressive", help="Recipe with one or more phases that nest.")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE", help="Change to the recipe."
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--draws", type=int, default=4, help="Uses of each validation image.")
    parser.add_argument("--json", type=Path, help="File for the results.")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.overrides)
    losses = compare(recipe, options.device, options.draws)
    print(f"\nvalidation v loss, {recipe.entry} on {recipe.data}, EMA weights")
    print(f"{'level':<8}{'nested':>10}{'cut off':>10}{'ratio':>8}")
    for label, pair in losses.items():
        print(f"{label:<8}{pair['nested']:>10.4f}{pair['cut']:>10.4f}{pair['nested'] / pair['cut']:>8.3f}")
    if options.json:
        figures = {"recipe": recipe.model_dump(mode="json"), "val_v_loss": losses, "torch": torch.__version__}
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
