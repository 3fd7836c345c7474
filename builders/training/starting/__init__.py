"""The start of a training: processes that meet, the entry and weights it begins with, and what a run may be
resumed with.

Imports `builders.training.errors`, `builders.training.state`, `builders.checkpoints`, and `specs`.
"""
