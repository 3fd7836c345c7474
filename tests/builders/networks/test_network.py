"""NestedUNet: the properties that hold for any entry."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch

from builders.networks.conditioning import Context
from builders.networks.nested_unet import build_model
from builders.networks.parameters import load_inner
from specs.load import load_text
from tests.helpers.networks import noise, randomise

TEXT = """
name: small-text
resolution: 16
inputs:
  text: {width: 24, tokens: 5, project: 16, self_attention: 1, mask_attention: true}
  scale: {}
stages:
  r16: {width: 32, depth: 1}
  r8: {width: 32, depth: 1, attention: 1}
"""
NESTED = """
name: small-nested
resolution: 32
nest:
  name: small-text
  resolution: 8
  inputs: {classes: 3, scale: {}}
  stages:
    r8: {width: 32, depth: 1, attention: 1}
stages:
  r32: {width: 32, depth: 1}
  r16: {width: 32, depth: 1}
  r8: {width: 64, depth: 1}
"""


@pytest.fixture(scope="module")
def nested():
    return randomise(build_model(load_text(NESTED).graph))


@pytest.fixture(scope="module")
def text():
    return randomise(build_model(load_text(TEXT).graph))


def test_fresh_networks_predict_zeros():
    model = build_model(load_text(NESTED).graph)
    assert all(not prediction.any() for prediction in model(noise(model.graph, 2), 10))


def test_one_graph_module_a_level_with_readable_code(nested):
    modules = [module for module in nested.modules() if isinstance(module, torch.fx.GraphModule)]
    assert len(modules) == 2
    code = nested.levels["r32"].code
    assert "inner_predictions = nest[0]" in code
    assert len(code.splitlines()) < 60


@torch.no_grad()
def test_missing_high_resolution_rows_change_nothing_for_the_others(nested):
    z = noise(nested.graph, [2, 4])
    t = torch.tensor([3.0, 500.0, 20.0, 999.0])
    classes = torch.tensor([0, 1, 2, 3])
    mixed = nested(z, t, nested.encode(classes=classes))
    alone = nested([z[0], z[1][:2]], t[:2], nested.encode(classes=classes[:2]))
    torch.testing.assert_close(mixed[0], alone[0])
    torch.testing.assert_close(mixed[1][:2], alone[1])


@torch.no_grad()
def test_context_of_one_row_serves_any_batch(nested):
    z = noise(nested.graph, 3)
    torch.testing.assert_close(nested(z, 7, nested.encode()), nested(z, 7, nested.encode(batch_size=3)))
    torch.testing.assert_close(nested(z, 7), nested(z, 7, nested.encode(batch_size=3)))


@torch.no_grad()
def test_contexts_join_and_split(nested):
    first, second = nested.encode(classes=torch.tensor([0])), nested.encode(classes=torch.tensor([2]))
    joined = Context.cat([first, second])
    z = noise(nested.graph, 2)
    both = nested(z, 7, joined)
    for row in range(2):
        alone = nested([x[row : row + 1] for x in z], 7, joined[[row]])
        torch.testing.assert_close([x[row : row + 1] for x in both], alone)


@torch.no_grad()
def test_text_is_hoisted_out_of_the_denoiser(text):
    encoder, denoiser = text.encoders["r16"], text.denoisers["r16"]
    called = {str(node.target) for node in denoiser.graph.nodes if node.op == "call_module"}
    assert not any(target.endswith(".text") or target.startswith("micro_") for target in called)
    assert {str(node.target) for node in encoder.graph.nodes if node.op == "call_module"} == {
        "micro_scale",
        "token_mask",
        "r8_down0_attention.text",
        "middle1_attention.text",
        "r8_up0_attention.text",
        "r8_up1_attention.text",
    }
    # Whole and split, the level computes the same.
    z, t = noise(text.graph, 2)[0], torch.tensor([1.0, 2.0])
    values = text._shared_inputs({"text": torch.randn(2, 5, 24)}, 2)
    whole = text.levels["r16"](z, t, values["condition"], values["tokens"], values["text_mask"], values["scale"])
    handed = encoder(values["condition"], values["tokens"], values["text_mask"], values["scale"])
    torch.testing.assert_close(whole, denoiser(z, t, *handed))


@torch.no_grad()
def test_padding_and_prompts_without_tokens(text):
    z = noise(text.graph, 2)
    states = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(2))
    mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    masked = text(z, 5, text.encode(text=states, text_mask=mask))
    short = text(z, 5, text.encode(text=states[:, :3], text_mask=mask[:, :3]))
    torch.testing.assert_close(masked, short)
    assert torch.isfinite(masked[0]).all()
    nothing = text([z[0][1:]], 5, text.encode())
    torch.testing.assert_close(masked[0][1:], nothing[0])
    torch.testing.assert_close(nothing, text([z[0][1:]], 5, text.encode(text=states[:1, :0])))


@torch.no_grad()
def test_copies_and_pickles_are_whole_and_separate(nested):
    z = noise(nested.graph, 1)
    expected = nested(z, 7)
    for twin in (copy.deepcopy(nested), pickle.loads(pickle.dumps(nested))):
        torch.testing.assert_close(twin(z, 7), expected)
        next(twin.levels["r8"].stem.parameters()).add_(1.0)
        assert not torch.allclose(twin(z, 7)[1], expected[1])
    torch.testing.assert_close(nested(z, 7), expected)


@torch.no_grad()
def test_inner_weights_load_by_their_own_names():
    graph = load_text(NESTED).graph
    inner = randomise(build_model(dataclasses.replace(graph, levels=graph.levels[1:])))
    outer = build_model(graph).eval()
    assert load_inner(outer, inner.state_dict()) == ("r8",)
    z = noise(graph, 2)
    # Fresh adapters are zero, so the inner level predicts as it did alone.
    torch.testing.assert_close(outer(z, 40)[1], inner(z[1:], 40)[0], rtol=0, atol=1e-6)
    assert set(inner.state_dict()) < set(outer.state_dict())
    with pytest.raises(ValueError, match="not weights of an inner level"):
        load_inner(outer, {"levels.r8.stem.bias": torch.zeros(32)})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_runs(dtype, text):
    half = copy.deepcopy(text).to(dtype)
    z = [x.to(dtype) for x in noise(text.graph, 2)]
    states = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(2))
    result = half(z, 500, half.encode(text=states.to(dtype)))
    expected = text([x.float() for x in z], 500, text.encode(text=states))
    assert result[0].dtype == dtype
    assert torch.nn.functional.cosine_similarity(result[0].float().flatten(), expected[0].flatten(), dim=0) > 0.99


def test_gradients_reach_every_parameter(nested):
    model = copy.deepcopy(nested).train()
    loss = sum(p.square().mean() for p in model(noise(model.graph, [1, 2]), 5, classes=torch.tensor([0, 3])))
    loss.backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.encode(text=torch.zeros(1, 2, 3)), "has no input 'text'; its inputs: classes, scale"),
        (lambda m: m.encode(classes=torch.zeros(2), scale=torch.ones(3)), "different batch sizes: classes 2, scale 3"),
        (lambda m: m([torch.zeros(1, 3, 32, 32)], 0), "has 2 levels (r32, r8), got 1"),
        (lambda m: m(noise(m.graph, [3, 2]), 0), "level r32 has 3 rows, more than r8 (2)"),
        (
            lambda m: m([torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 16, 16)], 0),
            "level r32 is 4 times the side of r8, but their inputs are (32, 32) and (16, 16)",
        ),
        (lambda m: m(noise(m.graph, 3), 0, m.encode(batch_size=2)), "the context has 2 rows; 3 are needed"),
    ],
)
def test_inputs_that_do_not_fit_say_why(nested, call, message):
    with pytest.raises(ValueError, match=".*") as error:
        call(nested)
    assert message in str(error.value)


class WithClasses(torch.nn.Module):
    """A network called with plain tensors, as exporting wants it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, outer, inner, t, classes):
        return self.model([outer, inner], t, classes=classes)


