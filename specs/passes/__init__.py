"""The passes from a parsed spec to a checked graph: resolve, expand, check.

Imports `specs.graph`, `specs.schemas` and what is below them.
"""
