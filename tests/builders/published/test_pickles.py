"""Checkpoints are read without running them, and a damaged or hostile one is refused in one sentence."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from builders.published import torch_archive
from builders.published.torch_archive import ArchiveError, read_state_dict, state_dict_names


class Configuration:
    """A class that the reader does not know."""

    def __init__(self) -> None:
        self.width = 64
        self.nested = {"a": [1, 2], "b": argparse.Namespace(c=3)}


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "a.bias": torch.randn(4, generator=generator),
        "half": torch.randn(5, generator=generator).half(),
        "bf16": torch.randn(5, generator=generator).bfloat16(),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "empty": torch.empty(0, 3),
        "transposed": torch.randn(3, 5, generator=generator).t(),
        "part": torch.randn(10, generator=generator)[2:6],
    }


def same(read: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return list(read) == list(expected) and all(
        read[name].dtype == tensor.dtype and torch.equal(read[name], tensor) for name, tensor in expected.items()
    )


def write(folder: Path, records: dict[str, bytes], name: str = "x.pth", compression: int = zipfile.ZIP_STORED) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", compression) as archive:
        for record, data in records.items():
            archive.writestr(f"archive/{record}", data)
    return path


class Storage:
    """Pickles as torch pickles a storage."""

    def __init__(self, key: object = "0", length: object = 4, kind: object = torch.FloatStorage) -> None:
        self.pid = ("storage", kind, key, "cpu", length)


class Call:
    """Pickles as a call of a function with arguments."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def program(value: object) -> bytes:
    class Writer(pickle.Pickler):
        def persistent_id(self, item: object) -> object:
            return item.pid if isinstance(item, Storage) else None

    stream = io.BytesIO()
    Writer(stream, protocol=2).dump(value)
    return stream.getvalue()


def tensor(storage: Storage, offset: object, shape: object, strides: object) -> Call:
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, collections.OrderedDict())


def crafted(folder: Path, value: object, data: bytes = bytes(16)) -> Path:
    return write(folder, {"data.pkl": program(value), "data/0": data, "version": b"3"})


def refused(path: Path, *words: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    for word in words:
        assert word in message


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda s: s, collections.OrderedDict, lambda s: {"state_dict": s, "step": 3}])
def test_reads_what_torch_writes(tmp_path, wrap):
    path = tmp_path / "plain.pth"
    torch.save(wrap(state()), path)
    read = read_state_dict(path)
    assert same(read, state())
    assert all(tensor.is_contiguous() for tensor in read.values())


def test_foreign_objects_are_ignored(tmp_path):
    path = tmp_path / "foreign.pth"
    arguments = argparse.Namespace(config=Configuration(), values={1, 2}, where=Path("x"))
    holder = {"args": arguments, "config": Configuration(), "model": state(), "optimizer": {"state": {0: state()}}}
    before = torch.serialization.get_safe_globals()
    torch.save(holder, path)
    assert same(read_state_dict(path), state())
    assert set(torch.serialization.get_safe_globals()) == set(before)
    assert state_dict_names(path) == ("model",)


def test_parameters_and_modules_prefix(tmp_path):
    path = tmp_path / "module.pth"
    torch.save({f"module.{name}": torch.nn.Parameter(t, t.is_floating_point()) for name, t in state().items()}, path)
    assert same(read_state_dict(path), state())


def test_several_state_dicts(tmp_path):
    path = tmp_path / "several.pth"
    other = {"a": torch.ones(2)}
    torch.save({"ema": other, "state_dict": state()}, path)
    assert state_dict_names(path) == ("ema", "state_dict")
    assert same(read_state_dict(path), state())
    assert same(read_state_dict(path, "ema"), other)
    with pytest.raises(ArchiveError, match=r"no state dict 'emma'; it has 'ema', 'state_dict'"):
        read_state_dict(path, "emma")


def test_tied_weights_are_read_as_two_tensors(tmp_path):
    path = tmp_path / "tied.pth"
    weight = torch.randn(6, 4)
    torch.save({"first": weight, "second": weight, "row": weight[2]}, path)
    read = read_state_dict(path)
    assert same(read, {"first": weight, "second": weight, "row": weight[2]})
    read["first"].zero_()
    assert torch.equal(read["second"], weight)


