"""Structured mutations: of plain data that becomes YAML or JSON, of texts, and of bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

#: Texts that some part of a program has been seen to stumble over.
TEXTS = (
    "", " ", ".", "..", "/", "~", "~nosuchuser", "~/x", "../../etc/passwd", "/dev/zero", "/dev/stdin", "a/b", "a\\b",
    "-", "--help", "a" * 300, "x" * 5000, "a\0b", "a\nb", "a\r\nb", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "[red]x[/red]", "\u202egnp.exe", "\ufeff", "\u2028", "\ud800", "\u4f60\u597d", "\U0001f600", "e\u0301", "None",
    "null", "true", "no", "1e400", "-1e400", "nan", ".inf", "0x10", "1_000", "{0..9}", "{0..999999999}",
    "{a,{b,{c}}}", "{", "}{", "%s%n", "${HOME}", "$(id)", "`id`", "http://u:p@127.0.0.1:1/x?sig=1", "pipe:echo",
    "file:///dev/zero", "s3://x", "::", "a::b", "nest", "name", "input", "r64", "r8", "p8", "mdm-nano", "mdm-micro",
    "noto-emoji-64", "embedded", "before", "fresh", "*", "&a", "*a", "!!x", "<<", "? x", "|", ">", "#", "a: b", "[",
    "'", '"', "con", "__init__", "../x.yaml", "./x.yaml", "x.yaml", "__meta__/a",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 16, 63, 64, 65, 255, 256, 2**31 - 1, 2**31, 2**32, 2**63, 2**64, 10**18, 10**30, -(2**31),
    0.0, -0.0, 0.5, 1.5, 1e-300, 1e300, -1e300, 1e400, -1e400, float("nan"), 3.0, 1e-9,
)  # fmt: skip
OTHERS = (None, True, False, [], {}, [[]], [{}], {"": None}, {"a": {"a": {"a": 1}}}, [None], [1, "a"])


def value(random: Random) -> Any:
    """A value of any kind."""
    kind = random.randrange(10)
    if kind < 4:
        return random.choice(TEXTS)
    if kind < 7:
        return random.choice(NUMBERS)
    if kind < 9:
        return copy.deepcopy(random.choice(OTHERS))
    deep: Any = random.choice(TEXTS)
    for _ in range(random.choice((3, 30, 70, 300))):
        deep = [deep] if random.random() < 0.5 else {"a": deep}
    return deep


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a tree with each of its keys."""
    waiting = [tree]
    while waiting:
        at = waiting.pop()
        keys = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        for key in keys:
            yield at, key
            waiting.append(at[key])


def _replace(random: Random, at: Any, key: Any, other: Any) -> None:
    at[key] = value(random)


def _nudge(random: Random, at: Any, key: Any, other: Any) -> None:
    old = at[key]
    if isinstance(old, bool) or not isinstance(old, (int, float)):
        at[key] = [old] if random.random() < 0.5 else str(old)
    else:
        at[key] = random.choice((old + 1, old - 1, -old, old * 2, old * 1000, old / 3, str(old), [old]))


def _remove(random: Random, at: Any, key: Any, other: Any) -> None:
    del at[key]


def _rename(random: Random, at: Any, key: Any, other: Any) -> None:
    if isinstance(at, dict):
        new = random.choice((random.choice(TEXTS), str(key) + "x", str(key).upper(), str(key)[:-1]))
        at[new] = at.pop(key)
    else:
        random.shuffle(at)


def _transplant(random: Random, at: Any, key: Any, other: Any) -> None:
    found = [(place, name) for place, name in places(other)]
    if found:
        place, name = random.choice(found)
        at[key] = copy.deepcopy(place[name])


def _add(random: Random, at: Any, key: Any, other: Any) -> None:
    if isinstance(at, dict):
        at[random.choice(TEXTS) if random.random() < 0.5 else f"{key}2"] = random.choice((value(random), at[key]))
    else:
        at.insert(random.randrange(len(at) + 1), random.choice((value(random), at[key])))


def _multiply(random: Random, at: Any, key: Any, other: Any) -> None:
    # Large parts only a few times, so that inputs remain small.
    times = random.choice((2, 50, 500)) if sum(1 for _ in places([at[key]])) < 20 else 2
    if isinstance(at, list):
        at.extend([at[key]] * times)
    else:
        at.update({f"{key}{number}": at[key] for number in range(times)})


_CHANGES: tuple[Callable[[Random, Any, Any, Any], None], ...] = (
    _replace, _replace, _replace, _nudge, _nudge, _remove, _rename, _transplant, _transplant, _add, _multiply,
)  # fmt: skip


def tree(random: Random, seeds: list[Any]) -> Any:
    """One of the seeds after a few changes."""
    found = copy.deepcopy(random.choice(seeds))
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        known = list(places(found)) if isinstance(found, (dict, list)) else []
        if not known:
            return value(random)
        at, key = random.choice(known)
        random.choice(_CHANGES)(random, at, key, random.choice(seeds))
        if len(known) > 5000:
            break
    return found


def as_yaml(random: Random, found: Any) -> bytes:
    """A tree as YAML, mostly in JSON's notation, which YAML contains."""
    if random.random() < 0.5:
        return as_json(found)
    import yaml

    try:
        return yaml.dump(found, sort_keys=False, allow_unicode=random.random() < 0.5).encode("utf-8", "surrogatepass")
    except (RecursionError, yaml.YAMLError, ValueError):
        return as_json(found)


def as_json(found: Any) -> bytes:
    """A tree as JSON."""
    try:
        return json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 100_000


_INSERTED = (
    b"\0", b"\n", b"\r", b"\t", b'"', b"'", b",", b";", b"{", b"}", b"[", b"]", b": ", b"- ", b"&a ", b"*a",
    b"!!python/object ", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J", b"\xe2\x80\xae",
    b"9" * 400, b"[" * 2000, b"A" * 100_000, b"\x80\x04", b"PK\x03\x04", b"<html>",
    b"version https://git-lfs.github.com/spec/v1\n",
)  # fmt: skip


def scrambled(random: Random, content: bytes) -> bytes:
    """Bytes after a few changes without regard to their structure."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 5, 20))):
        if not data:
            return random.choice(_INSERTED)
        place = random.randrange(len(data))
        kind = random.randrange(6)
        if kind == 0:
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[place] = random.randrange(256)
        elif kind == 2:
            del data[place : place + random.choice((1, 2, 10, 100, len(data)))]
        elif kind == 3:
            data[place:place] = random.choice(_INSERTED)
        elif kind == 4:
            end = place + random.choice((1, 5, 50, 500))
            data[place:place] = data[place:end] * random.choice((1, 3, 30))
        else:
            other = random.randrange(len(data))
            data[place], data[other] = data[other], data[place]
        if len(data) > 300_000:
            break
    return bytes(data)
