"""Every block of the table, built with many arguments and held to its rules."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import torch
from pydantic import ValidationError

from benchmarks.suite.measuring import saved_bytes
from builders.blocks import MODULES, build_block
from specs.blocks import BLOCKS, Scene, Size
from specs.graph import Node
from tests.helpers.counters import Alive, flop_counter

ROWS = 2
#: An image, and clips: several frames, frames that no step in time divides, and fewer pixels than frames.
SIZES = (Size(8), Size(8, 4), Size(16, 3), Size(4, 20))
#: Of one float32 in every row of a batch.
BYTES = 4 * ROWS
WIDTHS = ((32, 32), (32, 64), (64, 32))
WITH_TEXT = Scene(time_width=20, text_width=12, tokens=5)
WITHOUT_TEXT = Scene(time_width=20)


def choices(annotation: Any) -> list[Any]:
    """Return the values to try of an argument that is a switch; those of a whole number come from elsewhere."""
    if get_origin(annotation) in (Union, UnionType):
        return [value for part in get_args(annotation) for value in choices(part)]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return {bool: [False, True], int: [], float: [0.25]}[annotation]


def valid_arguments(block) -> list[tuple[tuple[str, Any], ...]]:
    """Return the arguments to try: whole numbers at their defaults, 1 and 4, with every combination of the others."""
    found = {}
    for number in (None, 1, 4):
        values = []
        for name, field in block.Args.model_fields.items():
            first = field.default if number is None or field.annotation is not int else number
            tried = {repr(value): (name, value) for value in [first, *choices(field.annotation)]}
            values.append(list(tried.values()))
        for args in itertools.product(*values):
            with suppress(ValidationError):
                block.arguments(args)
                found[repr(args)] = args
    return list(found.values())


def cases():
    """Yield (block, arguments, channels of the input, width, scene, size) for all blocks, where the block accepts them.

    Every case has an image if its block takes images, and clips of one size, each in its turn.
    """
    clips = itertools.cycle(SIZES[1:])
    for name, block in BLOCKS.items():
        scenes = (WITH_TEXT, WITHOUT_TEXT) if "text" in block.ports else (WITHOUT_TEXT,)
        for args, (in_channels, width), scene in itertools.product(valid_arguments(block), WIDTHS, scenes):
            accepted = [size for size in SIZES if not block.check(block.arguments(args), in_channels, width, size)]
            chosen = [size for size in accepted if size == SIZES[0] and not block.temporal]
            chosen += [size for size in (next(clips) for _ in SIZES[1:]) if size in accepted][:1]
            for size in chosen:
                written = "-".join(f"{key}={value}" for key, value in args)
                text = "-text" if scene is WITH_TEXT else ""
                case = (name, args, in_channels, width, scene, size)
                yield pytest.param(case, id=f"{name}-{written}-{in_channels}-{width}{text}-{size.label}")


def features(channels, size):
    """Return random features: images, or clips with the frames outermost in memory."""
    if size.frames == 1:
        return torch.randn(ROWS, channels, size.side, size.side)
    return torch.randn(ROWS, size.frames, channels, size.side, size.side).transpose(1, 2)


class Built:
    """A block's module with inputs, called as a level's graph calls it."""

    def __init__(self, name, args, in_channels, width, scene, size, device):
        self.block, self.scene = BLOCKS[name], scene
        self.args = self.block.arguments(args)
        with torch.device(device):
            self.module = build_block(Node("x", name, width, args, ("stem",)), in_channels, scene)
            self.x = features(in_channels, size)
            self.time = torch.randn(ROWS, scene.time_width)
            self.tokens = torch.randn(ROWS, scene.tokens, scene.text_width or 0)

    def encode(self):
        """Return what depends on the prompt alone."""
        return self.module.text(self.tokens) if self.block.reads_text(self.args, self.scene) else None

    def forward(self, text):
        time = [self.time] if "time" in self.block.ports else []
        return self.module(self.x, *time, *([] if text is None else [text]))


def rules(name, args, in_channels, width, scene, size):
    block = BLOCKS[name]
    arguments = (block.arguments(args), in_channels, width, size, scene)
    return block.costs(*arguments), block.activations(*arguments), block.output_size(arguments[0], size)


def check_costs(case, costs, device):
    built = Built(*case, device)
    with torch.no_grad():
        with flop_counter() as encoding:
            text = built.encode()
        with flop_counter() as step:
            output = built.forward(text)
    assert sum(parameter.numel() for parameter in built.module.parameters()) == costs.parameters
    assert step.get_total_flops() == 2 * ROWS * costs.macs
    assert encoding.get_total_flops() == 2 * ROWS * costs.encode_macs
    return output


def test_every_block_has_a_module_and_is_built():
    assert set(MODULES) == set(BLOCKS)
    assert {case.values[0][0] for case in cases()} == set(BLOCKS)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("case", list(cases()))
def test_shape_parameters_and_macs(case, device):
    costs, _, size = rules(*case)
    output = check_costs(case, costs, device)
    assert output.shape == (ROWS, case[3], *([size.frames] if output.dim() == 5 else []), size.side, size.side)
    assert output.dtype == torch.float32
    if output.dim() == 5:
        assert output.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("case", list(cases()))
def test_activations(case):
    _, rule, _ = rules(*case)
    built = Built(*case, "cpu")
    given = [built.x, built.time, built.tokens]
    for tensor in given:
        tensor.requires_grad_()
    weights = [*built.module.parameters(), built.time, built.tokens]
    saved = saved_bytes(lambda: built.forward(built.encode()), [*weights, built.x])
    with_input = saved_bytes(lambda: built.forward(built.encode()), weights)
    # Tables of positions belong to no sample.
    tables = 8 * case[3] * case[-1].frames if case[0] == "temporal_attention" else 0
    assert 0 <= saved - BYTES * rule.saved <= tables
    assert (with_input > saved) == rule.keeps_input
    built.module.eval()
    with torch.no_grad():
        text = built.encode()
        with Alive([*built.module.parameters(), *given]) as alive:
            output = built.forward(text)
    workspace = alive.peak - 4 * output.numel()
    assert 0.75 * BYTES * rule.workspace <= workspace <= 1.05 * BYTES * rule.workspace


@pytest.mark.parametrize("field", ["parameters", "macs", "encode_macs"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_rule_that_is_off_by_one_is_noticed(field, change):
    case = ("attention", (("feed_forward", True),), 32, 32, WITH_TEXT, Size(8))
    costs = rules(*case)[0]
    with pytest.raises(AssertionError):
        check_costs(case, replace(costs, **{field: getattr(costs, field) + change}), "meta")
