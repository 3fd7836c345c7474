"""Make a dataset of squares cut out of the photographs and textures in scikit-image and scikit-learn.

    pip install --no-deps --target pictures scikit-image==0.26.0 scikit-learn==1.9.1
    python -m builders.datasets.make_photographs pictures FOLDER --resolution 64

The squares do not overlap, and their classes are the pictures. Each block of two by two squares, and squares that look
almost the same, are in one split. Only pictures whose licence in the package allows it are used: CC0, the public
domain, and CC BY 2.0. The same files give the same bytes with one version of Pillow.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from builders.data.decoding import decode_image
from builders.data.errors import DataError
from builders.datasets.command import run
from builders.datasets.licences import licence_text
from builders.datasets.near_duplicates import close_pairs, groups_of
from builders.datasets.samples import Sample, write_dataset
from builders.resizing import resize

__all__ = ["PICTURES", "Picture", "cut", "main", "make"]

#: Two squares are near-duplicates if their distance at 32 pixels is less than this share of the contrast of the fainter
#: one.
SIMILAR = 0.25
#: Squares of less contrast (standard deviation, of 255) are left out, such as the black around a round picture.
CONTRAST = 4.0
#: Squares along a side of the blocks that stay in one split.
BLOCK = 2
SKIMAGE, SKLEARN = Path("skimage/data"), Path("sklearn/datasets/images")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a package.

    Attributes:
        path: File in the folder of the packages.
        category: Name of its class.
        caption: What it shows.
        licence: Words that the package says of its licence: in the docstring of the function of scikit-image that
            reads it, or in the README of scikit-learn.
    """

    path: Path
    category: str
    caption: str
    licence: str


PICTURES = (
    Picture(SKIMAGE / "astronaut.png", "astronaut", "an astronaut", "released into the public domain"),
    Picture(SKIMAGE / "brick.png", "brick", "a brick wall", "Creative Commons CC0 License"),
    Picture(SKIMAGE / "camera.png", "camera", "a photographer with a camera", "CC0 by the photographer"),
    Picture(SKIMAGE / "chelsea.png", "cat", "a cat", "CC0 by the photographer"),
    Picture(SKIMAGE / "cell.png", "cell", "a cell in a microscope", "This image is CC0"),
    Picture(SKIMAGE / "coffee.png", "coffee", "a cup of coffee", "CC0 by the photographer"),
    Picture(SKLEARN / "flower.jpg", "flower", "a flower", "creativecommons.org/licenses/by/2.0"),
    Picture(SKIMAGE / "hubble_deep_field.jpg", "galaxies", "galaxies", "freely used in the public domain"),
    Picture(SKIMAGE / "grass.png", "grass", "grass", "Creative Commons CC0 License"),
    Picture(SKIMAGE / "gravel.png", "gravel", "gravel", "Creative Commons CC0 License"),
    Picture(SKIMAGE / "retina.jpg", "retina", "a retina", "Creative Commons CC0 1.0"),
    Picture(SKIMAGE / "rocket.jpg", "rocket", "a rocket at its launch", "released in the public domain"),
    Picture(SKLEARN / "china.jpg", "temple", "a temple", "creativecommons.org/licenses/by/2.0"),
)


def cut(image: Image.Image, side: int) -> Iterator[tuple[int, int, Image.Image]]:
    """Yield the row, the column and the pixels of squares that do not overlap, from the middle of an image.

    Args:
        image: RGB image.
        side: Side of a square in pixels.
    """
    rows, columns = image.height // side, image.width // side
    left, top = (image.width - columns * side) // 2, (image.height - rows * side) // 2
    for row in range(rows):
        for column in range(columns):
            corner = (left + column * side, top + row * side)
            square = image.crop((*corner, corner[0] + side, corner[1] + side))
            if np.asarray(square, np.float64).std((0, 1)).max() >= CONTRAST:
                yield row, column, square


def _statement(source: Path, picture: Picture) -> str:
    """Return what the package says of a picture; refuse it without the words of its licence."""
    if picture.path.parent == SKLEARN:
        return licence_text(source / SKLEARN / "README.txt", picture.licence)
    path = source / SKIMAGE / "_fetchers.py"
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be read: {error}; install scikit-image there first") from None
    functions = {node.name: ast.get_docstring(node) or "" for node in tree.body if isinstance(node, ast.FunctionDef)}
    name = picture.path.stem
    if picture.licence not in " ".join(functions.get(name, "").split()):
        raise DataError(f"{path}: {name} has not the licence {picture.licence!r}; leave this picture out")
    return functions[name]


def make(source: Path, folder: Path, resolution: int) -> None:
    """Cut the pictures in ``source`` and write a dataset into ``folder``.

    Raises:
        DataError: A picture is missing or has another licence.
        OSError: A file cannot be written.
    """
    statements: list[str] = []
    found: list[tuple[Picture, int, int, Image.Image]] = []
    for picture in PICTURES:
        statements.append(f"{picture.path}\n\n{_statement(source, picture)}")
        path = source / picture.path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; install both packages there first") from None
        found += [(picture, *square) for square in cut(decode_image(content, str(path)), resolution)]
    if not found:
        raise DataError(f"{source}: no picture has a square of {resolution} pixels; choose a smaller --resolution")
    classes = list(dict.fromkeys(picture.category for picture, *_ in found))
    small = np.stack([np.asarray(resize(image, (32, 32))) for *_, image in found]).astype(np.float64)
    centred = (small - small.mean((1, 2), keepdims=True)).reshape(len(small), -1)
    bases = [f"{each.category}-{row // BLOCK}-{column // BLOCK}" for each, row, column, _ in found]
    groups = groups_of(bases, close_pairs(centred, SIMILAR))
    card = {
        "name": f"photographs-{resolution}",
        "summary": f"Squares of {len(classes)} photographs and textures.",
        "resolution": resolution,
        "licence": "CC0-1.0, public domain and CC-BY-2.0",
        "attribution": "pictures of scikit-image and scikit-learn; their authors are in NOTICE",
        "source": "PyPI packages scikit-image and scikit-learn",
        "classes": classes,
    }
    samples = (
        Sample(f"{each.category}-{row:02d}-{column:02d}", image, _texts(each), group)
        for (each, row, column, image), group in zip(found, groups, strict=True)
    )
    heading = "Squares cut out by builders/datasets/make_photographs.py. The packages say of the pictures:"
    write_dataset(folder, card, "\n\n\n".join([f"{card['name']}\n\n{heading}", *dict.fromkeys(statements)]), samples)


def _texts(picture: Picture) -> dict[str, str]:
    return {"caption": f"Part of a photograph of {picture.caption}", "category": picture.category}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    source = "Folder with the packages skimage and sklearn, such as site-packages."
    return run(make, "builders.datasets.make_photographs", source, arguments)


if __name__ == "__main__":
    sys.exit(main())
