"""What the phases of a training read: clips, images, or both.

Imports `builders.training.errors`, `builders.data` and `specs`.
"""
