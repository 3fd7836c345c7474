"""Write a graph as YAML that loads to the same graph. Values equal to their default are omitted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from specs.errors import SpecError
from specs.graph import EntryGraph, Node, canonical_inputs, changed_fields
from specs.syntax.scalars import core_scalar

__all__ = ["expanded_yaml", "json_text"]

#: Strings that need no quotes, unless YAML reads them as another type.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def expanded_yaml(graph: EntryGraph) -> str:
    """Return an entry as an explicit graph in YAML, which loads to the same hash."""
    lines = [f"name: {_flow(graph.name)}"]
    if graph.summary:
        lines.append(f"summary: {_flow(graph.summary)}")
    process = changed_fields(graph.process)
    noise = {key: process.pop(name) for key, name in (("levels", "noise"), ("offset", "offset")) if name in process}
    if noise:
        process["noise"] = noise
    if isinstance(process.get("residual"), tuple):
        process["residual"] = dict(process["residual"])
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
    changed = changed_fields(level, "channels", "normalize_input", "head_groups", "frames")
    lines = [f"resolution: {level.resolution}"]
    if "frames" in changed:
        lines.append(f"frames: {level.frames}")
    if "channels" in changed:
        lines.append(f"channels: {level.channels}")
    inputs = canonical_inputs(graph) if innermost else {}
    inputs |= {micro.name: {"default": micro.default} for micro in level.micro}
    if inputs:
        lines += ["inputs:", *(f"  {_flow(name)}: {_flow(value)}" for name, value in inputs.items())]
    if innermost and graph.time_width != 4 * level.stem_width:
        lines.append(f"time: {_flow({'width': graph.time_width})}")
    if "normalize_input" in changed:
        lines.append(f"normalize_input: {_flow(level.normalize_input)}")
    lines += ["graph:", f"  stem: {_flow({'width': level.stem_width})}"]
    for node in level.nodes:
        lines.append(f"  {_flow(node.name)}: {_flow(_use(node))}")
    head: dict[str, Any] = {"from": level.head}
    if "head_groups" in changed:
        head["groups"] = level.head_groups
    return [*lines, f"  head: {_flow(head)}"]


def _use(node: Node) -> dict[str, Any]:
    source = list(node.inputs) if len(node.inputs) > 1 else node.inputs[0]
    if node.block == "nest":
        return {"from": source}
    use: dict[str, Any] = {"block": node.block, "width": node.width, **dict(node.args), "from": source}
    return use | ({"merge": node.merge} if node.merge else {})


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return value if isinstance(value, str) and _is_plain(value) else json_text(value)


def _is_plain(text: str) -> bool:
    """Return whether YAML reads a text without quotes as the same text."""
    try:
        return _WORD.fullmatch(text) is not None and core_scalar(text) == text
    except SpecError:
        return False


def json_text(value: Any, indent: int | None = None) -> str:
    """Return JSON that YAML reads as the same value: characters that YAML forbids or folds are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