@pytest.mark.slow
@torch.no_grad()
def test_exports_with_any_batch_size(nested):
    rows = torch.export.Dim("rows", min=2, max=64)
    z = noise(nested.graph, 2)
    example = (*z, torch.tensor([1.0, 2.0]), torch.tensor([0, 3]))
    exported = torch.export.export(WithClasses(nested), example, dynamic_shapes=({0: rows},) * 4)
    z, t, classes = noise(nested.graph, 3), torch.tensor([1.0, 500.0, 999.0]), torch.tensor([0, 1, 3])
    torch.testing.assert_close(exported.module()(*z, t, classes), nested(z, t, classes=classes))


@torch.no_grad()
@pytest.mark.slow
def test_compiles_without_graph_breaks(nested):
    z, context = noise(nested.graph, 2), nested.encode(batch_size=2)
    t = torch.tensor([3.0, 500.0])
    assert torch._dynamo.explain(nested)(z, t, context).graph_break_count == 0
    compiled = torch.compile(nested, backend="eager")
    torch.testing.assert_close(compiled(z, t, context), nested(z, t, context))


def test_names_that_would_hide_parts_of_a_module_are_refused():
    from specs.passes.check import NODE_NAME, TAKEN, TAKEN_PREFIXES

    module = torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())
    names = [name for name in dir(module) if NODE_NAME.fullmatch(name)]
    assert [name for name in names if name not in TAKEN and not name.startswith(TAKEN_PREFIXES)] == []


