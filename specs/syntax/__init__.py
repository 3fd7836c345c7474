"""Text to values: a YAML tree with positions, merging, overrides, and validation against a schema.

Imports `specs.errors`.
"""
