"""Locations of shards: brace ranges, the home folder, and addresses that fsspec reads."""

from __future__ import annotations

import pytest
import torch

from builders.data.errors import DataError
from builders.data.open import open_dataset
from builders.data.urls import expand_braces
from tests.helpers.shards import samples, write_tar


def shard_of_four(path):
    return write_tar(path, list(samples(4)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.tar", ["a.tar"]),
        ("s-{00..02}.tar", ["s-00.tar", "s-01.tar", "s-02.tar"]),
        ("s-{8..11}.tar", ["s-8.tar", "s-9.tar", "s-10.tar", "s-11.tar"]),
        ("{a,b}/{1..2}", ["a/1", "a/2", "b/1", "b/2"]),
        ("s-{a,{b,c}}.tar", ["s-a.tar", "s-b.tar", "s-c.tar"]),
        ("s-{3}.tar", ["s-{3}.tar"]),
        ("s-{1..2.tar", ["s-{1..2.tar"]),
        (r"C:\s-{0..1}.tar", [r"C:\s-0.tar", r"C:\s-1.tar"]),
    ],
)
def test_braces(text, expected):
    assert list(expand_braces(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{0..1000000}",
        "{0..99999999999}{0..999999}",
        "{0..999}{0..999}{a,b}",
        "{-999999999..1}",
        f"{{0..{'9' * 5000}}}",
        "{a..z}" * 20,
        "{a,b}" * 20,
        "{{0..9999999}}",
        "{x,{0..9999999}}",
    ],
)
def test_too_many_are_refused_before_they_are_expanded(text, monkeypatch):
    def expand(*given, **options):
        raise AssertionError("expanded")

    monkeypatch.setattr("builders.data.urls.braceexpand", expand)
    with pytest.raises(DataError, match="more than 1,000,000 shards"):
        expand_braces(text)


def test_a_million_are_not_too_many():
    found = expand_braces("{000..999}{0..999}")
    assert len(set(found)) == len(found) == 1_000_000 and found[1001] == "0011"


def test_brace_ranges_and_addresses(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for index in range(3):
        shard_of_four(tmp_path / f"s-{index:02}.tar")
    local = open_dataset(str(tmp_path / "s-{00..02}.tar")).load(8, "all")
    assert len(local) == 12
    memory = fsspec.filesystem("memory")
    for index in range(3):
        memory.pipe(f"/set/s-{index:02}.tar", (tmp_path / f"s-{index:02}.tar").read_bytes())
    for address in ("memory://set/s-{00..02}.tar", f"file://{tmp_path}/s-{{00..02}}.tar"):
        assert torch.equal(open_dataset(address).load(8, "all").images, local.images)
    assert len(open_dataset(str(tmp_path / "s-{01..01}.tar")).load(8, "all")) == 4
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_dataset("~/s-00.tar").load(8, "all")) == 4
    memory.rm("/set", recursive=True)
    # A shard in the cache is not fetched again.
    assert len(open_dataset("memory://set/s-{00..02}.tar").load(8, "all")) == 12


def test_a_server_without_range_requests(tmp_path, monkeypatch):
    """Some servers do not support range requests, and signed addresses may be longer than a file name."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    shard_of_four(tmp_path / "s.tar")
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *given: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/s.tar?signature={'a' * 300}"
        assert len(open_dataset(address).load(8, "all")) == 4
    finally:
        server.shutdown()
        server.server_close()
