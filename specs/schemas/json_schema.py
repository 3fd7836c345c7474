"""JSON Schemas of entries, recipes and studies, for completion and validation in editors.

They accept every file that the loader accepts, and refuse what can be told from one file: unknown keys, blocks and
arguments, wrong types and ranges, missing keys. References, shapes and names of levels are checked by the loader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specs.blocks import BLOCKS
from specs.schemas.arms import ArmStudy
from specs.schemas.entry import WAYS, EntrySpec
from specs.schemas.memory import MAX_ROWS
from specs.schemas.optimizers import TIMM_OPTIMIZERS, TORCH_OPTIMIZERS
from specs.schemas.recipe import Recipe
from specs.schemas.study import Study

__all__ = ["SCHEMAS", "json_schema"]

Schema = dict[str, Any]
REFERENCE: Schema = {"type": "string", "description": "name of an entry, or path to one"}
NULL: Schema = {"type": "null"}
#: Keys that only the innermost level may have.
_INNERMOST: Schema = {"middle": NULL, "time": NULL, "inputs": {"properties": {"text": NULL, "classes": NULL}}}
_OUTER: Schema = {
    "if": {"required": ["nest"], "properties": {"nest": {"not": NULL}}},
    "then": {"properties": _INNERMOST},
}
#: Name of a stage or a node.
NODE_NAME: Schema = {"pattern": "^[a-z][a-z0-9_]*$"}
#: Keys of a recipe that a study sets for all its arms.
NOT_IN_BASE = ("name", "summary", "data", "seed", "evaluation")
NODE_KEYS = ("from", "width", "merge", "repeat")
#: Keys of a step ``down`` in pixels, in frames, or in both.
_FACTORS = ("space", "time")


def json_schema(kind: str = "entry") -> Schema:
    """Return the JSON Schema of a kind of file.

    Args:
        kind: ``entry``, ``recipe`` or ``study``.
    """
    schema = SCHEMAS[kind]()
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{kind.capitalize()} of the zoo"}
    return head | {key: value for key, value in schema.items() if key != "title"}


def _entry() -> Schema:
    schema = EntrySpec.model_json_schema()
    definitions = schema["$defs"]
    for owner in (schema, definitions["LevelSpec"]):
        properties = owner["properties"]
        properties["extends"] = REFERENCE
        properties["nest"] = {"anyOf": [REFERENCE, {"$ref": "#/$defs/LevelSpec"}, NULL]}
        properties["defaults"] = _defaults()
        for branch in properties["stages"]["anyOf"]:
            if branch.get("type") == "object":
                branch |= {"propertyNames": NODE_NAME, "minProperties": 1}
        owner["not"] = {"required": ["stages", "graph"], "properties": _present("stages", "graph")}
        # Nothing is required: a level may inherit any key from the entry it extends.
        owner.pop("required", None)
    stage = definitions["StageSpec"]
    stage.pop("required", None)
    stage["allOf"] = [
        {"not": {"required": ["blocks", short], "properties": _present("blocks", short)}}
        for short in ("attention", "temporal")
    ]
    definitions["BlockUse"] = _use(("block",))
    definitions["NodeSpec"] = _node(definitions["NodeSpec"])
    definitions["Sources"] = _sources()
    for name in ("NestNode", "HeadNode"):
        definitions[name]["properties"]["from"] = {"$ref": "#/$defs/Sources"}
    for name in ("StemNode", "NestNode", "HeadNode", "GraphSpec", "TextSpec", "TimeSpec"):
        definitions[name].pop("required", None)
    definitions["GraphSpec"]["propertyNames"] = NODE_NAME
    _name_blocks(schema)
    variant = {key: value for key, value in schema["properties"].items() if key not in ("name", "extends")}
    variant["multiply"] = _factors()
    changes = {"type": "object", "properties": variant, "additionalProperties": False}
    schema = _with_null(schema)
    schema["properties"]["variants"] = {
        "type": "object",
        "propertyNames": {"pattern": EntrySpec.model_json_schema()["properties"]["name"]["pattern"]},
        "additionalProperties": _with_null(changes),
    }
    for owner in (schema, schema["$defs"]["LevelSpec"]):
        owner["allOf"] = [_OUTER]
    schema["required"] = ["name"]
    whole = {"anyOf": [{"required": ["resolution", "stages"]}, {"required": ["resolution", "graph"]}]}
    return schema | {"if": {"not": {"required": ["extends"]}}, "then": whole}


def _recipe() -> Schema:
    whole = Recipe.model_json_schema()
    for definitions in (whole["$defs"],):
        definitions["OptimizerSpec"]["properties"]["name"]["enum"] = _optimizers()
        _bound(definitions["PhaseSpec"]["properties"]["batch"], "integer", {"minimum": 1, "maximum": MAX_ROWS})
    for key in ("data", "images"):
        _bound(whole["properties"][key], "number", {"exclusiveMinimum": 0, "exclusiveMaximum": 1e9})
    partial = _with_null(_changed(whole, lambda each: {key: value for key, value in each.items() if key != "required"}))
    partial = _renamed(partial, "Change")
    partial["properties"]["extends"] = {"type": "string", "description": "name of a recipe, or path to one"}
    partial["required"] = ["name", "extends"]
    phase = whole["$defs"]["PhaseSpec"]
    phase["oneOf"] = [{"required": ["steps"], **_without("hours")}, {"required": ["hours"], **_without("steps")}]
    definitions = {**whole.pop("$defs"), **partial.pop("$defs")}
    return {"type": "object", "if": {"required": ["extends"]}, "then": partial, "else": whole, "$defs": definitions}


def _study() -> Schema:
    schema = Study.model_json_schema()
    schema["$defs"]["OptimizerSpec"]["properties"]["name"]["enum"] = _optimizers()
    arms = _arms()
    definitions = {**schema.pop("$defs"), **arms.pop("$defs")}
    of_arms = {"anyOf": [{"required": ["arms"]}, {"required": ["base"]}]}
    return {"type": "object", "if": of_arms, "then": arms, "else": schema, "$defs": definitions}


def _arms() -> Schema:
    """Return the schema of studies of arms, whose base and changes are those of recipes and entries."""
    schema, recipe = _renamed(ArmStudy.model_json_schema(), "Arms"), _renamed(_recipe(), "Base")
    entry = _renamed(_entry(), "Entry")
    definitions = {**schema["$defs"], **recipe["$defs"], **entry["$defs"]}
    partial = {key: value for key, value in recipe["then"].items() if key != "required"}
    partial["properties"] = {key: value for key, value in partial["properties"].items() if key not in NOT_IN_BASE}
    definitions["BaseChangePhaseSpec"]["properties"]["share"] = _or_null(
        {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "share of the budget, in place of steps",
        }
    )
    phases = partial["properties"]["phases"]["anyOf"][0]
    phases["additionalProperties"] = _or_null(phases["additionalProperties"])
    spec = schema["$defs"]["ArmsArmSpec"]["properties"]
    schema["properties"]["base"] = spec["recipe"] = partial
    spec["entry"] = entry["properties"]["variants"]["additionalProperties"]
    return schema | {"$defs": definitions}


def _optimizers() -> list[str]:
    return sorted({*TORCH_OPTIMIZERS, *TIMM_OPTIMIZERS, *(f"timm:{name}" for name in TIMM_OPTIMIZERS)})


def _without(key: str) -> Schema:
    """Return a schema of mappings without a key, or with null for it."""
    return {"properties": {key: NULL}}


def _present(*keys: str) -> Schema:
    """Return schemas of keys that are there with a value."""
    return {key: {"not": NULL} for key in keys}


def _bound(schema: Schema, kind: str, bounds: Schema) -> None:
    """Set the range of the numbers of a schema: its own and those of its members."""
    for branch in schema["anyOf"]:
        number = branch if branch.get("type") == kind else branch.get("additionalProperties")
        if isinstance(number, dict) and number.get("type") == kind:
            number |= bounds


def _arguments(name: str) -> Schema:
    """Return the schemas of the arguments of a block."""
    return dict(BLOCKS[name].Args.model_json_schema()["properties"])


def _use(required: tuple[str, ...], more: Schema | None = None) -> Schema:
    """Return the schema of a block with its arguments, one alternative per block, and one that inherits the block."""
    found = []
    for name in BLOCKS:
        properties = {"block": {"const": name}, **(more or {}), **_arguments(name)}
        found.append({"properties": properties, "required": ["block"], "additionalProperties": False})
    if "block" not in required:
        every = {key: True for name in BLOCKS for key in _arguments(name)}
        found.append({"properties": {**(more or {}), **every}, "additionalProperties": False})
    return {"type": "object", "anyOf": found}


def _node(schema: Schema) -> Schema:
    return _use((), {key: schema["properties"][key] for key in NODE_KEYS} | {"from": {"$ref": "#/$defs/Sources"}})


def _sources() -> Schema:
    """Return the schema of the inputs of a node: names, or names with a way to resample them and its arguments."""
    ways = [
        {"properties": {way: {"type": "string"}, **_arguments(way)}, "required": [way], "additionalProperties": False}
        for way in WAYS
    ]
    one = {"anyOf": [{"type": "string"}, *({"type": "object", **way} for way in ways)]}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 64}]}


def _defaults() -> Schema:
    """Return the schema of ``defaults``: arguments by block."""
    blocks = {
        name: {"type": "object", "properties": _arguments(name), "additionalProperties": False} for name in BLOCKS
    }
    return {"type": "object", "properties": blocks, "additionalProperties": False}


def _factors() -> Schema:
    from specs.schemas.entry import MultiplySpec

    return MultiplySpec.model_json_schema()


def _name_blocks(schema: Schema) -> None:
    """List the names of blocks where a block may be written by its name alone; ``down`` may leave it out."""
    stage, names = schema["$defs"]["StageSpec"]["properties"], sorted(BLOCKS)
    for middle in (
        schema["properties"]["middle"],
        schema["$defs"]["LevelSpec"]["properties"]["middle"],
        stage["blocks"],
    ):
        for branch in middle["anyOf"]:
            if branch.get("type") == "array":
                branch["items"] = {"anyOf": [{"enum": names}, {"$ref": "#/$defs/BlockUse"}]}
    step = schema["$defs"].pop("DownSpec")["properties"]
    factors = {key: _or_null({**step[key]["anyOf"][0], "description": step[key]["description"]}) for key in _FACTORS}
    either = [{"required": [key], "properties": _present(key)} for key in _FACTORS]
    in_both = {"type": "object", "properties": factors, "anyOf": either, "additionalProperties": False}
    schema["$defs"]["Down"] = {"anyOf": [_use(()), in_both]}
    stage["down"] = {
        "anyOf": [{"type": "integer", "minimum": 2, "maximum": 16}, {"$ref": "#/$defs/Down"}, NULL],
        "description": stage["down"].get("description", ""),
    }


def _with_null(schema: Schema) -> Schema:
    """Return a schema in which null is allowed for every key: it removes an inherited one."""

    def change(each: Schema) -> Schema:
        properties = each.get("properties")
        if not isinstance(properties, dict) or "not" in each.get("properties", {}).get("stages", {}):
            return each
        return {**each, "properties": {key: _or_null(value) for key, value in properties.items()}}

    return _changed(schema, change)


def _or_null(schema: Any) -> Any:
    if not isinstance(schema, dict) or schema == NULL or "const" in schema or schema.keys() == {"not"}:
        return schema
    if NULL in schema.get("anyOf", ()):
        return schema
    described = {"description": schema["description"]} if "description" in schema else {}
    return {"anyOf": [schema, NULL], **described}


def _changed(value: Any, change: Callable[[Schema], Schema]) -> Any:
    """Return JSON with every mapping changed, the inner ones first."""
    if isinstance(value, list):
        return [_changed(item, change) for item in value]
    if isinstance(value, dict):
        return change({key: _changed(item, change) for key, item in value.items()})
    return value


def _renamed(schema: Schema, prefix: str) -> Schema:
    """Return a schema whose definitions have a prefix."""

    def change(each: Schema) -> Schema:
        reference = each.get("$ref")
        if not isinstance(reference, str):
            return each
        return {**each, "$ref": reference.replace("#/$defs/", f"#/$defs/{prefix}")}

    changed = _changed(schema, change)
    changed["$defs"] = {f"{prefix}{name}": value for name, value in changed["$defs"].items()}
    return dict(changed)


#: Schemas by kind of file.
SCHEMAS: dict[str, Callable[[], Schema]] = {"entry": _entry, "recipe": _recipe, "study": _study}
