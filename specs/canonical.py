"""One form for what a graph is: canonical JSON, the hashes taken of it, and the YAML that loads to it again.

Whatever equals its default is left out, so that a later field with a default changes no hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from specs.graph import EntryGraph, LevelGraph, Node, Process, TextInput

__all__ = ["entry_hash", "expanded_yaml", "graph_hashes", "json_text"]

HASH_LENGTH = 16
#: Texts that may stand without quotes, unless they read as something else.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def graph_hashes(graph: EntryGraph) -> dict[str, str]:
    """For each label, the hash of that level with all inside it: structure, inputs and the time's width."""
    levels = [canonical_level(level) for level in graph.levels]
    inputs = {"time": graph.time_width, **_inputs(graph)}
    return {
        level.label: _digest({"levels": levels[index:], "inputs": inputs}) for index, level in enumerate(graph.levels)
    }


def entry_hash(graph: EntryGraph) -> str:
    """The hash of structure, inputs and process."""
    return _digest({"graph": graph.graph_hash, "process": _changed(graph.process)})


def canonical_level(level: LevelGraph) -> dict[str, Any]:
    """A level as plain data; its nodes are found by name, so that their order does not count."""
    result: dict[str, Any] = {
        "label": level.label,
        "resolution": level.resolution,
        "stem": level.stem_width,
        "nodes": {node.name: _node(node) for node in level.nodes},
        "head": level.head,
    }
    if level.head_groups != 32:
        result["head_groups"] = level.head_groups
    if level.normalize_input != "auto":
        result["normalize_input"] = level.normalize_input
    if level.micro:
        result["micro"] = {micro.name: float(micro.default) for micro in level.micro}
    if level.channels != 3:
        result["channels"] = level.channels
    return result


def _node(node: Node) -> dict[str, Any]:
    result: dict[str, Any] = {"block": node.block, "width": node.width, "from": list(node.inputs)}
    if node.args:
        result["args"] = dict(node.args)
    if node.merge:
        result["merge"] = node.merge
    return result


def _changed(value: TextInput | Process) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    items = {field.name: (getattr(value, field.name), field.default) for field in fields(value)}
    return {name: float(now) if isinstance(now, float) else now for name, (now, usual) in items.items() if now != usual}


def _inputs(graph: EntryGraph) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    if graph.text is not None:
        inputs["text"] = _changed(graph.text)
    if graph.classes is not None:
        inputs["classes"] = graph.classes
    return inputs


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def expanded_yaml(graph: EntryGraph) -> str:
    """The entry as an explicit graph in YAML; it loads again to the same hash."""
    lines = [f"name: {_flow(graph.name)}"]
    if graph.summary:
        lines.append(f"summary: {_flow(graph.summary)}")
    process = _changed(graph.process)
    if process:
        lines.append(f"process: {_flow(process)}")
    for index in range(len(graph.levels)):
        indent = "  " * index
        if index:
            lines.append("  " * (index - 1) + "nest:")
        lines += [indent + line for line in _level_lines(graph, index)]
    return "\n".join(lines) + "\n"


def _level_lines(graph: EntryGraph, index: int) -> list[str]:
    level, innermost = graph.levels[index], index == len(graph.levels) - 1
    lines = [f"resolution: {level.resolution}"]
    if level.channels != 3:
        lines.append(f"channels: {level.channels}")
    inputs = _inputs(graph) if innermost else {}
    inputs |= {micro.name: {"default": micro.default} for micro in level.micro}
    if inputs:
        lines += ["inputs:", *(f"  {_flow(name)}: {_flow(value)}" for name, value in inputs.items())]
    if innermost and graph.time_width != 4 * level.stem_width:
        lines.append(f"time: {_flow({'width': graph.time_width})}")
    if level.normalize_input != "auto":
        lines.append(f"normalize_input: {_flow(level.normalize_input)}")
    lines += ["graph:", f"  stem: {_flow({'width': level.stem_width})}"]
    for node in level.nodes:
        lines.append(f"  {_flow(node.name)}: {_flow(_use(node))}")
    head: dict[str, Any] = {"from": level.head}
    if level.head_groups != 32:
        head["groups"] = level.head_groups
    return [*lines, f"  head: {_flow(head)}"]


def _use(node: Node) -> dict[str, Any]:
    source = list(node.inputs) if len(node.inputs) > 1 else node.inputs[0]
    if node.block == "nest":
        return {"from": source}
    use: dict[str, Any] = {"block": node.block, "width": node.width, **dict(node.args), "from": source}
    return use | ({"merge": node.merge} if node.merge else {})


def _flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return value if isinstance(value, str) and _stands_plain(value) else json_text(value)


def _stands_plain(text: str) -> bool:
    """Whether a text without quotes is read as that text."""
    from specs.errors import SpecError
    from specs.source import core_scalar

    try:
        return _WORD.fullmatch(text) is not None and core_scalar(text) == text
    except SpecError:
        return False


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON that YAML reads as the same value: what YAML may not hold as it is, or would fold, is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