@pytest.mark.parametrize("protocol", [4, 5])
def test_other_pickle_protocols(tmp_path, protocol):
    path = tmp_path / "new.pth"
    torch.save(state(), path, pickle_protocol=protocol)
    refused(path, f"pickle protocol {protocol}; torch reads its own default alone, which is 2")


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["value", "key", "class", "tensor"])
def test_nothing_is_executed(tmp_path, place):
    mark = tmp_path / "executed"
    hostile = Hostile(f"touch {mark}")
    holder = {
        "value": {"state_dict": state(), "other": hostile},
        "key": {"state_dict": state(), "other": {"a": {"b": [hostile]}}},
        "class": {"state_dict": state(), "other": Call(eval, f"open({str(mark)!r}, 'w').close()")},
        "tensor": {"state_dict": {**state(), "last": hostile}},
    }[place]
    path = tmp_path / "hostile.pth"
    torch.save(holder, path)
    if place == "class":
        assert same(read_state_dict(path), state())
    else:
        refused(path, "unsupported GLOBAL posix.system whose module posix is blocked")
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists(), "the test's own payload must work"


@pytest.mark.parametrize("name", ["getattr", "setattr", "exec", "__import__"])
def test_builtins_are_not_reached(tmp_path, name):
    code = b"\x80\x02cbuiltins\n" + name.encode() + b"\nX\x01\x00\x00\x00aX\x01\x00\x00\x00b\x86R."
    refused(write(tmp_path, {"data.pkl": code, "version": b"3"}), "no tensors")


def test_functions_of_torch_cannot_be_altered(tmp_path):
    """BUILD sets attributes of an object."""
    for target in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"):
        program = b"\x80\x02" + target + b"}X\x01\x00\x00\x00aK\x01sb."
        path = write(tmp_path, {"data.pkl": program, "version": b"3"})
        refused(path, "pickle cannot be read")


