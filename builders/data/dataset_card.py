"""What is known of a dataset: its name, licence, classes and shards, from a ``dataset.yaml`` or from the shards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from builders.data.errors import DataError
from builders.data.shards import read_shard
from builders.data.urls import expand_braces, is_address, local_shard
from specs.errors import did_you_mean
from specs.schemas.evaluation import split_name
from specs.syntax.validation import validate
from specs.syntax.yaml_tree import parse

__all__ = ["CARD", "PLAN", "DatasetCard", "Split", "find_dataset", "list_datasets", "sample_facts"]

CARD = "dataset.yaml"
#: What a folder is packed for; a pack without a card is not finished.
PLAN = ".pack.json"
#: JSON keys that hold a caption and a label, the first that is there. None is known for groups of near-duplicates: what
#: others call "group" is often a label.
NAMES = {"caption": ("caption", "text", "prompt"), "category": ("category", "class", "label", "cls"), "group": ()}
SHARDS = (".tar", ".tar.gz", ".tgz", ".tar.xz")


class Split(BaseModel):
    """The shards of one split, by file name, and how many samples they hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: tuple[str, ...] = Field(min_length=1)
    samples: int | None = Field(default=None, ge=1)


def _split_names(splits: Any) -> Any:
    """Return the splits of a card, ``held_out`` under its name since version 0.2."""
    if not isinstance(splits, dict) or "val" in splits:
        return splits
    return {split_name(name): split for name, split in splits.items()}


class DatasetCard(BaseModel):
    """A dataset in a few words: the content of ``dataset.yaml``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str = ""
    #: Side of the stored images in pixels, where all are alike.
    resolution: int | None = Field(default=None, ge=1)
    licence: str = "not stated"
    attribution: str = ""
    source: str = ""
    #: Names of the classes; a class's index is its place here.
    classes: tuple[str, ...] = ()
    #: Empty if the validation samples are drawn by a hash of their keys.
    splits: Annotated[dict[str, Split], BeforeValidator(_split_names)] = {}


def list_datasets() -> tuple[str, ...]:
    """Names of the packaged datasets."""
    return tuple(sorted(path.parent.name for path in _packaged().glob(f"*/{CARD}")))


def find_dataset(name_or_path: str | Path) -> tuple[DatasetCard, dict[str, tuple[Path, ...]]]:
    """The card of a dataset, and the paths of its shards by split.

    A packaged dataset goes by its name; any other by the path of a folder that holds a ``dataset.yaml`` or shards, of
    a single shard, by a brace range of paths, or by addresses that fsspec reads. Shards without a card are one split
    called "all".

    Raises:
        DataError: there is no such dataset.
        specs.errors.SpecError: its ``dataset.yaml`` is wrong.
    """
    path = Path(name_or_path).expanduser()
    if str(name_or_path) in list_datasets():
        path = _packaged() / str(name_or_path)
    if (path / CARD).is_file():
        card = validate(DatasetCard, parse(path / CARD), "a dataset")
        if not card.splits:
            return card, {"all": _shards(path, str(name_or_path))}
        return card, {
            name: tuple(_beside(path, shard) for shard in split.shards) for name, split in card.splits.items()
        }
    if (path / PLAN).is_file():
        raise DataError(f"{path}: this pack is not finished; the zoo data pack command that began it goes on")
    shards = _shards(path, str(name_or_path))
    return _card_of(path, shards), {"all": shards}


def _packaged() -> Path:
    return Path(str(files("builders"))) / "datasets"


def _beside(folder: Path, shard: str) -> Path:
    if Path(shard).name != shard:
        raise DataError(f"{folder / CARD}: shard {shard!r} is not a file name")
    return folder / shard


def _shards(path: Path, given: str) -> tuple[Path, ...]:
    if path.is_dir():
        shards = tuple(sorted(child for child in path.iterdir() if child.name.endswith(SHARDS) and child.is_file()))
        if not shards:
            raise DataError(f"{path}: no {CARD} and no shards ({', '.join(SHARDS)}) in this folder")
        return shards
    if path.exists():
        return (path,)
    expanded = expand_braces(given)
    if is_address(given):
        return tuple(local_shard(address) for address in expanded)
    if expanded != (given,):
        paths = tuple(Path(name).expanduser() for name in expanded)
        missing = next((path for path in paths if not path.is_file()), None)
        if missing is not None:
            raise DataError(f"{given}: there is no {missing}")
        return paths
    names = list_datasets()
    hint = did_you_mean(given, names)
    raise DataError(f"no dataset {given!r}{hint} (packaged: {', '.join(names)}; or the path of a shard or a folder)")


def _card_of(path: Path, shards: tuple[Path, ...]) -> DatasetCard:
    """A card for shards without one: the classes are the categories that their JSON names, sorted."""
    found = set()
    for shard in shards:
        # What is broken is told of when images are read.
        with contextlib.suppress(DataError):
            for sample in read_shard(shard):
                with contextlib.suppress(DataError):
                    found.add(sample_facts(sample)["category"])
    name = path.name.partition(".")[0] or path.resolve().name
    return DatasetCard(name=name, classes=tuple(sorted(found - {""})))


def sample_facts(sample: Mapping[str, bytes | str], names: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """Caption, category and group of a sample from its ``.json`` (or ``.txt`` and ``.cls``); empty where unknown.

    Samples of one group are near-duplicates, which stay on one side of a split; by default each is its own.

    Args:
        sample: members by extension, and ``__key__``.
        names: the JSON keys of "caption", "category" and "group"; by default the usual ones.

    Raises:
        DataError: the JSON is none.
    """
    key = str(sample["__key__"])
    names = names or NAMES
    try:
        facts = json.loads(sample.get("json", b"{}"))
    except (ValueError, RecursionError):
        raise DataError(f"sample {key!r}: its .json is not JSON") from None
    if not isinstance(facts, dict):
        raise DataError(f"sample {key!r}: its .json is not a mapping")

    def text(kind: str, extension: str) -> str:
        found = next((facts[name] for name in names[kind] if isinstance(facts.get(name), (str, int))), None)
        member = sample.get(extension, b"") if found is None else b""
        assert isinstance(member, bytes)
        # Halves of characters, which JSON can name, are in no text that can be written.
        whole = str(found).encode("utf-8", "replace").decode() if found is not None else None
        return member.decode("utf-8", "replace").strip() if whole is None else whole

    category = text("category", "cls")
    return {"caption": text("caption", "txt"), "category": category, "group": text("group", "") or key}