@torch.no_grad()
def test_nodes_may_have_the_names_of_builtins():
    names = ["torch", "operator", "getattr", "dict", "x_1", "x", "print", "none", "inputs", "args"]
    rows = [
        f"  {name}: {{block: resnet, width: 32, from: {before}}}"
        for name, before in zip(names, ["stem", *names], strict=False)
    ]
    text = "\n".join(["name: odd\nresolution: 8\ngraph:\n  stem: {width: 32}", *rows, "  head: {from: args}"])
    model = randomise(build_model(load_text(text).graph))
    z = noise(model.graph, 1)
    expected = model(z, 3)
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(z, 3), expected)
    values = model._shared_inputs({}, 1)
    torch.testing.assert_close(model.levels["r8"](z[0], torch.tensor([3]), values["condition"])[0][0], expected[0])


@torch.no_grad()
def test_swapped_modules_are_taken_up_by_refresh(nested):
    model = copy.deepcopy(nested)
    z = noise(model.graph, 1)
    before = model(z, 3)
    model.levels["r8"].stem = torch.nn.Conv2d(3, 32, 3, padding=1)
    model.refresh()
    assert not torch.allclose(model(z, 3)[1], before[1])


@pytest.mark.parametrize(
    ("z", "t", "message"),
    [
        (
            [(1, 4, 32, 32), (1, 3, 8, 8)],
            0,
            "the input of level r32 has shape (1, 4, 32, 32), not (rows, 3, height, width)",
        ),
        ([(1, 3, 34, 34), (1, 3, 8, 8)], 0, "level r32 needs sides that are multiples of 4, not 34x34"),
        ([(2, 3, 32, 32), (2, 3, 8, 8)], torch.zeros(3), "t has shape (3,); it is a number, or one per row"),
    ],
)
def test_shapes_that_do_not_fit_say_why(nested, z, t, message):
    with pytest.raises(ValueError, match=".*") as error:
        nested([torch.zeros(shape) for shape in z], t)
    assert message in str(error.value)


def test_nodes_may_have_the_names_that_merging_gives():
    text = """
name: names
resolution: 8
graph:
  stem: {width: 32}
  y_cat: {block: resnet, width: 32, from: stem}
  y: {block: resnet, width: 32, from: [stem, y_cat], merge: cat}
  z_add1: {block: resnet, width: 32, from: y}
  z1: {block: resnet, width: 32, from: [y, z_add1], merge: add}
  head: {from: z1}
"""
    model = randomise(build_model(load_text(text).graph))
    assert model(noise(model.graph, 1), 3)[0].abs().max() > 0