def test_memo_bomb(tmp_path):
    """A table with two billion entries would need sixteen gigabytes."""
    refused(write(tmp_path, {"data.pkl": b"\x80\x02}r\xff\xff\xff\x7f.", "version": b"3"}), "no tensors")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"]" * 100_000 + b"a" * 99_999, "no tensors"),
        (b"(" * 100_000 + b"t" * 100_000, "a tuple of more than"),
        (b"}(" + b")" + b"\x85" * 100_000 + b"K\x01u", "a tuple of more than"),
        (b"}()" + b"q\x01h\x01\x86" * 40 + b"K\x01u", "a tuple of more than"),
        (b"}()" + b"2\x86" * 40 + b"K\x01u", "cannot be read"),
        (b"".join(b"ca\nb%d\n0" % number for number in range(1_100)) + b"N", "more than 1000 names"),
        (b"N0" * 5_000 + b"N", "more than 9000 instructions"),
    ],
    ids=["lists", "tuples", "deep key", "doubling key", "duplicated key", "names", "instructions"],
)
def test_nested_and_endless_pickles(tmp_path, monkeypatch, program, words):
    """Hashing the deep key would overflow the stack, hashing the doubling key would take days."""
    if "instructions" in words:
        monkeypatch.setattr(torch_archive, "MAX_OPERATIONS", 9_000)
    refused(write(tmp_path, {"data.pkl": b"\x80\x02" + program + b".", "version": b"3"}), words)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_truncated(tmp_path, keep):
    path = tmp_path / "whole.pth"
    torch.save(state(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    refused(path, "truncated")


def test_flipped_bit(tmp_path):
    path = tmp_path / "flipped.pth"
    torch.save({"weight": torch.full((1000,), 1.0)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(struct.pack("<f", 1.0) * 4) + 5] ^= 1
    path.write_bytes(data)
    refused(path, "damaged")


def test_other_formats(tmp_path):
    path = tmp_path / "legacy.pth"
    torch.save(state(), path, _use_new_zipfile_serialization=False)
    refused(path, "torch before 1.6")
    for content, words in [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer"),
        (struct.pack("<Q", 2) + b"{}", "safetensors"),
        (os.urandom(8) + b"?" * 100, "not a checkpoint"),
        (b"\0" * 257 + b"ustar" + b"\0" * 250, "tar format"),
        (b"PK\x03\x04" + b"\0" * 100, "damaged"),
    ]:
        path.write_bytes(content)
        refused(path, words)
    refused(tmp_path, "directory")
    refused(tmp_path / "absent.pth", "No such file")
    refused(write(tmp_path, {"readme.txt": b"hello"}), "not a checkpoint")
    refused(write(tmp_path, {"data.pkl": program(3), "version": b"3"}), "no tensors")
    refused(write(tmp_path, {"data.pkl": b"\x80\x02"}), "cannot be read")


def test_compressed_records_are_refused(tmp_path):
    """A megabyte of zeros compresses to a kilobyte; a gigabyte to a megabyte."""
    records = {
        "data.pkl": program({"a": tensor(Storage(length=1 << 18), 0, (1 << 18,), (1,))}),
        "data/0": bytes(1 << 20),
    }
    refused(write(tmp_path, records, compression=zipfile.ZIP_DEFLATED), "compressed")


def test_overlapping_records_are_refused(tmp_path):
    """Many entries of the directory that name the same bytes."""
    path = crafted(tmp_path, {"a": tensor(Storage(), 0, (4,), (1,))})
    with zipfile.ZipFile(path, "a") as archive:
        twin = zipfile.ZipInfo("archive/data/1")
        original = archive.getinfo("archive/data/0")
        for field in ("header_offset", "compress_size", "file_size", "CRC"):
            setattr(twin, field, getattr(original, field))
        archive.filelist.append(twin)
        archive.NameToInfo[twin.filename] = twin
        archive._didModify = True
    refused(path, "overlap")


def test_two_records_of_one_name(tmp_path):
    path = crafted(tmp_path, {"a": tensor(Storage(), 0, (4,), (1,))})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/0", bytes(16))
    refused(path, "one name")


BAD_TENSORS = {
    "beyond": (tensor(Storage(), 0, (5,), (1,)), "resize storage"),
    "offset": (tensor(Storage(), 1, (4,), (1,)), "resize storage"),
    "strides": (tensor(Storage(), 0, (2, 2), (3, 1)), "resize storage"),
    "repeated": (tensor(Storage(), 0, (1 << 40, 4), (0, 1)), "but it stores only"),
    "huge": (tensor(Storage(), 0, (1 << 61, 1 << 61), (1, 1)), "overflow"),
    "negative size": (tensor(Storage(), 0, (-1,), (1,)), "overflow"),
    "negative stride": (tensor(Storage(), 3, (4,), (-1,)), "overflow"),
    "negative offset": (tensor(Storage(), -1, (4,), (1,)), "invalid storage offset"),
    "boolean size": (tensor(Storage(), 0, (True,), (1,)), "invalid combination"),
    "lengths": (tensor(Storage(), 0, (2, 2), (1,)), "unequal size length"),
    "too long": (tensor(Storage(length=1 << 40), 0, (1 << 40,), (1,)), "resize storage"),
    "missing": (tensor(Storage(key="7"), 0, (4,), (1,)), "PytorchStreamReader"),
    "path": (tensor(Storage(key="../data.pkl"), 0, (4,), (1,)), "PytorchStreamReader"),
    "type": (tensor(Storage(kind=dict), 0, (4,), (1,)), "no attribute 'dtype'"),
    "no storage": (tensor("x", 0, (4,), (1,)), "no attribute 'dtype'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_tensors_out_of_bounds(tmp_path, case):
    value, words = BAD_TENSORS[case]
    refused(crafted(tmp_path, {"state_dict": {"good": tensor(Storage(), 0, (4,), (1,)), "bad": value}}), words)


def test_many_tensors_of_one_storage(tmp_path):
    """A thousand names for one megabyte would be a gigabyte."""
    names = {f"t{index}": tensor(Storage(length=1 << 18), 0, (1 << 18,), (1,)) for index in range(1000)}
    refused(crafted(tmp_path, names, bytes(1 << 20)), "stores only")


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_unknown_kind_of_tensor(tmp_path):
    sparse = torch.eye(3).to_sparse()
    path = tmp_path / "sparse.pth"
    torch.save({"dense": torch.ones(2), "sparse": sparse}, path)
    refused(path, "'sparse' is a sparse, quantized or meta tensor")


def test_large_allocations_are_refused(tmp_path):
    """A constructor of torch that a pickle may call takes a size; its memory is not touched."""
    program = b"\x80\x02}X\x01\x00\x00\x00actorch\nFloatTensor\n" + b"\x8a\x05" + (1 << 30).to_bytes(5, "little")
    refused(write(tmp_path, {"data.pkl": program + b"\x85\x81s.", "version": b"3"}), "tensors take")
