"""JSON Schemas: they accept every packaged file and all that the loader accepts, and refuse what one file can tell."""

from __future__ import annotations

import copy
import json
from itertools import islice

import jsonschema
import pytest

from specs.blocks import BLOCKS
from specs.errors import SpecError
from specs.load import load_mapping
from specs.recipe import recipe_of_tree
from specs.schemas.json_schema import SCHEMAS, json_schema
from specs.syntax.yaml_tree import parse, parse_text, plain
from tests.helpers.paths import ROOT

FOLDERS = {"entry": "models", "recipe": "recipes", "study": "studies"}
PACKAGED = [
    (kind, path) for kind, folder in FOLDERS.items() for path in sorted((ROOT / "specs" / folder).glob("*.yaml"))
]
BAD = sorted((ROOT / "tests/specs/bad_specs").glob("*.yaml"))
#: Errors of references, shapes and positions, which no schema can tell.
BEYOND = """bad-width size-mismatch cyclic-reference unknown-node dead-node too-large bad-resolution null graph-cycle
    bad-name bad-frames bad-nesting misplaced unknown-entry out-of-range nest-node duplicate-node""".split()


#: Keys of a study of arms under which any key may be.
PARTS = {"base", "recipe", "entry", "measures"}


@pytest.fixture(scope="module")
def schemas():
    found = {kind: jsonschema.Draft202012Validator(json_schema(kind)) for kind in SCHEMAS}
    for validator in found.values():
        validator.check_schema(validator.schema)
    return found


@pytest.mark.parametrize(("kind", "path"), PACKAGED, ids=[path.stem for _, path in PACKAGED])
def test_packaged_files_are_accepted_and_typos_refused(schemas, kind, path):
    found = plain(parse(path))
    schemas[kind].validate(found)
    for place in islice(places(found), 0, None, 3):
        changed = copy.deepcopy(found)
        at(changed, place)["qqqq"] = 1
        if "arms" in found and PARTS & set(place):
            continue  # changes of a recipe and entry, which are checked when they are merged; arguments of measures
        # Micro inputs, names of levels, options of optimizers and members are free.
        free = place and place[-1] in (
            "inputs",
            "levels",
            "learning_rates",
            "options",
            "batch",
            "data",
            "phases",
            "stages",
            "graph",
            "variants",
            "arms",
            "contrasts",
            "measures",
        )
        free = free or "measures" in place  # arguments, which are checked before the first run
        assert free or not schemas[kind].is_valid(changed), place


