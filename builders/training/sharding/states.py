"""States of sharded training: a folder of safetensors files, one written by each process.

``state.safetensors`` names the folder and the hashes of its files; it is replaced after they are written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from builders.checkpoints.header import read_metadata
from builders.checkpoints.tensor_file import CheckpointError
from builders.files import rename_synced
from builders.training.sharding.tensors import is_sharded

if TYPE_CHECKING:
    from builders.training.distributed import Processes

__all__ = ["FACT", "ShardFolder", "remove_unused_shards", "write_shards"]

#: Name of the fact of a state that describes its shards.
FACT = "shards"
_NAME = re.compile(r"shards-\d+-[0-9a-f]{8}")
_CHUNK = 2**22


@dataclass(frozen=True)
class ShardFolder:
    """A folder of shards.

    Attributes:
        path: Path of the folder.
        hashes: SHA-256 of each file, by name.
    """

    path: Path
    hashes: Mapping[str, str]

    @staticmethod
    def of_state(path: Path, facts: Mapping[str, str]) -> ShardFolder | None:
        """Return the shards of a state, or None if it holds its tensors itself.

        Args:
            path: File of the state, in the folder of the run or in its ``checkpoints/``.
            facts: Its metadata.

        Raises:
            CheckpointError: The metadata name no such folder.
        """
        if FACT not in facts:
            return None
        try:
            found = json.loads(facts[FACT])
            name, hashes = str(found["folder"]), {str(key): str(value) for key, value in found["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CheckpointError(f"{path}: damaged: its list of shards cannot be read") from None
        if not _NAME.fullmatch(name) or any(Path(each).name != each for each in hashes):
            raise CheckpointError(f"{path}: damaged: its list of shards has other paths")
        run = path.parent if path.parent.name != "checkpoints" else path.parent.parent
        return ShardFolder(run / "checkpoints" / name, hashes)

    def facts(self) -> str:
        """Return what :meth:`of_state` reads."""
        return json.dumps({"folder": self.path.name, "files": dict(self.hashes)})

    def check(self, part: tuple[int, int] = (0, 1)) -> None:
        """Compare files with their hashes.

        Args:
            part: Index and number of the processes that share the work.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        present = {each.name for each in self.path.glob("*.safetensors")} if self.path.is_dir() else set()
        for name in sorted(self.hashes.keys() | present):
            if name not in present:
                raise CheckpointError(f"{self.path / name}: this shard of the state is missing")
            if name not in self.hashes:
                raise CheckpointError(f"{self.path / name}: no shard of this state; move it away")
        for name in sorted(self.hashes)[part[0] :: part[1]]:
            if file_hash(self.path / name) != self.hashes[name]:
                raise CheckpointError(f"{self.path / name}: damaged: its contents do not match the stored hash")

    def read(self, prefix: str, placed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Read the tensors under ``prefix/``, without the prefix. Processes whose tensors are sharded read together.

        Args:
            prefix: First part of the names.
            placed: Parameters by name, which say where a tensor belongs: one of the same shape is divided in the same
                way, others are read as a whole, to the CPU.

        Raises:
            CheckpointError: The files cannot be read.
        """
        from torch.distributed.checkpoint import TensorStorageMetadata, load
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

        together = any(is_sharded(each) for each in placed.values())
        with _clear_errors(f"{self.path}: the shards cannot be read"):
            reader = HuggingFaceStorageReader(str(self.path))
            found: dict[str, Any] = {
                name: _empty(about.size, about.properties.dtype, placed.get(name.rpartition("/")[2]))
                for name, about in reader.read_metadata().state_dict_metadata.items()
                if name.startswith(f"{prefix}/") and isinstance(about, TensorStorageMetadata)
            }
            if found:
                load(found, storage_reader=reader, no_dist=not together)
        return {name.removeprefix(f"{prefix}/"): value for name, value in found.items()}


def _empty(shape: torch.Size, dtype: torch.dtype, like: Any) -> Tensor:
    """Return a tensor to read into, divided like a parameter of the same shape."""
    if is_sharded(like) and like.shape == shape:
        return torch.empty_like(like, dtype=dtype, requires_grad=False)
    return torch.empty(shape, dtype=dtype)


def write_shards(run: Path, step: int, tensors: Mapping[str, Tensor], processes: Processes) -> ShardFolder:
    """Write the tensors of a state to a new folder, every process its own part. All processes must call this.

    The folder gets its name when all files are written and flushed to disk.

    Args:
        run: Folder of the run, which all processes see.
        step: Steps of all phases so far, for the name.
        tensors: Tensors by name, sharded or the same in all processes.
        processes: Processes that train together.

    Raises:
        CheckpointError: A process cannot write its part; in all processes. Nothing is left.
    """
    from torch.distributed.checkpoint import save
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

    name = processes.gather(f"shards-{step:09d}-{secrets.token_hex(4)}")[0]
    folder = run / "checkpoints" / name
    temporary = folder.with_name(f".{name}.tmp")

    def write() -> None:
        with _clear_errors(f"{folder}: the state cannot be written; an existing checkpoint is unchanged"):
            save(dict(tensors), storage_writer=HuggingFaceStorageWriter(str(temporary), save_distributed=True))

    def hashes() -> dict[str, str]:
        mine = sorted(temporary.glob("*.safetensors"))[processes.index :: processes.count]
        return {each.name: file_hash(each) for each in mine}

    try:
        processes.on_main(lambda: temporary.mkdir(parents=True))
        processes.together(write)
        parts = processes.together(hashes)
        processes.on_main(lambda: rename_synced(temporary, folder))
    except BaseException as error:
        if processes.main:
            shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            reason = f"cannot be written ({error.strerror}); an existing checkpoint is unchanged"
            raise CheckpointError(f"{folder}: {reason}") from error
        raise
    return ShardFolder(folder, {name: value for part in parts for name, value in part.items()})


def remove_unused_shards(run: Path) -> None:
    """Delete the folders of shards that no state of a run names, and those that were not finished.

    Nothing is deleted if a state cannot be read.
    """
    place = run / "checkpoints"
    used = set()
    for state in (run / "state.safetensors", *place.glob("state-*.safetensors")):
        try:
            found = ShardFolder.of_state(state, read_metadata(state)) if state.is_file() else None
        except (CheckpointError, OSError):
            return
        used |= set() if found is None else {found.path.name}
    for folder in [*place.glob("shards-*"), *place.glob(".shards-*.tmp")]:
        name = folder.name.removeprefix(".").removesuffix(".tmp")
        if _NAME.fullmatch(name) and folder.name not in used and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        CheckpointError: It cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return digest.hexdigest()


@contextlib.contextmanager
def _clear_errors(what: str) -> Iterator[None]:
    """Turn errors of torch's checkpoints into a CheckpointError, and silence its remarks on reading in one process.

    Raises:
        CheckpointError: Reading or writing failed, in this process or in another.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except CheckpointException as error:  # the failures of all processes
        first, _ = next(iter(error.failures.values()), (error, None))
        raise CheckpointError(f"{what} ({_first_line(first)})") from None
    except (OSError, ValueError, TypeError, KeyError, AssertionError, SafetensorError) as error:
        raise CheckpointError(f"{what} ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
