"""Output to a terminal: console and progress bars.

Imports `builders.training.observers`.
"""
