"""Checks of files of the language: entries with their variants, recipes, studies, tags, and folders of them.

Imports `registry.catalogue`.
"""