def places(value, path=()):
    """Paths of all mappings."""
    if isinstance(value, dict):
        yield path
        for key, member in value.items():
            yield from places(member, (*path, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from places(member, (*path, index))


def at(value, path):
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_bad_files_are_refused_where_one_file_can_tell(schemas, path):
    try:
        found = plain(parse(path))
    except SpecError:
        return  # no YAML
    report = path.with_suffix(".txt")
    if not report.exists():
        schemas["entry"].validate(found)  # a part of another bad file
    elif schemas["entry"].is_valid(found):
        assert report.read_text().split("error[")[1].split("]")[0] in BEYOND


def test_blocks_and_their_arguments(schemas):
    base = {"name": "x", "resolution": 16, "stages": {"r16": {"width": 32, "blocks": ["resnet"]}}}
    schemas["entry"].validate(base)
    for name, block in BLOCKS.items():
        for argument, schema in block.Args.model_json_schema()["properties"].items():
            use = {"block": name, argument: schema["default"]}
            node = {"stem": {"width": 32}, "a": {**use, "from": "stem"}, "head": {"from": "a"}}
            for good in (
                base | {"stages": {"r16": {"width": 32, "blocks": [use]}}},
                base | {"defaults": {name: {argument: schema["default"]}}},
                base | {"middle": [use]},
                {"name": "x", "resolution": 16, "graph": node},
            ):
                schemas["entry"].validate(good)
                text = json.dumps(good)
                for wrong in (f'"{argument}": {{}}', f'"{argument}qq": {json.dumps(schema["default"])}'):
                    typo = json.loads(text.replace(f'"{argument}": {json.dumps(schema["default"])}', wrong))
                    assert not schemas["entry"].is_valid(typo), typo
    assert not schemas["entry"].is_valid(base | {"middle": ["resent"]})
    assert not schemas["entry"].is_valid(base | {"defaults": {"resent": {}}})


ENTRY = {"name": "x", "resolution": 16, "stages": {"r16": {"width": 32}}}
ENTRIES = [
    {"name": "x", "extends": "mdm-s64"},
    {"name": "x", "extends": "mdm-nano", "stages": {"r64": {"attention": None}}, "summary": None},
    {"name": "x", "extends": "mdm-nano", "nest": {"stages": {"r32": {"depth": 2}}}},
    {"name": "x", "extends": "mdm-nano", "nest": {"extends": "mdm-micro"}, "resolution": 32},
    ENTRY | {"stages": {"r16": {"width": 32, "down": 2}, "r8": {"width": 32, "blocks": None, "attention": 1}}},
    ENTRY | {"stages": {"r16": {"width": 32, "down": {"block": "down", "factor": 4}}, "r4": {"width": 32}}},
    ENTRY | {"inputs": {"classes": 3, "age": {"default": 2}, "scale": {}}},
    ENTRY | {"normalize_input": True, "process": {"shift": 1}, "time": {"width": 64}},
    ENTRY | {"variants": {"a": {"multiply": {"width": 2}}, "b": {"stages": {"r16": {"depth": 2}}, "summary": "B"}}},
    ENTRY
    | {"frames": 8, "stages": {"a": {"width": 32, "down": {"space": 2, "time": 4}}, "b": {"width": 32, "temporal": 1}}},
    {"name": "x", "extends": "mdm-nano", "frames": 1, "stages": {"r64": {"down": {"space": 2}, "temporal": None}}},
    {"name": "x", "resolution": 16, "graph": {"stem": {"width": 32}, "head": {"from": "stem", "groups": 8}}},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=range(len(ENTRIES)))
def test_entries_that_load_are_accepted(schemas, entry):
    try:
        load_mapping(entry)
    except SpecError as error:  # null without an inherited key, and levels that do not fit, are beyond the schema
        assert {problem.code for problem in error.problems} <= {"null", "bad-resolution", "bad-nesting"}
    schemas["entry"].validate(entry)


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 1.5},
        {"resolution": 0},
        {"stages": {}},
        {"stages": {"R16": {"width": 32}}},
        {"stages": {"r16": {"width": 32, "down": 1}}},
        {"stages": {"r16": {"width": 32, "attention": 1, "blocks": ["resnet"]}}},
        {"frames": 0},
        {"frames": 1.5},
        {"frames": 4097},
        {"frames": 8, "stages": {"r16": {"width": 32, "temporal": 1, "blocks": ["resnet"]}}},
        {"frames": 8, "stages": {"a": {"width": 32, "down": {"space": 1}}, "b": {"width": 32}}},
        {"frames": 8, "stages": {"a": {"width": 32, "down": {"time": 65}}, "b": {"width": 32}}},
        {"frames": 8, "stages": {"a": {"width": 32, "down": {"tiem": 2}}, "b": {"width": 32}}},
        {"frames": 8, "stages": {"a": {"width": 32, "down": {"block": "down", "time": 2}}, "b": {"width": 32}}},
        {"skip": "concat"},
        {"graph": {"stem": {"width": 32}, "head": {"from": "stem"}}},
        {"process": {"schedule": "quadratic"}},
        {"variants": {"a": {"extends": "mdm-s64"}}},
        {"variants": {"a": {"multiply": {"width": 65}}}},
        {"variants": {"a": {"stages": {"r16": {"wdth": 3}}}}},
        {"nest": "mdm-micro", "middle": ["resnet"]},
        {"inputs": {"text": {"width": 8, "tokns": 3}}},
        {"name": "a b"},
        {"nest": 5},
    ],
    ids=str,
)
def test_entries_that_the_loader_refuses(schemas, change):
    if "variants" not in change:  # which are read when they are looked up
        with pytest.raises(SpecError):
            load_mapping(ENTRY | change)
    assert not schemas["entry"].is_valid(ENTRY | change)


