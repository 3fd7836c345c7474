"""Data sets: shards of images, read into memory or as they are drawn; packing is in `packing/`.

Imports `builders.files`, `builders.seeds`, `builders.pixels`, `builders.pictures`.
"""

from specs.public_names import offer

__getattr__ = offer(__name__)
