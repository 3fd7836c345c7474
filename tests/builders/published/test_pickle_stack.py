"""Pickles whose keys have one hash would take time in proportion to the square of their number."""

from __future__ import annotations

import itertools
import pickle
import struct
from collections import OrderedDict

import pytest
import torch

from builders.published import pickle_stack
from builders.published.torch_archive import ArchiveError, read_state_dict
from tests.builders.published.test_pickles import refused, write

MODULUS = 2**61 - 1


def number(value):
    content = pickle.encode_long(value)
    return b"\x8a" + bytes([len(content)]) + content


def integers(count):
    return [number(MODULUS * (index + 1)) for index in range(count)]


def negatives(count):
    """Tuples of -1 and -2, which have one hash."""
    parts = {-1: b"J" + struct.pack("<i", -1), -2: b"J" + struct.pack("<i", -2)}
    found = itertools.islice(itertools.product((-1, -2), repeat=12), count)
    return [b"(" + b"".join(parts[each] for each in values) + b"t" for values in found]


def named(count):
    return [b"X\x01\x00\x00\x00a" + each + b"\x86" for each in negatives(count)]


def mapping(keys):
    return b"}(" + b"".join(key + b"N" for key in keys) + b"u"


def sized(count):
    """Sizes made of lists, which are hashed as tuples."""
    items = [b"](" + each[1:-1] + b"e\x85" for each in negatives(count)]
    return b"}(" + b"".join(b"ctorch\nSize\n" + each + b"RN" for each in items) + b"u"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (mapping(integers(60)), "with the same hash"),
        (mapping(negatives(60)), "with the same hash"),
        (mapping(named(60)), "with the same hash"),
        (b"](" + b"".join(negatives(60)) + b"e", "with the same hash"),
        (sized(1001), "more than 1000 objects made by torch.Size"),
        (
            b"](" + b"cbuiltins\ncomplex\nK\x01K\x02\x86R" * 1001 + b"e",
            "more than 1000 objects made by",
        ),
    ],
    ids=["integers", "negatives", "named", "for a set", "sizes", "complex"],
)
def test_keys_with_one_hash_are_refused(tmp_path, program, words):
    refused(write(tmp_path, {"data.pkl": b"\x80\x02" + program + b".", "version": b"3"}), words)


@pytest.mark.parametrize("program", [mapping(integers(50)), mapping(negatives(50)), sized(1000)])
def test_a_few_are_read(tmp_path, program):
    refused(write(tmp_path, {"data.pkl": b"\x80\x02" + program + b".", "version": b"3"}), "no tensors")


def test_many_tuples_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_stack, "MAX_TUPLES", 100)
    tuples = [(index,) for index in range(101)]
    refused(write(tmp_path, {"data.pkl": pickle.dumps(tuples, 2), "version": b"3"}), "too many tuples")
    monkeypatch.setattr(pickle_stack, "MAX_ITEMS", 300)
    refused(write(tmp_path, {"data.pkl": pickle.dumps([(1, 2, 3), *tuples[:99]], 2), "version": b"3"}), "no tensors")
    program = b"\x80\x02](" + b"K\x01K\x02K\x03\x87" * 76 + b"e."
    refused(write(tmp_path, {"data.pkl": program, "version": b"3"}), "more than 300 in all tuples")


def test_usual_checkpoints_are_read(tmp_path):
    state = OrderedDict((f"layer{index}.weight", torch.randn(3, 2)) for index in range(200))
    optimizer = {"state": {index: {"step": index} for index in range(200)}}
    groups = [{"betas": (0.9, 0.99 + index * 1e-6), "lr": -1.0, "range": (-1, -2)} for index in range(300)]
    holder = {"state_dict": state, "optimizer": optimizer | {"param_groups": groups}, "size": torch.Size((-1, -2))}
    torch.save(holder | {"time": 2**62, "loss": [0.5] * 500}, tmp_path / "net.pth")
    try:
        found = read_state_dict(tmp_path / "net.pth")
    except ArchiveError as error:
        pytest.fail(str(error))
    assert found.keys() == state.keys()