RECIPE = {"name": "r", "entry": "mdm-micro", "data": "d", "phases": {"p": {"train": "r8", "steps": 3, "batch": 4}}}
GOOD_RECIPES = [
    {},
    {"data": {"a": 1, "b": 2.5}, "ema": 0.5, "workers": 2},
    {"optimizer": {"name": "timm:lion", "options": {"momentum": 0.9}}},
    {"phases": {"p": {"train": "r8", "hours": 0.5, "batch": {"r8": 4}, "loss": {"levels": {"r8": 0.5}}}}},
    {"evaluation": {"sampler": "dpm++", "guidance_interval": [0, 0.5]}},
]
BAD_RECIPES = [
    {"ema": 1},
    {"seeed": 1},
    {"optimizer": {"name": "adanw2"}},
    {"optimizer": {"betas": []}},
    {"data": {"a": 0}},
    {"data": 3},
    {"phases": {}},
    {"phases": {"p": {"train": "r8", "steps": 3}}},
    {"phases": {"p": {"train": "r8", "batch": 4}}},
    {"phases": {"p": {"train": "r8", "steps": 3, "hours": 1, "batch": 4}}},
    {"phases": {"p": {"train": "r8", "steps": 3, "batch": {"r8": 0}}}},
    {"phases": {"p": {"train": "r8", "stps": 3, "batch": 4}}},
    {"loss": {"space": "x"}},
    {"evaluation": {"sampler": "euler"}},
    {"every": {"checkpoint": -1}},
]


def recipe(change):
    return recipe_of_tree(parse_text(json.dumps(RECIPE | change)))


@pytest.mark.parametrize("change", GOOD_RECIPES, ids=str)
def test_recipes_that_load_are_accepted(schemas, change):
    recipe(change)
    schemas["recipe"].validate(RECIPE | change)


@pytest.mark.parametrize("change", BAD_RECIPES, ids=str)
def test_recipes_that_the_loader_refuses(schemas, change):
    with pytest.raises(SpecError):
        recipe(change)
    assert not schemas["recipe"].is_valid(RECIPE | change)


def test_a_recipe_may_inherit(schemas):
    schemas["recipe"].validate({"name": "r", "extends": "nano-hour", "phases": {"p16": {"steps": 5}}, "flip": None})
    assert not schemas["recipe"].is_valid({"name": "r", "extends": "nano-hour", "phases": {"p16": {"stps": 5}}})
    assert not schemas["recipe"].is_valid({"name": "r", "seed": 3})


@pytest.mark.parametrize("key", ["data", "entries", "budget", "name"])
def test_studies(schemas, key):
    study = {"name": "s", "data": "d", "entries": ["flat-n32"], "budget": {"training_flops": 1e9}}
    schemas["study"].validate(study)
    assert not schemas["study"].is_valid({name: value for name, value in study.items() if name != key})
    for change in ({"entries": []}, {"budget": {"flops": 1}}, {"recipe": {"bach": 3}}, {"evaluation": {"eta": 2}}):
        assert not schemas["study"].is_valid(study | change)


def test_the_command(cli):
    for kind in SCHEMAS:
        code, out, _ = cli("schema", kind)
        assert code == 0 and json.loads(out) == json_schema(kind)
    assert json.loads(cli("schema")[1]) == json_schema("entry")
    assert "did you mean 'recipe'" in cli("schema", "recipes")[2]
