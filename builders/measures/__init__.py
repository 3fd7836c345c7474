"""Measures of a trained network or of a recipe that studies compare.

Imports `builders.training`, and the rooms of `builders` below it.
"""
