"""Downloads of shards: resumed, checked before they are cached, without a limit on the total time."""

from __future__ import annotations

import gzip
import time

import pytest

from builders import download
from builders.data.errors import DataError
from builders.data.open import open_dataset
from builders.data.urls import local_shard
from tests.helpers.shards import samples, write_tar
from tests.helpers.web import send, serving


@pytest.fixture
def content(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setattr(download, "READ", 0.3)
    monkeypatch.setattr(download, "CHUNK", 512)
    return write_tar(tmp_path / "s.tar", list(samples(8))).read_bytes()


def cached(tmp_path):
    return [path.name for path in (tmp_path / "cache" / "shards").iterdir()]


def cut(handler, content, start, end, headers):
    """Promise some bytes, send fewer and hang up."""
    handler.send_response(206 if start else 200)
    for name, value in {"Content-Length": len(content) - start, **headers}.items():
        handler.send_header(name, str(value))
    handler.end_headers()
    handler.wfile.write(content[start:end])


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_resumed(content, tmp_path, ranges):
    """With ranges, from where it broke off; without, from the start, which succeeds when the connection holds."""
    starts = []

    def answer(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1]) if ranges else 0
        starts.append(start)
        assert not start or handler.headers["If-Range"] == '"one"'
        end = start + len(content) // 3 if len(starts) < 3 else len(content)
        found = {"ETag": '"one"'} | (
            {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        )
        cut(handler, content, start, end, found)

    reports = []
    with serving(answer) as (host, _), download.reporting(lambda *report: reports.append(report)):
        path = local_shard(f"http://{host}/s.tar")
    assert path.read_bytes() == content and len(starts) == 3
    assert (min(starts[1:]) > 0) == ranges and cached(tmp_path) == [path.name]
    assert reports[-1] == ("s.tar", len(content), len(content)) and reports[0][1] <= 512


def test_a_later_process_resumes(content, monkeypatch):
    starts, whole = [], []

    def answer(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        starts.append(start)
        found = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Range": f"bytes {start}-{len(content)}/*"}
        cut(handler, content, start, len(content) if whole else min(start + 2000, 4000), found)

    with serving(answer) as (host, _):
        with pytest.raises(DataError, match=r"s.tar: cannot be fetched: the connection broke off; to resume, run the"):
            local_shard(f"http://{host}/s.tar")
        whole.append(True)
        assert local_shard(f"http://{host}/s.tar").read_bytes() == content
    assert starts[-1] >= 3000


def test_a_file_that_changed_is_not_continued(content, tmp_path):
    """The server answers with the whole new file, or with a range that was not asked for."""
    old, seen = b"x" * len(content), []

    def answer(handler):
        seen.append(handler.headers.get("Range"))
        if len(seen) == 1:
            cut(handler, content[:512] + old[512:], 0, 3000, {"ETag": '"old"'})
        elif len(seen) == 2:
            send(
                handler, content[512:], 206, ETag='"new"', Content_Range=f"bytes 512-{len(content) - 1}/{len(content)}"
            )
        else:
            send(handler, content, ETag='"new"')

    with serving(answer) as (host, _):
        assert local_shard(f"http://{host}/s.tar").read_bytes() == content
    assert len(seen) == 3 and seen[1] is not None and seen[2] is None


def test_time_is_limited_for_each_read_and_not_in_total(content):
    def slow(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        step = len(content) // 6 + 1
        for start in range(0, len(content), step):
            handler.wfile.write(content[start : start + step])
            handler.wfile.flush()
            time.sleep(0.1)

    def hanging(handler):
        time.sleep(1)

    with serving(slow) as (host, _):
        assert local_shard(f"http://{host}/slow.tar").read_bytes() == content
    with serving(hanging) as (host, _), pytest.raises(DataError, match=r"the server sent nothing for 0.3 s; to resume"):
        local_shard(f"http://{host}/hanging.tar")


PAGE = b"<!DOCTYPE html><title>Log in</title>" + b" " * 10_000


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (PAGE, "this is a web page and not a tar file; does the address need a login or a signature?"),
        (b'\n {"error": "expired"}', "this is a text and not a tar file"),
        (b"", "this is another file and not a tar file"),
        (b"PK\x03\x04" * 200, "this is another file and not a tar file"),
        ("cut", "the tar file is cut off"),
        ("cut.gz", "the tar file is cut off"),
    ],
)
def test_what_is_no_shard_is_not_cached(content, tmp_path, body, message):
    body = {"cut": content[:-5000], "cut.gz": gzip.compress(content)[:-20]}.get(body, body)

    def without_a_length(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body)

    for answer in (lambda handler: send(handler, body), without_a_length):
        with serving(answer) as (host, _), pytest.raises(DataError, match=message) as found:
            open_dataset(f"http://{host}/s.tar?token=s3cr3t")
        assert "s3cr3t" not in str(found.value) and not any(
            name.endswith((".tar", ".part")) for name in cached(tmp_path)
        )


def test_an_endless_page_ends_at_its_beginning(content):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        for _ in range(20_000):
            handler.wfile.write(PAGE)

    with serving(endless) as (host, _), pytest.raises(DataError, match="a web page"):
        local_shard(f"http://{host}/s.tar")


def test_redirects_lead_to_web_servers_only(content, tmp_path):
    place = f"file://{tmp_path / 's.tar'}"
    with (
        serving(lambda handler: send(handler, b"", 302, Location=place)) as (host, _),
        pytest.raises(DataError, match="cannot be fetched"),
    ):
        local_shard(f"http://{host}/s.tar")

    def elsewhere(handler):
        assert "Authorization" not in handler.headers
        send(handler, content)

    with serving(elsewhere) as (other, _):
        there = f"http://{other.replace('127.0.0.1', 'localhost')}/s.tar?sig=s3cr3t"
        with serving(lambda handler: send(handler, b"", 302, Location=there)) as (host, _):
            assert local_shard(f"http://me:hunter2@{host}/a.tar").read_bytes() == content


def test_a_full_disk_is_reported_before_the_download(content, monkeypatch):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**15))
        handler.end_headers()

    with serving(answer) as (host, _), pytest.raises(DataError, match="the disk is full: 953,674,316 MiB are needed"):
        local_shard(f"http://{host}/s.tar")


def test_a_file_address_names_a_regular_file(content):
    with pytest.raises(DataError, match="/dev/zero: not a file"):
        local_shard("file:///dev/zero")
