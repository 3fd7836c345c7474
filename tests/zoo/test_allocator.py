"""Freed memory is kept for reuse by computations on the CPU, and a choice of the user's stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from zoo import device
from zoo.allocator import keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
#: Prints the page faults of buffers that are allocated and freed again and again.
CODE = """
import resource, sys
from zoo.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "kept" else None)
for number in range(6):
    buffers = [bytearray(b"1") * (8 << 20) for _ in range(12)]
    del buffers
    if number == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def clean(monkeypatch):
    for name in ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(not GLIBC, reason="the allocator is another one")
def test_pages_are_not_returned_and_zeroed_again(clean):
    counts = {}
    for setting in ("kept", "default"):
        command = [sys.executable, "-c", CODE, setting]
        words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert words[0] == ("True" if setting == "kept" else "None")
        counts[setting] = int(words[1])
    assert counts["kept"] < 0.01 * counts["default"]


@pytest.mark.parametrize("name", ["LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX"])
def test_what_the_user_chose_stays(clean, monkeypatch, name):
    monkeypatch.setenv(name, "")
    monkeypatch.setattr("ctypes.CDLL", lambda *_: pytest.fail("the allocator is set"))
    assert keep_freed_memory() is False


def test_other_systems_and_libraries_are_left_alone(clean, monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda *_: object())
    assert keep_freed_memory() is False
    monkeypatch.setattr("ctypes.CDLL", lambda *_: pytest.fail("the allocator is set"))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_the_cpu_keeps_memory_and_a_gpu_needs_not(monkeypatch):
    calls = []
    monkeypatch.setattr(device, "keep_freed_memory", lambda: calls.append(1))
    assert device.pick_device("cpu").type == "cpu" and calls == [1]
    monkeypatch.setattr(device, "_tried", lambda name: __import__("torch").device("cuda"))
    assert device.pick_device(None).type == "cuda" and calls == [1]
