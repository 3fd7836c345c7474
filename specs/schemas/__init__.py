"""Pydantic schemas of the YAML files: entries, recipes, studies, evaluation and sampling.

Imports `specs.syntax` and what is below it.
"""
