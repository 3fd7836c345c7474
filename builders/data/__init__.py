"""Datasets: shards of images, loaded into memory or read when drawn. Packing is in `packing/`.

Imports `builders.files`, `builders.seeds`, `builders.pixels`, `builders.pictures`.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
