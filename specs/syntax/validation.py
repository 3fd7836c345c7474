"""Validate a tree with a pydantic model, and report pydantic's errors at their positions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from specs.errors import CODES, Position, Problems, closest, did_you_mean, fail, quote
from specs.syntax.yaml_tree import Mapping, Scalar, Sequence, Tree, locate, plain

__all__ = ["check_name", "model_at", "validate", "validate_into"]

Model = TypeVar("Model", bound=BaseModel)
Path = tuple[Any, ...]

#: What messages call the members of a mapping.
MEMBERS = {
    "stages": "stage",
    "graph": "node",
    "variants": "variant",
    "phases": "phase",
    "defaults": "defaults of block",
    "inputs": "input",
}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "number": "a number",
    "string": "text",
    "bool": "true or false",
    "dict": "a mapping",
    "model": "a mapping",
    "mapping": "a mapping",
    "list": "a list",
    "tuple": "a list",
    "none": "null",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_LENGTHS = {
    "too_short": ("at least", "min_length"),
    "string_too_short": ("at least", "min_length"),
    "too_long": ("at most", "max_length"),
    "string_too_long": ("at most", "max_length"),
}


def validate(model: type[Model], tree: Tree, subject: str = "an entry") -> Model:
    """Return the tree as an instance of ``model``.

    Args:
        model: Pydantic model. A custom error with one of :data:`specs.errors.CODES` as its type is reported with that
            code and its own message.
        tree: Tree from :func:`specs.syntax.yaml_tree.parse`.
        subject: Name of the whole tree in messages.

    Raises:
        SpecError: All errors, each with its position.
    """
    problems = Problems()
    result = validate_into(model, tree, problems, subject)
    problems.raise_if_any()
    assert result is not None
    return result


def validate_into(model: type[Model], tree: Tree, problems: Problems, subject: str = "an entry") -> Model | None:
    """Like :func:`validate`, but add errors to ``problems`` and return None if there are any."""
    if not isinstance(tree, Mapping):
        what = "a list" if isinstance(tree, Sequence) else quote(tree.value)
        problems.add("wrong-type", f"{subject} is a mapping of keys to values, not {what}", tree.position)
        return None
    try:
        return model.model_validate(plain(tree))
    except ValidationError as error:
        details = error.errors(include_url=False)
        whole = [each["loc"][:-1] for each in details if _is_misspelled_reference(each, model)]
        for detail in details:
            if detail["type"] == "missing" and any(detail["loc"][: len(path)] == path for path in whole):
                continue  # it may be in the entry that is referred to
            code, message = explain(detail, model, subject, suggest=not problems.full)
            problems.add(code, message, _position(detail, tree))
        return None


def _is_misspelled_reference(detail: ErrorDetails, model: type[BaseModel]) -> bool:
    """Return whether an unknown key is similar to ``extends``."""
    if detail["type"] != "extra_forbidden" or not isinstance(detail["loc"][-1], str):
        return False
    owner = model_at(model, detail["loc"][:-1])
    return "extends" in getattr(owner, "REFERENCES", ()) and closest(detail["loc"][-1], ["extends"]) != []


def explain(
    detail: ErrorDetails, model: type[BaseModel], subject: str, prefix: Path = (), suggest: bool = True
) -> tuple[str, str]:
    """Return code and message for one of pydantic's errors.

    Args:
        detail: The error.
        model: Model that was validated.
        subject: Name of the whole tree in messages.
        prefix: Path of the model within the subject.
        suggest: Whether to suggest similar names.
    """
    kind, path = detail["type"], (*prefix, *detail["loc"])
    name, owner = str(path[-1]) if path else "", describe(path[:-1], subject)
    if kind == "extra_forbidden":
        hint = _fields_hint(name, model, detail["loc"][:-1]) if suggest else ""
        return "unknown-key", f"{owner} has no field {quote(name)}{hint}"
    if kind == "missing":
        position = detail["loc"][-1]
        if isinstance(position, int):
            return "missing-key", f"{owner} needs at least {position + 1} value{'s' * bool(position)}"
        return "missing-key", f"{owner} needs {quote(name)}"
    value, context = _shown(detail.get("input")), detail.get("ctx", {})
    in_list = bool(path) and isinstance(path[-1], int)
    what = describe(path, subject) if in_list or _is_member(path) else quote(name)
    if kind in CODES:
        return kind, detail["msg"]
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return "out-of-range", f"{what} must be {words} {context.get(key)}, not {value}"
    if kind in ("literal_error", "enum"):
        expected = str(context.get("expected", "")).replace("True", "true").replace("False", "false")
        hint = _choice_hint(detail.get("input"), expected) if suggest else ""
        return "bad-value", f"{what} must be {expected}, not {value}{hint}"
    kind_of_value = _TYPES.get(re.sub("_type$|_parsing$|_from_float$", "", kind))
    if kind_of_value is not None:
        return "wrong-type", f"{what} must be {kind_of_value}, not {value}"
    if kind == "finite_number":
        return "bad-value", f"{what} must be a finite number, not {value}"
    if kind in _LENGTHS:
        words, key = _LENGTHS[kind]
        return "bad-value", f"{what} must have {words} {context.get(key)} {_unit(kind, context.get(key))}"
    if kind == "string_pattern_mismatch":
        return (
            "bad-value",
            f"{what} must have letters, digits, '-', '_' and '.', a letter or digit first, not {value}",
        )
    message = detail["msg"].removeprefix("Value error, ")
    return "bad-value", f"{what}: {message}"


def check_name(tree: Mapping, name: str) -> None:
    """Check that the key ``name`` of a file is the name that the file was found by.

    Raises:
        SpecError: It is another name.
    """
    written = tree.get("name")
    if isinstance(written, Scalar) and isinstance(written.value, str) and written.value != name:
        message = f"the file is named {quote(name)}, but its key 'name' is {quote(written.value)}"
        raise fail("name-mismatch", message, written.position)


def describe(path: Path, subject: str) -> str:
    """Return the name of the part at ``path`` in messages: ``stage 'r64'``, ``'inputs'``, or the subject itself."""
    path = tuple(part for part in path if not isinstance(part, int))
    if not path:
        return subject
    if _is_member(path):
        return f"{MEMBERS[path[-2]]} {quote(str(path[-1]))}"
    return "the nested level" if path[-1] == "nest" else quote(str(path[-1]))


def _is_member(path: Path) -> bool:
    return len(path) > 1 and path[-2] in MEMBERS


def _unit(kind: str, number: Any) -> str:
    unit = "character" if kind.startswith("string") else "item"
    return unit if number == 1 else f"{unit}s"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {quote(value)}"
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else quote(value)


def _position(detail: ErrorDetails, tree: Tree) -> Position:
    path = detail["loc"]
    if detail["type"] == "extra_forbidden":
        return locate(tree, *path, key=True)
    if detail["type"] == "missing":
        # The key of the incomplete mapping, rather than the mapping's first character.
        return locate(tree, *path[:-1], key=True)
    return locate(tree, *path)


def _fields_hint(name: str, model: type[BaseModel], path: Path) -> str:
    """Suggest the most similar field of the model at ``path``, or list all fields if there are few."""
    owner = model_at(model, path)
    if owner is None:
        return ""
    fields = [field.alias or key for key, field in owner.model_fields.items()]
    listed = f"; it has {', '.join(fields)}" if 0 < len(fields) <= 9 else ""
    # References are resolved before the fields are checked, so they are not fields of the model.
    return did_you_mean(name, [*fields, *getattr(owner, "REFERENCES", ())]) or listed


def _choice_hint(value: Any, expected: str) -> str:
    choices = [choice.strip("'") for choice in expected.replace(" or ", ", ").split(", ")]
    return did_you_mean(value, choices) if isinstance(value, str) else ""


@lru_cache(maxsize=256)  # thousands of errors may lie in one mapping
def model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Return the model at ``path``, found through annotations; keys of dicts are skipped."""
    current: type[BaseModel] | None = model
    for part in path:
        if current is None:
            break
        fields = {field.alias or key: field.annotation for key, field in current.model_fields.items()}
        if part in fields:
            current = _model_in(fields[part])
        elif current.model_config.get("extra") == "allow":
            current = _model_in(get_type_hints(current).get("__pydantic_extra__"))
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the first model in an annotation such as ``dict[str, Stage] | None``."""
    if get_origin(annotation) is None and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)
