"""Pydantic models of what YAML files may say: entries, recipes, studies, evaluation.

Imports `specs.syntax` and what is below it.
"""
