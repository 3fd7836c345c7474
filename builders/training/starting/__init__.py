"""The start of a training: processes that meet, and what a run may be resumed with.

Imports `builders.training.errors`, `builders.training.state`, and `specs`.
"""
