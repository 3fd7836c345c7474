"""Make the packaged Noto emoji shard from a tar of RGBA PNG images and JSON files of the same key.

    python -m builders.datasets.make_noto_emoji noto-emoji-64.tar builders/datasets/noto-emoji-64

Images are composited on white and stored as lossless WebP; a sample is ``KEY.webp`` and ``KEY.json``.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

from PIL import Image

__all__ = ["main"]


def main(source: str, folder: str) -> None:
    """Read ``source`` and write ``folder/noto-emoji-64.tar``."""
    with tarfile.open(source) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    out = Path(folder) / "noto-emoji-64.tar"
    temporary = out.with_suffix(".tmp")
    with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key in sorted(name.removesuffix(".json") for name in files if name.endswith(".json")):
            facts = json.loads(files[f"{key}.json"])
            kept = {field: facts[field] for field in ("caption", "category", "subcategory", "codepoints")}
            _add(tar, f"{key}.json", json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode())
            _add(tar, f"{key}.webp", _encode(files[f"{key}.png"]))
    temporary.replace(out)


def _encode(png: bytes) -> bytes:
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    buffer = io.BytesIO()
    Image.alpha_composite(white, image).convert("RGB").save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    # No times and no owners: the same input gives the same bytes.
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    main(*sys.argv[1:])
