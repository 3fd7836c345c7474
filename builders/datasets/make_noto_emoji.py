"""Make the packaged Noto emoji shards from a tar of RGBA PNG images and JSON files of the same key.

    python -m builders.datasets.make_noto_emoji SOURCE.tar [FOLDER]

Images are composited on white and stored as lossless WebP; a sample is ``CODEPOINTS.webp`` and ``CODEPOINTS.json``.
About one sample in ten is in the validation split, stored in ``held-out.tar.gz``. Near-duplicates stay in one split:
emoji that differ in gender, skin tone or the members of a family, and emoji that look almost the same (the flags of
Norway and of Svalbard). The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path

import networkx
import numpy as np
from PIL import Image

from builders.data.decoding import decode_image
from builders.data.packing.shard import add_member
from builders.data.splits import is_held_out
from builders.files import replacing

__all__ = ["base", "main", "similar"]

#: Two images are near-duplicates if their distance at 32 pixels is less than this share of the distance of the fainter
#: one from white.
SIMILAR = 0.15

ADULT, CHILD, ELDER = "1F9D1", "1F9D2", "1F9D3"
PEOPLE = {"1F468": ADULT, "1F469": ADULT, "1F466": CHILD, "1F467": CHILD, "1F474": ELDER, "1F475": ELDER}
#: Variation selector, joiner, female and male signs, "facing right".
IGNORED = {"FE0F", "200D", "2640", "2642", "27A1"}
SKIN_TONES = {f"1F3F{digit}" for digit in "BCDEF"}
#: Emoji of several people, by the code point that joins them.
TOGETHER = {"1F48B": "1F48F", "2764": "1F491", "1F91D": "1F46B"}
FAMILY, COUPLE = "1F46A", "1F46B"
ALIASES = {"1F46C": COUPLE, "1F46D": COUPLE, "1F936": "1F385", "1F9D1-1F384": "1F385"}


def base(codepoints: str) -> str:
    """Return the code points of an emoji without gender, skin tone and family members; variants have equal results.

    Args:
        codepoints: Code points in hexadecimal, such as ``1F64B-200D-2640-FE0F``.
    """
    parts = codepoints.split("-")
    joined = "200D" in parts
    parts = [PEOPLE.get(part, part) for part in parts if part not in IGNORED]
    parts = [part for part in parts if part not in SKIN_TONES or len(parts) == 1]
    if joined and sum(part in (ADULT, CHILD) for part in parts) > 1:
        return next((name for sign, name in TOGETHER.items() if sign in parts), FAMILY)
    name = "-".join(parts)
    return ALIASES.get(name, name)


def similar(images: np.ndarray) -> list[tuple[int, int]]:
    """Return the pairs of near-duplicates among images (N, height, width, 3) uint8 on white."""
    x = 1 - images.reshape(len(images), -1).astype(np.float64) / 255
    energy = (x * x).sum(1)
    distance = np.maximum(energy[:, None] + energy[None] - 2 * x @ x.T, 0)
    close = distance < SIMILAR**2 * np.minimum(energy[:, None], energy[None])
    return [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(close, 1)), strict=True)]


def main(source: str, folder: str = str(Path(__file__).parent / "noto-emoji-64")) -> None:
    """Read ``source`` and write ``train.tar.gz`` and ``held-out.tar.gz`` into ``folder``."""
    with tarfile.open(source) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    keys = sorted(name.removesuffix(".json") for name in files if name.endswith(".json"))
    facts = [json.loads(files[f"{key}.json"]) for key in keys]
    images = [decode_image(files[f"{key}.png"], key) for key in keys]
    groups = _groups([base(fact["codepoints"]) for fact in facts], images)
    for name, held in (("train", False), ("held-out", True)):
        chosen = [index for index, group in enumerate(groups) if is_held_out(group) == held]
        path = Path(folder) / f"{name}.tar.gz"
        with replacing(path) as temporary:
            _write(temporary, [(facts[index], groups[index], images[index]) for index in chosen])
        print(f"{path}: {len(chosen)} samples, {path.stat().st_size:,} bytes")


def _groups(bases: list[str], images: list[Image.Image]) -> list[str]:
    """Return the group of each sample: the smallest base among its variants and their near-duplicates."""
    small = np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BOX)) for image in images])
    graph = networkx.Graph([(bases[i], bases[j]) for i, j in similar(small)])
    graph.add_nodes_from(bases)
    groups = {name: min(part) for part in networkx.connected_components(graph) for name in part}
    return [groups[name] for name in bases]


def _write(path: Path, samples: list[tuple[dict[str, str], str, Image.Image]]) -> None:
    # Without times, owners and file name, so that the same input gives the same bytes.
    with (
        path.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=9) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for fact, group, image in samples:
            key = fact["codepoints"].lower()
            texts = {field: fact[field] for field in ("caption", "category", "subcategory")} | {"group": group.lower()}
            add_member(tar, f"{key}.json", json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode())
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", lossless=True, quality=100, method=4)
            add_member(tar, f"{key}.webp", buffer.getvalue())


if __name__ == "__main__":
    main(*sys.argv[1:])
