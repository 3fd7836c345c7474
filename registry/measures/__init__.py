"""Measures of the runs of a study, by name.

Imports `registry.evaluation`, and the rooms of `registry` below it.
"""
