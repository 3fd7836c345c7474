"""Model cards and architecture diagrams.

Imports `registry.evaluation` and what is below it.
"""
