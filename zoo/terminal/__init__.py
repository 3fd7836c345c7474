"""Output to a terminal: console, progress bars.

Imports `builders.training.observers`.
"""
