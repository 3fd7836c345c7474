"""The public face, used as it is written in the documentation."""

from __future__ import annotations

import networkx
import pytest
import torch

import builders
import zoo


def test_look_up():
    assert list(zoo.list("mdm-*")[:2]) == ["mdm-micro", "mdm-nano"]
    entry = zoo.get("mdm-s1024")
    assert entry.spec.name == "mdm-s1024"
    assert isinstance(entry.graph, networkx.DiGraph)
    assert len(entry.hash) == len(entry.graph_hash) == 16
    card = entry.card()
    assert card.parameters == 480970057
    assert [level.label for level in card.levels] == ["r1024", "r256", "r64"]
    with pytest.raises(LookupError, match="did you mean 'mdm-s64'"):
        zoo.get("mdm-s46")


@pytest.mark.parametrize(
    ("name", "parameters"), [("mdm-s64", 461359107), ("mdm-s256", 476613958), ("mdm-s1024", 480970057)]
)
def test_published_sizes(name, parameters):
    model = zoo.get(name).build(device="meta")
    assert isinstance(model, torch.nn.Module)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_from_an_entry_to_predictions(tmp_path):
    entry = zoo.get("mdm-micro")
    path = tmp_path / "copy.yaml"
    path.write_text(entry.expanded_yaml())
    for what in ("mdm-micro", path, str(path), entry, entry.spec):
        model = zoo.build(what, device="cpu")
        assert model.graph.hash == entry.hash
    context = model.encode(text=None, text_mask=None, classes=torch.tensor([1, 2]), scale=None)
    z = [torch.randn(2, 3, 16, 16), torch.randn(2, 3, 8, 8)]
    predictions = model(z, torch.tensor([5, 900]), context)
    assert [prediction.shape for prediction in predictions] == [x.shape for x in z]


def test_the_process_by_name():
    schedule = builders.diffusion.process.noise_schedule("cosine", ratio=1, power=1)
    assert schedule.shape == (1001,) and schedule.dtype == torch.float32 and schedule[0] == 1
    x, eps = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    z = builders.diffusion.process.add_noise(x, eps, schedule[500])
    v = builders.diffusion.process.v_target(x, eps, schedule[500])
    for step in (builders.diffusion.steps.ddim_step, builders.diffusion.steps.ddpm_step):
        _, x0 = step(z, v, schedule[500], schedule[480])
        torch.testing.assert_close(x0, x)
    assert callable(builders.published.state_dict.from_config) and callable(
        builders.published.state_dict.load_state_dict
    )
    with pytest.raises(AttributeError):
        _ = builders.nothing


def test_an_entry_gives_the_weights_that_are_shipped_with_it():
    entry = zoo.get("mdm-nano")
    assert entry.weights is not None and entry.weights.name == "mdm-nano.safetensors"
    model = entry.load()
    assert model.graph.graph_hash == entry.graph_hash and not model.training
    # A fresh network predicts zeros.
    z = [torch.randn(1, 3, side, side) for side in (64, 32, 16)]
    assert all(prediction.abs().max() > 0.01 for prediction in model(z, 500.0))
    for other in (zoo.get("mdm-s64"), zoo.get("mdm-nano", ["stages.r64.width=32"])):
        assert other.weights is None
        with pytest.raises(ValueError, match="no pretrained weights fit mdm-"):
            other.load()
