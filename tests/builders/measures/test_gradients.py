"""Norms, cosines and noise of gradients against closed forms and against sums over pairs of batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from builders.measures.gradients import TOTAL, gradient_facts, noise_scale
from builders.training.distributed import Processes
from builders.training.phase import Phase
from builders.training.settings import phase_settings
from specs.load import load_entry
from specs.recipe import load_recipe
from specs.schemas.recipe import LossSpec
from tests.helpers.made_up import MadeUp

#: True gradients by loss, on three parameters of each level.
TRUE = {
    "r16": {"r16": torch.tensor([3.0, 0.0, 4.0]), "r8": torch.tensor([1.0, 0.0, 0.0])},
    "r8": {"r16": torch.tensor([0.0, 2.0, 0.0]), "r8": torch.tensor([3.0, 4.0, 0.0])},
}
#: Deviation of each value of the gradient of one row.
SPREAD = 2.0


class Weights(nn.Module):
    """Parameters of two levels, without a network."""

    labels = ("r16", "r8")
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleDict({label: nn.ParameterDict({"w": torch.zeros(3)}) for label in self.labels})


@dataclass
class Rows:
    """A batch: gradients of each row by loss and level, and as many times."""

    each: dict[str, dict[str, Tensor]]

    @property
    def t(self) -> Tensor:
        return self.each["r8"]["r8"][:, 0]


def batches(count: int, rows: int) -> list[Rows]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        noise = SPREAD * torch.randn(2, rows, 3, generator=generator)  # the same for both losses
        found.append(Rows({loss: {label: mean + noise[place] for place, (label, mean) in enumerate(each.items())}
                           for loss, each in TRUE.items()}))  # fmt: skip
    return found


def facts(drawn: list[Rows], **weights: float):
    model = Weights().eval()

    def losses(batch: Rows) -> dict[str, Tensor]:
        assert model.training
        return {
            loss: sum(batch.each[loss][label] @ model.levels[label]["w"] for label in model.labels)
            for loss in model.labels
        }

    found = gradient_facts(model, drawn, losses, LossSpec(levels=weights))
    assert not model.training
    return found


def test_estimates_are_those_of_the_true_gradient():
    found = facts(batches(400, 4), r8=0.5)
    assert (found.batches, found.rows) == (400, {"r16": 4, "r8": 4, TOTAL: 4})
    for loss, each in TRUE.items():
        for label, value in each.items():
            assert found.norms[loss][label] == pytest.approx(float(value.norm()), rel=0.15)
    assert abs(found.cosines["r16 r8"]["r16"]) < 0.1  # the noise is the same, the gradients are orthogonal
    assert found.cosines["r16 r8"]["r8"] == pytest.approx(0.6, abs=0.1)
    for loss, each in TRUE.items():
        signal = sum(float(value.square().sum()) for value in each.values())
        assert found.noise_scales[loss] == pytest.approx(6 * SPREAD**2 / signal, rel=0.15)
    total = sum(float((TRUE["r16"][label] + 0.5 * TRUE["r8"][label]).square().sum()) for label in ("r16", "r8"))
    assert found.noise_scales[TOTAL] == pytest.approx(6 * (1.5 * SPREAD) ** 2 / total, rel=0.15)


def test_estimates_are_means_over_pairs_of_batches():
    drawn = batches(5, 3)
    found = facts(drawn)
    means = [{loss: {label: rows.mean(0) for label, rows in each.items()} for loss, each in batch.each.items()}
             for batch in drawn]  # fmt: skip
    pairs = list(permutations(means, 2))
    product = sum(float(one["r16"]["r8"] @ other["r8"]["r8"]) for one, other in pairs) / len(pairs)
    squares = {loss: sum(float(one[loss]["r8"] @ other[loss]["r8"]) for one, other in pairs) / len(pairs)
               for loss in TRUE}  # fmt: skip
    assert found.norms["r8"]["r8"] == pytest.approx(squares["r8"] ** 0.5, rel=1e-5)
    cosine = product / (squares["r16"] * squares["r8"]) ** 0.5
    assert found.cosines["r16 r8"]["r8"] == pytest.approx(max(-1, min(1, cosine)), rel=1e-5)


def test_levels_without_a_loss_are_left_out():
    found = facts(batches(4, 2), r8=0)
    assert list(found.norms) == ["r16", TOTAL] and found.cosines == {}
    assert found.norms["r16"] == pytest.approx(found.norms[TOTAL])
    assert found.plain["noise_scales"]["r16"] == found.plain["noise_scales"][TOTAL]


def test_gradients_below_their_noise_have_no_noise_scale():
    assert noise_scale(1.0, 10.0, 10, 4) is None
    # A batch of 10 x 4 rows: |G|^2 is 2, and the noise of 4 rows 8.
    assert noise_scale(2 + 0.8, 2 + 8, 10, 4) == pytest.approx(8 * 4 / 2)


def test_one_batch_is_too_few():
    with pytest.raises(ValueError, match="^1 batches; the noise of a gradient needs at least two$"):
        facts(batches(1, 2))


@pytest.mark.parametrize("cut", [False, True])
def test_a_loss_reaches_the_parameters_that_it_shares(cut):
    recipe = load_recipe("micro-test", ["phases.p16.batch={r16: 1, r8: 2}", *(["phases.p16.cut=[r8]"] * cut)])
    phase = Phase(phase_settings(recipe, load_entry("mdm-micro").graph, "p16"), Processes("cpu"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in phase.trained:
            value[1].add_(torch.randn(value[1].shape, generator=generator) * 0.1)
    before = torch.random.get_rng_state()
    data = MadeUp("photos", count=8, frames=1).load(16)
    drawn = (phase.plan.draw(step, data) for step in range(2))
    found = gradient_facts(phase.model, drawn, lambda batch: phase.forward(batch, None), phase.settings.loss)
    assert found.rows == {"r16": 1, "r8": 2, TOTAL: 2}
    assert all(found.norms[label][label] > 0 for label in ("r16", "r8"))
    # The inputs, which belong to the inner level, are those of both.
    assert (found.norms["r8"]["r16"] == 0) == cut
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(value.grad is None for value in phase.model.parameters())
