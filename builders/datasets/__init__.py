"""The packaged data sets and the scripts that make them.

Imports `builders.data`, `builders.files`.
"""
