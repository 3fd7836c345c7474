"""What a file is that does not hold the expected weights, by its first bytes, and what to do with it.

Imports no torch.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from builders.files import open_regular
from builders.signatures import kind_by_signature

__all__ = ["OTHERS", "SAFETENSORS", "TORCH", "describe_weights", "kind_of"]

#: Extensions of weights of other programs.
OTHERS = (".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy", ".h5", ".gguf", ".onnx", ".pkl", ".pickle", ".msgpack")

#: Kinds of files that are read.
SAFETENSORS, TORCH = "safetensors", "torch"
#: Bytes of a file that tell its kind.
START = 512
_AGAIN = "download it again"
_RESAVE = "load it where you trust it, and save its tensors with torch.save"
_EXPORT = "export its tensors and save them with torch.save"
#: Number with which torch began its pickles before version 1.6.
_TORCH_NUMBER = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
#: What to do with an image; arrays of other programs are exported.
_ADVICE = {"an image": "give the weights"}


def kind_of(start: bytes) -> str:
    """Return the kind of a file by its first bytes: :data:`SAFETENSORS`, :data:`TORCH` (any zip file), or empty."""
    if start[8:9] == b"{":
        return SAFETENSORS
    return TORCH if start.startswith(b"PK\x03\x04") else ""


def describe_weights(path: str | Path) -> str:
    """Return what a file is and what to do, such as "a pointer of Git LFS, not the file itself; fetch the file ...".

    Empty if its kind is not known.

    Args:
        path: File that does not hold what was expected.
    """
    try:
        with open_regular(path) as file:
            start = file.read(START)
    except (OSError, ValueError):
        return ""
    kind = kind_of(start)
    if kind == SAFETENSORS:
        return "a safetensors file, which needs no conversion"
    if start.startswith(b"PK"):
        return _describe_zip(Path(path))
    return _describe_start(start)


def _describe_start(start: bytes) -> str:
    if not start:
        return f"an empty file; {_AGAIN}"
    kind = kind_by_signature(start)
    if kind is not None:
        return f"{kind.name}; {kind.advice or _ADVICE.get(kind.name, _EXPORT)}"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<html" in text:
        return f"a web page, not the file itself; {_AGAIN}, perhaps after logging in"
    if start[257:262] == b"ustar":
        return f"a checkpoint in the tar format of torch before 0.4, or another tar file; {_RESAVE}"
    if start[2:].startswith(_TORCH_NUMBER):
        return f"a checkpoint in the pickle format of torch before 1.6; {_RESAVE}"
    if (start[:1] == b"\x80" and start[1:2] <= b"\x05") or start[:2] in (b"(d", b"(l", b"}q", b"]q"):
        return f"a pickle, of Python or of torch before 1.6; {_RESAVE}"
    if text.startswith((b"{", b"[")):
        return "a JSON file; give the weights"
    if text.startswith((b"name:", b"extends:", b"#", b"---")):
        return "a text file, perhaps a configuration; give the weights"
    if not start.strip(b"\0"):
        return f"a file of zeros, such as an unfinished download; {_AGAIN}"
    return ""


def _describe_zip(path: Path) -> str:
    """Describe a zip file by the names in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, OSError, EOFError):
        return f"a truncated or damaged zip file or checkpoint of torch; {_AGAIN}"
    if any("/code/" in name for name in names):
        return "a program of TorchScript; save the tensors of its state_dict with torch.save"
    if any(name.count("/") <= 1 and name.endswith("data.pkl") for name in names):
        return "a checkpoint of torch; 'zoo convert CONFIG FILE' reads those of published networks"
    if names and all(name.endswith(".npy") for name in names):
        return f"arrays of NumPy (.npz); {_EXPORT}"
    inside = [name for name in names if name.lower().endswith((".safetensors", ".pth", ".pt", ".ckpt", ".bin"))]
    return f"a zip file; unpack it{f' and give {inside[0][:80]!r}' if inside else ''}"
