"""What is fuzzed: how inputs of each kind are made, and the functions of the zoo that commands read them with."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import linecache
import struct
import tarfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from specs.syntax.yaml_tree import parse, parse_text, plain
from tests.fuzz.mutations import TEXTS, as_json, as_yaml, scrambled, tree, value
from tests.helpers.arm_studies import MINI
from tests.helpers.paths import ROOT

OURS = ("specs", "builders", "registry", "zoo")


@dataclass(frozen=True)
class Target:
    """A kind of input.

    Attributes:
        name: Name of the kind.
        make: Makes an input.
        read: Reads an input, in an empty folder that it may write to.
        share: Relative number of inputs.
    """

    name: str
    make: Callable[[Random], bytes]
    read: Callable[[bytes, Path], object]
    share: int = 10


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """A block that may end in a message to the user."""
    try:
        yield
    except Exception as error:
        if not is_refusal(error):
            raise


def is_refusal(error: Exception) -> bool:
    """Return whether an error is a message to the user: of the zoo or the system, or a ValueError the zoo raises."""
    if type(error).__module__.partition(".")[0] in OURS or isinstance(error, OSError):
        return True
    frame = traceback.extract_tb(error.__traceback__)[-1]
    raised = linecache.getline(frame.filename, frame.lineno or 0).strip().startswith("raise")
    return type(error) is ValueError and raised and any(f"/{name}/" in frame.filename for name in OURS)


@lru_cache(maxsize=16)
def seeds(pattern: str) -> list[Any]:
    """The packaged YAML files of a kind as plain data."""
    return [plain(parse(path)) for path in sorted((ROOT / "specs").glob(pattern))]


def _yaml(pattern: str, more: str = "") -> Callable[[Random], bytes]:
    further = [plain(parse_text(more, "more.yaml"))] if more else []

    def make(random: Random) -> bytes:
        found = as_yaml(random, tree(random, [*seeds(pattern), *further]))
        return scrambled(random, found) if random.random() < 0.2 else found

    return make


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def read_spec(data: bytes, folder: Path) -> None:
    from registry.catalogue import get
    from registry.costs.card import make_card
    from specs.expanded_yaml import expanded_yaml
    from specs.load import load_text

    path = folder / "entry.yaml"
    path.write_bytes(data)
    with refused():
        get("./entry.yaml").architecture.hash  # noqa: B018 (computed when it is asked for)
    loaded = load_text(_text(data), "entry.yaml")
    card = make_card(loaded.graph)
    assert card.parameters >= 0
    assert load_text(expanded_yaml(loaded.graph)).graph.hash == loaded.graph.hash


_PATHS = (
    "name resolution stages.r64.width graph.x.inputs nest.stages.r8 phases.p8.steps data every x.y optimizer drop loss"
).split()


def make_override(random: Random) -> bytes:
    path = random.choice([*_PATHS, random.choice(TEXTS)])
    found = random.choice([*TEXTS, _text(as_json(value(random)))])
    return scrambled(random, f"{path}={found}".encode("utf-8", "replace"))


def read_override(data: bytes, folder: Path) -> None:
    from specs.load import load_entry
    from specs.recipe import load_recipe

    with refused():
        load_entry("mdm-micro", overrides=[_text(data)])
    load_recipe("micro-test", [_text(data)])


def read_recipe(data: bytes, folder: Path) -> None:
    from builders.training.settings import phase_settings
    from specs.recipe import load_recipe_and_graph
    from specs.recipe_identity import fingerprint, written

    path = folder / "recipe.yaml"
    path.write_bytes(data)
    recipe, graph = load_recipe_and_graph(path)
    again = type(recipe).model_validate(written(recipe, graph.conditions))
    assert fingerprint(again, graph.conditions) == fingerprint(recipe, graph.conditions)
    for phase in recipe.phases:
        phase_settings(recipe, graph, phase)


def read_study(data: bytes, folder: Path) -> None:
    from registry.catalogue import get
    from registry.studies import study_recipe
    from specs.arms import arm_study_of_tree
    from specs.study import has_arms, load_study
    from specs.syntax.yaml_tree import parse

    path = folder / "study.yaml"
    path.write_bytes(data)
    tree = parse(path)
    if has_arms(tree):
        arm_study_of_tree(tree, path)
        return
    study = load_study(path)
    for entry in study.entries[:3]:
        study_recipe(study, get(entry).architecture)


_LEVEL = {
    "num_resnets_per_resolution": [1, 2], "resolution_channels": [32, 64], "attention_levels": [1],
    "num_attention_layers": [0, 1], "num_heads": 2, "conditioning_feature_dim": -1, "temporal_dim": 32,
    "conditioning_feature_proj_dim": 64, "masked_cross_attention": 1, "micro_conditioning": "scale:64",
    "resnet_config": {
        "num_channels": -1, "output_channels": -1, "num_groups_norm": 8, "dropout": 0.0, "use_attention_ffn": True,
    },
}  # fmt: skip


def make_config(random: Random) -> bytes:
    inner = tree(random, [_LEVEL])
    whole = {**_LEVEL, "inner_config": inner} if random.random() < 0.6 else inner
    if random.random() < 0.3:
        whole = {"unet_config": whole, "batch_size": value(random)}
    found = as_json(whole) if random.random() < 0.6 else as_yaml(random, whole)
    return scrambled(random, found) if random.random() < 0.2 else found


def read_config(data: bytes, folder: Path) -> None:
    from builders.published.config import from_config
    from builders.published.convert import convert

    path = folder / ("config.json" if data[:1] in (b"{", b"[") else "config.yaml")
    path.write_bytes(data)
    with refused():  # there is no such checkpoint
        convert(path, folder / "none.pth", folder / "out")
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(data)
        if isinstance(found, dict):
            with refused():
                from_config(found.get("unet_config", found), text_width=random_width(data))


def random_width(data: bytes) -> int | None:
    """A width that depends on the input alone."""
    return (None, 0, 64, 2048)[len(data) % 4]


def make_metadata(random: Random) -> bytes:
    recipe = tree(random, seeds("recipes/*.yaml"))
    facts: Any = {
        "format": "matryoshka-zoo/1", "kind": random.choice(("weights", "state", *TEXTS)), "entry": "mdm-micro",
        "spec": _text(as_json(tree(random, seeds("models/*.yaml")))), "recipe": _text(as_json(recipe)),
        "data": random.choice(("noto-emoji-64", *TEXTS)), "classes": _text(as_json(value(random))),
        "step": random.choice(TEXTS),
        "content": "0" * 64, "hash": "x", "graph_hash": "y", "versions": _text(as_json(value(random))),
    }  # fmt: skip
    if random.random() < 0.5:
        facts = tree(random, [facts])
    header: Any = {"__metadata__": facts}
    if random.random() < 0.3:
        header = tree(random, [{**header, "a.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}])
    text = as_json(header)
    if random.random() < 0.2:
        text = scrambled(random, text)
    size = len(text) if random.random() < 0.9 else random.choice((0, 1, 2**31, 2**63, 2**64 - 1, len(text) * 2))
    return struct.pack("<Q", size) + text + bytes(4)


def read_metadata(data: bytes, folder: Path) -> None:
    from registry.evaluation.results import measurements
    from registry.weights import class_names, data_of, file_facts, find_weights, recipe_of, training_data

    path = folder / "weights.safetensors"
    path.write_bytes(data)
    (folder / "result.json").write_bytes(data[8:])
    with refused():
        measurements([folder])
    with refused():
        find_weights(str(folder))
    facts = file_facts(path)
    data_of(facts), recipe_of(facts), training_data(facts), class_names(facts, None)


def make_table(random: Random) -> bytes:
    head = ["path", "caption", "label", random.choice(TEXTS)]
    texts = TEXTS if random.random() < 0.5 else ("a cat", "a, b", "x", "", '"', "3", "3.0")
    rows = [["a.png", *(random.choice(texts) for _ in head[1:])] for _ in range(random.choice((0, 1, 3, 30)))]
    if random.random() < 0.3:
        random.shuffle(head)
        random.choice([head, *rows])[0] = random.choice(TEXTS)
    if random.random() < 0.5:
        lines = [_text(as_json(tree(random, [dict(zip(head, row, strict=True))]))) for row in rows] or ["{}"]
        found = random.choice(("\n", "\r\n", "\r")).join(lines)
    else:
        text = io.StringIO()
        delimiter = random.choice(",;\t|")
        quoting = random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        with contextlib.suppress(csv.Error):
            csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([head, *rows])
        found = text.getvalue()
    data = found.encode(random.choice(("utf-8", "utf-8", "utf-16", "latin-1", "utf-8-sig")), "backslashreplace")
    return scrambled(random, data) if random.random() < 0.4 else data


def read_table(data: bytes, folder: Path) -> None:
    from builders.data.packing.sources import find_sources

    (folder / "a.png").write_bytes(_PIXEL)
    names = ("t.csv", "t.tsv", "t.jsonl", "t.json", "metadata.jsonl", "metadata.csv", "a.txt")
    path = folder / names[sum(data[:64]) % len(names)]
    path.write_bytes(data)
    for source in find_sources(path if path.stem == "t" else folder):
        with refused():
            source.read()


_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
_ENDINGS = (
    "png",
    "jpg",
    "json",
    "txt",
    "cls",
    "PNG",
    "webp",
    "gif",
    "pyd",
    "input.png",
    "seg.png",
    "tif",
    "npz",
    "mp4",
    "",
)


def make_shard(random: Random) -> bytes:
    buffer = io.BytesIO()
    form = random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    kinds = (tarfile.REGTYPE,) * 9 + (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.DIRTYPE,
    )
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for number in range(random.choice((0, 1, 2, 5, 20))):
            key = random.choice((f"{number:04}", "a", "a.b", f"d/{number}", random.choice(TEXTS)))
            content = random.choice((
                _PIXEL, scrambled(random, _PIXEL), b"", as_json({"caption": value(random), "label": value(random)}),
                as_json(value(random)), random.choice(TEXTS).encode("utf-8", "replace"),
            ))  # fmt: skip
            with contextlib.suppress(ValueError, UnicodeError, OverflowError):
                info = tarfile.TarInfo(f"{key}.{random.choice(_ENDINGS)}")
                info.type, info.size = random.choice(kinds), len(content)
                info.linkname = random.choice(TEXTS)[:90]
                tar.addfile(info, io.BytesIO(content))
    data = buffer.getvalue()
    if random.random() < 0.3:
        import gzip

        data = gzip.compress(data, 1)
    return scrambled(random, data) if random.random() < 0.5 else data


def read_shard(data: bytes, folder: Path) -> None:
    from builders.data.decoding import decode_image
    from builders.data.open import open_dataset
    from builders.data.packing.sources import find_sources
    from builders.data.shard_index import index_shard

    path = folder / "s.tar"
    path.write_bytes(data)
    with refused():
        for member in index_shard(path, lambda error: None):
            with refused():
                decode_image(member.read(), member.origin)
    with refused():
        find_sources(path)
    open_dataset(path).load(8, "all")


_CARD = {
    "name": "x", "summary": "y", "resolution": 8, "licence": "MIT", "classes": ["a", "b"],
    "splits": {"train": {"shards": ["s.tar"], "samples": 1}, "val": {"shards": ["s.tar"]}},
}  # fmt: skip


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def make_card(random: Random) -> bytes:
    return as_yaml(random, tree(random, [_CARD]))


def read_card(data: bytes, folder: Path) -> None:
    from builders.data.open import open_dataset

    (folder / "dataset.yaml").write_bytes(data)
    with tarfile.open(folder / "s.tar", "w") as tar:
        for key in ("0001", "0002"):
            _add(tar, f"{key}.png", _PIXEL)
            _add(tar, f"{key}.json", b'{"caption": "a", "label": "b"}')
    open_dataset(folder).load(8, "all")


def make_name(random: Random) -> bytes:
    text = random.choice(TEXTS)
    if random.random() < 0.4:
        ends = ("/", "{", "}", ",", "..", "=", ".yaml", ".tar", ".safetensors")
        text += random.choice(ends) + random.choice(TEXTS)
    data = text.encode("utf-8", "surrogatepass")
    return scrambled(random, data) if random.random() < 0.5 else data


def read_name(data: bytes, folder: Path) -> None:
    from builders.data.dataset_card import find_dataset
    from registry.catalogue import get
    from registry.weights import find_weights
    from specs.addresses import shown_address
    from specs.recipe import load_recipe
    from specs.study import load_study
    from specs.user_paths import expanded

    name = _text(data)
    assert shown_address(shown_address(name)) == shown_address(name)
    if "://" in name or expanded(name).is_absolute() or ".." in name:  # nothing is fetched here, and no disk searched
        return
    for function in (get, load_recipe, load_study, find_weights, find_dataset):
        with refused():
            function(name)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("specs", _yaml("models/*.yaml"), read_spec, 20),
        Target("overrides", make_override, read_override),
        Target("recipes", _yaml("recipes/*.yaml"), read_recipe, 15),
        Target("studies", _yaml("studies/n32.yaml", MINI), read_study),
        Target("configs", make_config, read_config, 15),
        Target("metadata", make_metadata, read_metadata),
        Target("tables", make_table, read_table, 15),
        Target("shards", make_shard, read_shard, 15),
        Target("cards", make_card, read_card),
        Target("names", make_name, read_name),
    )
}
