"""Parse YAML into trees with positions, merge them, apply overrides, and validate them against a schema.

Imports `specs.errors`.
"""
