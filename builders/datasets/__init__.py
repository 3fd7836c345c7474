"""The packaged datasets and the scripts that make them.

Imports `builders.data`, `builders.files`, `builders.resizing`.
"""
