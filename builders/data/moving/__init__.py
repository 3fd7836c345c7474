"""Clips of images that move, rendered when drawn: the dataset ``moving-emoji``.

Imports the other modules of `builders.data`, `builders.pixels`, `builders.resizing`.
"""
