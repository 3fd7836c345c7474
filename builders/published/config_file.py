"""Files with published configurations: a network alone, or a training configuration with a network in it.

Only the network is read. Of the rest nothing is asked: keys may be given twice, and values may have any type or tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from builders.files import read_regular
from builders.published.config import PublishedConfigError

__all__ = ["read_config"]

MAX_BYTES = 1_000_000
#: Largest number of values in a YAML file, those behind aliases included, and depth of mappings and lists.
MAX_VALUES, MAX_DEPTH = 50_000, 64
#: The reader of libyaml is ten times faster, where it is available.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: A field that every network has.
FIELD = "resolution_channels"
#: Usual name of the network in a training configuration.
USUAL = "unet_config"
#: Depth to which a network is searched for.
SEARCHED = 4


def read_config(path: Path) -> Mapping[str, Any]:
    """Read the network of a published configuration as plain data.

    Args:
        path: JSON or YAML file.

    Raises:
        PublishedConfigError: The file cannot be read, is neither, or has several networks. A file without a network
            is returned as it is.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PublishedConfigError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise PublishedConfigError(f"{path}: {error.strerror or error}") from None
    if text.startswith("version https://git-lfs"):
        raise PublishedConfigError(f"{path}: a pointer of Git LFS, not the file; fetch it with 'git lfs pull'")
    value = _json(text, path) if path.suffix.lower() == ".json" else _yaml(text, path)
    if not isinstance(value, dict):
        raise PublishedConfigError(f"{path}: a network configuration is a mapping")
    found: dict[str, Any] = _without_none(value)
    return found


def _json(text: str, path: Path) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PublishedConfigError(f"{path}: not JSON ({_first_line(error)})") from None
    return _network({"": value} if isinstance(value, dict) else {}, path, _items_of_mapping) or value


def _yaml(text: str, path: Path) -> Any:
    loader = _LOADER(text)
    try:
        _check_events(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _check_size(root)
        found = _network({"": root}, path, _items_of_node) if isinstance(root, yaml.MappingNode) else None
        return loader.construct_document(root if found is None else found)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        if isinstance(error, PublishedConfigError):
            raise
        raise PublishedConfigError(f"{path}: not YAML that can be read ({_first_line(error)})") from None
    finally:
        loader.dispose()


def _first_line(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"[:200]
    return str(error).partition("\n")[0][:200]


def _check_events(text: str) -> None:
    """Check number and depth of values before a text is read, which takes time and stack for each."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")


def _check_size(root: yaml.Node) -> None:
    """Check that aliases do not repeat too much, and that nothing contains itself."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if sizes.get(id(node), 1) == 0 or depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        if id(node) not in sizes:
            sizes[id(node)] = 0
            parts = node.value if isinstance(node.value, list) else []
            flat = [each for part in parts for each in (part if isinstance(part, tuple) else (part,))]
            sizes[id(node)] = 1 + sum(size(each, depth + 1) for each in flat)
        if sizes[id(node)] > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES:,} values")
        return sizes[id(node)]

    size(root, 0)


def _items_of_mapping(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()


def _items_of_node(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, yaml.MappingNode):
        # Of keys given twice, the last one counts.
        yield from {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}.items()


def _network(level: dict[str, Any], path: Path, items: Any) -> Any:
    """Return the mapping that is a network, searched breadth first; None if there is none.

    Args:
        level: Mappings by their path of keys.
        path: Path of the file, for messages.
        items: Function from a value to its keys and values; none for what is no mapping.
    """
    for _ in range(SEARCHED):
        found = {place: value for place, value in level.items() if FIELD in dict(items(value))}
        usual = {place: value for place, value in found.items() if place.rpartition(".")[2] == USUAL}
        found = usual or found
        if len(found) > 1:
            names = ", ".join(sorted(found))[:200]
            raise PublishedConfigError(f"{path}: several networks ({names}); give a file with one of them")
        if found:
            return next(iter(found.values()))
        level = {f"{place}.{key}".strip("."): each for place, value in level.items() for key, each in items(value)}
    return None


def _without_none(value: Any) -> Any:
    """Return plain data with None for the text ``None``, which YAML does not know."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_none(each) for each in value]
    return None if value == "None" else value
