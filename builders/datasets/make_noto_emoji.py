"""Make the packaged Noto emoji shards from a tar of RGBA PNG images and JSON files of the same key.

    python -m builders.datasets.make_noto_emoji SOURCE.tar [FOLDER]

Images are composited on white and stored as lossless WebP; a sample is ``CODEPOINTS.webp`` and ``CODEPOINTS.json``.
About one sample in ten is in the validation split, stored in ``held-out.tar.gz``. Near-duplicates stay in one split:
emoji that differ in gender, skin tone or the members of a family, and emoji that look almost the same (the flags of
Norway and of Svalbard). The same input gives the same bytes.
"""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from builders.data.decoding import decode_image
from builders.datasets.near_duplicates import close_pairs, groups_of
from builders.datasets.samples import Sample, write_splits

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
    return close_pairs(1 - images.reshape(len(images), -1).astype(np.float64) / 255, SIMILAR)


def main(source: str, folder: str = str(Path(__file__).parent / "noto-emoji-64")) -> None:
    """Read ``source`` and write ``train.tar.gz`` and ``held-out.tar.gz`` into ``folder``."""
    with tarfile.open(source) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    keys = sorted(name.removesuffix(".json") for name in files if name.endswith(".json"))
    facts = [json.loads(files[f"{key}.json"]) for key in keys]
    images = [decode_image(files[f"{key}.png"], key) for key in keys]
    small = np.stack([np.asarray(image.resize((32, 32), Image.Resampling.BOX)) for image in images])
    groups = groups_of([base(fact["codepoints"]) for fact in facts], similar(small))
    write_splits(
        Path(folder),
        (
            Sample(
                fact["codepoints"].lower(),
                image,
                {field: fact[field] for field in ("caption", "category", "subcategory")},
                group,
            )
            for fact, group, image in zip(facts, groups, images, strict=True)
        ),
        ("train", "held-out"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
