"""Files: atomic replacement, locks, the cache folder. Imports nothing of the project and no torch."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "TEMPORARY", "cache_folder", "check_writable", "file_lock", "open_regular", "read_json", "read_regular",
    "remove_temporaries", "rename_synced", "replacing", "write_text",
]  # fmt: skip

#: Largest size of a JSON file in bytes.
MAX_JSON = 100_000_000
#: Pattern of the names under which files are written before they are renamed.
TEMPORARY = ".*.zoo.tmp"
#: The same, exactly: the name of the file, the process, a random number. SQLite adds files of its own.
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.\d+-[0-9a-f]{8}\.zoo\.tmp(-journal|-wal|-shm)?", re.DOTALL)
#: Length of a file's name in its temporary name, in bytes. Names have up to 255 bytes.
_NAME_BYTES = 200
#: Errors of a disk, which do not name the file that was written.
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})


@contextlib.contextmanager
def replacing(path: str | Path, *, sync: bool = False) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` at the end, unless the block raises.

    Args:
        path: File to write. Its folder is created.
        sync: Whether to flush the file and its folder to disk, so that it survives a power failure.

    Raises:
        OSError: The folder cannot be created or the file not renamed; ``path`` is unchanged.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name.encode("utf-8", "surrogateescape")[:_NAME_BYTES].decode(errors="ignore")
    # Random, so that no one else can put a link to another file in its place.
    temporary = path.with_name(f".{name}.{os.getpid()}-{secrets.token_hex(4)}.zoo.tmp")
    try:
        yield temporary
        if sync:
            _sync(temporary)
        os.replace(temporary, path)
        if sync:
            _sync(path.parent)
    except OSError as error:
        # The message names the file that was asked for.
        if error.filename in (str(temporary), temporary) or (error.filename is None and error.errno in _DISK):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def rename_synced(source: str | Path, target: str | Path) -> None:
    """Give a complete file or folder its name, so that it survives a power failure. Its files are flushed already.

    Raises:
        OSError: It cannot be renamed.
    """
    if Path(source).is_dir():
        _sync(Path(source))
    os.replace(source, target)
    _sync(Path(target).parent)


def remove_temporaries(folder: str | Path, name: str | None = None) -> None:
    """Delete the temporary files that :func:`replacing` left in a folder when its process was killed.

    Args:
        folder: The folder. Nothing happens if it does not exist.
        name: Name of the file that was written. Default: any.
    """
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        found = _TEMPORARY.fullmatch(path.name)
        if found is not None and name in (None, found["name"]) and not path.is_symlink() and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Replace the contents of a file with text, in UTF-8.

    Raises:
        OSError: The file cannot be written; it is unchanged.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading. Opening a pipe could wait forever, and a device may never end.

    Raises:
        OSError: The file cannot be opened, or is a folder, pipe, socket or device.
        ValueError: The path contains a NUL character.
    """
    # Without waiting for a process that writes to the pipe.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, limit: int | None = None) -> bytes:
    """Read a regular file.

    Args:
        path: File to read.
        limit: Largest size in bytes.

    Raises:
        OSError: As for :func:`open_regular`, or the file is larger than the limit.
        ValueError: The path contains a NUL character.
    """
    with open_regular(path) as file:
        content = file.read(-1 if limit is None else limit + 1)
    if limit is not None and len(content) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
    return content


def read_json(path: str | Path, limit: int = MAX_JSON) -> Any:
    """Return the content of a JSON file, which must be a regular file.

    Raises:
        OSError: The file cannot be read, is not a regular file, or is larger than ``limit`` bytes.
        ValueError: It is not JSON.
    """
    try:
        return json.loads(read_regular(path, limit))
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def file_lock(path: str | Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a file. The system releases it when the process ends.

    The contents of the file do not matter and are not changed.

    Args:
        path: File to lock. It is created if it does not exist.
        wait: Whether to wait until the lock is free.

    Yields:
        False if another process holds the lock and ``wait`` is off. True if the lock is held, or if the file system
        has no locks.

    Raises:
        OSError: The file cannot be opened, or is a link or no regular file.
    """
    try:
        import fcntl
    except ImportError:
        yield True
        return
    descriptor = _open_lock(Path(path))
    try:
        held = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        except OSError:  # a file system without locks
            pass
        yield held
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Open the file of a lock, without following links or waiting for a pipe, and without changing it."""
    if path.is_symlink():
        raise OSError(errno.ELOOP, "the lock file is a symbolic link", str(path))
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:  # of another user: locks of local files need no write permission
        descriptor = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "the lock file is not a regular file", str(path))
    return descriptor


def cache_folder() -> Path:
    """Return the cache folder: ``ZOO_CACHE``, or ``matryoshka-zoo`` in the user's cache folder."""
    named = os.environ.get("ZOO_CACHE")
    if named:
        return Path(os.path.expanduser(named))
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matryoshka-zoo"


def check_writable(folder: str | Path) -> None:
    """Create a folder if needed, and check that files can be written to it.

    Raises:
        OSError: No file can be written.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable"):
            pass
    except OSError as error:
        raise OSError(error.errno, f"no file can be written here ({error.strerror})", str(folder)) from None


def _sync(path: Path) -> None:
    """Flush a file or folder to disk. Not every system can flush a folder."""
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
